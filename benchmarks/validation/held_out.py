"""Predict what was held out: a tenth of the cells, and three tenths of the subjects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm, t

import irsl
from validation.baselines import BASELINES, fit_baseline
from validation.cells import Array, Cells, Codes, as_responses, codes
from validation.curves import curves_of, predict
from validation.scores import calibration_bins, clustered, log_loss, score

HELD_OUT_CELLS, HELD_OUT_SUBJECTS, LEVEL = 0.1, 0.3, 0.9
PICTURED = ("additive, logit", "2pl benchmark")
WIDER = {"beta_binomial", "logit_normal_binomial"}  # than the binomial, which is then fitted beside them
N_ASKED, N_DRAWS, N_POINTS = 50, 5, 40


def variants(cells: Cells) -> Iterator[tuple[str, str, str]]:
    """Yield the model, scale and likelihood of every calibration that a set allows."""
    models = ["1pl", "2pl"] + ["3pl"] * (cells.plan.kind == "binary" and cells.items["chance"].max() > 0)
    for scale in ["benchmark"] + ["joint"] * (len(cells.benchmarks) > 1):
        for model in models:
            yield model, scale, "auto"


def held_out_cells(cells: Cells, rng: np.random.Generator) -> dict[str, Any]:
    scores: dict[str, list[dict[str, float]]] = {}
    pooled: dict[str, list[Array]] = {}
    asked, n_fits, failed = [], 0, []
    for _ in range(cells.plan.cell_repeats):
        held = rng.random(cells.subject.size) < HELD_OUT_CELLS
        train, test = cells.take(~held), cells.take(held)
        asked.append(test)
        predictions = {name: fit_baseline(name, train, rng)[test.subject, test.item] for name in BASELINES}
        todo = list(variants(cells))
        while todo:
            model, scale, likelihood = todo.pop(0)
            calibration = train.calibrate(model=model, scale=scale, likelihood=likelihood)
            n_fits += calibration.fits.height
            name = f"{model} {scale}" + ("" if likelihood == "auto" else f" {likelihood}")
            failed += [name] * int((~calibration.fits["converged"]).sum())
            predictions[name] = predict(curves_of(calibration, cells), test.subject, test.item)
            wider = WIDER & set(calibration.fits["likelihood"])
            if wider and (model, scale, likelihood) == ("2pl", "benchmark", "auto"):
                todo.append((model, scale, "binomial"))
        for name, p in predictions.items():
            scores.setdefault(name, []).append(score(test, p))
            pooled.setdefault(name, []).append(p)
    y, n, subject = (np.concatenate([getattr(x, k) for x in asked]) for k in ("response", "trials", "subject"))
    p_of = {name: np.concatenate(p) for name, p in pooled.items()}

    def loss(name: str) -> Array:
        return (y - p_of[name]) ** 2 if cells.plan.kind == "probability" else log_loss(y, p_of[name])

    rows = []
    for name, repeats in scores.items():
        row: dict[str, Any] = {"method": name}
        row |= {key: float(np.mean([r[key] for r in repeats])) for key in repeats[0]}
        for key, against in (("gain", "item mean"), ("gain_additive", "additive, logit")):
            row[key], row[f"se_{key}"] = clustered(loss(against) - loss(name), n, subject)
        bins = calibration_bins(p_of[name], y, n, subject)
        row["calibration_error"] = sum(b["share"] * abs(b["observed"] - b["predicted"]) for b in bins)
        rows.append(row | ({"bins": bins} if name in PICTURED else {}))
    return {"rows": rows, "n_cells": int(y.size), "n_fits": n_fits, "not_converged": failed}


def held_out_subjects(cells: Cells, rng: np.random.Generator) -> dict[str, Any]:
    y = cells.dense(cells.response)
    settings = [("1pl", "benchmark"), ("2pl", "benchmark")] + [("2pl", "joint")] * (len(cells.benchmarks) > 1)
    frames = []
    for split in range(cells.plan.subject_splits):
        order = rng.permutation(len(cells.subjects))
        is_new = np.zeros(order.size, dtype=bool)
        is_new[order[: round(HELD_OUT_SUBJECTS * order.size)]] = True
        train = cells.take(~is_new[cells.subject])
        asked = questions(y, np.flatnonzero(is_new), cells, rng)
        frames.append(means(asked, y[~is_new], cells).with_columns(split=pl.lit(split)))
        for model, scale in settings:
            calibration = train.calibrate(model=model, scale=scale)
            measured = irsl.measure(
                as_responses(asked_frame(asked, cells), cells.items, cells.plan),
                calibration.bank,
                level=LEVEL,
                resolution=cells.plan.resolution,
            )
            frames.append(
                measured.select(
                    pl.lit(f"{model} {scale}").alias("method"),
                    "subject",
                    "benchmark",
                    estimate="accuracy",
                    lower="accuracy_lower",
                    upper="accuracy_upper",
                    split=pl.lit(split),
                )
            )
    frame = pl.concat(frames).with_columns(subject=pl.col("subject").str.replace(r"#\d+$", ""))
    truth = [
        (s, b, float(np.mean(y[i, cells.benchmark == k])))
        for i, s in enumerate(cells.subjects)
        for k, b in enumerate(cells.benchmarks)
    ]
    frame = frame.join(
        pl.DataFrame(truth, schema=["subject", "benchmark", "truth"], orient="row").drop_nans(),
        on=["subject", "benchmark"],
    ).with_columns(
        error=(pl.col("estimate") - pl.col("truth")).abs(),
        inside=pl.col("truth").is_between(pl.col("lower") - 1e-9, pl.col("upper") + 1e-9).cast(pl.Float64),
        width=pl.col("upper") - pl.col("lower"),
    )
    rows = []
    for (method,), part in frame.group_by("method", maintain_order=True):
        cluster = codes(part["subject"], cells.subjects)
        row: dict[str, Any] = {"method": method}
        for column in ("error", "inside", "width"):
            row[column], row[f"se_{column}"] = clustered(part[column].to_numpy(), np.ones(part.height), cluster)
        rows.append(row)
    shown = frame.filter(pl.col("method") == "2pl benchmark")
    shown = shown[np.sort(rng.choice(shown.height, min(N_POINTS, shown.height), replace=False))]
    return {
        "rows": rows,
        "n_measurements": int(frame.height / len(rows)),
        "n_subjects": frame["subject"].n_unique(),
        "points": shown.select(pl.col("truth", "estimate", "lower", "upper").round(4)).to_dicts(),
    }


@dataclass(frozen=True)
class Asked:
    """One draw of questions: a subject, a benchmark's columns, and which of them were asked."""

    name: str
    subject: int
    benchmark: int
    columns: Codes
    asked: Codes


def questions(y: Array, subjects: Codes, cells: Cells, rng: np.random.Generator) -> list[Asked]:
    """Draw items at random, a half of a benchmark at most, for every subject that answered all of the benchmark."""
    drawn = []
    for b in range(len(cells.benchmarks)):
        columns = np.flatnonzero(cells.benchmark == b)
        n = min(N_ASKED, columns.size // 2)
        for i in subjects[np.isfinite(y[np.ix_(subjects, columns)]).all(axis=1)]:
            for draw in range(N_DRAWS):
                asked = rng.choice(columns, n, replace=False)
                drawn.append(Asked(f"{cells.subjects[i]}#{draw}", int(i), b, columns, asked))
    return drawn


def asked_frame(asked: list[Asked], cells: Cells) -> pl.DataFrame:
    names = pl.concat(
        [pl.DataFrame({"draw": q.name, "subject": cells.subjects[q.subject], "code": q.asked}) for q in asked]
    )
    items = cells.items.select("item").with_row_index("code").with_columns(pl.col("code").cast(pl.Int64))
    rows = names.join(items, on="code").join(cells.frame, on=["subject", "item"])
    return rows.drop("subject", "code").rename({"draw": "subject"})


def means(asked: list[Asked], known: Array, cells: Cells) -> pl.DataFrame:
    """Two estimates that need no model: the mean of the items asked, and the same corrected for their easiness."""
    easiness = np.nanmean(known, axis=0)
    table = cells.dense(cells.response)
    rows = []
    for q in asked:
        y, n_all = table[q.subject, q.asked], q.columns.size
        left = (n_all - y.size) / (n_all - 1)  # what a finite population leaves of a variance
        if cells.plan.kind == "binary":
            rows.append(("mean of the items", q, y.mean(), *wilson(y.mean(), y.size / left)))
        else:
            rows.append(("mean of the items", q, y.mean(), *student(y, y.mean(), left)))
        residual = y - easiness[q.asked]
        adjusted = float(np.clip(easiness[q.columns].mean() + residual.mean(), 0.0, 1.0))
        rows.append(("mean, corrected for easiness", q, adjusted, *student(residual, adjusted, left)))
    return pl.DataFrame(
        [(method, q.name, cells.benchmarks[q.benchmark], *values) for method, q, *values in rows],
        schema=["method", "subject", "benchmark", "estimate", "lower", "upper"],
        orient="row",
    )


def wilson(mean: float, n: float) -> tuple[float, float]:
    """Interval of a proportion. Source: Wilson (1927), J. American Statistical Association 22."""
    z = norm.ppf((1.0 + LEVEL) / 2.0)
    middle = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    return float(middle - half), float(middle + half)


def student(values: Array, middle: float, left: float) -> tuple[float, float]:
    half = t.ppf((1.0 + LEVEL) / 2.0, values.size - 1) * values.std(ddof=1) * np.sqrt(left / values.size)
    return max(middle - half, 0.0), min(middle + half, 1.0)
