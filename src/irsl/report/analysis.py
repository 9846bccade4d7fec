"""The main job: calibrate without the largest size, measure it, forecast it from the smaller ones, and compare.

Every table here is a polars frame that `save` writes beside the report, so each number on the page can be found again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields

import polars as pl

from irsl.ability import measure
from irsl.calibration import Calibration, calibrate
from irsl.report.fit import item_fit, proportions
from irsl.report.forecasts import LawTables, forecast_largest
from irsl.report.replays import replay_held_out
from irsl.responses import Responses

LEVEL = 0.9
MAX_ITERATIONS = 100
TOLERANCE = 1e-2  # standard errors: where the calibrations stop
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Analysis:
    """All that a report shows.

    Attributes
    ----------
    title : str
    outcome : str
    target : str or None
        The largest size, left out of the calibration; None where there are no laws to fit.
    calibration : Calibration
        On every subject but those of the target size.
    abilities : polars.DataFrame
        `measure`'s rows for every subject, with the subjects' own columns and `final`: whether it ends its run.
    laws : LawTables or None
    replays : polars.DataFrame or None
        One row per benchmark and way of choosing items: errors against all items, on held-out runs.
    proportions : polars.DataFrame
        Predicted against observed proportions of right answers, in bins.
    item_fit : polars.DataFrame
        Mean squared standardised residual per item.
    notes : tuple of str
        What was left out, and why.
    """

    title: str
    outcome: str
    target: str | None
    calibration: Calibration
    abilities: pl.DataFrame
    laws: LawTables | None
    replays: pl.DataFrame | None
    proportions: pl.DataFrame
    item_fit: pl.DataFrame
    notes: tuple[str, ...] = field(default=())

    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        named = {
            "items": self.calibration.bank.items,
            "fits": self.calibration.fits,
            "abilities": self.abilities,
            "proportions": self.proportions,
            "item_fit": self.item_fit,
        }
        if self.laws is not None:
            named |= {f.name: getattr(self.laws, f.name) for f in fields(self.laws)}
        if self.replays is not None:
            named["replays"] = self.replays
        return named


def analyse(
    responses: Responses,
    *,
    title: str,
    model: str = "2pl",
    budget: int = 50,
    seed: int = 0,
    progress: Progress | None = None,
) -> Analysis:
    """Run the whole analysis on one outcome.

    Parameters
    ----------
    responses : Responses
        One outcome per benchmark. Laws need the subjects' flops, and at least four sizes of several recipes, of which
        the largest is held out; without them the report has no law and says so.
    title : str
    model : {"2pl", "1pl", "3pl"}
    budget : int
        Items per subject in the replays.
    seed : int
        Of the replays and of the forecasts' draws.
    progress : callable, optional
        Called as progress(what, share done).
    """
    say = progress or (lambda what, share: None)
    notes: list[str] = []
    subjects = describe_runs(responses.subjects)
    target, reason = target_size(subjects)
    if target is None:
        notes.append(f"No scaling law: {reason}.")
        kept = subjects
    else:
        kept = subjects.filter(pl.col("size").ne_missing(target))
    say("calibrating items", 0.05)
    calibration = calibrate(
        responses.select(subjects=kept["subject"].to_list()),
        model=model,
        tolerance=TOLERANCE,
        max_iterations=MAX_ITERATIONS,
        progress=lambda scale, n, objective: say(f"calibrating {scale}, pass {n}", 0.1),
    )
    notes += [f"{row['scale']}: {row['message']}" for row in calibration.fits.to_dicts() if not row["converged"]]
    say("measuring subjects", 0.35)
    measured = measure(responses, calibration.bank, level=LEVEL)
    abilities = measured.join(subjects, on="subject", how="left", maintain_order="left")
    laws = None
    if target is not None:
        say("fitting laws", 0.45)
        unbiased = measure(
            responses.select(subjects=subjects.filter("final")["subject"].to_list()),
            calibration.bank,
            estimator="wle",
            level=LEVEL,
        )
        points = unbiased.join(subjects, on="subject", how="left", maintain_order="left")
        laws = forecast_largest(points, calibration.bank, target=target, level=LEVEL, seed=seed)
        without = [b for b in calibration.bank.benchmarks if b not in laws.trends["benchmark"].unique().to_list()]
        if without:
            notes.append(
                f"No scaling law of {without}: no recipe was measured there at {target} and three sizes below."
            )
    say("replaying held-out runs", 0.65)
    replays, why_not = replay_held_out(responses, subjects, model=model, budget=budget, level=LEVEL, seed=seed)
    if replays is None:
        notes.append(f"No replay: {why_not}.")
    say("checking the fit", 0.9)
    return Analysis(
        title,
        "+".join(responses.outcomes["outcome"].unique(maintain_order=True)),
        target,
        calibration,
        abilities,
        laws,
        replays,
        proportions(responses, calibration.bank, measured),
        item_fit(responses, calibration.bank, measured),
        tuple(notes),
    )


def describe_runs(subjects: pl.DataFrame) -> pl.DataFrame:
    """Subjects with what laws and replays need: recipe, run, size and `final`, each with its best substitute.

    A subject without a run is a run of its own; without a recipe, its family or run is the recipe. The size is named by
    the parameters, or by the run's final FLOPs where those are not known.
    """
    step = pl.coalesce(pl.col("step").cast(pl.Float64), pl.col("tokens").cast(pl.Float64), pl.lit(0.0))
    return (
        subjects.with_columns(run=pl.coalesce(pl.col("run"), pl.col("subject")))
        .with_columns(
            recipe=pl.coalesce(pl.col("recipe"), pl.col("family"), pl.col("run")),
            final=(step == step.max().over("run")),
            run_flops=pl.col("flops").max().over("run"),
        )
        .with_columns(
            size=pl.coalesce(
                pl.col("params").map_elements(short_number, return_dtype=pl.String),
                pl.col("run_flops").map_elements(lambda f: f"{f:.1e} FLOPs", return_dtype=pl.String),
            )
        )
        .drop("run_flops")
    )


def short_number(value: float) -> str:
    """Write a count as people say it: 14k, 1.4B."""
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return f"{value:.3g}"


def target_size(subjects: pl.DataFrame) -> tuple[str | None, str]:
    """Return the size whose final checkpoints took most compute, or None and why there is no law to fit."""
    finals = subjects.filter(pl.col("final") & pl.col("flops").is_not_null() & pl.col("size").is_not_null())
    if finals.is_empty():
        return None, "the subjects have no flops and size"
    per_recipe = finals.group_by("recipe").agg(pl.col("size").n_unique())
    if int(per_recipe["size"].to_numpy().max()) < 4:
        return None, "a law needs at least four sizes of a recipe, the largest of them to be forecast"
    # a law's recipe needs smaller sizes of its own: a lone large model is no target
    long = per_recipe.filter(pl.col("size") >= 4)["recipe"]
    sizes = (
        finals.filter(pl.col("recipe").is_in(long.implode()))
        .group_by("size")
        .agg(pl.col("flops").median())
        .sort("flops")
    )
    return str(sizes["size"][-1]), ""
