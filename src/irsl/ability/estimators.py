"""Point estimates of ability from responses to calibrated items: EAP, MAP, MLE and Warm's WLE, all subjects at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.engine import resolve
from irsl.calibration.expectation import log_likelihood_at, product
from irsl.calibration.m_step import Items
from irsl.calibration.parameters import ItemParameters
from irsl.calibration.propagation import item_error_variance
from irsl.calibration.quadrature import LogWeight, Nodes, integrate, weights_on_windows
from irsl.likelihoods import ExponentialForm, Likelihood, SufficientStatistics
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import dense

ESTIMATORS = ("eap", "map", "wle", "mle")
MAX_STEPS = 200
WINDOW_POINTS = 121  # over a posterior's window: sums are exact long before its quantiles are
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
    expectation : (n_subjects, R) float64
        Expected cardinal functions under the posterior (Jeffreys's for wle), or under the normalised likelihood (mle).
    nodes : Nodes
    """

    ability: Array
    se_ability: Array
    item_variance: Array
    lower: Array
    upper: Array
    expectation: Array
    nodes: Nodes


def estimate(
    statistics: SufficientStatistics,
    items: ItemParameters,
    likelihood: Likelihood,
    *,
    prior_sd: float,
    estimator: str,
    level: float,
) -> AbilityEstimates:
    """Estimate every subject's ability from its sufficient statistics.

    Sources: Bock and Mislevy (1982) for EAP; Warm (1989) for WLE, in its general form for T(y) of an exponential
    family with natural parameter A(eta): the score plus J / (2 I), with I the sum of n a^2 A' m' and J of n a^3 A' m''.
    """
    work = Items.of(items, likelihood)
    nodes, step = resolve(statistics, work, prior_sd)
    everyone = slice(0, statistics.shape[0])
    at_nodes = log_likelihood_at(statistics.components(everyone), work.functions(nodes.points, statistics.levels))
    log_weight = _log_weight(statistics, work, nodes, estimator, prior_sd)
    posterior = integrate(nodes, at_nodes, log_weight, (step.ability, step.se_ability))
    points, weight = weights_on_windows(nodes, at_nodes, log_weight, posterior.low, posterior.high, WINDOW_POINTS)
    if estimator == "eap":
        ability, se = step.ability, step.se_ability
    else:
        best = weight.argmax(axis=1)
        ability, se = _modes(statistics, work, nodes, points[np.arange(best.size), best], estimator, prior_sd)
    finite = np.isfinite(ability)
    added = np.zeros(ability.size)
    if finite.any():
        trials = statistics.trials if isinstance(statistics.trials, int) else statistics.trials[finite]
        added[finite] = item_error_variance(
            work, items.intercept_covariance(), nodes, ability[finite], se[finite], trials
        )
    total = np.sqrt(se**2 + added)
    lower, upper = _interval(weight, points, ability, level, np.where(finite, total / se, 1.0))
    return AbilityEstimates(ability, total, added, lower, upper, posterior.expectation, nodes)


def _log_weight(
    statistics: SufficientStatistics, items: Items, nodes: Nodes, estimator: str, prior_sd: float
) -> LogWeight:
    """Log of what multiplies the likelihood, up to a constant: N(0, prior_sd^2), nothing, or Jeffreys's prior.

    Warm's estimate is, for the 2PL, the mode under Jeffreys's prior: half the log of every subject's information.
    """
    if estimator in ("eap", "map"):
        return lambda points, rows: np.asarray(-0.5 * (points / prior_sd) ** 2)
    if estimator == "mle":
        return lambda points, rows: np.zeros_like(points)
    information = _information_at(statistics, items, nodes.points)
    log_information = 0.5 * np.log(np.maximum(information, 1e-300))

    def jeffreys(points: Array, rows: NDArray[np.intp]) -> Array:
        return np.asarray((nodes.basis(points) @ log_information[rows][:, :, None])[..., 0])

    return jeffreys


def _information_at(statistics: SufficientStatistics, items: Items, points: Array) -> Array:
    """Every subject's information about its ability at some abilities, (n_subjects, n_points)."""
    trials, a = statistics.trials, np.exp(items.log_a)
    if isinstance(items.likelihood, ExponentialForm) or isinstance(trials, int):
        n = trials if isinstance(trials, int) else 1
        table = a[:, None] ** 2 * items.likelihood.information(n, items.eta(points), items.guessing[:, None])
        if isinstance(trials, int):
            return np.tile(table.sum(axis=0), (statistics.shape[0], 1))
        return product(trials if hasattr(trials, "tocsr") else np.asarray(trials), table)
    cells = items.likelihood.information(dense(trials)[:, None, :], items.eta(points).T, items.guessing)
    return np.asarray(cells @ a**2)


def _modes(
    statistics: SufficientStatistics, items: Items, nodes: Nodes, start: Array, estimator: str, prior_sd: float
) -> tuple[Array, Array]:
    """Start at the window's highest point and follow the score by Fisher scoring."""
    theta = np.asarray(start, dtype=np.float64)
    low, high = nodes.low, nodes.high
    edge = 1e-9 * (high - low)
    infinite = (theta <= low + edge) | (theta >= high - edge) if estimator == "mle" else np.zeros(theta.size, bool)
    values, trials = statistics.cells(slice(0, theta.size))
    info, last, limit = np.ones(theta.size), np.zeros(theta.size), np.full(theta.size, MAX_STEP)
    for _ in range(MAX_STEPS):
        score, info = _score_and_information(values, trials, items, theta, estimator, prior_sd)
        move = np.clip(score / info, -limit, limit)
        # with a floor the expected information understates the curvature and full steps can go to and fro for ever
        limit = np.where(move * last < 0, limit / 2.0, limit)
        move = last = np.where(infinite, 0.0, np.clip(move, -limit, limit))
        theta = np.clip(theta + move, low, high)
        if np.abs(move).max() < STEP_TOLERANCE:
            break
    if estimator == "mle":
        infinite |= (theta <= low) | (theta >= high)
    ability = np.where(infinite, np.where(theta < (low + high) / 2, -np.inf, np.inf), theta)
    return ability, np.where(infinite, np.nan, 1.0 / np.sqrt(info))


def _score_and_information(
    values: Array, trials: Any, items: Items, theta: Array, estimator: str, prior_sd: float
) -> tuple[Array, Array]:
    likelihood, a = items.likelihood, np.exp(items.log_a)
    eta = theta[:, None] * a + items.intercept
    score = likelihood.score(values, trials, eta, items.guessing) @ a
    info = np.maximum(likelihood.information(trials, eta, items.guessing) @ a**2, 1e-12)
    if estimator == "map":
        return score - theta / prior_sd**2, info + prior_sd**-2
    if estimator == "wle":
        return score + likelihood.information_bias(trials, eta, items.guessing) @ a**3 / (2.0 * info), info
    return score, info


def _interval(weight: Array, points: Array, centre: Array, level: float, widen: Array) -> tuple[Array, Array]:
    """Quantiles of every row's distribution, widened about the centre."""
    cumulative = np.cumsum(weight, axis=1) - 0.5 * weight
    rows = np.arange(centre.size)
    bounds = []
    for tail in ((1.0 - level) / 2.0, (1.0 + level) / 2.0):
        after = np.clip((cumulative < tail).sum(axis=1), 1, points.shape[1] - 1)
        c0, c1 = cumulative[rows, after - 1], cumulative[rows, after]
        share = np.clip((tail - c0) / np.maximum(c1 - c0, 1e-300), 0.0, 1.0)
        bounds.append(points[rows, after - 1] + share * (points[rows, after] - points[rows, after - 1]))
    finite = np.isfinite(centre)
    lower = np.where(finite, centre + (bounds[0] - np.where(finite, centre, 0.0)) * widen, bounds[0])
    upper = np.where(finite, centre + (bounds[1] - np.where(finite, centre, 0.0)) * widen, bounds[1])
    return np.where(centre == -np.inf, -np.inf, lower), np.where(centre == np.inf, np.inf, upper)
