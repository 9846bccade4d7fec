"""Scores of predicted cells."""

from __future__ import annotations

import numpy as np

from validation.cells import Array, Cells, Codes

N_BINS = 10


def log_loss(y: Array, p: Array) -> Array:
    """Nats per trial; y may be a proportion of trials."""
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


def mean_loss(cells: Cells, p: Array) -> float:
    loss = (cells.response - p) ** 2 if cells.plan.kind == "probability" else log_loss(cells.response, p)
    return float(np.average(loss, weights=cells.trials))


def auc(score: Array, positive: Array, negative: Array, group: Codes | None = None) -> float:
    """Mean over groups of the probability that a success has a higher score than a failure, ties counting one half.

    Parameters
    ----------
    score, positive, negative : (n_cells,) float64
        A score and the successes and failures that it was given to.
    group : (n_cells,) int, optional
        Groups without both outcomes do not count. Without it all cells are one.
    """
    group = np.zeros(score.size, dtype=np.intp) if group is None else group
    rounded = np.round(score, 9)
    order = np.lexsort((rounded, group))
    group, rounded = group[order], rounded[order]
    new = np.r_[True, (np.diff(rounded) != 0) | (np.diff(group) != 0)]
    place = np.flatnonzero(new)
    wins, losses = np.add.reduceat(positive[order], place), np.add.reduceat(negative[order], place)
    group = group[place]
    n = int(group.max()) + 1
    n_wins, n_losses = np.bincount(group, wins, n), np.bincount(group, losses, n)
    below = np.cumsum(losses) - losses - np.r_[0.0, np.cumsum(n_losses)][group]
    pairs = np.bincount(group, wins * (below + losses / 2.0), n)
    both = (n_wins > 0) & (n_losses > 0)
    return float((pairs[both] / (n_wins[both] * n_losses[both])).mean()) if both.any() else float("nan")


def score(test: Cells, p: Array) -> dict[str, float]:
    y, n = test.response, test.trials
    if test.plan.kind == "probability":
        return {"squared_error": float(((y - p) ** 2).mean()), "absolute_error": float(np.abs(y - p).mean())}
    wins, losses = y * n, (1.0 - y) * n
    return {
        "log_score": -mean_loss(test, p),
        "brier": float(np.average(y * (1.0 - p) ** 2 + (1.0 - y) * p**2, weights=n)),
        "auc": auc(p, wins, losses),
        "auc_within_item": auc(p, wins, losses, test.item),
        "auc_within_subject": auc(p, wins, losses, test.subject),
    }


def clustered(values: Array, weights: Array, cluster: Codes) -> tuple[float, float]:
    """Weighted mean and its standard error, the clusters being independent."""
    mean = float(np.average(values, weights=weights))
    total = np.bincount(cluster, weights * (values - mean))
    n = np.unique(cluster).size
    return mean, float(np.sqrt((total**2).sum() * n / max(n - 1, 1)) / weights.sum())


def calibration_bins(p: Array, y: Array, n: Array, subject: Codes) -> list[dict[str, float]]:
    """Mean prediction and mean response in bins of equally many cells, with an error clustered by subject."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, N_BINS + 1)[1:-1]))
    of_bin = np.searchsorted(edges, p, side="right")
    bins = []
    for k in np.unique(of_bin):
        inside = of_bin == k
        observed, se = clustered(y[inside], n[inside], subject[inside])
        bins.append(
            {"predicted": float(np.average(p[inside], weights=n[inside])), "observed": observed, "se": se,
             "share": float(inside.mean())}
        )  # fmt: skip
    return bins
