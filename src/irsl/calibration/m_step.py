"""M step: items from the expected statistics at the nodes, by Fisher scoring, all items at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.item_prior import ItemPrior
from irsl.calibration.parameters import ItemParameters
from irsl.calibration.quadrature import Nodes
from irsl.likelihoods import Beta, Likelihood
from irsl.likelihoods.base import Array

MAX_STEP = np.array([0.5, 1.0])  # of log a and of the intercept in one scoring step
MAX_HALVINGS = 8
SUFFICIENT_GAIN = 0.3
STANDSTILL = 1e-8
ROUNDING = 1e-12  # of an expected log-likelihood, relative
SAFE_SHARE = 0.05  # of the expected information, and of a determinant: below it the observed one is not trusted
LOG_A_RANGE = (-4.0, 3.0)  # reached by items that do not depend on ability, or jump with it
INTERCEPT_LIMIT = 25.0  # logits; reached only without a prior, by items that all or none solved


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

    def take(self, index: NDArray[np.intp]) -> ExpectedStatistics:
        """Return those of some items."""
        return ExpectedStatistics(self.values[index], self.trials if self.trials.shape[0] == 1 else self.trials[index])


@dataclass(frozen=True)
class Items:
    """Working parameters of n_items items, and the likelihood with its own parameter.

    The intercept d = -a b is the logit of the curve at ability 0, which the data always determine; b = -d / a runs away
    where a is near 0, along a ridge on which steps in (log a, b) creep.

    Attributes
    ----------
    log_a, intercept, guessing : (n_items,) float64
    likelihood : Likelihood
    """

    log_a: Array
    intercept: Array
    guessing: Array
    likelihood: Likelihood

    @classmethod
    def of(cls, parameters: ItemParameters, likelihood: Likelihood) -> Items:
        """Take calibrated parameters."""
        a = parameters.discrimination
        return cls(np.log(a), -a * parameters.difficulty, parameters.guessing, likelihood)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.log_a.size)

    @property
    def difficulty(self) -> Array:
        """(n_items,) b = -d / a."""
        return np.asarray(-self.intercept * np.exp(-self.log_a))

    def eta(self, points: Array) -> Array:
        """(n_items, n_points)."""
        return np.exp(self.log_a)[:, None] * points[None, :] + self.intercept[:, None]

    def take(self, index: NDArray[np.intp]) -> Items:
        """Return some items."""
        return Items(self.log_a[index], self.intercept[index], self.guessing[index], self.likelihood)

    def put(self, index: NDArray[np.intp], other: Items) -> Items:
        """Return these items with those at `index` replaced by `other`."""
        log_a, intercept = self.log_a.copy(), self.intercept.copy()
        log_a[index], intercept[index] = other.log_a, other.intercept
        return replace(self, log_a=log_a, intercept=intercept)

    def natural_and_base(self, points: Array) -> tuple[Array, Array]:
        """A and C of every item at the points, (n_items, n_points) each."""
        return self.likelihood.natural_and_base(self.eta(points), self.guessing[:, None])


def expected_log_likelihood(items: Items, statistics: ExpectedStatistics, nodes: Nodes) -> Array:
    """(n_items,) expected complete-data log-likelihood, without h(y)."""
    natural, base = items.natural_and_base(nodes.points)
    return np.asarray((statistics.values * natural + statistics.trials * base).sum(axis=1))


def information(items: Items, statistics: ExpectedStatistics, nodes: Nodes) -> tuple[Array, Array]:
    """Score (n_items, 2) and expected information (n_items, 2, 2) of (log a, d), without the prior."""
    points = nodes.points
    d_natural, mean, d_mean = items.likelihood.slopes(items.eta(points), items.guessing[:, None])
    residual = d_natural * (statistics.values - statistics.trials * mean)
    weight = statistics.trials * d_natural * d_mean
    a = np.exp(items.log_a)
    slope = a[:, None] * points[None, :]  # d eta / d log a; d eta / d intercept is 1
    score = np.stack([(residual * slope).sum(axis=1), residual.sum(axis=1)], axis=1)
    cross = (weight * slope).sum(axis=1)
    table = np.empty((items.n_items, 2, 2))
    # the sums interpolate functions that are nowhere negative; what falls below is interpolation error
    table[:, 0, 0] = np.maximum((weight * slope**2).sum(axis=1), 0.0)
    table[:, 1, 1] = np.maximum(weight.sum(axis=1), 0.0)
    bound = np.sqrt(table[:, 0, 0] * table[:, 1, 1])
    table[:, 0, 1] = table[:, 1, 0] = np.clip(cross, -bound, bound)
    return score, table


def update_items(
    items: Items,
    statistics: ExpectedStatistics,
    nodes: Nodes,
    prior: ItemPrior,
    *,
    common_slope: bool,
    n_steps: int = 4,
) -> tuple[Items, Array]:
    """Raise the expected penalised log-likelihood of every item.

    Returns
    -------
    items : Items
    variance : (n_items, 2) float64
        Posterior variance of (log a, intercept) with the abilities' distribution taken as known.
    """
    value = _penalised(items, statistics, nodes, prior)
    for _ in range(n_steps):
        score, info = _step_information(items, statistics, nodes)
        deviation = np.stack([items.log_a - prior.mean[0], items.intercept - prior.mean[1]], axis=1)
        score -= np.where(prior.precision > 0, prior.precision * deviation, 0.0)
        info[:, [0, 1], [0, 1]] += prior.precision
        step = _common_slope_step(score, info) if common_slope else _item_step(items.log_a, score, info)
        if np.abs(step).max() < STANDSTILL:
            break
        items, value = _line_search(items, step, score, value, statistics, nodes, prior, common_slope=common_slope)
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


def _step_information(items: Items, statistics: ExpectedStatistics, nodes: Nodes) -> tuple[Array, Array]:
    """Score, and the observed information where it is safely positive definite; elsewhere the expected one."""
    score, info = information(items, statistics, nodes)
    points = nodes.points
    eta, c = items.eta(points), items.guessing[:, None]
    _, mean, _ = items.likelihood.slopes(eta, c)
    bend = items.likelihood.natural_curvature(eta, c) * (statistics.values - statistics.trials * mean)
    slope = np.exp(items.log_a)[:, None] * points[None, :]
    observed = info.copy()
    observed[:, 0, 0] -= (bend * slope**2).sum(axis=1) + score[:, 0]  # d2 eta / d (log a)^2 is d eta / d log a
    observed[:, 1, 1] -= bend.sum(axis=1)
    observed[:, 0, 1] -= (bend * slope).sum(axis=1)
    observed[:, 1, 0] = observed[:, 0, 1]
    enough = SAFE_SHARE * np.stack([info[:, 0, 0], info[:, 1, 1]])
    det = observed[:, 0, 0] * observed[:, 1, 1] - observed[:, 0, 1] ** 2
    safe = (observed[:, 0, 0] > enough[0]) & (observed[:, 1, 1] > enough[1])
    safe &= det > SAFE_SHARE * (info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2)
    return score, np.where(safe[:, None, None], observed, info)


def _penalised(items: Items, statistics: ExpectedStatistics, nodes: Nodes, prior: ItemPrior) -> Array:
    return expected_log_likelihood(items, statistics, nodes) + prior.log_density(items.log_a, items.intercept)


def _item_step(log_a: Array, score: Array, info: Array) -> Array:
    """Newton step of every item from its own 2 x 2 system; of the intercept alone where log a would leave its range."""
    det = info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2
    det = np.maximum(det, 1e-10 * np.maximum(info[:, 0, 0] * info[:, 1, 1], 1e-10))
    step = np.stack(
        [
            (info[:, 1, 1] * score[:, 0] - info[:, 0, 1] * score[:, 1]) / det,
            (info[:, 0, 0] * score[:, 1] - info[:, 0, 1] * score[:, 0]) / det,
        ],
        axis=1,
    )
    low, high = LOG_A_RANGE
    held = ((log_a >= high) & (step[:, 0] > 0)) | ((log_a <= low) & (step[:, 0] < 0))
    step[held] = np.stack([np.zeros(held.sum()), score[held, 1] / info[held, 1, 1]], axis=1)
    # shortened as a whole: one part clipped alone would be no direction of ascent
    longest = np.abs(step / MAX_STEP).max(axis=1, keepdims=True)
    return np.asarray(step / np.maximum(longest, 1.0))


def _common_slope_step(score: Array, info: Array) -> Array:
    """Newton step of all intercepts and one common log a: an arrowhead system."""
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
    score: Array,
    value: Array,
    statistics: ExpectedStatistics,
    nodes: Nodes,
    prior: ItemPrior,
    *,
    common_slope: bool,
) -> tuple[Items, Array]:
    """Halve the step of every item until it brings three tenths of the gain that the slope promised (Armijo, 1966).

    With a common slope all items are halved together. An item that gains nothing stays where it is.
    """
    new_items, new_value = items, value.copy()
    open_ = np.arange(items.n_items)
    for halving in range(MAX_HALVINGS):
        part, own = items.take(open_), statistics.take(open_)
        moved = replace(
            part,
            log_a=np.clip(part.log_a + 0.5**halving * step[open_, 0], *LOG_A_RANGE),
            intercept=np.clip(part.intercept + 0.5**halving * step[open_, 1], -INTERCEPT_LIMIT, INTERCEPT_LIMIT),
        )
        gain = _penalised(moved, own, nodes, prior) - value[open_]
        promised = score[open_, 0] * (moved.log_a - part.log_a) + score[open_, 1] * (moved.intercept - part.intercept)
        enough = gain >= SUFFICIENT_GAIN * promised - ROUNDING * (1.0 + np.abs(value[open_]))
        if common_slope:
            enough = np.full(
                open_.size, gain.sum() >= SUFFICIENT_GAIN * promised.sum() - ROUNDING * np.abs(value).sum()
            )
        done = open_[enough]
        new_items = new_items.put(done, moved.take(np.flatnonzero(enough)))
        new_value[done] += gain[enough]
        open_ = open_[~enough]
        if open_.size == 0:
            break
    return new_items, new_value
