"""The figure of the replays: error in accuracy by the way of choosing items."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from irsl.plots.style import BLUE, FAINT, INK, SMALL, TEXT, nothing, panel, styled

ROW = 0.42


def replay_errors(replays: pl.DataFrame, *, names: dict[str, str] | None = None) -> Figure:
    """Mean absolute error of accuracy per way of choosing items: a dot per benchmark and the mean of them.

    Parameters
    ----------
    replays : polars.DataFrame
        benchmark, selection, error.
    names : dict, optional
        What to call each selection.
    """
    means = (
        replays.filter(pl.col("error").is_finite())
        .group_by("selection", maintain_order=True)
        .agg(pl.col("error").mean().alias("mean"), pl.col("error"))
        .sort("mean", descending=True)
    )
    with styled():
        figure, axes = panel(
            "",
            x_label="mean absolute error of accuracy",
            y_label="",
            size=(3.5, max(1.2, ROW * means.height + 0.8)),
        )
        if means.is_empty():
            nothing(axes)
            return figure
        for place, row in enumerate(means.to_dicts()):
            best = place == means.height - 1
            axes.plot(row["error"], [place] * len(row["error"]), "o", color=FAINT, markersize=3.5, markeredgewidth=0)
            axes.plot(row["mean"], place, "o", color=BLUE if best else INK, markersize=5.5, markeredgewidth=0)
            axes.annotate(
                (names or {}).get(row["selection"], row["selection"]),
                (0, place),
                xycoords=axes.get_yaxis_transform(),
                xytext=(0, 6),
                textcoords="offset points",
                fontsize=TEXT,
                fontweight="bold" if best else "normal",
                color=BLUE if best else INK,
            )
            axes.annotate(
                f"{row['mean']:.3f}", (1, place), xycoords=axes.get_yaxis_transform(), xytext=(0, 6),
                textcoords="offset points", ha="right", fontsize=SMALL, color=BLUE if best else INK,
            )  # fmt: skip
        axes.set_ylim(-0.4, means.height - 0.2)
        axes.set_yticks(range(means.height), labels=[""] * means.height)
        axes.set_xlim(0, 1.06 * float(means.explode("error")["error"].max()))  # type: ignore[arg-type]
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="x")
    return figure
