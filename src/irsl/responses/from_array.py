"""A response matrix from an array that somebody holds in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from irsl.errors import DataError, listed
from irsl.responses.matrix import DENSE_SHARE, ResponseMatrix, compressed, rows_for
from irsl.responses.report import Account, Unread
from irsl.responses.schema import KINDS
from irsl.responses.scores import INFINITE, MISSING


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
    array = np.asarray(values)
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

    k = np.empty(array.shape, np.float32)
    seen = np.empty(array.shape, bool)
    step = rows_for(array.shape[1])
    blocks = [slice(start, start + step) for start in range(0, array.shape[0], step)]
    for block in blocks:
        finite = np.isfinite(array[block])
        seen[block] = finite
        k[block] = np.where(finite, array[block], 0)
    _account_for_unread(array, seen, blocks, rows, columns, account)

    if kind is None:
        if samples is not None:
            kind = "counts"
        elif all(_is_zero_or_one(k[block]).all() for block in blocks):
            kind = "binary"
            account.notes.append("kind taken as binary, because every value is 0 or 1")
        else:
            raise DataError(
                "values: the kind of these scores is not stated, and they are not all 0 or 1. Say which: "
                "kind='probability' if they are probabilities or graded scores from 0 to 1, n_samples=... "
                "if they are numbers of successes, kind='aggregate' if they are benchmark means."
            )
    expected = _EXPECTED[kind]
    for block in blocks if kind != "aggregate" else ():
        # Judged as given: float32 would round a count of many millions, or 1 + 1e-9.
        score = np.where(seen[block], array[block], 0)
        n = 1 if samples is None else samples if samples.shape == (1, 1) else samples[block]
        bad = (score < 0) | (score > n)
        if kind == "binary":
            bad |= ~_is_zero_or_one(score)
        elif kind == "counts":
            bad |= score != np.round(score)
            seen[block] &= n > 0
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise DataError(
                f"values, subject {rows[block.start + i]!r}, item {columns[j]!r}: expected {expected}, found "
                f"{score[i, j]:g} ({bad.sum():,} such cells near it). Correct them, or state another kind."
            )
    silent = np.flatnonzero(~seen.any(axis=1))
    if len(silent):
        raise DataError(
            f"values: expected a response of every subject, found none of {len(silent):,} of {len(rows):,} "
            f"(first: {rows[silent[0]]!r}). Leave these rows out."
        )
    stored, trials = _stored(k, seen, samples)
    return ResponseMatrix(
        subjects=np.array(rows, dtype=object),
        items=np.array(columns, dtype=object),
        benchmarks=np.full(len(columns), benchmark, dtype=object),
        chance=np.zeros(len(columns)),
        kind="probability" if kind == "aggregate" else kind,
        values=stored,
        trials=trials,
    )


_EXPECTED = {
    "binary": "0 or 1, the kind being binary",
    "counts": "a whole number from 0 to n_samples",
    "probability": "a number from 0 to 1",
    "aggregate": "",
}


def _is_zero_or_one(score: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((score == 0) | (score == 1))


def _account_for_unread(
    array: NDArray[Any],
    seen: NDArray[np.bool_],
    blocks: list[slice],
    rows: list[str],
    columns: list[str],
    account: Account,
) -> None:
    """Count what is not finite: NaN is missing, infinity an error of whoever wrote it."""
    for reason, test in ((MISSING, np.isnan), (INFINITE, np.isinf)):
        count, first = 0, ""
        for block in blocks:
            if seen[block].all():
                continue
            where = test(array[block])
            if not count and where.any():
                i, j = np.argwhere(where)[0]
                first = f"subject {rows[block.start + i]!r}, item {columns[j]!r}"
            count += int(where.sum())
        if count:
            account.unread.append(Unread("values", reason, count, first))


def _stored(k: NDArray[np.float32], seen: NDArray[np.bool_], samples: NDArray[Any] | None) -> tuple[Any, Any]:
    """Choose dense or compressed rows, and an int for the trials of complete data."""
    if seen.mean() < DENSE_SHARE:
        row, column = np.nonzero(seen)
        n = np.ones(len(row)) if samples is None else np.broadcast_to(samples, k.shape)[row, column]
        return compressed(row, column, k[row, column], k.shape), compressed(row, column, n, k.shape)
    if seen.all():
        if samples is None:
            return k, 1
        if (samples == samples.flat[0]).all():
            return k, int(samples.flat[0])
    k[~seen] = 0
    trials = seen.astype(np.float32)
    if samples is not None:
        trials *= samples
    return k, trials


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
