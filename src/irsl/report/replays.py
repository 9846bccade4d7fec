"""Held-out runs, measured from few items: adaptive, short-form, stratified and random, against all items."""

from __future__ import annotations

import numpy as np
import polars as pl

from irsl.ability import measure
from irsl.adaptive import replay
from irsl.calibration import ItemBank, calibrate
from irsl.likelihoods.base import Array
from irsl.responses import Responses

HELD_OUT_SHARE = 0.25
TOLERANCE = 1e-2  # standard errors: where the calibration stops
MAX_ITERATIONS = 60
MIN_RECIPES = 4
SELECTIONS = ("information", "short_form", "stratified", "random")
RIDGE_PENALTIES = 10.0 ** np.arange(-1.0, 4.0, 0.5)


def replay_held_out(
    responses: Responses, subjects: pl.DataFrame, *, model: str, budget: int, level: float, seed: int
) -> tuple[pl.DataFrame | None, str]:
    """Calibrate without whole recipes, then measure their runs from `budget` items each.

    Returns
    -------
    table : polars.DataFrame or None
        benchmark, selection, n_items, error (mean absolute, of accuracy), coverage (of accuracy's interval), width,
        ability_error (mean absolute, against all items), n_subjects. "mean of random items" and "regression on the
        short form" are what needs no item response theory.
    reason : str
        Why there is no table.
    """
    recipes = subjects["recipe"].unique(maintain_order=True).to_list()
    if len(recipes) < MIN_RECIPES:
        return (
            None,
            f"whole recipes are held out for it, and there are only {len(recipes)} of at least {MIN_RECIPES}",
        )
    smallest = int(responses.items.group_by("benchmark").len()["len"].min())  # type: ignore[arg-type]
    if smallest <= budget:
        return None, f"the smallest benchmark has {smallest} items, no more than the {budget} of a short test"
    answered = [
        float(np.median(np.isfinite(responses.to_matrix(benchmark=[b]).responses()).sum(axis=1)))
        for b in responses.items["benchmark"].unique(maintain_order=True)
    ]
    if min(answered) <= budget:
        return None, f"a typical subject answered {min(answered):.0f} items, no more than the {budget} of a short test"
    every = round(1 / HELD_OUT_SHARE)
    away = subjects.filter(pl.col("recipe").is_in(recipes[every // 2 :: every]))["subject"].to_list()
    home = subjects.filter(~pl.col("subject").is_in(away))["subject"].to_list()
    bank = calibrate(
        responses.select(subjects=home), model=model, tolerance=TOLERANCE, max_iterations=MAX_ITERATIONS
    ).bank
    held_out = responses.select(subjects=away)
    full = measure(held_out, bank, level=level).select(
        "subject",
        "benchmark",
        pl.col("accuracy").alias("full_accuracy"),
        pl.col("ability").alias("full_ability"),
    )
    rows = []
    for selection in SELECTIONS:
        table = replay(held_out, bank, budget=budget, selection=selection, seed=seed, level=level)
        joined = table.join(full, on=["subject", "benchmark"], how="left")
        rows.append(
            joined.group_by("benchmark", maintain_order=True).agg(
                selection=pl.lit(selection),
                n_items=pl.col("n_items").mean(),
                error=(pl.col("accuracy") - pl.col("full_accuracy")).abs().mean(),
                coverage=(
                    (pl.col("accuracy_lower") <= pl.col("full_accuracy"))
                    & (pl.col("full_accuracy") <= pl.col("accuracy_upper"))
                ).mean(),
                width=(pl.col("accuracy_upper") - pl.col("accuracy_lower")).mean(),
                ability_error=(pl.col("ability") - pl.col("full_ability")).abs().mean(),
                n_subjects=pl.len(),
            )
        )
    rows.append(_without_irt(responses, bank, home, away, budget, seed))
    order = {b: i for i, b in enumerate(bank.benchmarks)}
    table = pl.concat(rows, how="diagonal_relaxed")
    return table.sort(pl.col("benchmark").replace_strict(order), maintain_order=True), ""


def _without_irt(
    responses: Responses, bank: ItemBank, home: list[str], away: list[str], budget: int, seed: int
) -> pl.DataFrame:
    """The mean of random items, and ridge regression from the short form's responses to the full accuracy."""
    rng = np.random.default_rng(seed)
    rows = []
    for benchmark in bank.benchmarks:
        part = bank.select(benchmark=benchmark)
        names = part.items["item"].to_list()
        known, new = (
            responses.select(subjects=s, benchmark=benchmark).to_matrix(items=names).responses() for s in (home, away)
        )
        truth = np.nanmean(new, axis=1)
        order = np.argsort(np.where(np.isfinite(new), rng.random(new.shape), np.inf), axis=1)[:, :budget]
        mean = np.nanmean(np.take_along_axis(new, order, axis=1), axis=1)
        form = [names.index(i) for i in part.short_form(budget).items["item"]]
        regression = _ridge(known[:, form], np.nanmean(known, axis=1), new[:, form])
        for selection, estimate in (
            ("mean of random items", mean),
            ("regression on the short form", regression),
        ):
            rows.append(
                {
                    "benchmark": benchmark,
                    "selection": selection,
                    "n_items": float(budget),
                    "error": float(np.abs(estimate - truth).mean()),
                    "n_subjects": truth.size,
                }
            )
    return pl.DataFrame(rows)


def _ridge(x: Array, y: Array, new: Array) -> Array:
    """Predict with the penalty that generalised cross-validation prefers (Golub, Heath and Wahba, 1979)."""
    centre, fill = np.nanmean(x, axis=0), np.nanmean(x, axis=0)
    x, new = (np.where(np.isfinite(v), v, fill) - centre for v in (x, new))
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    residual_mean = y - y.mean()
    projected = u.T @ residual_mean
    scores = []
    for penalty in RIDGE_PENALTIES:
        shrink = s**2 / (s**2 + penalty)
        left = residual_mean - u @ (shrink * projected)
        scores.append((left @ left) / (y.size - 1 - shrink.sum()) ** 2)
    penalty = RIDGE_PENALTIES[int(np.argmin(scores))]
    return np.asarray(y.mean() + new @ (vt.T @ (s / (s**2 + penalty) * projected)))
