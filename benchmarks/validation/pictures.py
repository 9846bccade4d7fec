"""Pictures of the page."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from irsl.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, QUIET, SKY, SMALL, TEXT, VERMILION, styled
from validation.words import TITLES, Z90, Result, method

SHOWN = {
    "additive, logit": ("additive, logit (no irsl)", QUIET),
    "1pl benchmark": ("1PL", SKY),
    "2pl benchmark": ("2PL", BLUE),
    "3pl benchmark": ("3PL, floor at chance", GREEN),
    "2pl joint": ("2PL, one scale for all", ORANGE),
}

CALIBRATION_KEY = [("2PL, 90 % intervals", BLUE), ("additive, logit", QUIET)]
SUBJECT_KEY = [("90 % interval holds the truth", BLUE), ("it does not", VERMILION)]


def save(figure: Figure, path: Path) -> None:
    buffer = io.StringIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    path.write_text("\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n", encoding="utf-8")


def gains_picture(results: dict[str, Result]) -> Figure:
    """Gain in log score over the item mean, with 90 % intervals clustered by subject."""
    shown = {k: r for k, r in results.items() if r["kind"] != "probability"}
    with styled():
        figure = Figure(figsize=(7.2, 0.62 * len(shown) + 1.1))
        height = figure.get_size_inches()[1]
        axes = figure.add_axes((0.24, 0.45 / height, 0.73, 1 - 1.0 / height))
        for place, result in enumerate(shown.values()):
            there = [k for k in SHOWN if any(r["method"] == k for r in result["cells"]["rows"])]
            for step, key in enumerate(there):
                row = method(result, "cells", key)
                y = -place + 0.3 - 0.6 * step / max(len(there) - 1, 1)
                half = Z90 * row["se_gain"]
                axes.plot([row["gain"] - half, row["gain"] + half], [y, y], color=SHOWN[key][1], linewidth=1.4)
                axes.plot(row["gain"], y, "o", color=SHOWN[key][1], markersize=4.5)
            if place:
                axes.axhline(-place + 0.5, color=FAINT, linewidth=0.5)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks([-k for k in range(len(shown))], [TITLES[name] for name in shown])
        axes.tick_params(axis="y", colors=INK, labelsize=TEXT)
        axes.set_ylim(-len(shown) + 0.5, 0.5)
        axes.grid(axis="y", visible=False)
        title = "Held-out cells: gain in log score over the item's mean"
        figure.text(0.01, 1 - 0.17 / height, title, fontsize=TEXT + 1, fontweight="bold", va="center")
        x = 0.01
        for label, colour in SHOWN.values():
            figure.text(x, 1 - 0.38 / height, label, color=colour, fontsize=SMALL, fontweight="bold", va="center")
            x += 0.0094 * len(label) + 0.03
        figure.text(0.605, 0.1 / height, "nats per trial, 90 % intervals clustered by subject", fontsize=SMALL,
                    color=QUIET, ha="center", va="center")  # fmt: skip
    return figure


def grid(
    results: dict[str, Result],
    draw: Callable[[Axes, Result], None],
    key: list[tuple[str, str]],
    *,
    title: str,
    x_label: str,
    y_label: str,
) -> Figure:
    """Draw one square panel a set, in rows of four, all axes from 0 to 1."""
    columns, cell, side, left, top, bottom = 4, (1.72, 1.95), 1.5, 0.32, 0.7, 0.5
    n_rows = -(-len(results) // columns)
    width, height = left + columns * cell[0], top + (n_rows - 1) * cell[1] + side + bottom
    with styled():
        figure = Figure(figsize=(width, height))
        for place, (name, result) in enumerate(results.items()):
            row, column = divmod(place, columns)
            x, y = left + column * cell[0], height - top - row * cell[1] - side
            axes = figure.add_axes((x / width, y / height, side / width, side / height))
            axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
            axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
            axes.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
            axes.set_yticks([0, 0.5, 1], ["0", ".5", "1"])
            axes.tick_params(axis="y", labelleft=column == 0)
            axes.set_title(TITLES[name], fontsize=SMALL + 0.5, fontweight="bold", loc="left", pad=3)
            draw(axes, result)
        figure.text(0.01, 1 - 0.14 / height, title, fontsize=TEXT + 1, fontweight="bold", va="center")
        figure.text(0.01, 1 - 0.34 / height, y_label, fontsize=SMALL, color=QUIET, va="center")
        x = 0.45
        for label, colour in key:
            figure.text(x, 1 - 0.34 / height, label, color=colour, fontsize=SMALL, fontweight="bold", va="center")
            x += 0.0094 * len(label) + 0.03
        figure.text(0.5, 0.1 / height, x_label, fontsize=SMALL, color=QUIET, ha="center", va="center")
    return figure


def calibration_panel(axes: Axes, result: Result) -> None:
    for key, colour, marker in (("additive, logit", QUIET, "s"), ("2pl benchmark", BLUE, "o")):
        bins = method(result, "cells", key)["bins"]
        x, y, se = (np.array([b[k] for b in bins]) for k in ("predicted", "observed", "se"))
        axes.errorbar(x, y, Z90 * se, fmt=marker, color=colour, markersize=2.6, elinewidth=0.8, alpha=0.9)


def subject_panel(axes: Axes, result: Result) -> None:
    for point in result["subjects"]["points"]:
        inside = point["lower"] - 1e-9 <= point["truth"] <= point["upper"] + 1e-9
        colour = BLUE if inside else VERMILION
        axes.plot([point["truth"]] * 2, [point["lower"], point["upper"]], color=colour, linewidth=0.7, alpha=0.7)
        axes.plot(point["truth"], point["estimate"], "o", color=colour, markersize=1.8)
    share = method(result, "subjects", "2pl benchmark")["inside"]
    axes.text(
        0.97, 0.05, f"{100 * share:.0f} % inside", transform=axes.transAxes, ha="right", fontsize=SMALL, color=QUIET
    )
