"""Subjects that resemble each other: checkpoints of one run, fine-tunes of one base model.

Responses of such subjects to one item go together beyond what their abilities explain, so they tell less about the item
than as many independent subjects. The variance of the items' scores, added up within clusters before they are squared
(Liang and Zeger, 1986), over the variance that independence would give is the design effect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.engine import Outcome
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array

BLOCK_CELLS = 1_000_000
MIN_CLUSTERS = 3


def design_effects(statistics: SufficientStatistics, outcome: Outcome, cluster: NDArray[np.intp]) -> Array:
    """Design effects of log a and of d, means over the items, (2,); 1 is independence.

    Parameters
    ----------
    statistics : SufficientStatistics
    outcome : Outcome
    cluster : (n_subjects,) intp
        From 0; a subject of its own is a cluster of one.
    """
    items, step = outcome.items, outcome.step
    n_clusters = int(cluster.max()) + 1
    a = np.exp(items.log_a)
    together, alone, open_ = (np.zeros((items.n_items, 2)) for _ in range(3))
    order = np.argsort(cluster, kind="stable")
    size = max(1, BLOCK_CELLS // items.n_items)
    for begin in range(0, order.size, size):
        rows = order[begin : begin + size]
        t, n = statistics.cells(rows)
        slope = a * step.ability[rows, None]
        first = items.likelihood.score(t, n, slope + items.intercept, items.guessing)
        score = np.stack([first * slope, first], axis=-1)
        alone += (score**2).sum(axis=0)
        starts = np.flatnonzero(np.diff(cluster[rows], prepend=-1))
        sums = np.add.reduceat(score, starts, axis=0)
        if begin and cluster[rows[0]] != cluster[order[begin - 1]]:
            together += open_**2
            open_[:] = 0.0
        sums[0] += open_  # a cluster may begin in one block and end in another
        together += (sums[:-1] ** 2).sum(axis=0)
        open_ = sums[-1]
    together += open_**2
    correction = n_clusters / max(n_clusters - 1, 1)
    usable = (alone > 0).all(axis=1)
    ratio = correction * together[usable].sum(axis=0) / alone[usable].sum(axis=0)
    return np.asarray(np.maximum(ratio, 1.0))
