"""Counts whose success rates scatter about the item-response curve by a normal error of the logit.

log f(k | n, eta) = log of the integral of p^k (1 - p)^(n - k), p = logistic(x), over x ~ N(eta, logit_sd^2). For every
distinct response it is tabulated over eta with its exact derivative, and interpolated by cubics:

- where the counts know the logit less well than to `STEP`, by the trapezoid rule on a grid of logits, which converges
  exponentially (Trefethen and Weideman, 2014);
- where they know it better, by a Gauss-Hermite rule about the integrand's mode.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline
from scipy.special import expit, log_expit, ndtr

from irsl.errors import OptionError
from irsl.likelihoods.base import Array
from irsl.likelihoods.binomial import log_choose
from irsl.likelihoods.overdispersed import Overdispersed, of, uphill
from irsl.likelihoods.statistics import Expected, Levels
from irsl.threads import over_ranges

LIMITS = (0.1, 6.0)  # of the sd of logits
STEP = 0.1
LOGITS = np.arange(-36.0, 36.0 + STEP / 2, STEP)
REACH = 30.0  # of eta; beyond, log f goes on straight
SHARP = 0.25 / STEP**2  # information about the logit beyond which the grid would be too coarse
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
SPARSE = 2  # steps of eta between which that rule's log f, nearly a parabola, is interpolated
LEAST = 1e-280  # below, a sum has lost its digits
KEPT_NUMBERS = 20_000_000  # of a table
BLOCK_PAIRS = 256
TILE = 48  # rows that every kernel of a matrix product goes through in the same way
MEAN_ETA = np.linspace(-60.0, 60.0, 481)  # beyond, the logit of the curve goes on with slope 1
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

    def __post_init__(self) -> None:
        if not LIMITS[0] <= self.logit_sd <= LIMITS[1]:
            raise OptionError(f"logit_sd must lie between {LIMITS[0]:g} and {LIMITS[1]:g}; found {self.logit_sd}")

    def at(self, parameter: float) -> LogitNormalBinomial:
        """Return the same with another scatter."""
        return replace(self, logit_sd=float(np.clip(parameter, *LIMITS)))

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """Log f of every level, without the binomial coefficient, (n_levels, n_points)."""
        if levels is None:
            raise TypeError("the logit-normal binomial is defined on levels")
        return (self._table(levels.trials, levels.values, guessing).value(eta[levels.item]),)

    def level_slopes(self, eta: Array, guessing: Array | float, levels: Levels) -> tuple[Array, Array]:
        """First and second derivative in eta of every level's log f."""
        return self._table(levels.trials, levels.values, guessing).slopes(eta[levels.item])

    def many_counts(self, n: int, mean: Array) -> Array:
        """Every k near the ends, and in between counts at steps of their logit."""
        ends = np.arange(min(MANY_ENDS, n // 2))
        inner = np.round(n * expit(np.arange(-25.0, 25.0, MANY_STEP)))
        return np.tile(np.unique(np.concatenate([ends, inner, n - ends])), (mean.size, 1))

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """The expected information is P'^2 / Var(k / n): what mean and variance of a count tell of eta."""
        levels, count = of(expected), expected.components[0]
        first, second = self.level_slopes(eta, guessing, levels)
        n, curve = levels.trials[:, None], _curve(self.logit_sd)
        effective = levels.total(count * (n / (1.0 + (n - 1.0) * curve.share(eta)[levels.item])))
        mean = curve.logit(eta)
        information = effective * expit(mean) * expit(-mean) * curve.slope(eta) ** 2
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
        slope, _ = self._table(n.ravel(), k.ravel(), guessing).slopes(eta.reshape(-1, 1))
        return np.where(n > 0, slope.reshape(eta.shape), 0.0)

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """E[logistic(eta + logit_sd z)]."""
        _refuse_floors(guessing)
        return np.asarray(expit(_curve(self.logit_sd).logit(eta)))

    def response_slope(self, eta: Array, guessing: Array | float) -> Array:
        """Its derivative in eta."""
        _refuse_floors(guessing)
        curve = _curve(self.logit_sd)
        mean = curve.logit(eta)
        return np.asarray(expit(mean) * expit(-mean) * curve.slope(eta))

    def response_variance(self, mean: Array, trials: Any) -> Array:
        """M (1 - m) (1 + (n - 1) rho(m)) / n, rho the share of m (1 - m) by which rates differ."""
        mean, curve = np.clip(mean, 0.0, 1.0), _curve(self.logit_sd)
        with np.errstate(divide="ignore"):
            place = np.interp(np.log(mean) - np.log1p(-mean), curve.logit(MEAN_ETA), MEAN_ETA)
        return np.asarray(mean * (1.0 - mean) * (1.0 + (trials - 1.0) * curve.share(place)) / trials)

    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log of the probability of k in n."""
        k, n, eta = np.broadcast_arrays(values, np.asarray(trials, dtype=np.float64), eta)
        log_f = self._table(n.ravel(), k.ravel(), guessing).value(eta.reshape(-1, 1)).reshape(eta.shape)
        return np.asarray(log_f + log_choose(n, k))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Successes of `trials`, float64."""
        _refuse_floors(guessing)
        p = expit(eta + self.logit_sd * rng.normal(size=np.shape(eta)))
        return np.asarray(rng.binomial(trials, p), dtype=np.float64)

    def _table(self, trials: Array, values: Array, guessing: Array | float) -> _Cubics:
        _refuse_floors(guessing)
        return _tables(self.logit_sd).of(trials, values)


def _refuse_floors(guessing: Array | float) -> None:
    if np.any(guessing):
        raise TypeError("the logit-normal binomial has no floors")


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

        over_ranges(work, eta.shape[0], BLOCK_CELLS // max(1, eta.shape[1]))
        return result

    def slopes(self, eta: Array) -> tuple[Array, Array]:
        """First and second derivative."""
        first, second = np.empty((2, *eta.shape))

        def work(rows: slice) -> None:
            t, beyond, _, rise, bend, twist = self._at(eta, rows)
            first[rows] = (rise + t * (2.0 * bend + 3.0 * t * twist)) / self.step
            second[rows] = (beyond == 0.0) * (2.0 * bend + 6.0 * t * twist) / self.step**2

        over_ranges(work, eta.shape[0], BLOCK_CELLS // max(1, eta.shape[1]))
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
    """Log f and its derivative of the pairs (n, k) that were asked for, for one scatter."""

    def __init__(self, sd: float) -> None:
        self.sd = sd
        self.step = min(0.25, sd / 2.0)
        self.eta = np.arange(-REACH, REACH + self.step / 2, self.step)
        self._held: tuple[NDArray[np.int64], Array] = np.empty(0, np.int64), np.empty((0, self.eta.size, 2))
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
        keys, table = self._held  # of which threads may at worst lose each other's additions
        missing = ~np.isin(asked, keys, assume_unique=True)
        if missing.any():
            if 2 * self.eta.size * (keys.size + missing.sum()) > KEPT_NUMBERS:
                keys, table, missing = keys[:0], table[:0], np.ones_like(missing)
            new = first[missing]
            added = over_ranges(lambda part: self._worked_out(n[new[part]], k[new[part]]), new.size, BLOCK_PAIRS)
            n_held, keys, table = keys.size, np.concatenate([keys, asked[missing]]), np.concatenate([table, *added])
            if n_held > 0:
                order: NDArray[np.intp] = np.argsort(keys)
                keys, table = keys[order], table[order]
            self._held = keys, table
        row = np.asarray(np.searchsorted(keys, asked), dtype=np.intp)
        return _Cubics(table, row[np.ravel(back)], float(self.eta[0]), self.step)

    def _worked_out(self, n: Array, k: Array) -> Array:
        """(n_pairs, n_eta, 2)."""
        result = np.empty((n.size, self.eta.size, 2))
        sharp = k * (1.0 - k / np.maximum(n, 1.0)) > SHARP
        for own, work in ((sharp, self._about_the_mode), (~sharp, self._on_the_grid)):
            result[own] = np.stack(work(n[own, None], k[own, None]), axis=2)
        result[:, :, 1] *= self.step
        return result

    def _about_the_mode(self, n: Array, k: Array) -> tuple[Array, Array]:
        """Log f and its slope by a Gauss-Hermite rule as wide as the integrand at its mode."""
        precision, eta = self.sd**-2, self.eta[::SPARSE]
        eta_of_mode = LOGITS - (k - n * expit(LOGITS)) / precision
        mode = np.array([np.interp(eta, row, LOGITS) for row in eta_of_mode]).reshape(n.size, eta.size)
        p = expit(mode)
        mode += (k - n * p - (mode - eta) * precision) / (n * p * (1.0 - p) + precision)
        p, rest, gap = expit(mode), expit(-mode), mode - eta
        width = 1.0 / np.sqrt(n * p * rest + precision)
        total, moved = np.zeros(mode.shape), np.zeros(mode.shape)
        for node, weight in zip(NODES, WEIGHTS, strict=True):
            step = node * width
            rise = -n * np.log1p(rest * np.expm1(-step)) - (n - k) * step - (gap + 0.5 * step) * step * precision
            share = weight * np.exp(rise + 0.5 * node**2)
            total += share
            moved += share * step
        top = n * log_expit(mode) - (n - k) * mode - 0.5 * gap**2 * precision
        density = total * width * np.sqrt(precision / (2.0 * np.pi))
        curve = CubicHermiteSpline(eta, top + np.log(density), (gap + moved / total) * precision, axis=1)
        return curve(self.eta), curve(self.eta, 1)

    def _on_the_grid(self, n: Array, k: Array) -> tuple[Array, Array]:
        # whole tiles of rows: a part of one is rounded otherwise, and a pair's numbers would hang on its company
        n_pairs = n.size
        n, k = (np.concatenate([x, np.repeat(x[:1], -n_pairs % TILE, axis=0)]) for x in (n, k))
        log_likelihood = k * log_expit(LOGITS) + (n - k) * log_expit(-LOGITS)
        top = log_likelihood.max(axis=1, keepdims=True)
        weight = np.exp(log_likelihood - top)
        total = weight @ self._density
        good = total > LEAST
        total = np.where(good, total, 1.0)
        value, slope = self._continued(np.log(total) + top, weight @ self._moved / total, good)
        return value[:n_pairs], slope[:n_pairs]

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


@dataclass(frozen=True)
class _Curve:
    """The mean rate as a function of eta, and the share of m (1 - m) by which rates vary."""

    of_logit: CubicSpline
    of_share: CubicSpline

    def logit(self, eta: Array) -> Array:
        """Of the mean rate."""
        inside = np.clip(eta, MEAN_ETA[0], MEAN_ETA[-1])
        return np.asarray(self.of_logit(inside) + (eta - inside))

    def slope(self, eta: Array) -> Array:
        """Of `logit`."""
        return np.asarray(self.of_logit(np.clip(eta, MEAN_ETA[0], MEAN_ETA[-1]), 1))

    def share(self, eta: Array) -> Array:
        """Between 0 and 1."""
        return np.asarray(self.of_share(np.clip(eta, MEAN_ETA[0], MEAN_ETA[-1])))


@lru_cache(maxsize=16)
def _curve(sd: float) -> _Curve:
    z = np.linspace(-9.0, 9.0, 121)
    weight = np.exp(-0.5 * z**2)
    weight /= weight.sum()
    x = MEAN_ETA[:, None] + sd * z
    mean, rest = expit(x) @ weight, expit(-x) @ weight
    variance = (expit(x) - mean[:, None]) ** 2 @ weight
    return _Curve(CubicSpline(MEAN_ETA, np.log(mean) - np.log(rest)), CubicSpline(MEAN_ETA, variance / (mean * rest)))
