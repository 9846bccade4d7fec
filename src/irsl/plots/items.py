"""Figures of the items: where they lie, and how well the curves fit."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from irsl.plots.style import BLUE, FAINT, INK, ORANGE, QUIET, SMALL, VERMILION, key, nothing, panel, styled

SPAN = 5.0
DARK_ORANGE = "#a06d00"
MIN_BINS, N_BINS = 14, 40
FIT_RANGE = (0.5, 1.5)


def item_map(difficulty: ArrayLike, ability: ArrayLike, *, title: str) -> Figure:
    """Subjects above and items below on one axis of ability and difficulty.

    Parameters
    ----------
    difficulty : (n_items,) float64
    ability : (n_subjects,) float64
        Both in sd of the calibration subjects; what lies beyond ±5 is counted at the border.
    title : str
    """
    items, subjects = (_finite(v) for v in (difficulty, ability))
    with styled():
        figure, axes = panel(
            title,
            x_label="ability and difficulty (sd of calibration subjects)",
            y_label="share of subjects and of items",
            left=0.06,
        )
        if items.size == 0 and subjects.size == 0:
            nothing(axes)
            return figure
        edge = min(SPAN, max(2.5, float(np.ceil(np.abs(np.concatenate([items, subjects])).max()))))
        fewest = min((v.size for v in (items, subjects) if v.size), default=1)
        edges = np.linspace(-edge, edge, 2 * int(np.clip(np.sqrt(fewest), MIN_BINS / 2, N_BINS / 2)) + 1)
        tallest = 0.0
        for values, sign, colour in ((subjects, 1, ORANGE), (items, -1, BLUE)):
            share = np.histogram(values, edges)[0] / max(values.size, 1)
            tallest = max(tallest, float(share.max()))
            axes.stairs(sign * share, edges, fill=True, color=colour, alpha=0.85, linewidth=0)
        axes.axhline(0, color=INK, linewidth=0.6)
        tallest = tallest or 1.0
        axes.set_ylim(-1.45 * tallest, 1.45 * tallest)
        axes.set_xlim(-edge * 1.02, edge * 1.02)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        n_above = int((items > subjects.max()).sum()) if items.size and subjects.size else 0
        above = f", {n_above:,} above all subjects" if n_above else ""
        key(axes, [(f"{subjects.size:,} subjects, by ability", DARK_ORANGE)])
        key(axes, [(f"{items.size:,} items, by difficulty{above}", BLUE)], corner="lower left", limit=60)
        for values, sign, colour in ((subjects, 1, DARK_ORANGE), (items, -1, BLUE)):
            _count_beyond(axes, values, edge, sign * 0.95 * tallest, colour)
    return figure


def _count_beyond(axes: Axes, values: NDArray[np.float64], edge: float, height: float, colour: str) -> None:
    """Write at either border how many values lie beyond it."""
    for n, side, text in (
        (int((values < -edge).sum()), -1, "← {:,} beyond"),
        (int((values > edge).sum()), 1, "{:,} beyond →"),
    ):
        if n:
            axes.text(
                side * edge,
                height,
                text.format(n),
                ha="right" if side > 0 else "left",
                va="center",
                fontsize=SMALL,
                color=colour,
            )


def proportions_curve(proportions: pl.DataFrame, *, title: str) -> Figure:
    """Observed against predicted proportions of right answers, in bins; points as large as the bins are full.

    Parameters
    ----------
    proportions : polars.DataFrame
        predicted, observed, n; of one benchmark.
    title : str
    """
    with styled():
        figure, axes = panel(
            title, x_label="predicted proportion right", y_label="observed proportion right", size=(3.5, 3.3)
        )
        if proportions.is_empty():
            nothing(axes)
            return figure
        x, y, n = (proportions[c].to_numpy().astype(np.float64) for c in ("predicted", "observed", "n"))
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        axes.plot(x, y, color=BLUE, linewidth=0.8, alpha=0.5, zorder=2)
        axes.scatter(x, y, s=4 + 60 * n / n.max(), color=BLUE, linewidth=0, alpha=0.9, zorder=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        gap = float(np.average(np.abs(x - y), weights=n))
        key(axes, [(f"mean gap {gap:.3f}", BLUE)])
    return figure


def fit_histogram(infit: ArrayLike, *, title: str) -> Figure:
    """Histogram of the items' infit, with 1 marked; what lies outside of 0.5 to 1.5 is counted at the border."""
    values = _finite(infit)
    with styled():
        figure, axes = panel(title, x_label="infit (1 = noise as the curves say)", y_label="items")
        if values.size == 0:
            nothing(axes)
            return figure
        low, high = FIT_RANGE
        counts, edges = np.histogram(np.clip(values, low, high), np.linspace(low, high, N_BINS + 1))
        axes.stairs(counts, edges, fill=True, color=FAINT, linewidth=0)
        axes.axvline(1.0, color=INK, linewidth=0.8)
        axes.set_ylim(0, 1.2 * counts.max())
        axes.set_xlim(low, high)
        key(axes, [("more regular than the curves", QUIET)])
        key(axes, [("noisier", VERMILION)], corner="upper right")
    return figure


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return np.asarray(array[np.isfinite(array)])
