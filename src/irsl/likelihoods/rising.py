"""Logarithms of rising factorials s (s + 1) ... (s + c - 1), and their derivatives in s, for many c of few shapes s.

They are differences of gamma functions at x = s + c and s. The first factors are taken one by one; beyond y = s + FIRST

    log Gamma(x) - log Gamma(y) = (x - 1/2) log(x / y) + (c - FIRST) (log y - 1) + tail(1 / x) - tail(1 / y)

with log(x / y) = log1p((c - FIRST) / y) loses no digits where s is large, and derivatives need the same logarithm. The
tails are Stirling's series (Olver et al., 2010, section 5.11), off by less than 1e-12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]

FIRST = 10  # factors taken one by one
BLOCK_CELLS = 16_000  # cells worked on at once, so that they stay in the cache
LOG_GAMMA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680)  # coefficients of x^-1, x^-3, ...
DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240)  # of x^-2, x^-4, ...
TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30)  # of x^-3, x^-5, ...


def log_rising(shape: Array, item: Index, count: Array) -> Array:
    """Log of the product of so many factors from the shape of its item on, for every level.

    Parameters
    ----------
    shape : (n_items, n_points) float64
        Positive.
    item, count : (n_levels,) intp and float64
        Whole numbers; a count may be 0.

    Returns
    -------
    (n_levels, n_points) float64
    """
    first = _first(shape, np.log)
    y = shape + FIRST
    slope = np.log(y) - 1.0
    base = first[FIRST] - _log_gamma_tail(1.0 / y)
    result = np.empty((count.size, shape.shape[1]))
    for rows, own, more in _blocks(item, count, shape.shape[1]):
        x = y[own]
        growth = np.log1p(more / x)
        x += more
        more *= slope[own]
        more += base[own]
        more += _log_gamma_tail(1.0 / x)
        x -= 0.5
        x *= growth
        np.add(x, more, out=result[rows])
    return _with_few(result, first, item, count)


def rising_slopes(shape: Array, item: Index, count: Array) -> tuple[Array, Array]:
    """First and second derivative of `log_rising` in the shape."""
    first, first_second = _first(shape, np.reciprocal), _first(shape, lambda x: -(x**-2.0))
    y = shape + FIRST
    tail, second_tail = _slope_tails(1.0 / y)
    base, second_base = first[FIRST] - tail, first_second[FIRST] - second_tail
    result, second = (np.empty((count.size, shape.shape[1])) for _ in range(2))
    for rows, own, more in _blocks(item, count, shape.shape[1]):
        x = y[own]
        growth = np.log1p(more / x)
        x += more
        tail, second_tail = _slope_tails(1.0 / x)
        growth += tail
        np.add(growth, base[own], out=result[rows])
        np.add(second_tail, second_base[own], out=second[rows])
    return _with_few(result, first, item, count), _with_few(second, first_second, item, count)


def _first(shape: Array, term: Callable[[Array], Array]) -> Array:
    """Sums of the terms of the first 0, 1, ... FIRST factors, (FIRST + 1, n_items, n_points)."""
    sums = np.zeros((FIRST + 1, *shape.shape))
    for c in range(FIRST):
        np.add(sums[c], term(shape + c), out=sums[c + 1])
    return sums


def _blocks(item: Index, count: Array, n_points: int) -> Iterator[tuple[slice, Index, Array]]:
    """Levels in blocks, their items, and at every point the number of factors beyond the first."""
    size = max(1, BLOCK_CELLS // n_points)
    for start in range(0, count.size, size):
        rows = slice(start, start + size)
        more = np.maximum(count[rows] - FIRST, 0.0)
        yield rows, item[rows], np.repeat(more, n_points).reshape(-1, n_points)


def _with_few(result: Array, first: Array, item: Index, count: Array) -> Array:
    """Take levels of few factors from the sums of the first."""
    few = np.flatnonzero(count < FIRST)
    result[few] = first[count[few].astype(np.intp), item[few]]
    return result


def _series(r: Array, coefficients: tuple[float, ...]) -> Array:
    """Sum of coefficients times r^0, r^2, r^4, ..."""
    square = r * r
    total = np.full_like(r, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total *= square
        total += coefficient
    return total


def _log_gamma_tail(r: Array) -> Array:
    """Log Gamma(1 / r) beyond its logarithms."""
    return r * _series(r, LOG_GAMMA)


def _slope_tails(r: Array) -> tuple[Array, Array]:
    """Digamma of 1 / r beyond its logarithm, and trigamma."""
    square = r * r
    return square * _series(r, DIGAMMA) - 0.5 * r, r + 0.5 * square + r * square * _series(r, TRIGAMMA)
