"""Counts that vary more than a binomial: samples of one item by one subject that resemble each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import digamma, expit, gammaln

from irsl.likelihoods.base import Array, Likelihood, logistic_curve, logistic_slope
from irsl.likelihoods.binomial import log_choose, sum_log_choose
from irsl.likelihoods.rising import log_rising, rising_slopes
from irsl.likelihoods.statistics import Expected, Levels, SufficientStatistics, levels_of

LIMITS = (1e-6, 0.98)  # of rho
MAX_LOG_STEP = 1.0
EXACT_TRIALS = 2_000  # up to here moments are sums over every k; above, over this many of them
MAX_TABLES = 64  # distinct numbers of trials beyond that; with more of them, tables at steps of log n
TABLE_RATIO = 1.2
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
        p, q = self._shapes(eta, guessing)
        log_f = log_rising(p, levels.item, levels.values)
        log_f += log_rising(q, levels.item, levels.trials - levels.values)
        log_f -= log_rising(np.array([[self._phi]]), np.zeros_like(levels.item), levels.trials)
        return (log_f,)

    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """Expected counts of the levels times their log f, added over the levels of each item."""
        levels = _of(expected)
        return levels.total(expected.components[0] * self.functions(eta, guessing, levels)[0])

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """The expected information is P'^2 / Var(k / n): what mean and variance of a count tell of eta.

        The mean square of the scores would be no substitute: at the maximum of an item with two responses it is 0.
        """
        levels, count = _of(expected), expected.components[0]
        first, second = self._shape_slopes(eta, guessing, levels)
        # an item's levels share its slope, so that derivatives become those in eta after they are added
        score, curvature = self._in_eta(levels.total(count * first), levels.total(count * second), eta, guessing)
        n = levels.trials[:, None]
        effective = levels.total(count * (n / (1.0 + (n - 1.0) * self.overdispersion)))
        # P'^2 / (P (1 - P)), without a difference that vanishes near 1
        information = logistic_slope(eta, guessing) * expit(eta) / logistic_curve(eta, guessing)
        return score, effective * information, -curvature

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
        p, q = self._shapes(eta, guessing)
        failures = np.subtract(trials, values)
        first = digamma(p + values) - digamma(p) - digamma(q + failures) + digamma(q)
        return np.asarray(first * self._phi * logistic_slope(eta, guessing))

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
        p, q = self._shapes(eta, guessing)
        log_f = gammaln(p + values) - gammaln(p) + gammaln(q + np.subtract(trials, values)) - gammaln(q)
        return np.asarray(log_f + gammaln(self._phi) - gammaln(np.add(trials, self._phi)) + log_choose(trials, values))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Successes of `trials`, float64."""
        p = self.response_mean(eta, guessing)
        p = rng.beta(np.maximum(p * self._phi, 1e-12), np.maximum((1 - p) * self._phi, 1e-12))
        return rng.binomial(trials, p).astype(np.float64)

    def _shape_slopes(self, eta: Array, guessing: Array | float, levels: Levels) -> tuple[Array, Array]:
        """First and second derivative of every level's log f in the shape P phi, the sum of both shapes held."""
        p, q = self._shapes(eta, guessing)
        first, second = rising_slopes(p, levels.item, levels.values)
        first_q, second_q = rising_slopes(q, levels.item, levels.trials - levels.values)
        first -= first_q
        second += second_q
        return first, second

    def _shapes(self, eta: Array, guessing: Any) -> tuple[Array, Array]:
        return self._phi * logistic_curve(eta, guessing), self._phi * (1.0 - np.asarray(guessing)) * expit(-eta)

    def _in_eta(self, first: Array, second: Array, eta: Array, guessing: Any) -> tuple[Array, Array]:
        """Derivatives with respect to eta from those with respect to the first shape, P phi."""
        slope = self._phi * logistic_slope(eta, guessing)
        return first * slope, second * slope**2 + first * slope * (1.0 - 2.0 * expit(eta))

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
    # every eta of the table is an item
    eta, k = TABLE_ETA[:, None], np.broadcast_to(k, (TABLE_ETA.size, k.shape[1]))
    start = np.arange(0, k.size + 1, k.shape[1])
    levels = Levels(np.repeat(np.arange(eta.size), k.shape[1]), start, k.ravel(), np.full(k.size, float(n)))
    log_f = likelihood.functions(eta, floor, levels)[0].reshape(k.shape) + log_choose(float(n), k)
    f = np.exp(log_f) * weight
    f /= f.sum(axis=1, keepdims=True)
    first, second = (x.reshape(k.shape) for x in likelihood._shape_slopes(eta, floor, levels))
    first, second = likelihood._in_eta(first, second, eta, floor)
    table = [(f * first**2).sum(axis=1), (f * (first * second + first**3)).sum(axis=1)]
    return CubicSpline(TABLE_ETA, np.stack(table, axis=1))


def _of(expected: Expected) -> Levels:
    if expected.levels is None:
        raise TypeError("the beta-binomial is defined on levels")
    return expected.levels
