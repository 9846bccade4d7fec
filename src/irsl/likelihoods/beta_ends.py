"""The ends of a Beta response: the probability of a value that its resolution cannot tell from 0 or from 1."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import betaln, digamma, expit, gammaln, polygamma

from irsl.likelihoods.statistics import Array

MOMENT_ETA = np.linspace(-25.0, 25.0, 401)
MOMENT_POINTS = 2000
TABLE_ETA = np.linspace(-30.0, 30.0, 2401)  # beyond, log I is 0 or a line to 1e-12
TABLE_FROM = 20_000  # points for which a table pays


def log_lower(eta: Array, phi: float, x: float, *, derivatives: bool = True) -> tuple[Array, ...]:
    """L = log I_x(mu phi, (1 - mu) phi), the log probability of a value below x, and its derivatives in eta.

    The series 8.17.8 of the NIST handbook (Olver et al., 2010), all of whose terms are positive. L tends to 0 downwards
    and to a line of slope -1 upwards, so a value at an end has a bounded influence.
    """
    if np.size(eta) >= TABLE_FROM:
        return log_lower_from_table(eta, phi, x)[: 3 if derivatives else 1]
    p, q = phi * expit(eta), phi * expit(-eta)
    log_x, log_rest = np.log(x), np.log1p(-x)
    term, total = np.ones_like(p), np.ones_like(p)
    h, g, first, second = (np.zeros_like(p) for _ in range(4))
    for n in range(1, int(8 + 3 * phi * x) + 4 + (12 if x > 0.01 else 0)):
        h += 1.0 / (p + n)
        term = term * ((phi + n - 1) * x) / (p + n)
        total += term
        if derivatives:
            g += (p + n) ** -2.0
            first -= term * h
            second += term * (h**2 + g)
    value = p * log_x + q * log_rest + gammaln(phi) - gammaln(1.0 + p) - gammaln(q) + np.log(total)
    if not derivatives:
        return (value,)
    in_p = log_x - log_rest - digamma(1.0 + p) + digamma(q) + first / total
    in_p2 = -polygamma(1, 1.0 + p) - polygamma(1, q) + second / total - (first / total) ** 2
    slope = p * q / phi
    return value, slope * in_p, slope**2 * in_p2 + slope * (q - p) / phi * in_p


def log_lower_from_table(eta: Array, phi: float, x: float) -> tuple[Array, Array, Array]:
    """As `log_lower`, interpolated: for many points."""
    inside = np.clip(eta, TABLE_ETA[0], TABLE_ETA[-1])
    value, first, second = np.moveaxis(_table(phi, x)(inside), -1, 0)
    return value - np.maximum(eta - TABLE_ETA[-1], 0.0), first, second


@lru_cache(maxsize=8)
def _table(phi: float, x: float) -> CubicSpline:
    return CubicSpline(TABLE_ETA, np.stack(log_lower(TABLE_ETA, phi, x), axis=1))


def log_upper(eta: Array, phi: float, x: float, *, derivatives: bool = True) -> tuple[Array, ...]:
    """The same for a value above 1 - x."""
    result = log_lower(-eta, phi, x, derivatives=derivatives)
    return result if not derivatives else (result[0], -result[1], result[2])


@lru_cache(maxsize=8)
def censored_moments(phi: float, x: float) -> CubicSpline:
    """E[l'^2] and E[l' l'' + l'^3] of a response with both ends censored, as functions of eta."""
    eta = MOMENT_ETA[:, None]
    reach = np.log(1.0 - x) - np.log(x)
    z = np.linspace(-reach, reach, MOMENT_POINTS)
    mu, nu = expit(eta), expit(-eta)
    p, q = phi * mu, phi * nu
    density = np.exp(-p * np.logaddexp(0, -z) - q * np.logaddexp(0, z) - betaln(p, q)) * (z[1] - z[0])
    density[:, [0, -1]] /= 2.0
    d_mu = mu * nu
    mean, slope = digamma(p) - digamma(q), phi * d_mu * (polygamma(1, p) + polygamma(1, q))
    first = phi * d_mu * (z - mean)
    second = phi * d_mu * ((nu - mu) * (z - mean) - slope)
    square = (density * first**2).sum(axis=1)
    bias = (density * (first * second + first**3)).sum(axis=1)
    for log_end in (log_lower, log_upper):
        value, d_end, d2_end = log_end(MOMENT_ETA, phi, x)
        weight = np.exp(value)
        square += weight * d_end**2
        bias += weight * (d_end * d2_end + d_end**3)
    return CubicSpline(MOMENT_ETA, np.stack([square, bias], axis=1))
