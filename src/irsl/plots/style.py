"""One look for every figure: type, colours, sizes, axes, and the way to SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

# Okabe and Ito (2008), Color universal design; the yellow is left out, as it is too faint on white.
BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY = "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"
HIGHLIGHTS = (BLUE, VERMILION, GREEN)
INK, QUIET, FAINT, GRID = "#222222", "#6b6b6b", "#b9b9b9", "#e7e7e7"

PANEL = (3.5, 2.9)
TEXT, SMALL = 8.0, 7.0
LEFT, BOTTOM, TOP = 0.38, 0.44, 0.42
PAGE_FONTS = "'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0.0,
    "xtick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "svg.hashsalt": "irsl",
    "svg.id": None,
}


@contextmanager
def styled() -> Iterator[None]:
    """Apply the style to what is drawn inside, and leave matplotlib's own settings alone."""
    known = {key: value for key, value in SETTINGS.items() if key in mpl.rcParams}
    with mpl.rc_context(known):  # type: ignore[arg-type]
        yield


def panel(
    title: str,
    *,
    x_label: str,
    y_label: str,
    size: tuple[float, float] = PANEL,
    left: float = LEFT,
    right: float = 0.12,
) -> tuple[Figure, Axes]:
    """Return one small figure with the title and the vertical axis' label in words above the axes.

    Parameters
    ----------
    title : str
        What the panel is about, usually a benchmark; may be empty.
    x_label, y_label : str
        With units.
    size : (width, height)
        In inches.
    left, right : float
        Margins, in inches.
    """
    width, height = size
    top = TOP if title or y_label else 0.2
    figure = Figure(figsize=size)
    axes = figure.add_axes((left / width, BOTTOM / height, 1 - (left + right) / width, 1 - (BOTTOM + top) / height))
    middle = (left + width - right) / 2 / width
    place = 1 - 0.14 / height
    if title:
        figure.text(0.0, place, shortened(title, 44), fontsize=TEXT + 1, fontweight="bold", va="center")
        place -= 0.17 / height
    figure.text(0.0, place, y_label, fontsize=SMALL, color=QUIET, va="center")
    figure.text(middle, 0.1 / height, x_label, fontsize=SMALL, color=QUIET, ha="center", va="center")
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure, axes


def flops_axis(axes: Axes, flops: Iterable[float]) -> None:
    """Make the horizontal axis logarithmic over the positive FLOPs given, with powers of ten as people write them."""
    values = np.array([f for f in flops if np.isfinite(f) and f > 0])
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = (float(values.min()), float(values.max())) if values.size else (1.0, 10.0)
    low, high = low / 1.3, high * 1.3
    axes.set_xlim(low, high)
    decades = 10.0 ** np.arange(np.ceil(np.log10(low)), np.floor(np.log10(high)) + 1)
    if decades.size < 2:
        decades = np.array([m * 10.0**e for e in range(*_exponents(low, high)) for m in (1, 2, 5)])
        decades = decades[(decades >= low) & (decades <= high)]
    step = max(1, int(np.ceil(decades.size / 6)))
    axes.xaxis.set_major_locator(FixedLocator(decades[::step].tolist()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))


def _exponents(low: float, high: float) -> tuple[int, int]:
    return int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1


def power_of_ten(value: float) -> str:
    """Write 2e11 as 2 × 10¹¹, in plain characters."""
    if not np.isfinite(value) or value <= 0:
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value) + 1e-9))
    mantissa = f"{value / 10.0**exponent:.2g}"
    power = "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if mantissa == "1" else f"{mantissa} × {power}"


def accuracy_limits(*values: Iterable[float]) -> tuple[float, float]:
    """Limits of an accuracy axis that hold the finite values with a little room, inside (0, 1)."""
    joined = np.concatenate([np.asarray(list(v), dtype=np.float64) for v in values])
    joined = joined[np.isfinite(joined)]
    if joined.size == 0:
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    room = max(0.04 * (high - low), 0.01)
    return max(low - room, -0.02), min(high + room, 1.02)


def key(axes: Axes, entries: Iterable[tuple[str, str]], *, corner: str = "upper left", limit: int = 34) -> None:
    """Write names in their colours in a corner of the axes, instead of a legend."""
    left, upper = "left" in corner, "upper" in corner
    lines = list(entries) if upper else list(entries)[::-1]
    for row, (name, colour) in enumerate(lines):
        offset = (row * 9.5 + 5) * (-1 if upper else 1)
        axes.annotate(
            shortened(name, limit),
            (0.0 if left else 1.0, 1.0 if upper else 0.0),
            xycoords="axes fraction",
            xytext=(5 if left else -5, offset),
            textcoords="offset points",
            ha="left" if left else "right",
            va="top" if upper else "bottom",
            color=colour,
            fontsize=SMALL,
            fontweight="bold",
            parse_math=False,
        )


def nothing(axes: Axes, why: str = "no data") -> None:
    """Say in the middle of empty axes that there is nothing to show."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color=QUIET)
    axes.set_axis_off()


def shortened(name: str, limit: int) -> str:
    """Cut a long name in the middle, where names differ least."""
    if len(name) <= limit:
        return name
    tail = limit // 2 - 1
    return f"{name[: limit - tail - 1]}…{name[-tail:]}"


_ID = re.compile(r'\bid="([^"]+)"')
_REFERENCE = re.compile(r'(xlink:href="|url\()#([^")]+)')


def to_svg(figure: Figure, *, prefix: str, description: str) -> str:
    """Return the figure as an <svg> element to be put into HTML.

    Parameters
    ----------
    figure : Figure
    prefix : str
        Put before every id that is referred to, so that two figures of one page do not share any.
    description : str
        What a reader who does not see it is told.
    """
    buffer = io.StringIO()
    with styled():
        FigureCanvasSVG(figure)
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    used = set(_REFERENCE.findall(text))
    names = {name for _, name in used}
    text = _ID.sub(lambda m: f'id="{prefix}{m[1]}"' if m[1] in names else "", text)
    text = _REFERENCE.sub(lambda m: f"{m[1]}#{prefix}{m[2]}", text)
    text = text.replace("'DejaVu Sans'", PAGE_FONTS).replace("xlink:href", "href")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    width, height = figure.get_size_inches() * 72
    escaped = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escaped}">'
    return opening + text[text.index(">") + 1 :].strip()
