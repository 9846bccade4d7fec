"""Each figure on small frames: what it shows, its labels, and what it does with nothing to show."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from scipy.special import expit
from scipy.stats import t as student_t

from irsl import plots
from irsl.plots.laws import METHOD_COLOURS, shade
from irsl.plots.style import BLUE, FAINT, VERMILION


def points(n_recipes: int = 3) -> pl.DataFrame:
    rows = [
        dict(recipe=f"r{r}", size=f"{s}k", flops=10.0 ** (11 + s), ability=r + 0.5 * s, se_ability=0.2)
        for r in range(n_recipes)
        for s in range(3)
    ]
    return pl.DataFrame(rows)


def trends(n_recipes: int = 3) -> pl.DataFrame:
    return pl.DataFrame(
        [
            dict(
                recipe=f"r{r}", intercept=r + 0.5, slope=0.5, se_intercept=0.1, se_slope=0.05,
                covariance=0.001, centre=12.0, tau=0.1, degrees=8.0,
            )
            for r in range(n_recipes)
        ]
    )  # fmt: skip


def forecasts() -> pl.DataFrame:
    return pl.DataFrame(
        [
            dict(
                recipe=f"r{r}", method=m, accuracy=0.5 + 0.1 * r, accuracy_lower=0.4 + 0.1 * r,
                accuracy_upper=0.6 + 0.1 * r, observed=0.52 + 0.1 * r,
            )
            for r in range(3)
            for m in METHOD_COLOURS
        ]
    )  # fmt: skip


def curves() -> pl.DataFrame:
    rows = [
        dict(run=f"run{k}", label=f"{k}k", flops=10.0 ** (10 + k + c / 4), accuracy=0.3 + 0.1 * k + 0.05 * c)
        for k in range(2)
        for c in range(4)
    ]
    return pl.DataFrame(rows).with_columns(
        accuracy_lower=pl.col("accuracy") - 0.03, accuracy_upper=pl.col("accuracy") + 0.03
    )


def proportions() -> pl.DataFrame:
    return pl.DataFrame({"predicted": [0.2, 0.5, 0.8], "observed": [0.25, 0.5, 0.78], "n": [100, 400, 100]})


def replays() -> pl.DataFrame:
    rows = [
        dict(benchmark=b, selection=s, error=e)
        for b, shift in (("x", 0.0), ("y", 0.01))
        for s, e in (("information", 0.02 + shift), ("random", 0.04 + shift))
    ]
    return pl.DataFrame(rows)


def texts(figure: Figure) -> list[str]:
    axes = figure.axes[0]
    return [t.get_text() for t in [*figure.texts, *axes.texts]]


FIGURES = {
    "ability_law": lambda: plots.ability_law(points(), trends(), title="facts", target="2k", colours={"r0": BLUE}),
    "forecast_observed": lambda: plots.forecast_observed(forecasts(), title="facts"),
    "learning_curves": lambda: plots.learning_curves(curves(), title="facts"),
    "item_map": lambda: plots.item_map(np.linspace(-2, 3, 30), np.linspace(-1, 1, 9), title="facts"),
    "proportions_curve": lambda: plots.proportions_curve(proportions(), title="facts"),
    "fit_histogram": lambda: plots.fit_histogram(np.linspace(0.7, 1.3, 50), title="facts"),
    "replay_errors": lambda: plots.replay_errors(replays()),
}

EMPTIES = {
    "ability_law": lambda: plots.ability_law(points().clear(), trends().clear(), title="facts"),
    "forecast_observed": lambda: plots.forecast_observed(forecasts().clear(), title="facts"),
    "learning_curves": lambda: plots.learning_curves(curves().clear(), title="facts"),
    "item_map": lambda: plots.item_map([], [np.nan], title="facts"),
    "proportions_curve": lambda: plots.proportions_curve(proportions().clear(), title="facts"),
    "fit_histogram": lambda: plots.fit_histogram([np.nan], title="facts"),
    "replay_errors": lambda: plots.replay_errors(replays().clear()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_becomes_svg_with_its_labels(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure)
    page = plots.to_svg(figure, prefix="p-", description=name)
    assert page.startswith("<svg viewBox=")
    assert page.endswith("</svg>")
    for text in texts(figure):
        for line in text.split("\n"):
            assert line in page


@pytest.mark.parametrize("name", EMPTIES)
def test_figure_of_nothing_says_so(name):
    figure = EMPTIES[name]()
    assert "no data" in texts(figure)
    plots.to_svg(figure, prefix="p-", description=name)


def test_ability_law_draws_target_hollow_and_others_grey():
    figure = plots.ability_law(points(), trends(), title="facts", target="2k", colours={"r1": BLUE, "r2": VERMILION})
    assert {"facts", "training compute (FLOPs)", "ability (sd of calibration subjects)", "r1", "r2"} <= {*texts(figure)}
    assert "r0" not in texts(figure)
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    hollow = [line for line in marks if line.get_markerfacecolor() == "white"]
    assert sorted(float(line.get_ydata()[0]) for line in hollow) == [1.0, 2.0, 3.0]
    assert sum(len(line.get_ydata()) for line in marks) == 9
    assert {line.get_markeredgecolor() for line in marks} == {BLUE, VERMILION, FAINT}


def test_ability_law_band_is_the_t_interval_of_a_further_size():
    figure = plots.ability_law(points(1), trends(1), title="facts", colours={"r0": BLUE}, level=0.9)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    top = max(y for x, y in band if abs(np.log10(x) - 13.0) < 1e-9)
    variance = 0.1**2 + 2 * 0.001 + 0.05**2 + 0.1**2
    assert top == pytest.approx(1.0 + student_t.ppf(0.95, 8.0) * np.sqrt(variance), abs=1e-9)


def test_ability_law_says_what_abilities_mean_in_accuracy():
    figure = plots.ability_law(points(), trends(), title="facts", accuracy_of=expit)
    assert "accuracy" in texts(figure)
    assert {"0.50", "0.69", "0.83"} <= {*texts(figure)}  # at abilities 0, 0.8, 1.6


def test_forecast_has_a_point_per_recipe_and_law():
    axes = plots.forecast_observed(forecasts(), title="facts").axes[0]
    drawn = {line.get_color(): line.get_ydata() for line in axes.lines if line.get_marker() in ("o", "s")}
    for colour in METHOD_COLOURS.values():
        np.testing.assert_allclose(drawn[colour], [0.5, 0.6, 0.7])
    assert axes.get_xlim() == axes.get_ylim()


def test_learning_curves_label_their_ends_apart():
    frame = curves().with_columns(accuracy=0.5 + 0 * pl.col("accuracy"))
    axes = plots.learning_curves(frame, title="facts").axes[0]
    ends = {t.get_text(): t.get_position()[1] for t in axes.texts}
    low, high = axes.get_ylim()
    assert {"0k", "1k"} == {*ends}
    assert abs(ends["0k"] - ends["1k"]) > 0.05 * (high - low)


def test_shades_run_from_light_to_dark():
    colours = [shade(k, 4) for k in range(4)]
    brightness = [sum(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in colours]
    assert brightness == sorted(brightness, reverse=True)
    assert shade(0, 1).startswith("#")


def test_item_map_counts_items_above_all_subjects():
    figure = plots.item_map([-1.0, 0.0, 2.0, 9.0, np.nan], [-0.5, 1.0], title="facts")
    assert {"2 subjects, by ability", "4 items, by difficulty, 2 above all subjects", "1 beyond →"} <= {*texts(figure)}


def test_proportions_curve_weights_its_gap():
    figure = plots.proportions_curve(proportions(), title="facts")
    assert "mean gap 0.012" in texts(figure)  # (100 * .05 + 400 * 0 + 100 * .02) / 600


def test_fit_histogram_keeps_outliers_at_the_border():
    axes = plots.fit_histogram([0.1, 1.0, 1.0, 7.0], title="facts").axes[0]
    values = axes.patches[0].get_data().values
    assert values.sum() == 4
    assert values[0] == 1
    assert values[-1] == 1


def test_replay_errors_put_the_best_on_top_by_name():
    figure = plots.replay_errors(replays(), names={"information": "adaptive"})
    axes = figure.axes[0]
    named = {t.get_text(): t for t in axes.texts}
    assert {"adaptive", "random", "0.025", "0.045"} <= {*named}
    assert named["adaptive"].xy[1] > named["random"].xy[1]
    assert named["adaptive"].get_color() == BLUE
