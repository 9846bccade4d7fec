"""Point estimates of ability from responses to calibrated items: EAP, MAP, MLE and Warm's WLE, all subjects at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logsumexp

from irsl.calibration.engine import log_likelihood_at, resolve
from irsl.calibration.m_step import Items
from irsl.calibration.parameters import ItemParameters
from irsl.calibration.propagation import item_error_variance
from irsl.calibration.quadrature import AbilityGrid
from irsl.likelihoods import Likelihood, SufficientStatistics
from irsl.likelihoods.base import Array, dense

ESTIMATORS = ("eap", "map", "wle", "mle")
MAX_STEPS = 200
QUANTILE_REFINEMENT = 5
STEP_TOLERANCE = 1e-10
MAX_STEP = 1.0


@dataclass(frozen=True)
class AbilityEstimates:
    """Estimates of a block of subjects.

    Attributes
    ----------
    ability : (n_subjects,) float64
        -inf or inf for a maximum-likelihood estimate that does not exist (all wrong, all right).
    se_ability : (n_subjects,) float64
        Posterior sd (eap) or inverse root of the expected information (map, with the prior's; wle, mle), and the
        items' own errors; NaN where the estimate is infinite.
    item_variance : (n_subjects,) float64
        The items' share of se_ability squared.
    lower, upper : (n_subjects,) float64
        Interval: quantiles of the posterior (eap, map), of the likelihood times the root of the information (wle), or
        of the normalised likelihood (mle), widened by the items' errors; unbounded on the side of an infinite estimate.
    weight : (n_subjects, n_points) float64
        Posterior (Jeffreys's for wle), or normalised likelihood (mle), over the grid's points.
    grid : AbilityGrid
    """

    ability: Array
    se_ability: Array
    item_variance: Array
    lower: Array
    upper: Array
    weight: Array
    grid: AbilityGrid


def estimate(
    statistics: SufficientStatistics,
    items: ItemParameters,
    likelihood: Likelihood,
    *,
    estimator: str,
    level: float,
) -> AbilityEstimates:
    """Estimate every subject's ability from its sufficient statistics.

    Sources: Bock and Mislevy (1982) for EAP; Warm (1989) for WLE, in its general form for T(y) of an exponential
    family with natural parameter A(eta): the score plus J / (2 I), with I the sum of n a^2 A' m' and J of n a^3 A' m''.
    """
    work = Items.of(items, likelihood)
    grid, step = resolve(statistics, work)
    natural, base = work.natural_and_base(grid.nodes.points)
    at_nodes = log_likelihood_at(statistics.values, statistics.trials, natural, base)
    log_weight = at_nodes @ grid.basis.T
    if estimator in ("eap", "map"):
        log_weight += grid.log_prior
    elif estimator == "wle":
        log_weight += _log_jeffreys(statistics, items, likelihood, grid.points)
    weight = np.exp(log_weight - logsumexp(log_weight, axis=1, keepdims=True))
    # sums over the grid are exact at a spacing of one sd, its quantiles are not: 9 % too far apart at .75 sd
    fine = AbilityGrid.build(grid.nodes, (grid.points[1] - grid.points[0]) / QUANTILE_REFINEMENT)
    fine_log = at_nodes @ fine.basis.T + (fine.log_prior if estimator in ("eap", "map") else 0.0)
    if estimator == "wle":
        fine_log += _log_jeffreys(statistics, items, likelihood, fine.points)
    fine_weight = np.exp(fine_log - logsumexp(fine_log, axis=1, keepdims=True))
    if estimator == "eap":
        ability, se = step.ability, step.se_ability
    else:
        ability, se = _modes(statistics, items, likelihood, grid, log_weight, estimator)
    finite = np.isfinite(ability)
    added = np.zeros(ability.size)
    if finite.any():
        trials = statistics.trials if isinstance(statistics.trials, int) else statistics.trials[finite]
        added[finite] = item_error_variance(items, likelihood, ability[finite], se[finite], trials)
    total = np.sqrt(se**2 + added)
    lower, upper = _interval(fine_weight, fine.points, ability, level, np.where(finite, total / se, 1.0))
    return AbilityEstimates(ability, total, added, lower, upper, weight, grid)


def _log_jeffreys(
    statistics: SufficientStatistics, items: ItemParameters, likelihood: Likelihood, points: Array
) -> Any:
    """Half the log of every subject's information at the points: Warm's estimate is, for the 2PL, the mode under it."""
    d_natural, _, d_mean = likelihood.slopes(items.eta(points), items.guessing[:, None])
    table = items.discrimination[:, None] ** 2 * d_natural * d_mean
    trials = statistics.trials
    total = trials * table.sum(axis=0)[None, :] if isinstance(trials, int) else np.asarray(trials @ table)
    return 0.5 * np.log(np.maximum(total, 1e-300))


def _modes(
    statistics: SufficientStatistics,
    items: ItemParameters,
    likelihood: Likelihood,
    grid: AbilityGrid,
    objective: Array,
    estimator: str,
) -> tuple[Array, Array]:
    """Start at the grid's highest point and follow the score by Fisher scoring."""
    best = objective.argmax(axis=1)
    theta = grid.points[best]
    infinite = (best == 0) | (best == grid.points.size - 1) if estimator == "mle" else np.zeros(theta.size, bool)
    values = dense(statistics.values)
    trials = statistics.trials if isinstance(statistics.trials, int) else dense(statistics.trials)
    low, high = grid.points[0], grid.points[-1]
    info, last, limit = np.ones(theta.size), np.zeros(theta.size), np.full(theta.size, MAX_STEP)
    for _ in range(MAX_STEPS):
        score, info = _score_and_information(values, trials, items, likelihood, theta, estimator)
        move = np.clip(score / info, -limit, limit)
        # with a floor the expected information understates the curvature and full steps can go to and fro for ever
        limit = np.where(move * last < 0, limit / 2.0, limit)
        move = last = np.where(infinite, 0.0, np.clip(move, -limit, limit))
        theta = np.clip(theta + move, low, high)
        if np.abs(move).max() < STEP_TOLERANCE:
            break
    if estimator == "mle":
        infinite |= (theta <= low) | (theta >= high)
    ability = np.where(infinite, np.where(best == 0, -np.inf, np.inf), theta)
    return ability, np.where(infinite, np.nan, 1.0 / np.sqrt(info))


def _score_and_information(
    values: Any, trials: Any, items: ItemParameters, likelihood: Likelihood, theta: Array, estimator: str
) -> tuple[Array, Array]:
    a = items.discrimination
    eta = items.eta(theta).T
    d_natural, mean, d_mean = likelihood.slopes(eta, items.guessing)
    score = (a * d_natural * (values - trials * mean)).sum(axis=1)
    info = np.maximum((trials * a**2 * d_natural * d_mean).sum(axis=1), 1e-12)
    if estimator == "map":
        return score - theta, info + 1.0
    if estimator == "wle":
        curvature = (trials * a**3 * d_natural * likelihood.curvature(eta, items.guessing)).sum(axis=1)
        return score + curvature / (2.0 * info), info
    return score, info


def _interval(weight: Array, points: Array, centre: Array, level: float, widen: Array) -> tuple[Array, Array]:
    """Quantiles of every row's distribution, widened about the centre."""
    cumulative = np.cumsum(weight, axis=1) - 0.5 * weight
    tails = ((1.0 - level) / 2.0, (1.0 + level) / 2.0)
    bounds = []
    for tail in tails:
        after = np.clip((cumulative < tail).sum(axis=1), 1, points.size - 1)
        rows = np.arange(centre.size)
        c0, c1 = cumulative[rows, after - 1], cumulative[rows, after]
        share = np.clip((tail - c0) / np.maximum(c1 - c0, 1e-300), 0.0, 1.0)
        bounds.append(points[after - 1] + share * (points[after] - points[after - 1]))
    finite = np.isfinite(centre)
    lower = np.where(finite, centre + (bounds[0] - np.where(finite, centre, 0.0)) * widen, bounds[0])
    upper = np.where(finite, centre + (bounds[1] - np.where(finite, centre, 0.0)) * widen, bounds[1])
    return np.where(centre == -np.inf, -np.inf, lower), np.where(centre == np.inf, np.inf, upper)
