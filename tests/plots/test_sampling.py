"""The figure of repeated sampling: which curves are drawn how, and the classical laws beside them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from irsl import plots
from irsl.laws.power_law import fit_power_law
from irsl.plots.sampling import COLOURS, N_OF_MANY, sampling_curves
from irsl.plots.style import FAINT

K = np.array([1, 3, 10, 32, 100, 316, 1000, 3162])


def curves(n_subjects: int = 2, *, n_samples: int = 32, horizon: float = np.inf) -> pl.DataFrame:
    frames = []
    for index in range(n_subjects):
        p = 1.0 - 0.6 * K ** -(0.3 - 0.2 * index / n_subjects)
        known = horizon >= K
        frame = {
            "subject": f"m{index}",
            "k": K,
            "pass_at_k": np.where(known, p, np.nan),
            "pass_at_k_lower": np.minimum(p, 0.9) - 0.05,
            "pass_at_k_upper": np.where(known, np.minimum(p + 0.05, 1.0), 1.0),
            "identified": known,
            "n_samples": float(n_samples),
        }
        frames.append(pl.DataFrame(frame).with_columns(pl.col("pass_at_k").fill_nan(None)))
    return pl.concat(frames)


def unbiased(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("k") <= pl.col("n_samples")).select("subject", "k", "pass_at_k")


def texts(figure: Figure) -> set[str]:
    legend = figure.axes[2].get_legend()
    told = [*figure.texts, *(t for axes in figure.axes for t in axes.texts), *(legend.get_texts() if legend else ())]
    return {t.get_text() for t in told}


def of_colour(axes, colour):
    return [line for line in axes.lines if to_hex(line.get_color()) == colour]


def test_figure_becomes_svg_with_its_labels():
    frame = curves(horizon=500)
    figure = sampling_curves(frame, unbiased(frame), title="maths", level=0.8)
    assert {
        "maths", "pass@k, 80 % band", "m0", "m1", "unbiased estimate", "power law through these",
        "beyond an item's samples", "not identified: bound only",
    } <= texts(figure)  # fmt: skip
    page = plots.to_svg(figure, prefix="p-", description="d")
    assert page.startswith("<svg viewBox=")
    assert all(text in page.replace("&#39;", "'").replace("&apos;", "'") for text in texts(figure))


def test_figure_of_nothing_says_so():
    figure = sampling_curves(curves().clear(), title="maths")
    assert "no data" in texts(figure)
    plots.to_svg(figure, prefix="p-", description="d")


def test_the_key_names_only_marks_that_are_there():
    told = texts(sampling_curves(curves(n_samples=5000), title="maths"))
    assert "law of repeated sampling" in told
    assert not told & {
        "unbiased estimate", "power law through these", "beyond an item's samples", "not identified: bound only"
    }  # fmt: skip


def test_solid_up_to_the_samples_of_an_item_dashed_beyond_and_both_meet():
    axes = sampling_curves(curves(1, n_samples=32), title="maths").axes[0]
    solid, dashed = of_colour(axes, COLOURS[0])
    assert solid.get_linestyle() == "-"
    assert solid.get_xdata().tolist() == [1, 3, 10, 32]
    assert dashed.get_linestyle() == "--"
    assert dashed.get_xdata().tolist() == [32, 100, 316, 1000, 3162]


def test_beyond_what_is_identified_there_is_a_bound_and_hatching_alone():
    frame = curves(2, horizon=500)
    axes = sampling_curves(frame, title="maths").axes[0]
    lines = of_colour(axes, COLOURS[0])
    bound = [line for line in lines if line.get_xdata().min() > 500]
    assert len(bound) == 1
    beyond = frame.filter((pl.col("subject") == "m0") & ~pl.col("identified"))
    np.testing.assert_allclose(bound[0].get_ydata(), beyond["pass_at_k_lower"])
    assert bound[0].get_linestyle() == "--"
    assert all(line.get_xdata().max(initial=0) < 500 for line in lines if line is not bound[0])
    hatched = [c for c in axes.collections if c.get_hatch()]
    assert len(hatched) == 1
    corners = hatched[0].get_paths()[0].vertices
    assert corners[:, 0].min() == 1000
    assert corners[:, 1].max() == 1.0
    assert corners[:, 1].min() == pytest.approx(
        frame.filter(~pl.col("identified"))["pass_at_k_lower"].min()
    )  # the lowest of the subjects' bounds


def test_bands_are_the_intervals_of_the_frame():
    frame = curves(1)
    axes = sampling_curves(frame, title="maths").axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    at = band[np.isclose(band[:, 0], 100.0), 1]
    row = frame.row(by_predicate=pl.col("k") == 100, named=True)
    assert at.min() == pytest.approx(row["pass_at_k_lower"])
    assert at.max() == pytest.approx(row["pass_at_k_upper"])


def test_eight_subjects_are_in_colour_and_of_nine_six_with_the_first_and_last():
    for n, coloured in ((8, 8), (9, N_OF_MANY)):
        figure = sampling_curves(curves(n), title="maths")
        axes = figure.axes[0]
        assert sum(bool(of_colour(axes, colour)) for colour in COLOURS) == coloured
        assert len(axes.collections) == coloured
        assert {"m0", f"m{n - 1}"} <= texts(figure)
        assert (f"{n - coloured} others" in texts(figure)) == (n > coloured)
        assert bool(of_colour(axes, FAINT)) == (n > coloured)


def test_the_classical_law_is_the_fit_to_the_unbiased_values_and_straight_on_logarithmic_axes():
    frame = curves(2)
    points = unbiased(frame)
    axes = sampling_curves(frame, points, title="maths").axes[1]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    for index in range(2):
        own = points.filter(pl.col("subject") == f"m{index}")
        expected = fit_power_law(own["k"], own["pass_at_k"])
        law = [line for line in of_colour(axes, COLOURS[index]) if line.get_linewidth() == 0.6]
        assert len(law) == 1
        ends = law[0].get_xdata()
        assert [*ends] == [1.0, 3162.0]
        np.testing.assert_allclose(law[0].get_ydata(), -np.log(expected.at(ends)))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_values_without_a_logarithm_have_no_power_law_and_no_harm(value):
    frame = curves(1)
    points = unbiased(frame).with_columns(pass_at_k=pl.lit(value))
    figure = sampling_curves(frame, points, title="maths")
    assert "power law through these" not in texts(figure)
    plots.to_svg(figure, prefix="p-", description="d")


def test_a_curve_that_reaches_one_stays_in_the_second_panel_until_a_thousandth():
    frame = curves(1).with_columns(
        pass_at_k=pl.lit(1.0), pass_at_k_lower=pl.lit(0.999_999), pass_at_k_upper=pl.lit(1.0)
    )
    figure = sampling_curves(frame, title="maths")
    assert 0 < figure.axes[1].get_ylim()[0] < figure.axes[1].get_ylim()[1]
    plots.to_svg(figure, prefix="p-", description="d")


@pytest.mark.parametrize("ks", [[7], [2, 3], [1, 10**6], [10**8, 10**9]])
def test_every_range_of_k_has_ticks(ks):
    frame = pl.DataFrame({"subject": "m", "k": ks, "pass_at_k": 0.5, "pass_at_k_lower": 0.4, "pass_at_k_upper": 0.6})
    figure = sampling_curves(frame.with_columns(identified=True, n_samples=5.0), title="maths")
    for axes in figure.axes[:2]:
        low, high = axes.get_xlim()
        ticks = [t for t in axes.get_xticks() if low <= t <= high]
        assert 1 <= len(ticks) <= 8
    plots.to_svg(figure, prefix="p-", description="d")
