"""M step: items from the expected statistics at the nodes, by Fisher scoring, all items at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from irsl.calibration.item_prior import ItemPrior
from irsl.calibration.quadrature import Nodes
from irsl.likelihoods import Beta, Likelihood
from irsl.likelihoods.base import Array

MAX_STEP = np.array([0.5, 0.7])  # of log a and of b in one scoring step
MAX_HALVINGS = 8
LOG_A_RANGE = (-4.0, 3.0)
DIFFICULTY_LIMIT = 25.0  # standard deviations; reached only without a prior, by items that all or none solved


@dataclass(frozen=True)
class ExpectedStatistics:
    """What the E step leaves of the data.

    Attributes
    ----------
    values : (n_items, R) float64
        H = T(Y)^T E, with E the expected cardinal functions.
    trials : (n_items, R) or (1, R) float64
        The same of n; one row where every item was seen by everybody with equal n.
    """

    values: Array
    trials: Array


@dataclass(frozen=True)
class Items:
    """Working parameters: log a and b (n_items,), guessing (n_items,), and the likelihood with its own parameter."""

    log_a: Array
    b: Array
    guessing: Array
    likelihood: Likelihood

    def eta(self, points: Array) -> Array:
        """(n_items, n_points)."""
        return np.exp(self.log_a)[:, None] * (points[None, :] - self.b[:, None])

    def natural_and_base(self, points: Array) -> tuple[Array, Array]:
        """A and C of every item at the points, (n_items, n_points) each."""
        return self.likelihood.natural_and_base(self.eta(points), self.guessing[:, None])


def expected_log_likelihood(items: Items, statistics: ExpectedStatistics, nodes: Nodes) -> Array:
    """(n_items,) expected complete-data log-likelihood, without h(y)."""
    natural, base = items.natural_and_base(nodes.points)
    return np.asarray((statistics.values * natural + statistics.trials * base).sum(axis=1))


def information(items: Items, statistics: ExpectedStatistics, nodes: Nodes) -> tuple[Array, Array]:
    """Score (n_items, 2) and expected information (n_items, 2, 2) of (log a, b), without the prior."""
    points = nodes.points
    d_natural, mean, d_mean = items.likelihood.slopes(items.eta(points), items.guessing[:, None])
    residual = d_natural * (statistics.values - statistics.trials * mean)
    weight = statistics.trials * d_natural * d_mean
    a = np.exp(items.log_a)
    d_log_a = a[:, None] * (points[None, :] - items.b[:, None])
    score = np.stack([(residual * d_log_a).sum(axis=1), -a * residual.sum(axis=1)], axis=1)
    cross = -a * (weight * d_log_a).sum(axis=1)
    table = np.empty((items.b.size, 2, 2))
    table[:, 0, 0] = (weight * d_log_a**2).sum(axis=1)
    table[:, 0, 1] = table[:, 1, 0] = cross
    table[:, 1, 1] = a**2 * weight.sum(axis=1)
    return score, table


def update_items(
    items: Items,
    statistics: ExpectedStatistics,
    nodes: Nodes,
    prior: ItemPrior,
    *,
    common_slope: bool,
    n_steps: int = 2,
) -> tuple[Items, Array]:
    """Raise the expected penalised log-likelihood of every item.

    Returns
    -------
    items : Items
    variance : (n_items, 2) float64
        Posterior variance of (log a, b) with the abilities' distribution taken as known.
    """
    value = _penalised(items, statistics, nodes, prior)
    for _ in range(n_steps):
        score, info = information(items, statistics, nodes)
        deviation = np.stack([items.log_a - prior.mean[0], items.b - prior.mean[1]], axis=1)
        score -= np.where(prior.precision > 0, prior.precision * deviation, 0.0)
        info[:, [0, 1], [0, 1]] += prior.precision
        step = _common_slope_step(score, info) if common_slope else _item_step(score, info)
        items, value = _line_search(items, step, value, statistics, nodes, prior, common_slope=common_slope)
    _, info = information(items, statistics, nodes)
    info[:, [0, 1], [0, 1]] += prior.precision
    return items, _variances(info, common_slope=common_slope)


def update_precision(
    items: Items, statistics: ExpectedStatistics, nodes: Nodes, slope: float, n_steps: int = 2
) -> Items:
    """Scoring steps for log phi of a Beta likelihood; others are returned as they are."""
    for _ in range(n_steps):
        likelihood = items.likelihood
        if not isinstance(likelihood, Beta):
            return items
        phi = likelihood.precision
        mu, d_base, info = likelihood.precision_slope(items.eta(nodes.points), items.guessing[:, None])
        gradient = phi * float((statistics.values * mu + statistics.trials * d_base).sum() + slope)
        curvature = phi**2 * float((statistics.trials * info).sum())
        step = float(np.clip(gradient / max(curvature, 1e-12), -1.0, 1.0))
        items = replace(items, likelihood=replace(likelihood, precision=phi * float(np.exp(step))))
    return items


def _penalised(items: Items, statistics: ExpectedStatistics, nodes: Nodes, prior: ItemPrior) -> Array:
    return expected_log_likelihood(items, statistics, nodes) + prior.log_density(items.log_a, items.b)


def _item_step(score: Array, info: Array) -> Array:
    """Newton step of every item from its own 2 x 2 system."""
    det = info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2
    det = np.maximum(det, 1e-10 * np.maximum(info[:, 0, 0] * info[:, 1, 1], 1e-10))
    step = np.stack(
        [
            (info[:, 1, 1] * score[:, 0] - info[:, 0, 1] * score[:, 1]) / det,
            (info[:, 0, 0] * score[:, 1] - info[:, 0, 1] * score[:, 0]) / det,
        ],
        axis=1,
    )
    # shortened as a whole: clipping one part alone would leave the ridge along which log a and b trade
    longest = np.abs(step / MAX_STEP).max(axis=1, keepdims=True)
    return np.asarray(step / np.maximum(longest, 1.0))


def _common_slope_step(score: Array, info: Array) -> Array:
    """Newton step of all difficulties and one common log a: an arrowhead system."""
    d = np.maximum(info[:, 1, 1], 1e-10)
    ratio = info[:, 0, 1] / d
    schur = info[:, 0, 0].sum() - (ratio * info[:, 0, 1]).sum()
    slope_step = (score[:, 0].sum() - (ratio * score[:, 1]).sum()) / max(schur, 1e-10)
    step = np.stack([np.full(d.size, slope_step), score[:, 1] / d - ratio * slope_step], axis=1)
    return np.asarray(np.clip(step, -MAX_STEP, MAX_STEP))


def _variances(info: Array, *, common_slope: bool) -> Array:
    if common_slope:
        d = np.maximum(info[:, 1, 1], 1e-12)
        return np.stack([np.zeros_like(d), 1.0 / d], axis=1)
    det = np.maximum(info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2, 1e-12)
    return np.stack([info[:, 1, 1] / det, info[:, 0, 0] / det], axis=1)


def _line_search(
    items: Items,
    step: Array,
    value: Array,
    statistics: ExpectedStatistics,
    nodes: Nodes,
    prior: ItemPrior,
    *,
    common_slope: bool,
) -> tuple[Items, Array]:
    """Halve the step of every item whose objective fell; with a common slope, of all items together."""
    factor = np.ones(items.b.size)
    tolerance = 1e-9 * (1.0 + np.abs(value))
    for _ in range(MAX_HALVINGS):
        moved = replace(
            items,
            log_a=np.clip(items.log_a + factor * step[:, 0], *LOG_A_RANGE),
            b=np.clip(items.b + factor * step[:, 1], -DIFFICULTY_LIMIT, DIFFICULTY_LIMIT),
        )
        new = _penalised(moved, statistics, nodes, prior)
        fell = new < value - tolerance
        if common_slope:
            fell = np.full(fell.size, new.sum() < value.sum() - tolerance.sum())
        if not fell.any():
            return moved, new
        factor[fell] *= 0.5
    kept = replace(moved, log_a=np.where(fell, items.log_a, moved.log_a), b=np.where(fell, items.b, moved.b))
    return kept, np.where(fell, value, new)
