"""How ability grows: laws over pre-training compute, forecasts, and decisions between recipes."""

from irsl.laws.compute import training_flops
from irsl.laws.decisions import decision_accuracy, total_variation
from irsl.laws.trend import Forecast, Trend, fit_trends

__all__ = ["Forecast", "Trend", "decision_accuracy", "fit_trends", "total_variation", "training_flops"]
