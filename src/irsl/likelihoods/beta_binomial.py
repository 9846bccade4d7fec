"""Counts that vary more than a binomial: samples of one item by one subject that resemble each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import digamma, expit, gammaln

from irsl.likelihoods.base import Array, Likelihood, logistic_curve, logistic_slope
from irsl.likelihoods.binomial import log_choose, sum_log_choose
from irsl.likelihoods.statistics import Expected, Levels, SufficientStatistics, levels_of

LIMITS = (1e-6, 0.98)  # of rho
MAX_LOG_STEP = 1.0
EXACT_TRIALS = 2_000  # up to here moments are sums over every k; above, over this many of them
MAX_TABLES = 64  # distinct numbers of trials beyond that; with more of them, tables at steps of log n
TABLE_RATIO = 1.2
SUMMED_TRIALS = 512  # up to here levels are worked out by running sums over k
TABLE_ETA = np.linspace(-25.0, 25.0, 401)


@dataclass(frozen=True)
class BetaBinomial(Likelihood):
    """k successes of n trials whose probability is itself drawn from Beta(P phi, (1 - P) phi), rho = 1 / (phi + 1).

    Var(k) = n P (1 - P) (1 + (n - 1) rho): rho is the correlation of two samples of one subject on one item beyond what
    its ability explains. It is no exponential family, so the engine works on the distinct responses to every item.

    Source: Griffiths (1973), "Maximum likelihood estimation for the beta-binomial distribution".
    """

    overdispersion: float = 0.05
    name: str = "beta_binomial"

    parameter_name: ClassVar[str | None] = "overdispersion"

    def at(self, parameter: float) -> BetaBinomial:
        """Return the beta-binomial of another overdispersion."""
        return replace(self, overdispersion=float(np.clip(parameter, *LIMITS)))

    @property
    def _phi(self) -> float:
        return 1.0 / self.overdispersion - 1.0

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

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """Log f of every level, without the binomial coefficient, (n_levels, n_points)."""
        if levels is None:
            raise TypeError("the beta-binomial is defined on levels")
        return self._at_levels(eta, guessing, levels, 0)

    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """Expected counts of the levels times their log f, added over the levels of each item."""
        levels = _of(expected)
        return levels.total(expected.components[0] * self.functions(eta, guessing, levels)[0])

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """The information is the mean square of the scores."""
        levels = _of(expected)
        first, second = self._at_levels(eta, guessing, levels, 2)
        count = expected.components[0]
        return levels.total(count * first), levels.total(count * first**2), levels.total(-count * second)

    def parameter_step(
        self, eta: Array, guessing: Array | float, expected: Expected, slope: float, correction: float
    ) -> BetaBinomial:
        """A Newton step for the logit of rho from central differences, uphill where the objective is convex."""
        centre = np.log(self.overdispersion / (1.0 - self.overdispersion))
        h = 0.05
        low, here, high = (
            float(self.at(float(expit(x))).objective(eta, guessing, expected).sum())
            for x in (centre - h, centre, centre + h)
        )
        # d log rho / d logit rho is 1 - rho
        gradient = (high - low) / (2 * h) + correction * (1.0 - self.overdispersion)
        curvature = (high - 2 * here + low) / h**2
        step = -gradient / curvature if curvature < 0 else np.sign(gradient) * MAX_LOG_STEP
        return self.at(float(expit(centre + np.clip(step, -MAX_LOG_STEP, MAX_LOG_STEP))))

    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """D log f / d eta."""
        return self._derivatives(values, np.asarray(trials, dtype=np.float64), eta, guessing)[0]

    def information(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """E[l'^2], a sum over k."""
        return self._moment(0, trials, eta, guessing)

    def information_bias(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """E[l' l'' + l'^3], a sum over k."""
        return self._moment(1, trials, eta, guessing)

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """P."""
        return logistic_curve(eta, guessing)

    def response_variance(self, mean: Array, trials: Any) -> Array:
        """P (1 - P) (1 + (n - 1) rho) / n."""
        return np.asarray(mean * (1.0 - mean) * (1.0 + (trials - 1.0) * self.overdispersion) / trials)

    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log of the beta-binomial probability of k in n."""
        return np.asarray(self._log_kernel(values, trials, eta, guessing) + log_choose(trials, values))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Successes of `trials`, float64."""
        p = self.response_mean(eta, guessing)
        p = rng.beta(np.maximum(p * self._phi, 1e-12), np.maximum((1 - p) * self._phi, 1e-12))
        return rng.binomial(trials, p).astype(np.float64)

    def _log_kernel(self, k: Any, n: Any, eta: Array, guessing: Any) -> Array:
        phi = self._phi
        p, q = self._shapes(eta, guessing)
        common = gammaln(phi) - gammaln(np.add(n, phi))
        return np.asarray(gammaln(p + k) - gammaln(p) + gammaln(q + np.subtract(n, k)) - gammaln(q) + common)

    def _derivatives(self, k: Any, n: Any, eta: Array, guessing: Any) -> tuple[Array, Array]:
        """First and second derivative of log f with respect to eta."""
        p, q = self._shapes(eta, guessing)
        failures = np.subtract(n, k)
        first = digamma(p + k) - digamma(p) - digamma(q + failures) + digamma(q)
        second = _trigamma(p + k) - _trigamma(p) + _trigamma(q + failures) - _trigamma(q)
        return self._in_eta(first, second, eta, guessing)

    def _shapes(self, eta: Array, guessing: Any) -> tuple[Array, Array]:
        return self._phi * logistic_curve(eta, guessing), self._phi * (1.0 - np.asarray(guessing)) * expit(-eta)

    def _in_eta(self, first: Array, second: Array, eta: Array, guessing: Any) -> tuple[Array, Array]:
        """Derivatives with respect to eta from those with respect to the first shape, P phi."""
        slope = self._phi * logistic_slope(eta, guessing)
        return first * slope, second * slope**2 + first * slope * (1.0 - 2.0 * expit(eta))

    def _at_levels(self, eta: Array, guessing: Array | float, levels: Levels, order: int) -> tuple[Array, ...]:
        """Log f of every level without the binomial coefficient, or (order 2) its derivatives in eta."""
        c = np.broadcast_to(np.asarray(guessing, dtype=np.float64), eta.shape)
        if levels.trials.max(initial=0.0) > SUMMED_TRIALS:
            k, n, eta, c = levels.values[:, None], levels.trials[:, None], eta[levels.item], c[levels.item]
            return (self._log_kernel(k, n, eta, c),) if order == 0 else self._derivatives(k, n, eta, c)
        p, q = self._shapes(eta, c)
        successes, failures = (x.astype(np.intp) for x in (levels.values, levels.trials - levels.values))
        if order == 0:
            phi = self._phi
            log_f = _rising(p, levels.item, successes, 0) + _rising(q, levels.item, failures, 0)
            return (log_f + gammaln(phi) - gammaln(levels.trials[:, None] + phi),)
        first = _rising(p, levels.item, successes, 1) - _rising(q, levels.item, failures, 1)
        second = _rising(p, levels.item, successes, 2) + _rising(q, levels.item, failures, 2)
        return self._in_eta(first, second, eta[levels.item], c[levels.item])

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
                result[cells] = _moments(self.overdispersion, int(trial), floor)(at)[..., which]
                continue
            step = np.log(trial) / np.log(TABLE_RATIO)
            low, high = (
                _moments(self.overdispersion, round(TABLE_RATIO**power), floor)(at)[..., which]
                for power in (int(step), int(step) + 1)
            )
            result[cells] = low + (high - low) * (step - int(step))
        return result


def _trigamma(x: Array) -> Array:
    """Trigamma function of positive numbers, to 1e-11: ten terms, and the asymptotic series for the rest.

    Less than half the time of scipy's, which is the general zeta function.
    """
    total = np.zeros_like(x)
    for k in range(10):
        total += (x + k) ** -2.0
    z = 1.0 / (x + 10.0)
    z2 = z * z
    return np.asarray(total + z * (1.0 + z * (0.5 + z * (1 / 6 - z2 * (1 / 30 - z2 * (1 / 42 - z2 / 30))))))


def _rising(shape: Array, item: NDArray[np.intp], count: NDArray[np.intp], order: int) -> Array:
    """Log of shape (shape + 1) ... (shape + count - 1) for every level, or its first or second derivative in the shape.

    Sums of logarithms and reciprocals, running over the counts, in place of gamma functions: a tenth of the time.
    """
    result = np.zeros((count.size, shape.shape[1]))
    total = np.zeros_like(shape)
    by_count = np.argsort(count, kind="stable")
    start = np.searchsorted(count[by_count], np.arange(count.max(initial=0) + 2))
    for k in range(1, start.size - 1):
        term = shape + (k - 1)
        total += np.log(term) if order == 0 else 1.0 / term if order == 1 else -(term**-2.0)
        levels = by_count[start[k] : start[k + 1]]
        if levels.size:
            result[levels] = total[item[levels]]
    return result


@lru_cache(maxsize=512)
def _moments(rho: float, n: int, floor: float) -> CubicSpline:
    """E[l'^2] and E[l' l'' + l'^3] as functions of eta."""
    likelihood = BetaBinomial(rho)
    k = np.arange(n + 1.0)[None, :]
    weight = np.ones_like(k)
    if n > EXACT_TRIALS:
        # every k near the ends, fewer and fewer inwards, and as many again around the mean; each stands for the counts
        # that are nearest to it
        p = logistic_curve(TABLE_ETA, floor)
        sd = n * np.sqrt(likelihood.response_variance(p, n))
        half = np.unique(np.round(np.geomspace(1, n / 2, EXACT_TRIALS // 4)))
        ends = np.tile(np.concatenate([[0.0], half, n - half, [float(n)]]), (p.size, 1))
        middle = n * p[:, None] + sd[:, None] * np.linspace(-10, 10, EXACT_TRIALS // 2)
        k = np.sort(np.clip(np.round(np.concatenate([ends, middle], axis=1)), 0.0, n), axis=1)
        between = (k[:, 1:] + k[:, :-1]) / 2.0
        weight = np.diff(between, axis=1, prepend=-0.5, append=n + 0.5)
    log_f = likelihood._log_kernel(k, float(n), TABLE_ETA[:, None], floor) + log_choose(float(n), k)
    f = np.exp(log_f) * weight
    f /= f.sum(axis=1, keepdims=True)
    first, second = likelihood._derivatives(k, float(n), TABLE_ETA[:, None], floor)
    table = [(f * first**2).sum(axis=1), (f * (first * second + first**3)).sum(axis=1)]
    return CubicSpline(TABLE_ETA, np.stack(table, axis=1))


def _of(expected: Expected) -> Levels:
    if expected.levels is None:
        raise TypeError("the beta-binomial is defined on levels")
    return expected.levels
