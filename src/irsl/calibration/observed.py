"""Responses of a matrix on the scale of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from irsl.likelihoods.base import Array

if TYPE_CHECKING:
    from irsl.responses.matrix import ResponseMatrix


def observed_responses(matrix: ResponseMatrix) -> Array:
    """(n_subjects, n_items) observed responses in 0..1, NaN where missing."""
    values = matrix.values if isinstance(matrix.values, np.ndarray) else matrix.values.toarray()
    if isinstance(matrix.trials, int):
        return np.asarray(values, dtype=np.float64) / matrix.trials
    trials = matrix.trials if isinstance(matrix.trials, np.ndarray) else matrix.trials.toarray()
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(trials > 0, np.asarray(values, dtype=np.float64) / trials, np.nan)
