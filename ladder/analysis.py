"""What the results show: accuracies, and how often a ranking by a small size is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ladder import store
from ladder.config import Configuration, Run
from ladder.items import N_OPTIONS


@dataclass(frozen=True)
class Result:
    """What one run answered.

    Parameters
    ----------
    run : Run
    summary : dict
        Content of results/<run>.json.
    log_p : (n_checkpoints, n_items, 4) int16
        In units of `summary["log_p_unit"]`, items as in results/items.parquet.
    """

    run: Run
    summary: dict[str, Any]
    log_p: np.ndarray


def read_results(configuration: Configuration, folder: Path) -> list[Result]:
    """Results of all complete recipes (every size with the first seed), in the order of the queue.

    Further seeds of a complete recipe are included as far as they exist.
    """
    first_seed = configuration.queue[0].seed
    found = {run.name for run in configuration.queue if (folder / f"{run.name}.json").exists()}
    complete = {
        recipe.name
        for recipe in configuration.recipes
        if all(Run(recipe, size, first_seed).name in found for size in configuration.sizes)
    }
    return [_read(run, folder) for run in configuration.queue if run.name in found and run.recipe.name in complete]


def _read(run: Run, folder: Path) -> Result:
    summary = store.read_json(folder / f"{run.name}.json")
    column = pl.read_parquet(folder / f"{run.name}.parquet", columns=["log_p"])["log_p"]
    values = column.explode().to_numpy().reshape(-1, len(summary["steps"]), N_OPTIONS)
    return Result(run, summary, values.transpose(1, 0, 2))


def final_accuracy(result: Result, gold: np.ndarray, benchmark: np.ndarray, name: str) -> float:
    """Share of a benchmark's items whose right choice has the largest log-likelihood at the last checkpoint."""
    return float((result.log_p[-1].argmax(-1) == gold)[benchmark == name].mean())


def pairs_ordered_differently(first: Sequence[float], second: Sequence[float]) -> float:
    """Share of pairs that two rankings order differently; a tie in one of them counts half."""
    disagreements = []
    for i, j in combinations(range(len(first)), 2):
        signs = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
        disagreements.append(abs(signs[0] - signs[1]) / 2)
    return float(np.mean(disagreements)) if disagreements else float("nan")
