"""What likelihoods of counts share whose success rates differ from cell to cell: they work on distinct responses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from irsl.likelihoods.base import Array, Likelihood
from irsl.likelihoods.binomial import log_choose, sum_log_choose
from irsl.likelihoods.statistics import Expected, Levels, SufficientStatistics, levels_of

EXACT_TRIALS = 2_000  # up to here moments are sums over every k; above, over about this many of them
MAX_TABLES = 64  # distinct numbers of trials beyond that; with more of them, tables at steps of log n
TABLE_RATIO = 1.2
DIFFERENCE, MAX_STEP = 0.05, 1.0
TABLE_ETA = np.linspace(-25.0, 25.0, 401)


class Overdispersed(Likelihood):
    """k successes of n trials at a rate that is itself drawn for every cell.

    No exponential family: the engine works on the distinct responses to every item. Moments of a count of n trials are
    tabulated over eta.
    """

    @abstractmethod
    def level_slopes(self, eta: Array, guessing: Array | float, levels: Levels) -> tuple[Array, Array]:
        """First and second derivative in eta of every level's log f, (n_levels, n_points)."""

    @abstractmethod
    def many_counts(self, n: int, mean: Array) -> Array:
        """Some k of many trials, ascending, (n_means, n_counts): sums over them stand for sums over every k."""

    def sufficient_statistics(self, matrix: Any) -> SufficientStatistics:
        """Which of its item's distinct responses every cell is."""
        levels, indicator = levels_of(matrix.values, matrix.trials)
        return SufficientStatistics(
            matrix.values,
            matrix.trials,
            constant=sum_log_choose(matrix.values, matrix.trials),
            levels=levels,
            indicator=indicator,
        )

    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """Expected counts of the levels times their log f, added over the levels of each item."""
        levels = of(expected)
        return levels.total(expected.components[0] * self.functions(eta, guessing, levels)[0])

    def information(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """E[l'^2], a sum over k."""
        return self._moment(0, trials, eta, guessing)

    def information_bias(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """E[l' l'' + l'^3], a sum over k."""
        return self._moment(1, trials, eta, guessing)

    def _moment(self, which: int, trials: Any, eta: Array, guessing: Array | float) -> Array:
        n, eta, c = np.broadcast_arrays(np.asarray(trials, dtype=np.float64), eta, guessing)
        many = np.unique(n[n > EXACT_TRIALS]).size > MAX_TABLES
        result = np.zeros(eta.shape)
        for trial, floor in {(float(a), float(b)) for a, b in np.unique(np.stack([n.ravel(), c.ravel()]), axis=1).T}:
            if trial <= 0:
                continue
            cells = (n == trial) & (c == floor)
            at = np.clip(eta[cells], TABLE_ETA[0], TABLE_ETA[-1])
            if not many or trial <= EXACT_TRIALS:
                result[cells] = _moments(self, int(trial), floor)(at)[..., which]
                continue
            step = np.log(trial) / np.log(TABLE_RATIO)
            low, high = (
                _moments(self, round(TABLE_RATIO**power), floor)(at)[..., which] for power in (int(step), int(step) + 1)
            )
            result[cells] = low + (high - low) * (step - int(step))
        return result


def of(expected: Expected) -> Levels:
    """Levels that the expected counts belong to."""
    if expected.levels is None:
        raise TypeError("counts that vary more than a binomial are defined on levels")
    return expected.levels


def uphill(height: Callable[[float], float], centre: float, correction: float) -> float:
    """One Newton step from central differences, of at most `MAX_STEP`, uphill where the function is convex.

    `correction` is added to the slope.
    """
    low, here, high = (height(x) for x in (centre - DIFFERENCE, centre, centre + DIFFERENCE))
    gradient = (high - low) / (2 * DIFFERENCE) + correction
    curvature = (high - 2 * here + low) / DIFFERENCE**2
    step = -gradient / curvature if curvature < 0 else np.sign(gradient) * MAX_STEP
    return float(centre + np.clip(step, -MAX_STEP, MAX_STEP))


@lru_cache(maxsize=512)
def _moments(likelihood: Overdispersed, n: int, floor: float) -> CubicSpline:
    """E[l'^2] and E[l' l'' + l'^3] as functions of eta."""
    eta = TABLE_ETA[:, None]  # every eta of the table is an item
    k = np.broadcast_to(np.arange(n + 1.0), (eta.size, n + 1))
    weight = np.ones((1, 1))
    if n > EXACT_TRIALS:
        k = likelihood.many_counts(n, likelihood.response_mean(TABLE_ETA, floor))
        between = (k[:, 1:] + k[:, :-1]) / 2.0  # each count stands for those that are nearest to it
        weight = np.diff(between, axis=1, prepend=-0.5, append=n + 0.5)
    start = np.arange(0, k.size + 1, k.shape[1])
    levels = Levels(np.repeat(np.arange(eta.size), k.shape[1]), start, k.ravel(), np.full(k.size, float(n)))
    log_f = likelihood.functions(eta, floor, levels)[0].reshape(k.shape) + log_choose(float(n), k)
    f = np.exp(log_f) * weight
    f /= f.sum(axis=1, keepdims=True)
    first, second = (x.reshape(k.shape) for x in likelihood.level_slopes(eta, floor, levels))
    table = [(f * first**2).sum(axis=1), (f * (first * second + first**3)).sum(axis=1)]
    return CubicSpline(TABLE_ETA, np.stack(table, axis=1))
