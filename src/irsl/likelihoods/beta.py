"""Continuous probabilities: the mean-precision Beta distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import digamma, expit, gammaln, polygamma

from irsl.errors import DataError
from irsl.likelihoods.base import Array, SufficientStatistics, logistic_curve

BLOCK_ROWS = 256


@dataclass(frozen=True)
class Beta:
    """A probability y with mean mu and precision phi: Beta(mu phi, (1 - mu) phi), Var(y) = mu (1 - mu) / (phi + 1).

    T = logit y, A = phi mu, C = lgamma(phi) - lgamma(mu phi) - lgamma((1 - mu) phi), and
    h = (phi - 1) log(1 - y) - log y; m = digamma(mu phi) - digamma((1 - mu) phi).

    Source: Ferrari and Cribari-Neto (2004), "Beta regression for modelling rates and proportions", section 2.
    """

    precision: float = 10.0
    name: str = "beta"

    def sufficient_statistics(self, matrix: Any, *, resolution: float | None = None) -> SufficientStatistics:
        """T = logit y in storage of our own; the matrix's exact logits are used where it has them.

        Raises
        ------
        DataError
            A probability is exactly 0 or 1 and no `resolution` was given; the message names the first.
        """
        if matrix.logits is not None:
            logits = matrix.logits
        elif isinstance(matrix.values, np.ndarray):
            logits = np.empty(matrix.values.shape, dtype=np.float32)
            for start in range(0, logits.shape[0], BLOCK_ROWS):
                rows = slice(start, start + BLOCK_ROWS)
                observed = True if isinstance(matrix.trials, int) else np.asarray(matrix.trials[rows]) > 0
                logits[rows] = _logit(matrix, np.asarray(matrix.values[rows]), observed, resolution, start)
        else:
            trials = matrix.trials.tocoo()
            subject, item = trials.coords
            y = np.asarray(matrix.values[subject, item]).ravel()
            _refuse_boundary(matrix, y, subject, item, resolution)
            data = _squeezed_logit(y, resolution).astype(np.float32)
            logits = sparse.csr_array((data, (subject, item)), shape=matrix.values.shape)
        slope, constant = _log_complement_sums(logits, matrix.trials)
        return SufficientStatistics(logits, matrix.trials, constant=constant, slope=slope)

    def natural_and_base(self, eta: Array, guessing: Array | float) -> tuple[Array, Array]:
        """A = phi mu and C, the log of the Beta function's reciprocal."""
        phi = self.precision
        mu = logistic_curve(eta, guessing)
        nu = (1.0 - np.asarray(guessing)) * expit(-eta)
        return phi * mu, gammaln(phi) - gammaln(mu * phi) - gammaln(nu * phi)

    def slopes(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """A' = phi mu', m = digamma(mu phi) - digamma((1 - mu) phi), and m'."""
        phi = self.precision
        mu, nu, d_mu = _curve(eta, guessing)
        p, q = mu * phi, nu * phi
        return phi * d_mu, digamma(p) - digamma(q), phi * d_mu * (polygamma(1, p) + polygamma(1, q))

    def natural_curvature(self, eta: Array, guessing: Array | float) -> Array:
        """A'' = phi mu''."""
        _, _, d_mu = _curve(eta, guessing)
        return np.asarray(self.precision * d_mu * (1.0 - 2.0 * expit(eta)))

    def curvature(self, eta: Array, guessing: Array | float) -> Array:
        """M''."""
        phi = self.precision
        mu, nu, d_mu = _curve(eta, guessing)
        p, q = mu * phi, nu * phi
        d2_mu = d_mu * (1.0 - 2.0 * expit(eta))
        return np.asarray(
            phi * d2_mu * (polygamma(1, p) + polygamma(1, q)) + (phi * d_mu) ** 2 * (polygamma(2, p) - polygamma(2, q))
        )

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """Return mu."""
        return logistic_curve(eta, guessing)

    def response_variance(self, mean: Array, trials: Array | int) -> Array:
        """Mu (1 - mu) / (phi + 1)."""
        return np.asarray(mean * (1.0 - mean) / (self.precision + 1.0))

    def log_density(self, values: Array, trials: Array | int, eta: Array, guessing: Array | float) -> Array:
        """Log of the Beta density at y; 0 where `trials` is 0."""
        natural, base = self.natural_and_base(eta, guessing)
        log_y, log_complement = np.log(values), np.log1p(-values)
        h = (self.precision - 1.0) * log_complement - log_y
        return np.asarray(np.where(np.asarray(trials) > 0, (log_y - log_complement) * natural + base + h, 0.0))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int = 1, rng: np.random.Generator) -> Array:
        """Probabilities, float64."""
        mu, nu, _ = _curve(eta, guessing)
        return np.asarray(rng.beta(mu * self.precision, nu * self.precision))

    def precision_slope(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """Derivatives with respect to phi of A (which is mu) and of C, and minus the expected second derivative."""
        phi = self.precision
        mu, nu, _ = _curve(eta, guessing)
        p, q = mu * phi, nu * phi
        d_base = digamma(phi) - mu * digamma(p) - nu * digamma(q)
        information = mu**2 * polygamma(1, p) + nu**2 * polygamma(1, q) - polygamma(1, phi)
        return mu, d_base, information


def _curve(eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
    """Return mu, 1 - mu and d mu / d eta, without cancellation in the tails."""
    slope = 1.0 - np.asarray(guessing, dtype=np.float64)
    s, r = expit(eta), expit(-eta)
    return guessing + slope * s, slope * r, slope * s * r


def _squeezed_logit(y: Array, resolution: float | None) -> Array:
    if resolution is not None:
        y = np.clip(y, resolution / 2.0, 1.0 - resolution / 2.0)
    y = np.asarray(y, dtype=np.float64)
    return np.asarray(np.log(y) - np.log1p(-y))


def _logit(matrix: Any, y: Array, observed: Any, resolution: float | None, first_row: int) -> Array:
    boundary = observed & ((y <= 0) | (y >= 1))
    if resolution is None and boundary.any():
        subject, item = np.argwhere(boundary)[0]
        _raise_boundary(matrix, int(boundary.sum()), first_row + int(subject), int(item))
    y = np.where(observed, y, 0.5)
    return _squeezed_logit(y, resolution)


def _refuse_boundary(matrix: Any, y: Array, subject: Any, item: Any, resolution: float | None) -> None:
    boundary = (y <= 0) | (y >= 1)
    if resolution is None and boundary.any():
        first = int(np.flatnonzero(boundary)[0])
        _raise_boundary(matrix, int(boundary.sum()), int(subject[first]), int(item[first]))


def _raise_boundary(matrix: Any, count: int, subject: int, item: int) -> None:
    raise DataError(
        f"a Beta likelihood needs probabilities strictly between 0 and 1; {count} or more are 0 or 1 "
        f"(first: subject {matrix.subjects[subject]!r}, item {matrix.items[item]!r}). Use counts if these are "
        "proportions of known trials, or pass resolution= (the smallest step between two values, e.g. 0.01): "
        "values are then moved half a step inside"
    )


def _log_complement_sums(logits: Any, trials: Any) -> tuple[float, float]:
    """Sum over observed cells of log(1 - y), and of -log y - log(1 - y)."""
    slope = constant = 0.0
    for start in range(0, logits.shape[0], BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        if isinstance(logits, np.ndarray):
            z = np.asarray(logits[rows], dtype=np.float64)
            observed = np.ones(z.shape, bool) if isinstance(trials, int) else np.asarray(trials[rows]) > 0
            z = z[observed]
        else:
            cells = trials[rows].tocoo()
            z = np.asarray(logits[rows][cells.coords[0], cells.coords[1]], dtype=np.float64).ravel()
        log_complement = -np.logaddexp(0.0, z)
        slope += float(log_complement.sum())
        constant += float(np.logaddexp(0.0, -z).sum() - log_complement.sum())
    # h = (phi - 1) log(1 - y) - log y  =  phi * [log(1 - y)]  +  [-log(1 - y) - log y]
    return slope, constant
