"""Seconds against responses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from irsl.plots import style
from speed.plan import Found

SIZE = (7.0, 4.0)
RIGHT = 1.7  # inches for the names of the lines
COLOURS = (style.BLUE, style.SKY, style.GREEN, style.VERMILION, style.ORANGE, style.PURPLE)
MARKERS = ("s", "D", "^", "v")
LABEL_STEP = 10.0  # points between names


def draw_growth(found: Found, path: Path) -> Figure:
    """One line per model of ours, a point per run of another program, and a line of linear growth."""
    with style.styled():
        figure, axes = style.panel("Time to calibrate", x_label="responses", y_label="seconds", size=SIZE, right=RIGHT)
        names = []
        for family, colour in zip(found.plan.families, COLOURS, strict=True):
            points = [(case.n_cells, s) for case in family if (s := found.seconds(case)) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3)
                names.append((family[0].family, colour, points[-1][1]))
        others = _draw_others(axes, found)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: style.power_of_ten(value)))
            axis.set_minor_formatter(NullFormatter())
        if names:
            _draw_linear(axes, min(seconds for _, _, seconds in names), found.plan.largest.n_cells)
        for row, (name, colour, _) in enumerate(sorted(names, key=lambda n: -n[2])):
            _name(axes, row, f"irsl, {name}", colour)
        for row, (name, marker) in enumerate(others, start=len(names) + 1):
            _name(axes, row, name, style.INK, marker)
        _name(axes, len(names) + len(others) + 2, "linear growth", style.QUIET, "--")
        figure.savefig(path, dpi=160, metadata={"Software": None})
    return figure


def _draw_others(axes: Axes, found: Found) -> list[tuple[str, str]]:
    drawn = []
    for program, marker in zip(found.plan.others, MARKERS, strict=False):
        cases = found.plan.compared
        points = [(case.n_cells, s) for case in cases if (s := found.seconds(case, program)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=style.INK, markersize=4, markerfacecolor="none")
            drawn.append((program.name, marker))
    return drawn


def _draw_linear(axes: Axes, seconds: float, n_cells: int) -> None:
    low, high = axes.get_xlim()
    cells = np.array([low, high])
    limits = axes.get_ylim()
    axes.plot(cells, seconds * cells / n_cells, "--", color=style.QUIET, linewidth=0.8, zorder=1)
    axes.set_xlim(low, high)
    axes.set_ylim(limits)


def _name(axes: Axes, row: int, name: str, colour: str, marker: str = "") -> None:
    """Write a name beside the axes, with its marker before it."""
    sign = {"s": "□ ", "D": "◇ ", "^": "△ ", "v": "▽ ", "--": "- - "}.get(marker, "")
    axes.annotate(
        sign + name,
        (1.0, 1.0),
        xycoords="axes fraction",
        xytext=(8, -5 - LABEL_STEP * row),
        textcoords="offset points",
        va="top",
        color=colour,
        fontsize=style.SMALL,
    )
