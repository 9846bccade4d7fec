"""The ability axis: Chebyshev nodes where the data are touched, and finer points where posteriors are summed.

The log-likelihood of a subject is a smooth function of ability, so it is known everywhere once it is known at R
Chebyshev nodes: one matrix product with the data. Integrals are then trapezoidal sums of the interpolating polynomial,
over one grid for all subjects where that resolves their posteriors, else over a window around each. Their error falls
faster than any power of the spacing once that is below the posterior's standard deviation (Trefethen and Weideman,
2014): 5e-9 at a spacing of one standard deviation.
docs/mathematics.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from irsl.likelihoods.base import Array
from irsl.threads import over_ranges

POINTS = 21  # over +- 7 posterior sd: a spacing of .7 sd
HALF_WIDTH = 7.0
BENT = 1.0  # largest second difference of the log density that a spacing of one local sd gives
WEIGHTY = 16.0  # nats below the peak down to which that is asked
NEGLIGIBLE = 18.0  # nats below the peak at which a window may end
SUPPORT = 40.0  # nats below the peak that a narrower window keeps
NARROWED = 0.7
MAX_POINTS = 2561
MAX_ROUNDS = 60
TENSOR_CELLS = 2_000_000  # subjects x points x nodes held at once, 16 MB
PIECE_CELLS = 100_000  # of the same, that a thread works on at once
COARSE_POINTS = 97
SHARED_POINTS = 1000  # of a grid for all subjects; posteriors that need more get windows of their own
SHORTEST = 1e-9  # half of a window, of the nodes' interval
NARROW_SHARE = 0.1  # of the nodes' interval
LOCAL_NODES = 8

Windows = tuple[Array, Array]
LogWeight = Callable[[Array, NDArray[np.intp]], Array]


@dataclass(frozen=True)
class Nodes:
    """R Chebyshev nodes of the first kind on [low, high], with the barycentric basis of Berrut and Trefethen (2004)."""

    low: float
    high: float
    count: int

    @property
    def points(self) -> Array:
        """(R,) nodes, falling from high to low."""
        k = np.arange(self.count)
        x = np.cos((2 * k + 1) * np.pi / (2 * self.count))
        return np.asarray((self.low + self.high) / 2 + (self.high - self.low) / 2 * x)

    def basis(self, points: Array) -> Array:
        """Cardinal functions, (..., R) for points (...): basis @ f(nodes) interpolates f at the points."""
        k = np.arange(self.count)
        weight = (-1.0) ** k * np.sin((2 * k + 1) * np.pi / (2 * self.count))
        table = points[..., None] - self.points
        exact = np.abs(table) < 1e-13 * (self.high - self.low)
        hit = exact.any(axis=-1) if exact.any() else None
        if hit is not None:
            table[exact] = 1.0
        np.divide(weight, table, out=table)
        table /= table.sum(axis=-1, keepdims=True)
        if hit is not None:
            table[hit] = exact[hit]
        return np.asarray(table)


@dataclass(frozen=True)
class Posterior:
    """Posterior of a block of subjects: moments, and what the M step needs of it.

    Attributes
    ----------
    mean, sd : (n_subjects,) float64
        Posterior mean and standard deviation of ability.
    log_marginal : (n_subjects,) float64
        Log of the integral of likelihood times prior, in nats, without h(y).
    expectation : (n_subjects, R) float64
        Expected cardinal functions: for any smooth f, E[f(theta) | y] = expectation @ f(nodes).
    low, high : (n_subjects,) float64
        Window over which each was summed.
    """

    mean: Array
    sd: Array
    log_marginal: Array
    expectation: Array
    low: Array
    high: Array


def integrate(
    nodes: Nodes, log_likelihood: Array, log_weight: LogWeight, start: tuple[Array, Array] | None = None
) -> Posterior:
    """Integrate subjects' log-likelihoods at the nodes, (n_subjects, R), against a weight.

    Parameters
    ----------
    nodes : Nodes
    log_likelihood : (n_subjects, R) float64
    log_weight : callable
        Takes points (n, P) and the indices (n,) of their subjects; returns the log of the prior density there.
    start : pair of (n_subjects,) float64, optional
        Means and standard deviations that the posteriors had before; windows start there, and move where they must.
    """
    n = log_likelihood.shape[0]
    mean, sd, log_marginal, low, high = (np.empty(n) for _ in range(5))
    result = Posterior(mean, sd, log_marginal, np.empty((n, nodes.count)), low, high)

    def work(part: slice) -> None:
        rows = np.arange(part.start, part.stop)
        count, windows = COARSE_POINTS, None
        if start is not None:
            reach = np.maximum(HALF_WIDTH * start[1][rows], SHORTEST * (nodes.high - nodes.low))
            middle = np.clip(start[0][rows], nodes.low, nodes.high)
            windows = np.maximum(middle - reach, nodes.low), np.minimum(middle + reach, nodes.high)
            narrowest = 2.0 * float(reach.min()) / (POINTS - 1)
            count = int(min((nodes.high - nodes.low) / narrowest, SHARED_POINTS)) + 2
        rows, windows = _on_shared_points(nodes, log_likelihood, log_weight, rows, windows, count, result)
        if rows.size:
            _on_windows(nodes, log_likelihood, log_weight, windows, rows, result)

    over_ranges(work, n, max(16, PIECE_CELLS // (POINTS * nodes.count)))
    return result


def weights_on_windows(
    nodes: Nodes, log_likelihood: Array, log_weight: LogWeight, low: Array, high: Array, count: int
) -> tuple[Array, Array]:
    """Points (n, count) over the subjects' windows and their posterior weights there, each row's sum 1."""
    points = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, count)
    weight = np.empty_like(points)
    chunk = max(1, TENSOR_CELLS // (count * nodes.count))
    for first in range(0, low.size, chunk):
        rows = np.arange(first, min(first + chunk, low.size))
        value = (nodes.basis(points[rows]) @ log_likelihood[rows][:, :, None])[..., 0] + log_weight(points[rows], rows)
        part = np.exp(value - value.max(axis=1, keepdims=True))
        weight[rows] = part / part.sum(axis=1, keepdims=True)
    return points, weight


def _on_shared_points(
    nodes: Nodes,
    log_likelihood: Array,
    log_weight: LogWeight,
    rows: NDArray[np.intp],
    windows: Windows | None,
    count: int,
    result: Posterior,
) -> tuple[NDArray[np.intp], Windows]:
    """Sum over one grid for all subjects as long as it resolves their posteriors: products in place of tables of each.

    Returns the rows that are left, whose posteriors are too narrow, and windows for them.
    """
    while rows.size and (count <= SHARED_POINTS or windows is None):
        points = np.linspace(nodes.low, nodes.high, count)
        basis = nodes.basis(points)
        value = log_likelihood[rows] @ basis.T
        value += log_weight(np.broadcast_to(points, value.shape), rows)
        top = value.max(axis=1)
        bend = _sharpest(value, top)
        done = bend <= BENT
        if done.any():
            window = _supports(points, value[done], top[done], NEGLIGIBLE)
            _store(result, rows[done], points, value[done], top[done], window, partial(_through, basis=basis))
        narrow = _supports(points, value[~done], top[~done], SUPPORT)
        windows = narrow if windows is None else (windows[0][~done], windows[1][~done])
        rows = rows[~done]
        if rows.size:
            count = max(count + 1, int(min(1.2 * count * np.sqrt(bend.max()), 2 * SHARED_POINTS)))
    return rows, windows if windows is not None else (np.empty(0), np.empty(0))


def _sharpest(value: Array, top: Array) -> Array:
    """Largest second difference of each row where it has weight."""
    bend = np.abs(np.diff(value, 2, axis=1))
    return np.asarray(np.where(value[:, 1:-1] > (top - WEIGHTY)[:, None], bend, 0.0).max(axis=1))


def _supports(points: Array, value: Array, top: Array, nats: float) -> Windows:
    """From one point before to one after those within so many nats of each row's peak; points are shared or of each."""
    kept = value > (top - nats)[:, None]
    last = kept.shape[1] - 1
    first, final = kept.argmax(axis=1), last - kept[:, ::-1].argmax(axis=1)
    each = np.broadcast_to(points, value.shape)
    row = np.arange(value.shape[0])
    return each[row, np.maximum(first - 1, 0)], each[row, np.minimum(final + 1, last)]


def _on_windows(
    nodes: Nodes,
    log_likelihood: Array,
    log_weight: LogWeight,
    windows: Windows,
    rows: NDArray[np.intp],
    result: Posterior,
) -> None:
    """Fill in the results of some rows: move and narrow windows until each holds and resolves its posterior."""
    low, high = windows
    count = POINTS
    for attempt in range(MAX_ROUNDS):
        if rows.size * count * nodes.count > TENSOR_CELLS and rows.size > 1:
            half = rows.size // 2
            for part in (slice(0, half), slice(half, None)):
                _on_windows(nodes, log_likelihood, log_weight, (low[part], high[part]), rows[part], result)
            return
        share = np.linspace(0.0, 1.0, count)
        points = low[:, None] + (high - low)[:, None] * share
        # within a narrow window a polynomial of low degree is as good, and asks for fewer values of the whole one
        narrow = (high - low).max() < NARROW_SHARE * (nodes.high - nodes.low)
        through = Nodes(0.0, 1.0, LOCAL_NODES).basis(share) if narrow else None
        at = points if through is None else low[:, None] + (high - low)[:, None] * Nodes(0.0, 1.0, LOCAL_NODES).points
        basis = nodes.basis(at)
        value = (basis @ log_likelihood[rows][:, :, None])[..., 0]
        if through is not None:
            value = value @ through.T
        value += log_weight(points, rows)
        top = value.max(axis=1)
        sharp = _sharpest(value, top) > BENT
        cut_low = (value[:, 0] > top - NEGLIGIBLE) & (low > nodes.low)
        cut_high = (value[:, -1] > top - NEGLIGIBLE) & (high < nodes.high)
        done = ~(sharp | cut_low | cut_high) | (count >= MAX_POINTS) | (attempt == MAX_ROUNDS - 1)

        if done.any():
            own = partial(_through, basis=basis[done], local=through)
            _store(result, rows[done], points[done], value[done], top[done], (low[done], high[done]), own)
        if done.all():
            return
        open_ = ~done
        rows, low, high, value, points = rows[open_], low[open_], high[open_], value[open_], points[open_]
        low, high, stuck = _next_windows(nodes, low, high, value, points, cut_low[open_], cut_high[open_])
        if stuck.any():
            count = 2 * count - 1


def _through(weight: Array, *, basis: Array, local: Array | None = None) -> Array:
    """Expected cardinal functions from weights at points whose cardinal functions, shared or of each row, are `basis`.

    With `local`, the points' values went through those at a few local nodes, to which `basis` belongs.
    """
    weight = weight if local is None else weight @ local
    return np.asarray(weight @ basis if basis.ndim == 2 else (weight[:, None, :] @ basis)[:, 0, :])


def _next_windows(
    nodes: Nodes,
    low: Array,
    high: Array,
    value: Array,
    points: Array,
    cut_low: NDArray[np.bool_],
    cut_high: NDArray[np.bool_],
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Widen windows that end too high, narrow those that are too coarse; say which can be neither."""
    width, cut = high - low, cut_low | cut_high
    support = _supports(points, value, value.max(axis=1), SUPPORT)
    new_low = np.maximum(np.where(cut, low - cut_low * width / 2, support[0]), nodes.low)
    new_high = np.minimum(np.where(cut, high + cut_high * width / 2, support[1]), nodes.high)
    return new_low, new_high, ~cut & (new_high - new_low > NARROWED * width)


def _store(
    result: Posterior,
    rows: NDArray[np.intp],
    points: Array,
    value: Array,
    top: Array,
    window: Windows,
    expectation: Callable[[Array], Array],
) -> None:
    """Moments of some rows from the log density at points, shared (P,) or of each (n, P)."""
    weight = np.exp(value - top[:, None])
    total = weight.sum(axis=1)
    weight /= total[:, None]
    mean = (weight * points).sum(axis=1)
    result.mean[rows] = mean
    result.sd[rows] = np.sqrt((weight * (points - mean[:, None]) ** 2).sum(axis=1))
    result.log_marginal[rows] = top + np.log(total * (points[..., 1] - points[..., 0]))
    result.expectation[rows] = expectation(weight)
    result.low[rows], result.high[rows] = window
