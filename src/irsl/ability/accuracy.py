"""Benchmark accuracy of a subject: the mean response over all items of a bank, the unobserved ones predicted.

The interval holds the ability's posterior, the items' own errors, the response noise of the unobserved items, and the
scale's misfit variance (docs/mathematics.md, section 5). Where all items were observed it has width 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from irsl.ability.estimators import AbilityEstimates
from irsl.calibration.bank import Scale
from irsl.calibration.parameters import ItemParameters
from irsl.likelihoods import Likelihood
from irsl.likelihoods.base import Array


@dataclass(frozen=True)
class Accuracy:
    """Per subject: the accuracy, its interval, its noise-free expectation, and the number of items observed."""

    accuracy: Array
    lower: Array
    upper: Array
    expected: Array
    n_observed: Array


def bank_accuracy(
    responses: Any, items: ItemParameters, scale: Scale, estimates: AbilityEstimates, *, level: float
) -> Accuracy:
    """Mean response over all `items` of one benchmark.

    Parameters
    ----------
    responses : (n_subjects, n_items) float64
        Observed responses in 0..1, NaN where not observed.
    items : ItemParameters
    scale : Scale
    estimates : AbilityEstimates
        From these items, or from all items of the scale.
    level : float
        Of the interval.
    """
    n_items = items.n_items
    nodes = estimates.nodes.points
    likelihood = scale.response_likelihood()
    curves = likelihood.response_mean(items.eta(nodes), items.guessing[:, None])
    noise = likelihood.response_variance(curves, scale.trials)
    seen = np.isfinite(responses)
    n_observed = seen.sum(axis=1)
    unseen = (~seen).astype(np.float64)
    n_unseen = n_items - n_observed
    observed_total = np.where(seen, responses, 0.0).sum(axis=1)

    # every table below is smooth in ability: known at the nodes, its mean is a sum over expected cardinal functions
    expectation = estimates.expectation
    total_curve = unseen @ curves
    predicted = (expectation * total_curve).sum(axis=1)
    variance = np.maximum((expectation * (total_curve - predicted[:, None]) ** 2).sum(axis=1), 0.0)
    variance += (expectation * (unseen @ noise)).sum(axis=1)
    if items.covariance is not None:
        slope = (unseen @ _curve_slope(items, likelihood, nodes) * expectation).sum(axis=1)
        variance += slope**2 * estimates.item_variance
        variance += (expectation * (unseen @ _curve_variance(items, likelihood, nodes))).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        misfit = scale.misfit_variance * n_unseen**2 * (1.0 / np.maximum(n_observed, 1) + 1.0 / n_unseen)
    variance += np.where(n_unseen > 0, misfit, 0.0)
    half = norm.ppf((1.0 + level) / 2.0) * np.sqrt(np.maximum(variance, 0.0)) * (n_unseen > 0)
    total = observed_total + predicted
    return Accuracy(
        total / n_items,
        np.maximum(total - half, observed_total) / n_items,
        np.minimum(total + half, observed_total + n_unseen) / n_items,
        (expectation @ curves.sum(axis=0)) / n_items,
        n_observed,
    )


def _curve_slope(items: ItemParameters, likelihood: Likelihood, points: Array) -> Array:
    """DP / d theta of every item, (n_items, n_points)."""
    return items.discrimination[:, None] * likelihood.response_slope(items.eta(points), items.guessing[:, None])


def _curve_variance(items: ItemParameters, likelihood: Likelihood, points: Array) -> Array:
    """Variance of every curve from its item's errors, (n_items, n_points)."""
    if items.covariance is None:
        return np.zeros((items.n_items, points.size))
    gap = points[None, :] - items.difficulty[:, None]
    v = items.covariance
    spread = v[:, 1, 1, None] - 2.0 * gap * v[:, 0, 1, None] + gap**2 * v[:, 0, 0, None]
    return np.asarray(_curve_slope(items, likelihood, points) ** 2 * spread)
