"""A response matrix from an array that somebody holds in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from irsl.errors import DataError, listed
from irsl.responses.matrix import DENSE_SHARE, ResponseMatrix, compressed, rows_for
from irsl.responses.report import Account, Unread
from irsl.responses.schema import KINDS
from irsl.responses.scores import INFINITE, MISSING
from irsl.threads import over_ranges

PIECE_CELLS = 400_000  # cells that a thread works on at once


def matrix_from_array(
    values: ArrayLike,
    *,
    subjects: Sequence[str] | None,
    items: Sequence[str] | None,
    n_samples: int | ArrayLike | None,
    benchmark: str,
    kind: str | None,
    account: Account,
) -> ResponseMatrix:
    """Check an array of scores and code it, block by block; the array is not changed.

    Returns
    -------
    ResponseMatrix
        For kind "aggregate" with the values as they are, under kind "probability".

    Raises
    ------
    DataError
        A value is out of range, the kind is not stated, a name occurs twice, or a subject has no response.
    """
    array = values if isinstance(values, np.memmap) else np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(
            f"values: expected a (n_subjects, n_items) array of numbers, found shape {array.shape}, dtype "
            f"{array.dtype}."
        )
    if array.size == 0:
        raise DataError(f"values: expected at least one subject and one item, found shape {array.shape}.")
    if kind is not None and kind not in KINDS:
        raise DataError(f"kind {kind!r} is not known; choose from {listed(KINDS)}.")
    rows = _checked_names(subjects, array.shape[0], "subject")
    columns = _checked_names(items, array.shape[1], "item")
    samples = _samples(n_samples, array.shape)
    if samples is not None and kind not in (None, "counts"):
        raise DataError(
            f"kind {kind!r} has no n_samples; use kind='counts', with successes as values, or leave it out."
        )
    if samples is None and kind == "counts":
        raise DataError("kind 'counts' needs n_samples: an int, or an array like values.")

    survey = _survey(array)
    seen = None if survey.complete else _seen(array)
    if seen is not None:
        _account_for_unread(array, seen, rows, columns, account)
    if kind is None:
        if samples is not None:
            kind = "counts"
        elif survey.binary:
            kind = "binary"
            account.notes.append("kind taken as binary, because every value is 0 or 1")
        else:
            raise DataError(
                "values: the kind of these scores is not stated, and they are not all 0 or 1. Say which: "
                "kind='probability' if they are probabilities or graded scores from 0 to 1, n_samples=... "
                "if they are numbers of successes, kind='aggregate' if they are benchmark means."
            )
    if kind == "counts" or (kind == "binary" and not survey.binary) or (kind == "probability" and not survey.unit):
        _check_values(array, seen, samples, kind, rows, columns)
    if samples is not None:
        answered = np.broadcast_to(samples > 0, array.shape)
        if not answered.all():
            seen = answered.copy() if seen is None else seen & answered
    if seen is not None:
        silent = np.flatnonzero(~seen.any(axis=1))
        if len(silent):
            raise DataError(
                f"values: expected a response of every subject, found none of {len(silent):,} of {len(rows):,} "
                f"(first: {rows[silent[0]]!r}). Leave these rows out."
            )
    small = kind == "binary" or (kind == "counts" and samples is not None and samples.max() <= np.iinfo(np.uint8).max)
    stored, trials = _stored(array, seen, samples, np.uint8 if small else np.float32)
    return ResponseMatrix(
        subjects=np.array(rows, dtype=object),
        items=np.array(columns, dtype=object),
        benchmarks=np.full(len(columns), benchmark, dtype=object),
        chance=np.zeros(len(columns)),
        kind="probability" if kind == "aggregate" else kind,
        values=stored,
        trials=trials,
        logits=_logits_lost(array, seen)
        if kind == "probability" and not isinstance(stored, sparse.csr_array)
        else None,
    )


@dataclass(frozen=True)
class _Survey:
    """What all values of an array are: finite, 0 or 1, between 0 and 1 (missing ones aside)."""

    complete: bool
    binary: bool
    unit: bool


def _survey(array: NDArray[Any]) -> _Survey:
    def of(rows: slice) -> tuple[bool, bool, bool]:
        part = array[rows]
        complete = True
        with np.errstate(over="ignore", invalid="ignore"):
            total = part.sum()
        if part.dtype.kind == "f" and not np.isfinite(total):  # a sum is finite only where all values are
            finite = np.isfinite(part)
            complete = bool(finite.all())
            part = part[finite]
        if part.size == 0:
            return complete, True, True
        unit = bool(part.min() >= 0 and part.max() <= 1)
        return complete, unit and bool(((part == 0) | (part == 1)).all()), unit

    parts = over_ranges(of, array.shape[0], rows_for(array.shape[1], PIECE_CELLS))
    return _Survey(*(all(column) for column in zip(*parts, strict=True)))


def _seen(array: NDArray[Any]) -> NDArray[np.bool_]:
    seen = np.empty(array.shape, bool)

    def fill(rows: slice) -> None:
        np.isfinite(array[rows], out=seen[rows])

    over_ranges(fill, array.shape[0], rows_for(array.shape[1], PIECE_CELLS))
    return seen


def _check_values(
    array: NDArray[Any],
    seen: NDArray[np.bool_] | None,
    samples: NDArray[Any] | None,
    kind: str,
    rows: list[str],
    columns: list[str],
) -> None:
    """Refuse values out of range, naming the first; judged as given, as float32 would round 1 + 1e-9."""
    step = rows_for(array.shape[1])
    for start in range(0, array.shape[0], step):
        block = slice(start, start + step)
        score = array[block] if seen is None else np.where(seen[block], array[block], 0)
        n = 1 if samples is None else samples if samples.shape == (1, 1) else samples[block]
        bad = (score < 0) | (score > n)
        if kind == "binary":
            bad |= ~((score == 0) | (score == 1))
        elif kind == "counts":
            bad |= score != np.round(score)
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise DataError(
                f"values, subject {rows[start + i]!r}, item {columns[j]!r}: expected {_EXPECTED[kind]}, found "
                f"{score[i, j]:g} ({bad.sum():,} such cells near it). Correct them, or state another kind."
            )


_EXPECTED = {
    "binary": "0 or 1, the kind being binary",
    "counts": "a whole number from 0 to n_samples",
    "probability": "a number from 0 to 1",
    "aggregate": "",
}


def _account_for_unread(
    array: NDArray[Any],
    seen: NDArray[np.bool_],
    rows: list[str],
    columns: list[str],
    account: Account,
) -> None:
    """Count what is not finite: NaN is missing, infinity an error of whoever wrote it."""
    for reason, test in ((MISSING, np.isnan), (INFINITE, np.isinf)):
        count, first = 0, ""
        step = rows_for(array.shape[1])
        for start in range(0, array.shape[0], step):
            block = slice(start, start + step)
            if seen[block].all():
                continue
            where = test(array[block])
            if not count and where.any():
                i, j = np.argwhere(where)[0]
                first = f"subject {rows[block.start + i]!r}, item {columns[j]!r}"
            count += int(where.sum())
        if count:
            account.unread.append(Unread("values", reason, count, first))


def _stored(
    array: NDArray[Any], seen: NDArray[np.bool_] | None, samples: NDArray[Any] | None, dtype: type[np.generic]
) -> tuple[Any, Any]:
    """Choose dense or compressed rows, and an int for the trials of complete data; a memory map stays where it is."""
    if seen is None:
        equal = samples is None or bool((samples == samples.flat[0]).all())
        values = array if isinstance(array, np.memmap) and array.dtype == dtype else _copied(array, None, dtype)
        if equal:
            return values, 1 if samples is None else int(samples.flat[0])
        assert samples is not None
        return values, samples.astype(np.float32)
    if seen.mean() < DENSE_SHARE:
        row, column = np.nonzero(seen)
        n = np.ones(len(row)) if samples is None else np.broadcast_to(samples, array.shape)[row, column]
        cells = array[row, column].astype(np.float32)
        return compressed(row, column, cells, array.shape), compressed(row, column, n, array.shape)
    values = _copied(array, seen, dtype)
    if samples is None:
        return values, seen.view(np.uint8)
    return values, np.where(seen, samples, 0).astype(dtype)


def _copied(array: NDArray[Any], seen: NDArray[np.bool_] | None, dtype: type[np.generic]) -> NDArray[Any]:
    """Storage of our own, 0 where missing."""
    values = np.empty(array.shape, dtype)

    def fill(rows: slice) -> None:
        values[rows] = array[rows] if seen is None else np.where(seen[rows], array[rows], 0)

    over_ranges(fill, array.shape[0], rows_for(array.shape[1], PIECE_CELLS))
    return values


def _logits_lost(array: NDArray[Any], seen: NDArray[np.bool_] | None) -> NDArray[np.float32] | None:
    """Logits of probabilities in double precision where single precision would make a 1 of one that is less."""
    if array.dtype != np.float64 or not array.size:
        return None
    limit = 1.0 - np.finfo(np.float32).epsneg
    near, ends = False, False
    step = rows_for(array.shape[1])
    for start in range(0, array.shape[0], step):
        part = array[start : start + step]
        near |= bool(((part > limit) & (part < 1)).any())
        ends |= bool(((part <= 0) | (part >= 1)).any())
    if not near or ends:
        return None
    y = array if seen is None else np.where(seen, array, 0.5)
    logits: NDArray[np.float32] = (np.log(y) - np.log1p(-y)).astype(np.float32)
    return logits


def _samples(n_samples: int | ArrayLike | None, shape: tuple[int, int]) -> NDArray[Any] | None:
    if n_samples is None:
        return None
    samples = np.asarray(n_samples)
    if samples.dtype.kind not in "iuf" or samples.shape not in ((), shape):
        raise DataError(f"n_samples: expected an int or integers of shape {shape}, found shape {samples.shape}.")
    samples = np.nan_to_num(samples, nan=0.0) if samples.dtype.kind == "f" else samples
    if (samples < 0).any() or (samples != np.round(samples)).any():
        raise DataError("n_samples: expected whole numbers, 0 or more.")
    return samples.reshape(1, 1) if samples.shape == () else samples


def _checked_names(names: Sequence[str] | None, n: int, what: str) -> list[str]:
    if names is None:
        return [f"{what}-{i}" for i in range(n)]
    if len(names) != n:
        raise DataError(f"{what}s: expected {n:,} names, one for each of values, found {len(names):,}.")
    if len(set(names)) != n:
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{what}s: expected each name once, found {twice!r} more than once.")
    return list(names)
