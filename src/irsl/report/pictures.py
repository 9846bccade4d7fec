"""The report's figures, drawn from an analysis: which benchmarks, which recipes in colour, which runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from irsl import plots
from irsl.calibration import ItemBank
from irsl.plots.style import HIGHLIGHTS
from irsl.report.analysis import LEVEL, Analysis
from irsl.report.answer import Choice

MAX_BENCHMARKS = 12
MAX_CURVES = 6
SELECTION_NAMES = {
    "information": "adaptive",
    "short_form": "short form",
    "stratified": "stratified items",
    "random": "random items",
    "mean of random items": "plain mean of random items",
    "regression on the short form": "regression on the short form",
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pictures:
    """SVG elements for the page; a list has one per benchmark shown."""

    laws: list[str]
    forecasts: list[str]
    maps: list[str]
    proportions: list[str]
    fit: str
    curves: list[str]
    replays: str
    coloured: dict[str, tuple[str, str]]
    curves_of: str
    benchmarks: list[str]


def draw(analysis: Analysis, choice: Choice | None) -> Pictures:
    """Draw all figures of the report.

    Parameters
    ----------
    analysis : Analysis
    choice : Choice or None
        The decision whose recipes are coloured.
    """
    bank = analysis.calibration.bank
    shown = bank.benchmarks[:MAX_BENCHMARKS]
    colours = recipes_in_colour(choice)
    laws: list[str] = []
    forecasts: list[str] = []
    if analysis.laws is not None:
        for n, benchmark in enumerate(shown):
            points, trends, table = (
                frame.filter(pl.col("benchmark") == benchmark)
                for frame in (analysis.laws.points, analysis.laws.trends, analysis.laws.forecasts)
            )
            figure = plots.ability_law(
                points,
                trends,
                title=benchmark,
                target=analysis.target,
                colours={recipe: colour for recipe, (colour, _) in colours.items()},
                accuracy_of=mean_curve(bank, benchmark),
                level=LEVEL,
            )
            laws.append(
                plots.to_svg(figure, prefix=f"law{n}-", description=f"Abilities against compute on {benchmark}")
            )
            figure = plots.forecast_observed(table, title=benchmark, level=LEVEL)
            forecasts.append(
                plots.to_svg(
                    figure,
                    prefix=f"forecast{n}-",
                    description=f"Forecast and observed accuracy on {benchmark}",
                )
            )
    curves, curves_of = _learning_curves(analysis, shown, choice)
    return Pictures(
        laws,
        forecasts,
        _per_benchmark(shown, "map", "Difficulties and abilities", lambda b: _item_map(analysis, b)),
        _per_benchmark(shown, "proportions", "Predicted and observed proportions", lambda b: _proportions(analysis, b)),
        plots.to_svg(
            plots.fit_histogram(analysis.item_fit["infit"].to_numpy(), title="all benchmarks"),
            prefix="fit-",
            description="Histogram of the items' infit",
        ),
        curves,
        ""
        if analysis.replays is None
        else plots.to_svg(
            plots.replay_errors(analysis.replays, names=SELECTION_NAMES),
            prefix="replays-",
            description="Error of accuracy by the way of choosing items",
        ),
        colours,
        curves_of,
        shown,
    )


def recipes_in_colour(choice: Choice | None) -> dict[str, tuple[str, str]]:
    """Colour and role of three recipes: the chosen, its rival (the best in hindsight, or the next), the lowest."""
    if choice is None:
        return {}
    chosen = choice.chosen["recipe"]
    roles = {chosen: "chosen"}
    if choice.best is not None and choice.best["recipe"] != chosen:
        roles[choice.best["recipe"]] = "best in hindsight"
    elif len(choice.rows) > 1:
        roles[choice.rows[1]["recipe"]] = "next"
    lowest = min(choice.rows, key=lambda row: float(row["accuracy"]))["recipe"]
    roles.setdefault(lowest, "lowest forecast")
    return {recipe: (colour, role) for (recipe, role), colour in zip(roles.items(), HIGHLIGHTS, strict=False)}


def mean_curve(bank: ItemBank, benchmark: str) -> Callable[[Array], Array]:
    """Return the mean of a benchmark's item curves: abilities (n,) to expected accuracies (n,)."""
    items = bank.select(benchmark=benchmark)
    return lambda ability: np.asarray(items.curves(ability).mean(axis=0))


def _per_benchmark(shown: Iterable[str], prefix: str, what: str, figure: Callable[[str], Figure]) -> list[str]:
    return [plots.to_svg(figure(b), prefix=f"{prefix}{n}-", description=f"{what} on {b}") for n, b in enumerate(shown)]


def _item_map(analysis: Analysis, benchmark: str) -> Figure:
    items = analysis.calibration.bank.items.filter(pl.col("benchmark") == benchmark)
    subjects = analysis.abilities.filter(pl.col("benchmark") == benchmark)
    return plots.item_map(items["difficulty"].to_numpy(), subjects["ability"].to_numpy(), title=benchmark)


def _proportions(analysis: Analysis, benchmark: str) -> Figure:
    return plots.proportions_curve(analysis.proportions.filter(pl.col("benchmark") == benchmark), title=benchmark)


def _learning_curves(analysis: Analysis, shown: list[str], choice: Choice | None) -> tuple[list[str], str]:
    """Curves of the chosen recipe's runs, one per size; without a choice, of the runs with most checkpoints."""
    rows = analysis.abilities.filter(pl.col("flops").is_not_null() & (pl.col("flops") > 0))
    if rows.is_empty():
        return [], ""
    rows = rows.filter(pl.col("flops").n_unique().over("run") >= 3)
    if choice is not None:
        rows = rows.filter(pl.col("recipe") == choice.chosen["recipe"])
    if rows.is_empty():
        return [], ""
    runs = rows.group_by("run", maintain_order=True).agg(
        pl.col("size").first(),
        pl.col("flops").max(),
        pl.col("flops").n_unique().alias("n"),
        pl.col("recipe").first(),
    )
    if choice is not None:
        runs = runs.sort("flops").unique("size", keep="first", maintain_order=True).tail(MAX_CURVES)
    else:
        runs = runs.sort("n", descending=True, maintain_order=True).head(MAX_CURVES).sort("flops")
    labels = dict(
        zip(
            runs["run"],
            runs["size" if choice is not None and runs["size"].null_count() == 0 else "run"],
            strict=True,
        )
    )
    bank = analysis.calibration.bank

    def figure(benchmark: str) -> Figure:
        curve = mean_curve(bank, benchmark)
        part = rows.filter((pl.col("benchmark") == benchmark) & pl.col("run").is_in(list(labels)))
        order = {run: n for n, run in enumerate(labels)}
        part = part.sort(pl.col("run").replace_strict(order, return_dtype=pl.Int64), "flops")
        curves = part.select("run", "flops", label=pl.col("run").replace_strict(labels, return_dtype=pl.String))
        for name, column in (
            ("accuracy", "ability"), ("accuracy_lower", "ability_lower"), ("accuracy_upper", "ability_upper")
        ):  # fmt: skip
            curves = curves.with_columns(pl.Series(name, curve(part[column].to_numpy())))
        return plots.learning_curves(curves, title=benchmark, level=LEVEL)

    drawn = _per_benchmark(shown, "curve", "Learning curves", figure)
    return drawn, str(choice.chosen["recipe"]) if choice is not None else ""
