"""Where the model fits and where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from irsl.calibration import ItemBank
from irsl.likelihoods.base import Array
from irsl.responses import Responses

N_BINS = 20
LEAST_VARIANCE = 0.01  # of a response; below it one lucky guess would be all of an item's outfit


def proportions(responses: Responses, bank: ItemBank, measured: pl.DataFrame) -> pl.DataFrame:
    """Predicted against observed proportions of right answers: all cells of a benchmark in bins of the prediction.

    Returns
    -------
    polars.DataFrame
        benchmark, predicted (mean of the bin), observed, n (responses).
    """
    frames = []
    for benchmark, observed, predicted, _, _ in _residuals(responses, bank, measured):
        seen = np.isfinite(observed)
        bins = np.minimum((predicted[seen] * N_BINS).astype(np.intp), N_BINS - 1)
        n = np.bincount(bins, minlength=N_BINS)
        keep = n > 0
        frames.append(
            pl.DataFrame(
                {
                    "benchmark": [benchmark] * int(keep.sum()),
                    "predicted": (np.bincount(bins, predicted[seen], N_BINS)[keep] / n[keep]),
                    "observed": (np.bincount(bins, observed[seen], N_BINS)[keep] / n[keep]),
                    "n": n[keep],
                }
            )
        )
    return pl.concat(frames)


def item_fit(responses: Responses, bank: ItemBank, measured: pl.DataFrame) -> pl.DataFrame:
    """Mean squared residuals of every item: 1 where the model holds, above 1 where responses are noisier than it says.

    Infit weighs each squared residual by its variance, outfit does not (Wright and Masters, 1982, chapter 5).

    Returns
    -------
    polars.DataFrame
        item, benchmark, infit, outfit, n (responses).
    """
    frames = []
    for benchmark, observed, predicted, variance, names in _residuals(responses, bank, measured):
        seen = np.isfinite(observed)
        square = np.where(seen, (np.where(seen, observed, 0.0) - predicted) ** 2, 0.0)
        n = seen.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            infit = square.sum(axis=0) / np.where(seen, variance, 0.0).sum(axis=0)
            outfit = np.where(seen, square / variance, 0.0).sum(axis=0) / n
        frames.append(
            pl.DataFrame(
                {
                    "item": names,
                    "benchmark": [benchmark] * len(names),
                    "infit": infit,
                    "outfit": outfit,
                    "n": n,
                }
            )
        )
    return pl.concat(frames).with_columns(pl.col("infit", "outfit").fill_nan(None))


def _residuals(
    responses: Responses, bank: ItemBank, measured: pl.DataFrame
) -> Iterator[tuple[str, Array, Array, Array, list[Any]]]:
    """Per benchmark: observed and predicted responses (n_subjects, n_items), their variance, and the items' names."""
    for benchmark in bank.benchmarks:
        rows = measured.filter(pl.col("benchmark") == benchmark)
        part = bank.select(benchmark=benchmark)
        names = part.items["item"].to_list()
        matrix = responses.select(benchmark=benchmark, subjects=rows["subject"].to_list()).to_matrix(items=names)
        ability = dict(zip(rows["subject"], rows["ability"], strict=True))
        theta = np.array([ability[str(s)] for s in matrix.subjects])
        scale = part.scale_of(benchmark)
        predicted = part.curves(theta).T
        variance = scale.response_likelihood().response_variance(predicted, scale.trials)
        yield benchmark, matrix.responses(), predicted, np.maximum(variance, LEAST_VARIANCE), names
