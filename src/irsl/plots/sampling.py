"""The figure of repeated sampling: pass@k over k with what is known of it, and the classical power law beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from irsl.errors import DataError
from irsl.laws.power_law import fit_power_law
from irsl.plots.style import (
    BLUE,
    BOTTOM,
    FAINT,
    GREEN,
    INK,
    LEFT,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    SMALL,
    TEXT,
    TOP,
    VERMILION,
    accuracy_limits,
    key,
    nothing,
    power_of_ten,
    shortened,
    styled,
)

Array = NDArray[np.float64]
OLIVE = "#8a7a00"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, INK, SKY, OLIVE)
N_OF_MANY = 6  # subjects in colour where some are grey
WIDTH, HEIGHT, KEY_WIDTH, GAP = 3.5, 3.1, 1.85, 0.1  # inches: of a panel, of the figure, of the key, and before it
DASHES = (0, (3.2, 1.8))
DOTS = (0, (1.0, 1.6))
LEAST_FAILURE = 1e-3  # -log pass@k below this is not shown: a thousandth from pass@k = 1
MOST_PLAIN = 1e5  # numbers of samples up to this are written out


def sampling_curves(
    curves: pl.DataFrame, points: pl.DataFrame | None = None, *, title: str, level: float = 0.9
) -> Figure:
    """pass@k over k, and -log pass@k over k on logarithmic axes with classical power laws through the unbiased values.

    Up to 8 subjects are all in colour; of more, 6 evenly spaced over the order of the frame, first and last included,
    and the others are thin and grey. A curve is dashed beyond the samples of an item, and ends where it is not
    identified: a dotted line at the lower bound and hatching above are all that is drawn there.

    Parameters
    ----------
    curves : polars.DataFrame
        subject, k, pass_at_k (null where not identified), pass_at_k_lower, pass_at_k_upper, identified, n_samples (of
        an item); of one benchmark, best subject first.
    points : polars.DataFrame, optional
        subject, k, pass_at_k: unbiased values, where they exist.
    title : str
    level : float
        Of the intervals in the frame, for the label.
    """
    with styled(), mpl.rc_context({"hatch.linewidth": 0.4}):
        figure, rates, failures, names = _panels(
            title, f"pass@k, {100 * level:g} % band", "-log pass@k, both axes logarithmic"
        )
        order = curves["subject"].unique(maintain_order=True).to_list()
        if not order:
            for axes in (rates, failures):
                nothing(axes)
            return figure
        n_chosen = len(order) if len(order) <= len(COLOURS) else N_OF_MANY
        chosen = np.linspace(0, len(order) - 1, n_chosen).round().astype(int)
        colours = {order[place]: colour for place, colour in zip(chosen, COLOURS, strict=False)}
        by_subject = {str(subject): part.sort("k") for (subject,), part in curves.group_by("subject")}
        dots = {} if points is None else {str(s): part.sort("k") for (s,), part in points.group_by("subject")}
        for axes, scale in ((rates, _as_is), (failures, _minus_log)):
            _draw_all(axes, scale, by_subject, dots, colours)
        n_laws = _draw_power_laws(failures, dots, colours, curves["k"].to_numpy())
        _limits(rates, failures, curves, by_subject, colours)
        n_grey = len(order) - len(colours)
        entries = [(subject, colours[subject]) for subject in order if subject in colours]
        key(names, [*entries, *([(f"{n_grey} others", FAINT)] if n_grey else [])], limit=28)
        _explain(names, curves, has_points=bool(dots.keys() & colours.keys()), has_laws=n_laws > 0)
    return figure


def _panels(title: str, *y_labels: str) -> tuple[Figure, Axes, Axes, Axes]:
    """Return two panels side by side, as `style.panel` has them, and empty axes for the key."""
    width = 2 * WIDTH + GAP + KEY_WIDTH
    figure = Figure(figsize=(width, HEIGHT))
    place = 1 - 0.14 / HEIGHT
    if title:
        figure.text(0.0, place, shortened(title, 90), fontsize=TEXT + 1, fontweight="bold", va="center")
    place -= 0.17 / HEIGHT
    height = 1 - (BOTTOM + TOP) / HEIGHT
    both = []
    for index, y_label in enumerate(y_labels):
        start = index * WIDTH
        inner = WIDTH - LEFT - 0.12
        axes = figure.add_axes(((start + LEFT) / width, BOTTOM / HEIGHT, inner / width, height))
        figure.text(start / width, place, y_label, fontsize=SMALL, color=QUIET, va="center")
        figure.text(
            (start + LEFT + inner / 2) / width,
            0.1 / HEIGHT,
            "k, samples",
            fontsize=SMALL,
            color=QUIET,
            ha="center",
            va="center",
        )
        both.append(axes)
    names = figure.add_axes(((2 * WIDTH + GAP) / width, BOTTOM / HEIGHT, KEY_WIDTH / width, height))
    names.set_axis_off()
    return figure, both[0], both[1], names


def _as_is(p: Array) -> Array:
    return p


def _minus_log(p: Array) -> Array:
    return np.asarray(-np.log(np.clip(p, 1e-300, 1.0)))


def _draw_all(
    axes: Axes,
    scale: Callable[[Array], Array],
    curves: Mapping[str, pl.DataFrame],
    points: Mapping[str, pl.DataFrame],
    colours: Mapping[str, str],
) -> None:
    """Draw every subject's curve, and of those in colour the bands, the unbiased values and the bounds."""
    for subject, curve in curves.items():
        colour = colours.get(subject, FAINT)
        known = curve.filter("identified")
        k, p = known["k"].to_numpy(), known["pass_at_k"].to_numpy()
        low, high = (scale(known[f"pass_at_k_{end}"].to_numpy()) for end in ("lower", "upper"))
        bought = k <= curve["n_samples"][0]
        beyond = ~bought
        beyond[:-1] |= beyond[1:]  # the dashes begin where the solid line ends
        coloured = subject in colours
        width, rank = (1.3, 4) if coloured else (0.45, 1)
        axes.plot(k[bought], scale(p[bought]), color=colour, linewidth=width, zorder=rank)
        axes.plot(k[beyond], scale(p[beyond]), color=colour, linewidth=width, linestyle=DASHES, zorder=rank)
        if not coloured:
            continue
        axes.fill_between(k, low, high, color=colour, alpha=0.13, linewidth=0, zorder=2)
        bound = curve.filter(~pl.col("identified"))
        if bound.height:
            at = scale(bound["pass_at_k_lower"].to_numpy())
            axes.plot(bound["k"].to_numpy(), at, color=colour, linewidth=0.9, linestyle=DOTS, zorder=3)
        if subject in points:
            own = points[subject].filter(pl.col("pass_at_k") > 0)
            axes.plot(
                own["k"].to_numpy(),
                scale(own["pass_at_k"].to_numpy()),
                linestyle="none",
                marker="o",
                markersize=2.6,
                markerfacecolor="white",
                markeredgecolor=colour,
                markeredgewidth=0.7,
                zorder=5,
            )
    open_ended = pl.concat([c.filter(~pl.col("identified")) for s, c in curves.items() if s in colours])
    if open_ended.height:
        lowest = open_ended.group_by("k").agg(pl.col("pass_at_k_lower").min()).sort("k")
        at = scale(lowest["pass_at_k_lower"].to_numpy())
        ceiling = np.broadcast_to(scale(np.array([1.0])), at.shape)
        axes.fill_between(
            lowest["k"].to_numpy(), at, ceiling, facecolor="none", edgecolor=FAINT, hatch="////", linewidth=0, zorder=0
        )


def _draw_power_laws(axes: Axes, points: Mapping[str, pl.DataFrame], colours: Mapping[str, str], k: Array) -> int:
    """Draw the classical law through the unbiased values of each subject in colour; say how many have one."""
    ends = np.array([k.min(), k.max()], dtype=np.float64)
    n_laws = 0
    for subject, colour in colours.items():
        if subject not in points:
            continue
        own = points[subject]
        try:
            law = fit_power_law(own["k"].to_numpy(), own["pass_at_k"].to_numpy())
        except DataError:  # too few values between 0 and 1
            continue
        axes.plot(ends, law.a * ends**-law.b, color=colour, linewidth=0.6, zorder=3)
        n_laws += 1
    return n_laws


def _limits(
    rates: Axes,
    failures: Axes,
    curves: pl.DataFrame,
    by_subject: Mapping[str, pl.DataFrame],
    colours: Mapping[str, str],
) -> None:
    shown = pl.concat([curve for subject, curve in by_subject.items() if subject in colours])
    first, last = float(curves["k"].min()), float(curves["k"].max())  # type: ignore[arg-type]
    for axes in (rates, failures):
        axes.set_xscale("log")
        axes.set_xlim(first / 1.15, max(last, first * 2) * 1.15)
        _number_ticks(axes, "x")
    means = curves["pass_at_k"].drop_nulls()
    low, high = accuracy_limits(shown["pass_at_k_lower"], shown["pass_at_k_upper"], means)
    rates.set_ylim(low, high)
    rates.yaxis.set_major_locator(MaxNLocator(5))
    failure = _minus_log(pl.concat([means, shown["pass_at_k_lower"]]).to_numpy())
    failure = failure[failure >= LEAST_FAILURE]
    failures.set_yscale("log")
    bottom, top = (float(failure.min()), float(failure.max())) if failure.size else (LEAST_FAILURE, 1.0)
    failures.set_ylim(bottom / 1.25, max(top, 2 * bottom) * 1.25)
    _number_ticks(failures, "y")


def _number_ticks(axes: Axes, which: str) -> None:
    """Ticks at powers of ten, also at 2 and 5 times these where there would be fewer than three, written plainly."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)):
        ticks = np.sort(np.multiply.outer(10.0**exponents, steps).ravel())
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if ticks.size >= 3:
            break
    axis.set_major_locator(FixedLocator(ticks[:: max(1, int(np.ceil(ticks.size / 8)))].tolist()))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plainly(value)))


def _plainly(value: float) -> str:
    """Write 10000 as 10,000 and 0.001 as it is; larger numbers as powers."""
    return f"{value:,.6g}" if value <= MOST_PLAIN else power_of_ten(value)


def _explain(names: Axes, curves: pl.DataFrame, *, has_points: bool, has_laws: bool) -> None:
    """Say at the foot of the key what the marks are that the figure has."""
    line = {"color": QUIET, "linewidth": 1.3}
    extrapolated = (curves["identified"] & (curves["k"] > curves["n_samples"])).any()
    marks: list[tuple[str, Line2D | Patch]] = [("law of repeated sampling", Line2D([], [], **line))]  # type: ignore[arg-type]
    if extrapolated:
        marks.append(("beyond an item's samples", Line2D([], [], linestyle=DASHES, **line)))  # type: ignore[arg-type]
    if has_points:
        circle = Line2D(
            [], [], linestyle="none", marker="o", markersize=2.6, markerfacecolor="white", markeredgecolor=QUIET
        )
        marks.append(("unbiased estimate", circle))
    if has_laws:
        marks.append(("power law through these", Line2D([], [], color=QUIET, linewidth=0.6)))
    if not curves["identified"].all():
        marks.append(
            ("not identified: bound only", Patch(facecolor="none", edgecolor=FAINT, hatch="//////", linewidth=0))
        )
    names.legend(
        [handle for _, handle in marks],
        [label for label, _ in marks],
        loc="lower left",
        bbox_to_anchor=(0.0, 0.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=SMALL,
        labelcolor=QUIET,
        handlelength=1.8,
        labelspacing=0.35,
    )
