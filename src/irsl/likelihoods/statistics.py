"""What the calibration engine reads of the data: sufficient statistics, block by block, of arrays as stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from irsl.threads import over_ranges

Array = NDArray[np.float64]
Matrix = Any  # (n_subjects, n_items) ndarray, memory map or scipy.sparse.csr_array
Rows = slice | NDArray[np.intp]

BLOCK_CELLS = 8_000_000  # cells of a block of subjects, 32 MB of float32
PIECE_CELLS = 200_000  # cells that a thread works on at once


def dense(cells: Matrix, dtype: Any = np.float64) -> NDArray[Any]:
    """Return a block of cells as an array of floats, whatever its storage; no copy where it is one already."""
    return np.asarray(cells.toarray() if sparse.issparse(cells) else cells, dtype=dtype)


@dataclass(frozen=True)
class Levels:
    """The distinct responses to every item, for likelihoods that are no exponential family: columns sorted by item.

    Attributes
    ----------
    item : (n_levels,) intp
        Item of each level, ascending.
    start : (n_items + 1,) intp
        Levels start[j] to start[j + 1] are those of item j.
    values, trials : (n_levels,) float64
    """

    item: NDArray[np.intp]
    start: NDArray[np.intp]
    values: Array
    trials: Array

    def take(self, items: NDArray[np.intp]) -> tuple[Levels, NDArray[np.intp]]:
        """Return the levels of some items, in that order, and their positions here."""
        length = np.diff(self.start)[items]
        start = np.concatenate([[0], np.cumsum(length)])
        position = np.repeat(self.start[items] - start[:-1], length) + np.arange(start[-1])
        item = np.repeat(np.arange(items.size), length)
        return Levels(item, start, self.values[position], self.trials[position]), position

    def total(self, table: Array) -> Array:
        """Sum a (n_levels, n_points) table over the levels of each item: (n_items, n_points)."""
        total = np.zeros((self.start.size - 1, table.shape[1]))
        some = np.flatnonzero(np.diff(self.start) > 0)
        if some.size:
            total[some] = np.add.reduceat(table, self.start[some], axis=0)
        return total


@dataclass(frozen=True)
class Expected:
    """What the E step leaves of the data: H_s = T_s(Y)^T E at the nodes, with E the expected cardinal functions.

    Attributes
    ----------
    components : tuple of (n_columns, R) float64
        One table per component of the statistics; one row where a component is the same in every cell.
    levels : Levels or None
        None: columns are items.
    """

    components: tuple[Array, ...]
    levels: Levels | None = None

    def take(self, items: NDArray[np.intp]) -> Expected:
        """Return those of some items."""
        if self.levels is None:
            return Expected(tuple(x if x.shape[0] == 1 else x[items] for x in self.components))
        levels, position = self.levels.take(items)
        return Expected(tuple(x[position] for x in self.components), levels)


class Buffers:
    """Arrays for the components of a block, used again for the next one: fresh memory costs more than arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """Return an array whose contents are whatever they were."""
        held = self._arrays.get(name)
        if held is None or held.dtype != dtype or held.shape[1:] != shape[1:] or held.shape[0] < shape[0]:
            held = self._arrays[name] = np.empty(shape, dtype)
        return held[: shape[0]]


def floats(name: str, cells: Any, dtype: Any, buffers: Buffers) -> Any:
    """A block of cells in a floating type; sparse ones, and those that have it, as they are."""
    if sparse.issparse(cells) or cells.dtype == dtype:
        return cells
    result = buffers.array(name, cells.shape, dtype)

    def convert(rows: slice) -> None:
        result[rows] = cells[rows]

    over_ranges(convert, cells.shape[0], rows_of(cells.shape[1]))
    return result


def rows_of(n_items: int) -> int:
    """Rows of a piece of a block that fits a core's cache."""
    return max(1, PIECE_CELLS // max(1, n_items))


def _as_stored(values: Any, trials: Any, dtype: Any, buffers: Buffers) -> tuple[Any, ...]:
    """T = k and n: the stored numbers themselves."""
    n = trials if isinstance(trials, int) else floats("trials", trials, dtype, buffers)
    return floats("values", values, dtype, buffers), n


@dataclass(frozen=True)
class SufficientStatistics:
    """T(y) and n of every cell, computed block by block from the responses as they are stored.

    Attributes
    ----------
    values, trials : (n_subjects, n_items) ndarray, memory map or csr_array
        Responses as stored, and their numbers of trials, 0 where missing; `trials` is an int where every cell is
        observed with that many.
    transform : callable
        Takes blocks of values and trials, a dtype and buffers; returns the components T_s of the block, T and n first.
    holds_logits : bool
        Whether `values` are logits of probabilities.
    constant : float
        Sum over the observed cells of the part of h(y) that has no parameter, in nats.
    slope : float
        Sum over the observed cells of the factor of the likelihood's own parameter in h(y); 0 without one.
    levels, indicator : Levels and (n_subjects, n_levels) csr_array, or None
        Which level every cell holds, for likelihoods over levels.
    """

    values: Matrix
    trials: Matrix | int
    constant: float
    slope: float = 0.0
    transform: Callable[[Any, Any, Any, Buffers], tuple[Any, ...]] = field(default=_as_stored)
    holds_logits: bool = False
    levels: Levels | None = None
    indicator: Any = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n_subjects, n_items)."""
        return (int(self.values.shape[0]), int(self.values.shape[1]))

    @property
    def is_complete(self) -> bool:
        """Whether every cell is observed with equal n."""
        return isinstance(self.trials, int)

    def stored(self, rows: Rows) -> tuple[Any, Any]:
        """Values and trials of some subjects, as stored."""
        return self.values[rows], self.trials if isinstance(self.trials, int) else self.trials[rows]

    def components(self, rows: Rows, dtype: Any = np.float64, buffers: Buffers | None = None) -> tuple[Any, ...]:
        """T_s of some subjects, (n_rows, n_columns) each; an int where it is the same in every cell.

        With `buffers`, the arrays hold until these are used again.
        """
        if self.indicator is not None:
            return (self.indicator[rows],)
        return self.transform(*self.stored(rows), dtype, Buffers() if buffers is None else buffers)

    def cells(self, rows: Rows) -> tuple[Array, Any]:
        """T and n of some subjects, dense, missing cells 0; T of a response beyond the resolution is infinite."""
        values, trials, *ends = self.transform(*self.stored(rows), np.float64, Buffers())
        t = dense(values)
        for end, beyond in zip(ends, (-np.inf, np.inf), strict=False):
            t = np.where(dense(end) > 0, beyond, t)
        return t, trials if isinstance(trials, int) else dense(trials)

    @property
    def n_cells(self) -> int:
        """Subjects times items."""
        return self.shape[0] * self.shape[1]

    def blocks(self, rows: int | None = None, *, within: slice | None = None) -> Iterator[slice]:
        """Blocks of all subjects, or of some, of at most `BLOCK_CELLS` cells, or of so many rows."""
        first, last = (0, self.shape[0]) if within is None else (within.start, within.stop)
        size = max(1, BLOCK_CELLS // max(self.shape[1], 1)) if rows is None else rows
        # equal blocks: a last one of a few rows would cost as much as a whole one
        size = -(-(last - first) // max(1, -(-(last - first) // size)))
        for start in range(first, last, max(size, 1)):
            yield slice(start, min(start + size, last))


def levels_of(values: Matrix, trials: Matrix | int) -> tuple[Levels, Any]:
    """Find the distinct (k, n) of every item, and the (n_subjects, n_levels) indicator of who gave which."""
    n_subjects, n_items = values.shape
    if isinstance(trials, int):
        row, item = (x.ravel() for x in np.indices(values.shape))
        k, n = dense(values).ravel(), np.full(row.size, float(trials))
    elif sparse.issparse(trials):
        cells = trials.tocoo()
        seen = cells.data > 0
        row, item, n = cells.coords[0][seen], cells.coords[1][seen], cells.data[seen].astype(np.float64)
        k = np.asarray(values[row, item], dtype=np.float64).ravel()
    else:
        row, item = np.nonzero(np.asarray(trials) > 0)
        k, n = np.asarray(values[row, item], dtype=np.float64), np.asarray(trials[row, item], dtype=np.float64)
    order = np.lexsort((n, k, item))
    ordered = item[order], k[order], n[order]
    new = np.ones(order.size, bool)
    new[1:] = np.any([x[1:] != x[:-1] for x in ordered], axis=0)
    column = np.empty(order.size, np.intp)
    column[order] = np.cumsum(new) - 1
    first = tuple(x[new] for x in ordered)
    start = np.searchsorted(first[0], np.arange(n_items + 1))
    levels = Levels(first[0].astype(np.intp), start.astype(np.intp), first[1], first[2])
    indicator = sparse.csr_array((np.ones(row.size, np.float32), (row, column)), shape=(n_subjects, first[0].size))
    return levels, indicator
