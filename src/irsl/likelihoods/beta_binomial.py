"""Counts that vary more than a binomial: samples of one item by one subject that resemble each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy.special import digamma, expit, gammaln

from irsl.likelihoods.base import Array, logistic_curve, logistic_slope
from irsl.likelihoods.binomial import log_choose
from irsl.likelihoods.overdispersed import EXACT_TRIALS, Overdispersed, of, uphill
from irsl.likelihoods.rising import log_rising, rising_slopes
from irsl.likelihoods.statistics import Expected, Levels

LIMITS = (1e-6, 0.98)  # of rho


@dataclass(frozen=True)
class BetaBinomial(Overdispersed):
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

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """Log f of every level, without the binomial coefficient, (n_levels, n_points)."""
        if levels is None:
            raise TypeError("the beta-binomial is defined on levels")
        p, q = self._shapes(eta, guessing)
        log_f = log_rising(p, levels.item, levels.values)
        log_f += log_rising(q, levels.item, levels.trials - levels.values)
        log_f -= log_rising(np.array([[self._phi]]), np.zeros_like(levels.item), levels.trials)
        return (log_f,)

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """The expected information is P'^2 / Var(k / n): what mean and variance of a count tell of eta.

        The mean square of the scores would be no substitute: at the maximum of an item with two responses it is 0.
        """
        levels, count = of(expected), expected.components[0]
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
        """A Newton step for the logit of rho."""

        def height(x: float) -> float:
            return float(self.at(float(expit(x))).objective(eta, guessing, expected).sum())

        # d log rho / d logit rho is 1 - rho
        centre = float(np.log(self.overdispersion / (1.0 - self.overdispersion)))
        return self.at(float(expit(uphill(height, centre, correction * (1.0 - self.overdispersion)))))

    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """D log f / d eta."""
        p, q = self._shapes(eta, guessing)
        failures = np.subtract(trials, values)
        first = digamma(p + values) - digamma(p) - digamma(q + failures) + digamma(q)
        return np.asarray(first * self._phi * logistic_slope(eta, guessing))

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

    def level_slopes(self, eta: Array, guessing: Array | float, levels: Levels) -> tuple[Array, Array]:
        """First and second derivative in eta of every level's log f."""
        own = np.broadcast_to(np.asarray(guessing, dtype=np.float64), eta.shape)[levels.item]
        return self._in_eta(*self._shape_slopes(eta, guessing, levels), eta[levels.item], own)

    def many_counts(self, n: int, mean: Array) -> Array:
        """Every k near the ends, fewer and fewer inwards, and as many again around the mean."""
        sd = n * np.sqrt(self.response_variance(mean, n))
        half = np.unique(np.round(np.geomspace(1, n / 2, EXACT_TRIALS // 4)))
        ends = np.tile(np.concatenate([[0.0], half, n - half, [float(n)]]), (mean.size, 1))
        middle = n * mean[:, None] + sd[:, None] * np.linspace(-10, 10, EXACT_TRIALS // 2)
        return np.asarray(np.sort(np.clip(np.round(np.concatenate([ends, middle], axis=1)), 0.0, n), axis=1))

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
