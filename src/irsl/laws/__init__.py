"""Laws over pre-training compute and over the number of samples; forecasts, and decisions between recipes."""

from irsl.laws.compute import training_flops
from irsl.laws.decisions import decision_accuracy, total_variation
from irsl.laws.joint import JointLaw, joint_law
from irsl.laws.sample_plan import allocate_samples, samples_for_width
from irsl.laws.sampling import SamplingLaw, sampling_law
from irsl.laws.trend import Forecast, Trend, fit_trends

__all__ = [
    "Forecast",
    "JointLaw",
    "SamplingLaw",
    "Trend",
    "allocate_samples",
    "decision_accuracy",
    "fit_trends",
    "joint_law",
    "samples_for_width",
    "sampling_law",
    "total_variation",
    "training_flops",
]
