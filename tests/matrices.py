"""Coded matrices made by hand, as the engine takes them, for tests of several rooms."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from irsl.responses.matrix import ResponseMatrix


def coded(values, kind, trials=1, logits=None) -> ResponseMatrix:
    """Values (n_subjects, n_items) as they are, with subjects s0, s1, ... and items i0, i1, ..."""
    n, m = values.shape
    subjects, items = (np.array([f"{w}{k}" for k in range(size)], dtype=object) for w, size in (("s", n), ("i", m)))
    return ResponseMatrix(subjects, items, np.full(m, "b", dtype=object), np.zeros(m), kind, values, trials, logits)


def as_csr(values, trials) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Observed cells of values and trials, float32; a value of 0 is stored with its trials only."""
    seen = np.nonzero(trials)
    return tuple(sparse.csr_array((x[seen].astype(np.float32), seen), shape=x.shape) for x in (values, trials))
