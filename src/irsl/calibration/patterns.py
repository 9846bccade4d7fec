"""Groups of subjects who were given the same items, and the blocks of items that they define.

Where weak subjects were only given easy items, one normal population for all draws the two groups together and with
them the difficulties (docs/coverage.md). Groups then get a mean and a spread of their own. Where instead the responses
themselves decided which items came next, as in an adaptive test, the likelihood accounts for that alone and groups
would do harm, so patterns that the responses to common items separate completely are left in one population. Either way
blocks differ in difficulty by design, and each gets a mean of its own in the items' prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from irsl.likelihoods.statistics import dense

MIN_REPEATED = 2  # subjects with a pattern that defines blocks of items
MIN_GROUP = 5  # subjects with a pattern that get a population of their own
MIN_COVERED = 0.9  # share of the subjects whose pattern somebody else has too
MIN_BLOCK = 3
MIN_COMMON, MANY_COMMON = 3, 200  # shared items that tie a group to the others, and that make a population idle
NEWTON_STEPS = 30
RIDGE = 1e-4


@dataclass(frozen=True)
class Patterns:
    """Who was given what.

    Attributes
    ----------
    group : (n_subjects,) intp
        Population of every subject: all 0 where one is right for all.
    block : (n_items,) intp
        Items that the same groups saw: all 0 where there are no groups.
    """

    group: NDArray[np.intp]
    block: NDArray[np.intp]


def find_patterns(values: Any, trials: Any) -> Patterns:
    """Find groups of subjects and blocks of items.

    Parameters
    ----------
    values, trials : (n_subjects, n_items) ndarray or csr_array, or an int for trials
        As stored; complete data have one pattern.
    """
    n_subjects, n_items = values.shape
    one = Patterns(np.zeros(n_subjects, np.intp), np.zeros(n_items, np.intp))
    if isinstance(trials, int):
        return one
    pattern = _patterns(trials)
    size = np.bincount(pattern)
    repeated, large = (np.flatnonzero(size >= least) for least in (MIN_REPEATED, MIN_GROUP))
    if repeated.size < 2 or size[repeated].sum() < MIN_COVERED * pattern.size:
        return one
    first = {p: int(np.argmax(pattern == p)) for p in repeated}
    seen = {p: dense(trials[[first[p]]])[0] > 0 for p in repeated}
    block = np.unique(np.stack(list(seen.values()), axis=1), axis=0, return_inverse=True)[1].ravel()
    if np.bincount(block).min() < MIN_BLOCK:
        block = one.block
    group = one.group
    found = [(int(p), seen[p]) for p in large]
    covered = len(found) > 1 and size[large].sum() >= MIN_COVERED * pattern.size
    if covered and _have_own_populations(values, trials, pattern, found):
        # the others are a group of their own, or go with the largest one where they are too few
        others = pattern.size - size[large].sum()
        number = np.full(size.size, large.size if others >= MIN_GROUP else int(size[large].argmax()))
        number[large] = np.arange(large.size)
        group = np.unique(number[pattern], return_inverse=True)[1].ravel()
    return Patterns(group, block)


def _have_own_populations(
    values: Any, trials: Any, pattern: NDArray[np.intp], groups: list[tuple[int, NDArray[np.bool_]]]
) -> bool:
    """Whether items tie the groups together, and some two were not told apart by the responses to those they share."""
    seen = np.stack([items for _, items in groups])
    shared = seen.astype(np.int64) @ seen.T.astype(np.int64)
    np.fill_diagonal(shared, 0)
    if not _connected(shared >= MIN_COMMON):
        return False
    for i in range(1, len(groups)):
        j = int(shared[i, :i].argmax())
        # with many shared items abilities are so well known that a population hardly matters
        if MIN_COMMON <= shared[i, j] <= MANY_COMMON:
            common = np.flatnonzero(seen[i] & seen[j])
            both = (np.flatnonzero(pattern == groups[k][0]) for k in (i, j))
            if not _routed(*(_shares(values, trials, rows, common) for rows in both)):
                return True
    return False


def _patterns(trials: Any) -> NDArray[np.intp]:
    """Number the patterns of observed items in the order in which they occur."""
    known: dict[bytes, int] = {}
    pattern = np.empty(trials.shape[0], np.intp)
    for i in range(trials.shape[0]):
        if sparse.issparse(trials):
            row = slice(trials.indptr[i], trials.indptr[i + 1])
            key = np.sort(trials.indices[row][trials.data[row] > 0]).tobytes()
        else:
            key = np.packbits(np.asarray(trials[i]) > 0).tobytes()
        pattern[i] = known.setdefault(key, len(known))
    return pattern


def _connected(tied: NDArray[np.bool_]) -> bool:
    n, _ = connected_components(sparse.csr_array(tied.astype(np.int8)), directed=False)
    return bool(n == 1)


def _shares(values: Any, trials: Any, rows: NDArray[np.intp], common: NDArray[np.intp]) -> NDArray[np.float64]:
    """Response in 0..1 of each subject to each of the common items."""
    k, n = (dense(x[rows][:, common]) for x in (values, trials))
    return np.asarray(k / n)


def _routed(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether some weighted score of the common items tells the two groups apart without error (a logistic regression).

    It always does with more items than subjects; then abilities are so well known that a population hardly matters.
    """
    x = np.concatenate([first, second])
    if x.shape[1] + 1 >= x.shape[0]:
        return True
    x = np.concatenate([x - x.mean(axis=0), np.ones((x.shape[0], 1))], axis=1)
    y = np.repeat([1.0, 0.0], [first.shape[0], second.shape[0]])
    weight = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = expit(x @ weight)
        curvature = (x * (p * (1 - p))[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
        weight += np.linalg.solve(curvature, x.T @ (y - p) - RIDGE * weight)
    score = x @ weight
    return bool(score[y == 1].min() > score[y == 0].max())
