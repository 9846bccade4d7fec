"""Predictions that need no item response theory, fitted benchmark by benchmark.

The one constant of each is chosen on a tenth of the cells that it is given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit, logit

from validation.cells import P_RANGE, Array, Cells
from validation.scores import mean_loss

INNER = 0.1


def overall_mean(y: Array, _: float) -> Array:
    return np.full(y.shape, np.nanmean(y))


def item_mean(y: Array, pseudo_cells: float) -> Array:
    """Mean of each item, drawn to the benchmark's mean as if by so many more cells."""
    mean = (np.nansum(y, axis=0) + pseudo_cells * np.nanmean(y)) / (np.isfinite(y).sum(axis=0) + pseudo_cells)
    return np.broadcast_to(mean, y.shape)


def subject_mean(y: Array, pseudo_cells: float) -> Array:
    return item_mean(y.T, pseudo_cells).T


def additive_probability(y: Array, margin: float) -> Array:
    """Item mean + subject mean - mean, kept inside (margin, 1 - margin)."""
    return np.clip(item_mean(y, 1e-9) + subject_mean(y, 1e-9) - np.nanmean(y), margin, 1.0 - margin)


def additive_logit(y: Array, ridge: float) -> Array:
    """Logistic(mean + subject + item), both with a ridge: the Rasch model by penalised joint likelihood."""
    seen = np.isfinite(y)
    filled, count = np.where(seen, y, 0.0), seen.astype(np.float64)
    middle = float(logit(np.clip(np.nanmean(y), *P_RANGE)))
    subject, item = np.zeros((y.shape[0], 1)), np.zeros((1, y.shape[1]))

    def step(effect: Array, axis: int) -> Array:
        p = expit(middle + subject + item)
        score = (filled - p * count).sum(axis=axis, keepdims=True) - ridge * effect
        return np.clip(score / ((p * (1.0 - p) * count).sum(axis=axis, keepdims=True) + ridge), -1.0, 1.0)

    for _ in range(60):
        item_step, subject_step = step(item, 0), 0.0
        item = item + item_step
        subject_step = step(subject, 1)
        subject = subject + subject_step
        middle, subject = middle + subject.mean(), subject - subject.mean()
        if max(np.abs(item_step).max(), np.abs(subject_step).max()) < 1e-3:
            break
    return expit(middle + subject + item)


PSEUDO_CELLS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
BASELINES: dict[str, tuple[Callable[[Array, float], Array], tuple[float, ...]]] = {
    "overall mean": (overall_mean, (0.0,)),
    "subject mean": (subject_mean, PSEUDO_CELLS),
    "item mean": (item_mean, PSEUDO_CELLS),
    "additive, probability": (additive_probability, (0.001, 0.003, 0.01, 0.03, 0.1)),
    "additive, logit": (additive_logit, (0.03, 0.1, 0.3, 1.0, 3.0)),
}


def fit_baseline(name: str, train: Cells, rng: np.random.Generator) -> Array:
    """Return the baseline's probabilities, (n_subjects, n_items)."""
    fit, constants = BASELINES[name]
    best = constants[0]
    if len(constants) > 1:
        inner = rng.random(train.subject.size) < INNER
        kept, asked = train.take(~inner), train.take(inner)
        losses = []
        for constant in constants:
            p = by_benchmark(kept, lambda y, value=constant: fit(y, value))[asked.subject, asked.item]
            losses.append(mean_loss(asked, np.clip(p, *P_RANGE)))
        best = constants[int(np.argmin(losses))]
    return np.clip(by_benchmark(train, lambda y: fit(y, best)), *P_RANGE)


def by_benchmark(cells: Cells, fit: Callable[[Array], Array]) -> Array:
    y, p = cells.dense(cells.response), np.full(cells.shape, np.nan)
    for b in range(len(cells.benchmarks)):
        columns = np.flatnonzero(cells.benchmark == b)
        rows = np.flatnonzero(np.isfinite(y[:, columns]).any(axis=1))
        p[np.ix_(rows, columns)] = fit(y[np.ix_(rows, columns)])
    return p
