"""Counts whose success rates scatter about the item-response curve by a normal error of the logit.

log f(k | n, eta) = log of the integral of p^k (1 - p)^(n - k), p = logistic(x), over x ~ N(eta, logit_sd^2). For every
distinct response it is tabulated over eta with its exact derivative, and interpolated by cubics:

- where the counts know the logit less well than to `STEP`, by the trapezoid rule on a grid of logits, which converges
  exponentially (Trefethen and Weideman, 2014);
- where they know it better, as the normal density that a normal makes with the count's own, Beta(k, n - k) on the logit
  scale, by its exact mean and variance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import betaln, digamma, expit, log_expit, ndtr, polygamma

from irsl.likelihoods.base import Array
from irsl.likelihoods.binomial import log_choose
from irsl.likelihoods.overdispersed import Overdispersed, of, uphill
from irsl.likelihoods.statistics import Expected, Levels
from irsl.threads import over_ranges

LIMITS = (0.1, 6.0)  # of the sd of logits
STEP = 0.1
LOGITS = np.arange(-36.0, 36.0 + STEP / 2, STEP)
REACH = 30.0  # of eta; beyond, log f goes on straight
SHARP = 1.0 / STEP**2  # information about the logit from which a count is taken as normal there
LEAST = 1e-280  # below, a sum has lost its digits
MEAN_ETA = np.linspace(-40.0, 40.0, 801)
BLOCK_CELLS = 20_000  # temporaries of so many cells fit a core's cache
MANY_STEP, MANY_ENDS = 0.02, 200


@dataclass(frozen=True)
class LogitNormalBinomial(Overdispersed):
    """k successes of n trials with the probability logistic(eta + logit_sd z), z standard normal.

    The curve of an item, its mean, is flatter than the logistic; half of the rates lie above logistic(eta).

    Source: Pierce and Sands (1975), "Extra-Bernoulli variation in binary data"; Williams (1982), model III.
    """

    logit_sd: float = 0.5
    name: str = "logit_normal_binomial"

    parameter_name: ClassVar[str | None] = "logit_sd"

    def at(self, parameter: float) -> LogitNormalBinomial:
        """Return the same with another scatter."""
        return replace(self, logit_sd=float(np.clip(parameter, *LIMITS)))

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """Log f of every level, without the binomial coefficient, (n_levels, n_points)."""
        if levels is None or np.any(guessing):
            raise TypeError("the logit-normal binomial is defined on levels, without floors")
        return (self._table(levels.trials, levels.values).value(eta[levels.item]),)

    def level_slopes(self, eta: Array, guessing: Array | float, levels: Levels) -> tuple[Array, Array]:
        """First and second derivative in eta of every level's log f."""
        return self._table(levels.trials, levels.values).slopes(eta[levels.item])

    def many_counts(self, n: int, mean: Array) -> Array:
        """Every k near the ends, and in between counts at steps of their logit."""
        ends = np.arange(min(MANY_ENDS, n // 2))
        inner = np.round(n * expit(np.arange(-25.0, 25.0, MANY_STEP)))
        return np.tile(np.unique(np.concatenate([ends, inner, n - ends])), (mean.size, 1))

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """The expected information is P'^2 / Var(k / n): what mean and variance of a count tell of eta."""
        levels, count = of(expected), expected.components[0]
        first, second = self.level_slopes(eta, guessing, levels)
        n, (logit, ratio) = levels.trials[:, None], _curve(self.logit_sd)
        effective = levels.total(count * (n / (1.0 + (n - 1.0) * ratio(eta)[levels.item])))
        mean = logit(eta)
        information = effective * expit(mean) * expit(-mean) * logit(eta, 1) ** 2
        return levels.total(count * first), information, -levels.total(count * second)

    def parameter_step(
        self, eta: Array, guessing: Array | float, expected: Expected, slope: float, correction: float
    ) -> LogitNormalBinomial:
        """A Newton step for the log of the scatter."""

        def height(x: float) -> float:
            return float(self.at(float(np.exp(x))).objective(eta, guessing, expected).sum())

        return self.at(float(np.exp(uphill(height, float(np.log(self.logit_sd)), correction))))

    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """D log f / d eta."""
        k, n, eta = np.broadcast_arrays(values, np.asarray(trials, dtype=np.float64), eta)
        return np.asarray(self._table(n.ravel(), k.ravel()).slopes(eta.reshape(-1, 1))[0].reshape(eta.shape))

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """E[logistic(eta + logit_sd z)]."""
        return np.asarray(expit(_curve(self.logit_sd)[0](eta)))

    def response_slope(self, eta: Array, guessing: Array | float) -> Array:
        """Its derivative in eta."""
        logit, _ = _curve(self.logit_sd)
        return np.asarray(expit(logit(eta)) * expit(-logit(eta)) * logit(eta, 1))

    def response_variance(self, mean: Array, trials: Any) -> Array:
        """M (1 - m) (1 + (n - 1) rho(m)) / n, rho the share of m (1 - m) by which rates differ."""
        logit, ratio = _curve(self.logit_sd)
        with np.errstate(divide="ignore"):
            place = np.interp(np.log(mean) - np.log1p(-np.asarray(mean)), logit(MEAN_ETA), MEAN_ETA)
        return np.asarray(mean * (1.0 - mean) * (1.0 + (trials - 1.0) * ratio(place)) / trials)

    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log of the probability of k in n."""
        k, n, eta = np.broadcast_arrays(values, np.asarray(trials, dtype=np.float64), eta)
        log_f = self._table(n.ravel(), k.ravel()).value(eta.reshape(-1, 1)).reshape(eta.shape)
        return np.asarray(log_f + log_choose(n, k))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Successes of `trials`, float64."""
        p = expit(eta + self.logit_sd * rng.normal(size=np.shape(eta)))
        return np.asarray(rng.binomial(trials, p), dtype=np.float64)

    def _table(self, trials: Array, values: Array) -> _Cubics:
        return _tables(self.logit_sd).of(trials, values)


@dataclass(frozen=True)
class _Cubics:
    """Cubics through values and slopes at evenly spaced eta, one row of the table for every level.

    Attributes
    ----------
    table : (n_rows, n_eta, 2) float64
        Values, and slopes per step.
    row : (n_levels,) intp
    first, step : float
        Of eta.
    """

    table: Array
    row: NDArray[np.intp]
    first: float
    step: float

    def value(self, eta: Array) -> Array:
        """(n_levels, n_points) at eta of the same shape."""
        result = np.empty(eta.shape)

        def work(rows: slice) -> None:
            t, beyond, left, rise, bend, twist = self._at(eta, rows)
            result[rows] = left + t * (rise + t * (bend + t * twist))
            if beyond.any():
                result[rows] += beyond * (rise + t * (2.0 * bend + 3.0 * t * twist))

        over_ranges(work, eta.shape[0], BLOCK_CELLS // eta.shape[1])
        return result

    def slopes(self, eta: Array) -> tuple[Array, Array]:
        """First and second derivative."""
        first, second = np.empty((2, *eta.shape))

        def work(rows: slice) -> None:
            t, _, _, rise, bend, twist = self._at(eta, rows)
            first[rows] = (rise + t * (2.0 * bend + 3.0 * t * twist)) / self.step
            second[rows] = (2.0 * bend + 6.0 * t * twist) / self.step**2

        over_ranges(work, eta.shape[0], BLOCK_CELLS // eta.shape[1])
        return first, second

    def _at(self, eta: Array, rows: slice) -> tuple[Array, ...]:
        """Place within a step, steps by which eta lies beyond the table, and the cubic's coefficients."""
        last = self.table.shape[1] - 1
        place = (eta[rows] - self.first) / self.step
        within = np.clip(place, 0.0, last)
        whole = np.minimum(within.astype(np.intp), last - 1)
        flat, start = self.table.ravel(), 2 * (self.row[rows, None] * (last + 1) + whole)
        left, rise, right, fall = (flat.take(start + k) for k in range(4))
        gap = right - left
        return within - whole, place - within, left, rise, 3.0 * gap - 2.0 * rise - fall, rise + fall - 2.0 * gap


class _Tables:
    """Log f and its derivative of every pair (n, k) that was asked for, for one scatter."""

    def __init__(self, sd: float) -> None:
        self.sd = sd
        self.step = min(0.25, sd / 2.0)
        self.eta = np.arange(-REACH, REACH + self.step / 2, self.step)
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._table = np.empty((0, self.eta.size, 2))
        self._lock = Lock()
        distance = (LOGITS[:, None] - self.eta) / sd
        self._density = np.exp(-0.5 * distance**2) * (STEP / (sd * np.sqrt(2.0 * np.pi)))
        self._moved = self._density * distance / sd
        for end, sign in ((0, 1.0), (-1, -1.0)):  # rates beyond the grid count as its ends
            beyond = (LOGITS[end] - sign * STEP / 2 - self.eta) / sd
            self._density[end] += ndtr(sign * beyond)
            self._moved[end] -= sign * np.exp(-0.5 * beyond**2) / (sd * np.sqrt(2.0 * np.pi))

    def of(self, n: Array, k: Array) -> _Cubics:
        """Rows of the table for these pairs."""
        n_whole, k_whole = n.astype(np.int64), k.astype(np.int64)
        asked, first, back = np.unique(n_whole * (n_whole + 1) // 2 + k_whole, return_index=True, return_inverse=True)
        with self._lock:
            missing = ~np.isin(asked, self._keys, assume_unique=True)
            if missing.any():
                keys = np.concatenate([self._keys, asked[missing]])
                table = np.concatenate([self._table, self._worked_out(n[first[missing]], k[first[missing]])])
                order: NDArray[np.intp] = np.argsort(keys)
                self._keys, self._table = keys[order], table[order]
            row = np.asarray(np.searchsorted(self._keys, asked), dtype=np.intp)
            return _Cubics(self._table, row[np.ravel(back)], float(self.eta[0]), self.step)

    def _worked_out(self, n: Array, k: Array) -> Array:
        """(n_pairs, n_eta, 2)."""
        value, slope = np.empty((2, n.size, self.eta.size))
        sharp = k * (1.0 - k / np.maximum(n, 1.0)) > SHARP
        own, rest = k[sharp][:, None], (n - k)[sharp][:, None]
        variance = self.sd**2 + polygamma(1, own) + polygamma(1, rest)
        gap = digamma(own) - digamma(rest) - self.eta
        value[sharp] = betaln(own, rest) - 0.5 * (np.log(2.0 * np.pi * variance) + gap**2 / variance)
        slope[sharp] = gap / variance
        own, rest = k[~sharp][:, None], (n - k)[~sharp][:, None]
        log_likelihood = own * log_expit(LOGITS) + rest * log_expit(-LOGITS)
        top = log_likelihood.max(axis=1, keepdims=True)
        weight = np.exp(log_likelihood - top)
        total = weight @ self._density
        good = total > LEAST
        total = np.where(good, total, 1.0)
        value[~sharp], slope[~sharp] = self._continued(np.log(total) + top, weight @ self._moved / total, good)
        return np.stack([value, self.step * slope], axis=2)

    def _continued(self, value: Array, slope: Array, good: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Go on as parabolas where sums have lost their digits: far from the counts the normal alone bends log f."""
        place = np.arange(self.eta.size)
        first, after = good.argmax(axis=1, keepdims=True), good[:, ::-1].argmax(axis=1, keepdims=True)
        nearest = np.clip(place, first, place.size - 1 - after)
        gap = self.eta - self.eta[nearest]
        value, slope = np.take_along_axis(value, nearest, 1), np.take_along_axis(slope, nearest, 1)
        return value + slope * gap - 0.5 * (gap / self.sd) ** 2, slope - gap / self.sd**2


@lru_cache(maxsize=4)
def _tables(sd: float) -> _Tables:
    return _Tables(sd)


@lru_cache(maxsize=16)
def _curve(sd: float) -> tuple[CubicSpline, CubicSpline]:
    """Logit of the mean rate, and the share of m (1 - m) by which rates vary, as functions of eta."""
    z = np.linspace(-9.0, 9.0, 361)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    x = MEAN_ETA[:, None] + sd * z
    mean, rest = expit(x) @ weight, expit(-x) @ weight
    variance = (expit(x) - mean[:, None]) ** 2 @ weight
    return CubicSpline(MEAN_ETA, np.log(mean) - np.log(rest)), CubicSpline(MEAN_ETA, variance / (mean * rest))
