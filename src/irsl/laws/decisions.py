"""How good decisions between recipes are, and how smooth a curve is."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from irsl.errors import DataError


def decision_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of pairs that the prediction orders as the truth does.

    Pairs that tie in the truth are left out: there is nothing to decide. A pair that ties only in the prediction
    counts one half.

    Parameters
    ----------
    truth, predicted : (n,) array_like
        One value per recipe, higher is better.

    Returns
    -------
    float in 0..1; NaN where no pair differs in the truth

    Raises
    ------
    DataError
        Lengths differ, or a value is not finite.
    """
    t, p = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if t.shape != p.shape or t.ndim != 1:
        raise DataError(f"truth and predicted must be vectors of one length; found {t.shape} and {p.shape}")
    for name, values in (("truth", t), ("predicted", p)):
        if not np.isfinite(values).all():
            raise DataError(f"{name} must be finite; number {int(np.argmin(np.isfinite(values)))} (from 0) is not")
    i, j = np.triu_indices(t.size, 1)
    order = np.sign(t[i] - t[j])
    agreement = (1.0 + order * np.sign(p[i] - p[j])) / 2.0
    decided = order != 0
    return float(agreement[decided].mean()) if decided.any() else float("nan")


def total_variation(values: ArrayLike) -> float:
    """Roughness of a curve: V / (V - 1) times the sum of its steps' sizes over its total rise; 1 is monotone, nearly.

    Parameters
    ----------
    values : (V,) array_like
        The curve in order, V at least 2.

    Returns
    -------
    float
        inf, with a warning, for a curve that ends where it began but moves; NaN for a constant one.

    Raises
    ------
    DataError
        Fewer than two values, or one that is not finite.

    Source: Item Response Scaling Laws, section 4.1 (after Heineman et al., 2025).
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size < 2 or not np.isfinite(x).all():
        raise DataError("total variation needs a vector of at least two finite values")
    path, rise = float(np.abs(np.diff(x)).sum()), float(abs(x[-1] - x[0]))
    if rise == 0.0:
        warnings.warn("the curve ends where it began: its total variation has no finite value", stacklevel=2)
        return float("nan") if path == 0.0 else float("inf")
    return x.size / (x.size - 1) * path / rise
