"""Figures: frames and arrays in, one matplotlib Figure out, without pyplot and without global state."""

from irsl.plots.items import fit_histogram, item_map, proportions_curve
from irsl.plots.laws import ability_law, forecast_observed, learning_curves
from irsl.plots.replays import replay_errors
from irsl.plots.sampling import sampling_curves
from irsl.plots.style import to_svg

__all__ = [
    "ability_law",
    "fit_histogram",
    "forecast_observed",
    "item_map",
    "learning_curves",
    "proportions_curve",
    "replay_errors",
    "sampling_curves",
    "to_svg",
]
