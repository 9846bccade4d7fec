from __future__ import annotations

import re

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from irsl.plots.style import accuracy_limits, flops_axis, panel, power_of_ten, shortened, styled, to_svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e12, "10¹²"), (2.5e11, "2.5 × 10¹¹"), (1.0, "10⁰"), (0.001, "10⁻³"), (0.0, "0"), (float("inf"), "inf")],
)
def test_power_of_ten(value, text):
    assert power_of_ten(value) == text


def test_shortened_keeps_both_ends():
    name = "llama-3.1-8b-instruct-with-a-very-long-tail-v2"
    assert shortened(name, 20) == "llama-3.1-…g-tail-v2"
    assert len(shortened(name, 20)) == 20
    assert shortened("short", 20) == "short"


@pytest.mark.parametrize("values", [[], [np.nan], [0.5], [0.2, 0.9], [0.0, 1.0]])
def test_accuracy_limits_hold_the_values(values):
    low, high = accuracy_limits(values)
    assert -0.05 <= low < high <= 1.05
    assert all(low <= v <= high for v in values if np.isfinite(v))


@pytest.mark.parametrize("flops", [[3e11, 4e11], [1e9, 1e26], [5e12], []])
def test_flops_axis_has_readable_ticks(flops):
    with styled():
        _, axes = panel("t", x_label="x", y_label="y")
        flops_axis(axes, flops)
    low, high = axes.get_xlim()
    ticks = [t for t in axes.get_xticks() if low <= t <= high]
    assert len(ticks) <= 7
    assert all(low <= f <= high for f in flops)


def test_style_leaves_matplotlib_alone():
    before = dict(mpl.rcParams)
    with styled():
        assert mpl.rcParams["svg.fonttype"] == "none"
    assert dict(mpl.rcParams) == before


def test_svg_of_two_figures_shares_no_id_and_refers_to_nothing_outside():
    pages = []
    for prefix in ("a-", "b-"):
        with styled():
            figure, axes = panel("title", x_label="x", y_label="y")
            axes.plot([0, 1], [0, 1], marker="o")
        pages.append(to_svg(figure, prefix=prefix, description='a "line" & more <b>'))
    ids = [set(re.findall(r'\bid="([^"]+)"', p)) for p in pages]
    assert all(ids)
    assert not ids[0] & ids[1]
    for page, known in zip(pages, ids, strict=True):
        assert {*re.findall(r'href="#([^"]+)"', page), *re.findall(r"url\(#([^)]+)\)", page)} <= known
        assert "http" not in page
        assert "xlink" not in page
        assert 'aria-label="a &quot;line&quot; &amp; more &lt;b&gt;"' in page


def test_svg_is_the_same_every_time():
    def draw() -> str:
        with styled():
            figure, axes = panel("t", x_label="x", y_label="y")
            axes.plot([0, 1], [0, 1], marker="o")
        return to_svg(figure, prefix="p-", description="d")

    assert draw() == draw()


def test_names_are_not_read_as_mathematics_or_markup():
    with styled():
        figure, _ = panel("$\\alpha$ <b>x</b>", x_label="a_b$c$", y_label="")
    assert isinstance(figure, Figure)
    page = to_svg(figure, prefix="p-", description="d")
    assert "$\\alpha$ &lt;b&gt;x&lt;/b&gt;" in page
    assert "a_b$c$" in page
