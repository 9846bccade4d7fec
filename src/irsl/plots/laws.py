"""Figures of the laws: abilities over compute, forecasts against what came, learning curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student_t

from irsl.plots.style import (
    BLUE,
    FAINT,
    ORANGE,
    QUIET,
    SMALL,
    accuracy_limits,
    flops_axis,
    key,
    nothing,
    panel,
    shortened,
    styled,
)

Array = NDArray[np.float64]
METHOD_COLOURS = {"irsl": BLUE, "classical": ORANGE}
METHOD_NAMES = {"irsl": "item-response law", "classical": "classical law"}
N_LINE = 40
APART = 0.025  # decades between the coloured recipes, so that their error bars do not hide each other


def ability_law(
    points: pl.DataFrame,
    trends: pl.DataFrame,
    *,
    title: str,
    target: str | None = None,
    colours: Mapping[str, str] | None = None,
    accuracy_of: Callable[[Array], Array] | None = None,
    level: float = 0.9,
) -> Figure:
    """Abilities of one benchmark's final checkpoints over compute, with the recipes' lines.

    Parameters
    ----------
    points : polars.DataFrame
        recipe, size, flops, ability, se_ability.
    trends : polars.DataFrame
        recipe, intercept, slope, se_intercept, se_slope, covariance, centre, tau, degrees; may be empty.
    title : str
    target : str, optional
        The held-out size, drawn hollow.
    colours : mapping of recipe to colour, optional
        Recipes to draw in colour, with their intervals: a band for the first, dashed edges for the others. All
        other recipes are thin and grey.
    accuracy_of : callable, optional
        Abilities (n,) to expected accuracies (n,): writes the accuracy on the right at the ability ticks.
    level : float
        Of bands and error bars.
    """
    chosen = dict(colours or {})
    with styled():
        figure, axes = panel(
            title,
            x_label="training compute (FLOPs)",
            y_label="ability (sd of calibration subjects)",
            right=0.42 if accuracy_of else 0.12,
        )
        shown = points.filter(pl.col("flops").is_not_null() & (pl.col("flops") > 0) & pl.col("ability").is_finite())
        if shown.is_empty():
            nothing(axes)
            return figure
        flops_axis(axes, shown["flops"])
        grid = np.geomspace(float(shown["flops"].min()), float(shown["flops"].max()), N_LINE)  # type: ignore[arg-type]
        z = norm.ppf((1 + level) / 2)
        others = shown.filter(~pl.col("recipe").is_in(list(chosen)))
        _marks(axes, others, target, FAINT, None)
        for row in trends.to_dicts():
            if row["recipe"] not in chosen:
                mean, _ = _line(row, grid, level)
                axes.plot(grid, mean, color=FAINT, linewidth=0.6, zorder=1)
        for rank, (recipe, colour) in reversed(list(enumerate(chosen.items()))):
            for row in trends.filter(pl.col("recipe") == recipe).to_dicts():
                mean, half = _line(row, grid, level)
                if rank == 0:
                    axes.fill_between(grid, mean - half, mean + half, color=colour, alpha=0.14, linewidth=0, zorder=2)
                else:
                    for edge in (mean - half, mean + half):
                        axes.plot(grid, edge, color=colour, linewidth=0.6, linestyle=(0, (3, 2)), zorder=2)
                axes.plot(grid, mean, color=colour, linewidth=1.3, zorder=4)
            apart = 10.0 ** (APART * (rank - (len(chosen) - 1) / 2))
            own = shown.filter(pl.col("recipe") == recipe).with_columns(flops=pl.col("flops") * apart)
            _marks(axes, own, target, colour, z)
        key(axes, chosen.items())
        if accuracy_of is not None:
            _accuracy_ticks(axes, accuracy_of)
    return figure


def _line(row: Mapping[str, Any], flops: Array, level: float) -> tuple[Array, Array]:
    """Mean and half width of the interval of a recipe's true ability at `flops`."""
    x = np.log10(flops) - row["centre"]
    variance = row["se_intercept"] ** 2 + 2 * x * row["covariance"] + x**2 * row["se_slope"] ** 2 + row["tau"] ** 2
    half = student_t.ppf((1 + level) / 2, row["degrees"]) * np.sqrt(np.maximum(variance, 0.0))
    return row["intercept"] + row["slope"] * x, half


def _marks(axes: Axes, points: pl.DataFrame, target: str | None, colour: str, z: float | None) -> None:
    """Draw points, hollow at the target size; with error bars of z standard errors unless z is None."""
    for hollow in (False, True):
        is_target = pl.col("size").eq_missing(target) if target is not None else pl.lit(False)
        part = points.filter(is_target if hollow else ~is_target)
        if part.is_empty():
            continue
        bars = None if z is None else z * part["se_ability"].fill_nan(0.0).fill_null(0.0).to_numpy()
        axes.errorbar(
            part["flops"].to_numpy(),
            part["ability"].to_numpy(),
            yerr=bars,
            fmt="o",
            markersize=3.0 if z is None else 4.0,
            markerfacecolor="white" if hollow else colour,
            markeredgecolor=colour,
            markeredgewidth=0.7 if z is None else 1.1,
            ecolor=colour,
            elinewidth=0.9,
            zorder=3 if z is None else 5,
        )


def _accuracy_ticks(axes: Axes, accuracy_of: Callable[[Array], Array]) -> None:
    low, high = axes.get_ylim()
    ticks = np.array([t for t in axes.get_yticks() if low <= t <= high])
    axes.set_ylim(low, high)
    across = axes.get_yaxis_transform()
    for tick, accuracy in zip(ticks, accuracy_of(ticks), strict=True):
        axes.text(1.02, tick, f"{accuracy:.2f}", transform=across, fontsize=SMALL, color=QUIET, va="center")
    axes.annotate(
        "accuracy",
        (1.0, 1.0),
        xycoords="axes fraction",
        xytext=(28, 9),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=SMALL,
        color=QUIET,
    )


def forecast_observed(forecasts: pl.DataFrame, *, title: str, level: float = 0.9) -> Figure:
    """Forecast accuracy of every recipe at the held-out size against the accuracy observed, by both laws.

    Parameters
    ----------
    forecasts : polars.DataFrame
        recipe, method, accuracy, accuracy_lower, accuracy_upper, observed; of one benchmark.
    title : str
    level : float
        Of the intervals in the frame, for the label.
    """
    with styled():
        figure, axes = panel(
            title,
            x_label="observed accuracy",
            y_label=f"forecast accuracy, {100 * level:.0f} % interval",
            size=(3.5, 3.3),
        )
        known = forecasts.filter(pl.col("observed").is_finite() & pl.col("accuracy").is_finite())
        if known.is_empty():
            nothing(axes)
            return figure
        low, high = accuracy_limits(*(known[c] for c in ("observed", "accuracy_lower", "accuracy_upper")))
        axes.plot([low, high], [low, high], color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        shift = 0.006 * (high - low)
        for sign, (method, colour) in zip((-1, 1), METHOD_COLOURS.items(), strict=True):
            part = known.filter(pl.col("method") == method)
            if part.is_empty():
                continue
            y, lower, upper = (part[c].to_numpy() for c in ("accuracy", "accuracy_lower", "accuracy_upper"))
            axes.errorbar(
                part["observed"].to_numpy() + sign * shift,
                y,
                yerr=np.stack([np.maximum(y - lower, 0), np.maximum(upper - y, 0)]),
                fmt="o" if method == "irsl" else "s",
                color=colour,
                markersize=3.6,
                markeredgewidth=0,
                elinewidth=0.8,
                zorder=3 if method == "irsl" else 2,
            )
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        key(axes, [(METHOD_NAMES[m], c) for m, c in METHOD_COLOURS.items() if (known["method"] == m).any()])
    return figure


def learning_curves(curves: pl.DataFrame, *, title: str, level: float = 0.9) -> Figure:
    """Accuracy over compute along the checkpoints of a few runs, from the abilities.

    Parameters
    ----------
    curves : polars.DataFrame
        run, label, flops, accuracy, accuracy_lower, accuracy_upper; runs in the order of their shade, light to dark.
    title : str
    level : float
        Of the intervals in the frame, for the label.
    """
    with styled():
        figure, axes = panel(
            title,
            x_label="training compute (FLOPs)",
            y_label=f"expected accuracy, {100 * level:.0f} % band",
            right=0.42,
        )
        known = curves.filter(pl.col("accuracy").is_finite() & (pl.col("flops") > 0))
        if known.is_empty():
            nothing(axes)
            return figure
        flops_axis(axes, known["flops"])
        runs = known["run"].unique(maintain_order=True).to_list()
        ends = []
        for rank, run in enumerate(runs):
            part = known.filter(pl.col("run") == run).sort("flops")
            colour = shade(rank, len(runs))
            x, y, low, high = (part[c].to_numpy() for c in ("flops", "accuracy", "accuracy_lower", "accuracy_upper"))
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(x, y, color=colour, linewidth=1.3, marker="o", markersize=2.2)
            ends.append((float(x[-1]), float(y[-1]), str(part["label"][0]), colour))
        axes.set_ylim(*accuracy_limits(known["accuracy_lower"], known["accuracy_upper"]))
        _label_ends(axes, ends)
    return figure


def shade(rank: int, n: int) -> str:
    """Colour of one of n ordered lines, from light to dark blue."""
    light, dark = np.array([0.42, 0.68, 0.86]), np.array([0.0, 0.16, 0.32])
    share = rank / max(n - 1, 1)
    red, green, blue = (round(255 * float(v)) for v in light + share * (dark - light))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Label lines at the right border, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.062 * (high - low)
    ends = sorted(ends, key=lambda end: end[1])
    places: list[float] = []
    for end in ends:
        places.append(max(end[1], places[-1] + gap) if places else end[1])
    ceiling = high
    for n in reversed(range(len(places))):
        places[n] = min(places[n], ceiling)
        ceiling = places[n] - gap
    for at, (_, _, label, colour) in zip(places, ends, strict=True):
        axes.text(
            1.02,
            at,
            shortened(label, 9),
            transform=axes.get_yaxis_transform(),
            fontsize=SMALL,
            va="center",
            color=colour,
        )
