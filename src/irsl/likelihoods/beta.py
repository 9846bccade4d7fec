"""Continuous probabilities: the mean-precision Beta distribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import digamma, gammaln, polygamma

from irsl.errors import DataError
from irsl.likelihoods.base import Array, ExponentialForm, logistic
from irsl.likelihoods.beta_ends import MOMENT_ETA, censored_moments, log_lower, log_upper
from irsl.likelihoods.statistics import (
    BLOCK_CELLS,
    Buffers,
    Expected,
    Levels,
    SufficientStatistics,
    dense,
    floats,
    rows_of,
)
from irsl.threads import over_ranges

FACTORS, LEAST_FACTOR = 32, 1e-9  # a product of so many stays within double precision
TABLE_RANGE = 40.0  # logits; beyond, log f is linear to 1e-17
TABLE_STEPS = 64  # per logit: cubic interpolation is then exact to 2e-10 of the functions' scale
TABLE_FROM = 20_000  # evaluations for which a table pays


@dataclass(frozen=True)
class Beta(ExponentialForm):
    """A probability y with mean mu and precision phi: Beta(mu phi, (1 - mu) phi), Var(y) = mu (1 - mu) / (phi + 1).

    T = logit y, A = phi mu, C = lgamma(phi) - lgamma(mu phi) - lgamma((1 - mu) phi), and
    h = (phi - 1) log(1 - y) - log y; m = digamma(mu phi) - digamma((1 - mu) phi).

    Attributes
    ----------
    precision : float
    resolution : float or None
        Smallest step between two values that is believed. Values within half of it of 0 or 1 are censored: they enter
        by the probability of lying there. None: all values are exact, and 0 and 1 are refused.

    Source: Ferrari and Cribari-Neto (2004), "Beta regression for modelling rates and proportions", section 2.
    """

    precision: float = 10.0
    resolution: float | None = None
    name: str = "beta"

    parameter_name: ClassVar[str | None] = "precision"

    def at(self, parameter: float) -> Beta:
        """Return the Beta of another precision."""
        return replace(self, precision=parameter)

    def sufficient_statistics(self, matrix: Any) -> SufficientStatistics:
        """T = logit y, computed block by block; the matrix's exact logits are used where it has them.

        Raises
        ------
        DataError
            A probability is exactly 0 or 1 and the likelihood has no resolution; the message names the first.
        """
        exact = matrix.logits is not None
        values = matrix.logits if exact else matrix.values
        statistics = SufficientStatistics(
            values,
            matrix.trials,
            constant=0.0,
            transform=_Logit(self.resolution, exact),
            holds_logits=exact,
        )
        sums = _sums_of_products(statistics) if self.resolution is None else None
        if sums is None:
            if not exact and self.resolution is None:
                _refuse_boundary(matrix)
            sums = _sums_over_logits(statistics)
        slope, constant = sums
        return replace(statistics, constant=constant, slope=slope)

    def natural_and_base(self, eta: Array, guessing: Array | float) -> tuple[Array, Array]:
        """A = phi mu and C, the log of the Beta function's reciprocal."""
        phi = self.precision
        if _tabulated(eta, guessing):
            return phi * logistic(eta), _table(phi).base(eta)
        mu, nu, _ = _curve(eta, guessing)
        return phi * mu, gammaln(phi) - gammaln(mu * phi) - gammaln(nu * phi)

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """A and C; with a resolution also L - C and R - C, by which the ends differ."""
        natural, base = self.natural_and_base(eta, guessing)
        if self.resolution is None:
            return natural, base
        lower, upper = (end[0] for end in self._ends(eta, derivatives=False))
        return natural, base, lower - base, upper - base

    def _ends(self, eta: Array, *, derivatives: bool = True) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Log probabilities of a value at the lower and at the upper end, and their derivatives in eta."""
        assert self.resolution is not None
        half = self.resolution / 2.0
        return (
            log_lower(eta, self.precision, half, derivatives=derivatives),
            log_upper(eta, self.precision, half, derivatives=derivatives),
        )

    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """Sum over the components."""
        total = super().objective(eta, guessing, expected)
        if self.resolution is None:
            return total
        _, _, lower, upper = self.functions(eta, guessing)
        return np.asarray(total + expected.components[2] * lower + expected.components[3] * upper)

    def slopes(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """A' = phi mu', m = digamma(mu phi) - digamma((1 - mu) phi), and m'."""
        phi = self.precision
        mu, nu, d_mu = _curve(eta, guessing)
        p, q = mu * phi, nu * phi
        return phi * d_mu, digamma(p) - digamma(q), phi * d_mu * (polygamma(1, p) + polygamma(1, q))

    def natural_curvature(self, eta: Array, guessing: Array | float) -> Array:
        """A'' = phi mu''."""
        _, _, d_mu = _curve(eta, guessing)
        return np.asarray(self.precision * d_mu * (1.0 - 2.0 * logistic(eta)))

    def curvature(self, eta: Array, guessing: Array | float) -> Array:
        """M''."""
        phi = self.precision
        mu, nu, d_mu = _curve(eta, guessing)
        p, q = mu * phi, nu * phi
        d2_mu = d_mu * (1.0 - 2.0 * logistic(eta))
        return np.asarray(
            phi * d2_mu * (polygamma(1, p) + polygamma(1, q)) + (phi * d_mu) ** 2 * (polygamma(2, p) - polygamma(2, q))
        )

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """As any exponential form, from tables where there are many points; the ends by themselves."""
        if self.resolution is not None:
            values, trials, lower, upper = expected.components
            inside = Expected((values, trials - lower - upper))
            gradient, weight, observed = replace(self, resolution=None).objective_slopes(eta, guessing, inside)
            (_, lower_1, lower_2), (_, upper_1, upper_2) = self._ends(eta)
            gradient = gradient + lower * lower_1 + upper * upper_1
            weight = np.maximum(weight, 0.0) + np.maximum(lower, 0.0) * lower_1**2 + np.maximum(upper, 0.0) * upper_1**2
            return gradient, weight, observed - lower * lower_2 - upper * upper_2
        if not _tabulated(eta, guessing):
            return super().objective_slopes(eta, guessing, expected)
        values, trials = expected.components[:2]
        s = logistic(eta)
        mean, information = _table(self.precision).weighted_slopes(eta)
        mean *= trials
        information *= trials
        gradient = 1.0 - s
        gradient *= s
        gradient *= self.precision * values
        gradient -= mean
        s *= 2.0
        s -= 1.0
        s *= gradient
        s += information
        return gradient, information, s

    def information(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """(phi mu')^2 (trigamma(mu phi) + trigamma((1 - mu) phi)) where observed; less with censored ends."""
        if self.resolution is not None:
            return np.asarray(trials * self._censored(eta)[..., 0])
        if _tabulated(eta, guessing):
            return np.asarray(trials * _table(self.precision).weighted_slopes(eta)[1])
        return super().information(trials, eta, guessing)

    def information_bias(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """A' m'', or with censored ends the sum over them and an integral between."""
        if self.resolution is not None:
            return np.asarray(trials * self._censored(eta)[..., 1])
        return super().information_bias(trials, eta, guessing)

    def _censored(self, eta: Array) -> Array:
        assert self.resolution is not None
        table = censored_moments(self.precision, self.resolution / 2.0)
        return np.asarray(table(np.clip(eta, MOMENT_ETA[0], MOMENT_ETA[-1])))

    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """A' (T - m); at an end, where T is infinite, the derivative of its log probability."""
        inside = np.isfinite(values)
        if inside.all():
            return super().score(values, trials, eta, guessing)
        total = super().score(np.where(inside, values, 0.0), trials, eta, guessing)
        (_, lower, _), (_, upper, _) = self._ends(eta)
        return np.asarray(np.where(inside, total, trials * np.where(values < 0, lower, upper)))

    def parameter_step(
        self, eta: Array, guessing: Array | float, expected: Expected, slope: float, correction: float
    ) -> Beta:
        """Scoring for log phi."""
        phi = self.precision
        values, trials = expected.components[:2]
        tabulated, floors = _tabulated(eta, guessing), np.broadcast_to(guessing, (eta.shape[0], 1))

        def sums(part: slice) -> tuple[float, float]:
            n = trials if trials.shape[0] == 1 else trials[part]
            if tabulated:
                mu = logistic(eta[part])
                d_base, weight = _table(phi).precision_slopes(eta[part])
            else:
                mu, d_base, weight = precision_slopes(phi, eta[part], floors[part])
            return float((values[part] * mu + n * d_base).sum()), float((n * weight).sum())

        gradient, curvature = np.sum(over_ranges(sums, eta.shape[0], rows_of(eta.shape[1])), axis=0)
        gradient, curvature = phi * (gradient + slope) + correction, phi**2 * curvature
        if self.resolution is not None:
            h = 0.01
            low, high = (
                sum(
                    float((count * table).sum())
                    for count, table in zip(
                        expected.components[2:], self.at(phi * np.exp(x)).functions(eta, guessing)[2:], strict=True
                    )
                )
                for x in (-h, h)
            )
            gradient += (high - low) / (2 * h)
        return self.at(phi * float(np.exp(np.clip(gradient / max(curvature, 1e-12), -1.0, 1.0))))

    def response_variance(self, mean: Array, trials: Any) -> Array:
        """Mu (1 - mu) / (phi + 1)."""
        return np.asarray(mean * (1.0 - mean) / (self.precision + 1.0))

    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log of the Beta density of y, given as T = logit y, or of an end's probability; 0 where `trials` is 0."""
        natural, base = self.natural_and_base(eta, guessing)
        values, shape = np.asarray(values, dtype=np.float64), np.broadcast_shapes(np.shape(values), np.shape(eta))
        end = np.broadcast_to(np.sign(values) * np.isinf(values), shape)
        values = np.where(np.isinf(values), 0.0, values)
        log_y, log_complement = -np.logaddexp(0.0, -values), -np.logaddexp(0.0, values)
        h = (self.precision - 1.0) * log_complement - log_y
        total = values * natural + base + h
        if end.any():
            (lower,), (upper,) = self._ends(eta, derivatives=False)
            total = np.where(end < 0, lower, np.where(end > 0, upper, total))
        return np.asarray(np.where(np.asarray(trials) > 0, total, 0.0))

    def sample(self, eta: Array, guessing: Array | float, *, trials: int = 1, rng: np.random.Generator) -> Array:
        """Probabilities, float64."""
        mu, nu, _ = _curve(eta, guessing)
        return np.asarray(rng.beta(mu * self.precision, nu * self.precision))


def precision_slopes(phi: float, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
    """Derivatives with respect to phi of A (which is mu) and of C, and minus the expected second derivative."""
    mu, nu, _ = _curve(eta, guessing)
    p, q = mu * phi, nu * phi
    d_base = digamma(phi) - mu * digamma(p) - nu * digamma(q)
    information = mu**2 * polygamma(1, p) + nu**2 * polygamma(1, q) - polygamma(1, phi)
    return mu, d_base, information


class _Table:
    """C, A' m and A' m' of one precision as functions of eta alone, by cubic Hermite interpolation.

    A' m and A' m' tend to -1, 1 and 1 in the tails, where m and m' themselves grow without bound.
    """

    def __init__(self, phi: float) -> None:
        eta = np.linspace(-TABLE_RANGE, TABLE_RANGE, int(2 * TABLE_RANGE * TABLE_STEPS) + 1)
        beta = Beta(phi)
        _, base = beta.natural_and_base(eta, 0.0)
        d_natural, mean, d_mean = beta.slopes(eta, 0.0)
        bend = 1.0 - 2.0 * logistic(eta)
        weighted, information = d_natural * mean, d_natural * d_mean
        d_information = bend * information + d_natural * beta.curvature(eta, 0.0)
        _, d_base, weight = precision_slopes(phi, eta, 0.0)
        self._base = _cubic(base, -weighted)
        self._weighted = _cubic(weighted, bend * weighted + information)
        self._information = _cubic(information, d_information)
        self._d_base, self._weight = (_cubic(x, np.gradient(x, eta[1] - eta[0])) for x in (d_base, weight))

    def base(self, eta: Array) -> Array:
        """C."""
        cell, part = _place(eta)
        beyond = np.abs(eta)
        beyond -= TABLE_RANGE
        # dC / d eta = -A' m, which is -1 at the upper end and 1 at the lower
        result = _at(self._base, cell, part)
        result -= np.maximum(beyond, 0.0, out=beyond)
        return result

    def weighted_slopes(self, eta: Array) -> tuple[Array, Array]:
        """A' m and A' m'."""
        cell, part = _place(eta)
        return _at(self._weighted, cell, part), _at(self._information, cell, part)

    def precision_slopes(self, eta: Array) -> tuple[Array, Array]:
        """Derivative of C with respect to phi, and minus the expected second derivative of log f."""
        cell, part = _place(eta)
        return _at(self._d_base, cell, part), _at(self._weight, cell, part)


def _tabulated(eta: Array, guessing: Array | float) -> bool:
    return np.size(eta) >= TABLE_FROM and not np.any(guessing)


@lru_cache(maxsize=4)
def _table(phi: float) -> _Table:
    return _Table(phi)


def _cubic(value: Array, slope: Array) -> tuple[Array, Array, Array, Array]:
    """Coefficients of the cubic in each cell that has these values and slopes at its ends."""
    h = 1.0 / TABLE_STEPS
    rise, d0, d1 = np.diff(value), h * slope[:-1], h * slope[1:]
    return value[:-1].copy(), d0, 3.0 * rise - 2.0 * d0 - d1, d0 + d1 - 2.0 * rise


def _place(eta: Array) -> tuple[NDArray[np.intp], Array]:
    """Cell of each value, and where in it from 0 to 1."""
    scaled = eta + TABLE_RANGE
    scaled *= TABLE_STEPS
    np.clip(scaled, 0.0, 2 * TABLE_RANGE * TABLE_STEPS, out=scaled)
    cell = scaled.astype(np.intp)
    np.minimum(cell, int(2 * TABLE_RANGE * TABLE_STEPS) - 1, out=cell)
    scaled -= cell
    return cell, scaled


def _at(table: tuple[Array, Array, Array, Array], cell: NDArray[np.intp], part: Array) -> Array:
    result = np.take(table[3], cell)
    term = np.empty_like(result)
    for coefficients in table[2::-1]:
        result *= part
        result += np.take(coefficients, cell, out=term, mode="clip")  # the other modes would buffer
    return result


def _curve(eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
    """Return mu, 1 - mu and d mu / d eta, without cancellation in the tails."""
    slope = 1.0 - np.asarray(guessing, dtype=np.float64)
    s, r = logistic(eta), logistic(-eta)
    return guessing + slope * s, slope * r, slope * s * r


@dataclass(frozen=True)
class _Logit:
    """T = logit y of a block, 0 where missing; with a resolution also who is at which end, and T 0 there."""

    resolution: float | None
    holds_logits: bool

    def __call__(self, values: Any, trials: Any, dtype: Any, buffers: Buffers) -> tuple[Any, ...]:
        if sparse.issparse(values):
            cells = trials.tocoo()
            y = np.asarray(values[cells.coords[0], cells.coords[1]], dtype=np.float64).ravel()
            z = self._logit(y, np.empty_like(y))
            parts = [z, *self._ends(z)]
            if self.resolution is not None:
                parts[0] = np.where(np.isinf(z), 0.0, z)
            z, *ends = (sparse.csr_array((part.astype(dtype), cells.coords), shape=values.shape) for part in parts)
            return z, trials.astype(dtype), *ends
        result = buffers.array("values", values.shape, dtype)
        n = trials if isinstance(trials, int) else floats("trials", trials, dtype, buffers)

        def fill(rows: slice) -> None:
            self._logit(np.asarray(values[rows], dtype=dtype), result[rows])
            if not isinstance(trials, int):
                np.copyto(result[rows], 0.0, where=trials[rows] == 0)

        over_ranges(fill, values.shape[0], rows_of(values.shape[1]))
        at_ends = tuple(sparse.csr_array(end.astype(dtype)) for end in self._ends(result))
        if at_ends:
            result[np.isinf(result)] = 0.0
        return result, n, *at_ends

    def _logit(self, y: Any, out: Any) -> Any:
        """Logit of y; infinite within half a resolution of the ends."""
        if self.holds_logits:
            out[...] = y
        else:
            # 1 - y is exact where y > 1/2 and harmless below, so one logarithm of the ratio is as good as two
            ratio = 1 - y
            if self.resolution is None:  # a value that single precision makes 1 is less
                np.maximum(ratio, np.finfo(ratio.dtype).epsneg, out=ratio)
            with np.errstate(divide="ignore"):
                np.divide(y, ratio, out=ratio)
                np.log(ratio, out=out)
        if self.resolution is not None:
            reach = np.log1p(-self.resolution / 2.0) - np.log(self.resolution / 2.0)
            out[out < -reach] = -np.inf
            out[out > reach] = np.inf
        return out

    def _ends(self, z: Any) -> tuple[Any, ...]:
        """Where T is below and above what the resolution tells; nothing without one."""
        return () if self.resolution is None else (np.isneginf(z), np.isposinf(z))


def reaches_ends(matrix: Any) -> bool:
    """Whether a probability of a `ResponseMatrix` is exactly 0 or 1, and no finite logit is known for it."""
    return matrix.logits is None and _boundary(matrix)[0] > 0


def _boundary(matrix: Any) -> tuple[int, tuple[int, int]]:
    """Number of probabilities of exactly 0 or 1, and where the first is."""
    count, first = 0, (-1, -1)
    if sparse.issparse(matrix.values):
        cells = matrix.trials.tocoo()
        y = np.asarray(matrix.values[cells.coords[0], cells.coords[1]]).ravel()
        at = np.flatnonzero((y <= 0) | (y >= 1))
        if at.size:
            first = (int(cells.coords[0][at[0]]), int(cells.coords[1][at[0]]))
        return int(at.size), first
    rows = max(1, BLOCK_CELLS // max(1, matrix.values.shape[1]))
    complete = isinstance(matrix.trials, int)
    for start in range(0, matrix.values.shape[0], rows):
        y = matrix.values[start : start + rows]
        if complete and y.min() > 0 and y.max() < 1:
            continue
        boundary = (y <= 0) | (y >= 1)
        if not complete:
            boundary &= np.asarray(matrix.trials[start : start + rows]) > 0
        if boundary.any():
            if not count:
                i, j = np.argwhere(boundary)[0]
                first = (start + int(i), int(j))
            count += int(boundary.sum())
    return count, first


def _refuse_boundary(matrix: Any) -> None:
    """Raise an error that names the first probability of exactly 0 or 1."""
    count, first = _boundary(matrix)
    if count:
        raise DataError(
            f"a Beta likelihood needs probabilities strictly between 0 and 1; {count:,} are 0 or 1 "
            f"(first: subject {matrix.subjects[first[0]]!r}, item {matrix.items[first[1]]!r}). Use counts if these are "
            "proportions of known trials, or pass resolution= (the smallest step between two values, e.g. 0.01)"
        )


def _sums_of_products(statistics: SufficientStatistics) -> tuple[float, float] | None:
    """Sum over observed cells of log(1 - y), and of -log y - log(1 - y).

    None where y are not at hand in one array, or too near an end.
    """
    values = statistics.values
    if sparse.issparse(values) or values.dtype != np.float32 or statistics.holds_logits:
        return None
    parts = over_ranges(
        lambda rows: _sums_of_logs(*statistics.stored(rows)), statistics.shape[0], rows_of(statistics.shape[1])
    )
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    log_y, log_complement = np.sum(known, axis=0)
    return float(log_complement), -float(log_y + log_complement)


def _sums_over_logits(statistics: SufficientStatistics) -> tuple[float, float]:
    """The same, over the observed cells that are not censored, from logits."""
    slope = constant = 0.0
    buffers = Buffers()
    for rows in statistics.blocks():
        z, n, *ends = statistics.components(rows, np.float32, buffers)
        if ends:  # what is censored has no density, and z is 0 there
            beyond = dense(ends[0], bool) | dense(ends[1], bool)
            seen = np.ones(beyond.shape, bool) if isinstance(n, int) else dense(n) > 0
            z, n = dense(z, np.float32)[seen & ~beyond][None, :], 1
        if sparse.issparse(z):
            cells = n.tocoo()
            z = np.asarray(z[cells.coords[0], cells.coords[1]], dtype=np.float64).reshape(1, -1)
            n = 1

        def sums(part: slice, z: Any = z, n: Any = n) -> tuple[float, float]:
            x = z[part] if isinstance(n, int) else z[part][n[part] > 0]
            return _sums_of_logits(x)

        for total, log_complement in over_ranges(sums, z.shape[0], rows_of(z.shape[1])):
            slope += log_complement
            constant += -total - 2.0 * log_complement
    # h = (phi - 1) log(1 - y) - log y  =  phi * [log(1 - y)]  +  [-log(1 - y) - log y], and log y = z + log(1 - y)
    return slope, constant


def _sums_of_logs(y: Any, n: Any) -> tuple[float, float] | None:
    """Sums of log y and of log(1 - y), a logarithm for `FACTORS` of them; None where a product could underflow."""
    n_cells, factors = y.size, np.full(y.size + -y.size % FACTORS, 0.5)
    factors[:n_cells] = np.ravel(y)
    if not isinstance(n, int):
        empty = np.ravel(n) == 0
        np.copyto(factors[:n_cells], 0.5, where=empty)
        n_cells -= np.count_nonzero(empty)
    if factors.min() < LEAST_FACTOR or factors.max() > 1.0 - LEAST_FACTOR:
        return None
    filled = (factors.size - n_cells) * np.log(0.5)
    log_y, log_complement = (
        float(np.log(np.multiply.reduce(x.reshape(FACTORS, -1), axis=0)).sum()) - filled
        for x in (factors, 1.0 - factors)
    )
    return log_y, log_complement


def _sums_of_logits(z: Any) -> tuple[float, float]:
    """Sum of z, and of log(1 - y) = -max(z, 0) - log(1 + exp(-|z|))."""
    total = float(z.sum(dtype=np.float64))
    tail = np.abs(z)
    above = (total + float(tail.sum(dtype=np.float64))) / 2.0
    return total, -above - float(np.log1p(np.exp(-tail)).sum(dtype=np.float64))
