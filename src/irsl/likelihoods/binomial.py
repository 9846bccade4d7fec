"""Successes of n trials; one trial is the Bernoulli case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from irsl.likelihoods.base import Array, ExponentialForm, logistic, softplus
from irsl.likelihoods.statistics import Expected, SufficientStatistics


@dataclass(frozen=True)
class Binomial(ExponentialForm):
    """k successes of n trials with probability P = c + (1 - c) logistic(eta).

    T = k, A = logit P, C = log(1 - P), so m = P: for c = 0 the canonical logistic model, with a floor the
    three-parameter logistic of Birnbaum (1968).
    """

    name: str = "binomial"

    def is_linear(self, guessing: Array) -> bool:
        """Without a floor, A = eta."""
        return not guessing.any()

    def sufficient_statistics(self, matrix: Any) -> SufficientStatistics:
        """T = k: the matrix itself, never copied."""
        return SufficientStatistics(matrix.values, matrix.trials, constant=sum_log_choose(matrix.values, matrix.trials))

    def natural_and_base(self, eta: Array, guessing: Array | float) -> tuple[Array, Array]:
        """A = log P - log(1 - P) and C = log(1 - P), stable in both tails."""
        c = np.asarray(guessing, dtype=np.float64)
        log_failure = np.log1p(-c) - softplus(eta)
        if not c.any():
            return np.asarray(eta, dtype=np.float64), log_failure
        with np.errstate(divide="ignore"):
            log_success = np.log(c + (1.0 - c) * logistic(eta))
        # where c is 0 among items with floors, the log of a vanishing probability is taken from the logit itself
        natural = np.where(c > 0, log_success - log_failure, eta)
        return natural, log_failure

    def slopes(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """A' = P' / (P (1 - P)), m = P, m' = P'."""
        s = logistic(eta)
        c = np.asarray(guessing, dtype=np.float64)
        if not c.any():
            return np.ones_like(s), s, s * (1.0 - s)
        p = c + (1.0 - c) * s
        d_natural = np.divide(s, p, out=np.ones_like(p), where=p > 0)
        return d_natural, p, (1.0 - c) * s * logistic(-eta)

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """Without floors H - n P, and n P (1 - P) twice."""
        if np.any(guessing):
            return super().objective_slopes(eta, guessing, expected)
        values, trials = expected.components[:2]
        p = logistic(eta)
        mean = trials * p
        information = mean * np.subtract(1.0, p, out=p)
        return values - mean, information, information

    def natural_curvature(self, eta: Array, guessing: Array | float) -> Array:
        """A'' = c logistic' / P^2."""
        c = np.asarray(guessing, dtype=np.float64)
        if not c.any():
            return np.zeros(np.shape(eta))
        s = logistic(eta)
        p = c + (1.0 - c) * s
        return np.asarray(np.divide(c * s * logistic(-eta), p**2, out=np.zeros_like(p), where=p > 0))

    def curvature(self, eta: Array, guessing: Array | float) -> Array:
        """P''."""
        s = logistic(eta)
        return np.asarray((1.0 - np.asarray(guessing)) * s * logistic(-eta) * (1.0 - 2.0 * s))

    def response_variance(self, mean: Array, trials: Any) -> Array:
        """P (1 - P) / n: the variance of the proportion."""
        return np.asarray(mean * (1.0 - mean) / trials)

    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log of the binomial probability of k in n."""
        natural, base = self.natural_and_base(eta, guessing)
        return np.asarray(values * natural + trials * base + log_choose(trials, values))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Successes of `trials`, float64."""
        return rng.binomial(trials, self.response_mean(eta, guessing)).astype(np.float64)


def log_choose(n: Any, k: Any) -> Any:
    """Log of the binomial coefficient."""
    return gammaln(np.add(n, 1.0)) - gammaln(np.add(k, 1.0)) - gammaln(np.subtract(n, k) + 1.0)


def sum_log_choose(values: Any, trials: Any) -> float:
    """Sum of log C(n, k) over the cells, block by block; 0 at once where n is 1."""
    if isinstance(trials, int) and trials == 1:
        return 0.0
    if sparse.issparse(values):
        # a csr_array stores no explicit entry for k = 0, so k is looked up at the stored trials
        n = trials.tocoo()
        k = np.asarray(values[n.coords[0], n.coords[1]]).ravel()
        return float(log_choose(n.data.astype(np.float64), k).sum())
    total = 0.0
    for start in range(0, values.shape[0], 256):
        rows = slice(start, start + 256)
        n = trials if isinstance(trials, int) else np.asarray(trials[rows], dtype=np.float64)
        if not isinstance(n, int) and n.max(initial=0.0) <= 1.0:
            continue
        total += float(log_choose(n, np.asarray(values[rows], dtype=np.float64)).sum())
    return total
