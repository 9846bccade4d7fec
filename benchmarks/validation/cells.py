"""The observed cells of a set, coded, and how they become responses of irsl."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import irsl

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
P_RANGE = (1e-4, 1.0 - 1e-4)


@dataclass(frozen=True)
class Plan:
    """What is done with one set: repeats, and what its files do not say."""

    name: str
    kind: str = "binary"
    cell_repeats: int = 3
    subject_splits: int = 6
    bootstraps: int = 10
    chance: dict[str, float] | None = None  # of benchmarks whose items all have as many choices
    items_per_benchmark: int | None = None  # a random sample, to save time
    resolution: float | None = None


@dataclass(frozen=True)
class Cells:
    """Observed cells of one set, coded.

    Attributes
    ----------
    plan : Plan
    frame : polars.DataFrame
        subject, item, benchmark, response, and n_samples of counts: a row a cell.
    items : polars.DataFrame
        item, benchmark, chance.
    subject, item : (n_cells,) int
    benchmark : (n_items,) int
    response, trials : (n_cells,) float64
        The proportion, and the number of trials behind it.
    subjects, benchmarks : list of str
    family : list of str or None
    """

    plan: Plan
    frame: pl.DataFrame
    items: pl.DataFrame
    subject: Codes
    item: Codes
    benchmark: Codes
    response: Array
    trials: Array
    subjects: list[str]
    benchmarks: list[str]
    family: list[str | None]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of subjects and of items."""
        return len(self.subjects), self.items.height

    def take(self, rows: NDArray[Any]) -> Cells:
        """Return some cells, with all subjects and items."""
        return replace(
            self,
            frame=self.frame[np.flatnonzero(rows) if rows.dtype == bool else rows],
            subject=self.subject[rows],
            item=self.item[rows],
            response=self.response[rows],
            trials=self.trials[rows],
        )

    def answering(self, response: Array) -> Cells:
        """Return the same cells with other responses."""
        return replace(self, frame=self.frame.with_columns(response=pl.Series(response)), response=response)

    def dense(self, values: Array) -> Array:
        """Return values of cells as (n_subjects, n_items), NaN where there is no cell."""
        table = np.full(self.shape, np.nan)
        table[self.subject, self.item] = values
        return table

    def calibrate(self, *, model: str, scale: str = "benchmark", likelihood: str = "auto") -> irsl.Calibration:
        """Calibrate on these cells."""
        return irsl.calibrate(
            as_responses(self.frame, self.items, self.plan),
            model=model,
            scale=scale,
            likelihood=likelihood,
            resolution=self.plan.resolution,
        )


def as_responses(frame: pl.DataFrame, items: pl.DataFrame, plan: Plan) -> irsl.Responses:
    if plan.kind == "counts":
        n = pl.col("n_samples")
        frame = frame.with_columns(n_correct=(pl.col("response") * n).round().cast(pl.Int64)).drop("response")
    return irsl.Responses.from_frames(frame, items=items, kind=plan.kind)


def load(root: Path, plan: Plan, rng: np.random.Generator) -> Cells:
    responses = irsl.read(root / plan.name, kind=plan.kind)
    stated = pl.col("benchmark").replace_strict(plan.chance or {}, default=0.0, return_dtype=pl.Float64)
    guess = pl.when(pl.col("n_options") > 1).then(1.0 / pl.col("n_options"))
    items = responses.items.select("item", "benchmark", chance=pl.coalesce("chance", guess, stated)).filter(
        pl.col("item").is_in(responses.responses["item"].unique().implode())
    )
    if plan.items_per_benchmark is not None:
        order = pl.Series("order", rng.permutation(items.height))
        first = pl.col("order").rank("ordinal").over("benchmark") <= plan.items_per_benchmark
        items = items.with_columns(order).filter(first).drop("order")
    columns = ["subject", "item", "benchmark", "response"] + ["n_samples"] * (plan.kind == "counts")
    frame = responses.responses.select(columns).drop_nulls()
    frame = frame.filter(pl.col("item").is_in(items["item"].implode()))
    subjects = frame["subject"].unique(maintain_order=True).to_list()
    benchmarks = items["benchmark"].unique(maintain_order=True).to_list()
    family = dict(responses.subjects.select("subject", "family").iter_rows())
    return Cells(
        plan,
        frame,
        items,
        codes(frame["subject"], subjects),
        codes(frame["item"], items["item"].to_list()),
        codes(items["benchmark"], benchmarks),
        frame["response"].to_numpy().astype(np.float64),
        frame["n_samples"].to_numpy().astype(np.float64) if plan.kind == "counts" else np.ones(frame.height),
        subjects,
        benchmarks,
        [family[s] for s in subjects],
    )


def codes(values: pl.Series, names: list[str]) -> Codes:
    return values.replace_strict(names, list(range(len(names))), return_dtype=pl.Int64).to_numpy()
