"""Item banks and responses made by hand, for tests of several rooms."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.special import expit

from irsl.calibration.bank import COLUMNS, ItemBank, Scale
from irsl.responses import Responses


def make_bank(
    difficulty, discrimination=1.0, guessing=0.0, *, likelihood="bernoulli", precision=None, trials=1,
    covariance=None, benchmark="benchmark", joint=False, misfit_variance=0.0, n_subjects=0,
) -> ItemBank:  # fmt: skip
    """A bank of items item-0, item-1, ...; covariance is of (log a, b), (n_items, 2, 2), None for exact items.

    n_subjects 0 is unknown, and makes N(0, 1) the prior.
    """
    b = np.asarray(difficulty, dtype=float)
    a, c = np.broadcast_to(discrimination, b.shape), np.broadcast_to(guessing, b.shape)
    of_item = [benchmark] * b.size if isinstance(benchmark, str) else list(benchmark)
    names = list(dict.fromkeys(of_item))
    v = None if covariance is None else np.broadcast_to(covariance, (b.size, 2, 2))
    nothing = np.full(b.size, None, dtype=object)
    frame = pl.DataFrame(
        {
            "item": [f"item-{j}" for j in range(b.size)],
            "benchmark": of_item,
            "scale": ["joint"] * b.size if joint else of_item,
            "difficulty": b,
            "discrimination": a.astype(float),
            "guessing": c.astype(float),
            "chance": c.astype(float),
            "se_difficulty": nothing if v is None else np.sqrt(v[:, 1, 1]),
            "se_discrimination": nothing if v is None else a * np.sqrt(v[:, 0, 0]),
            "covariance": nothing if v is None else v[:, 0, 1],
            "mean_response": nothing,
            "n_subjects": [n_subjects] * b.size,
            "flags": [[] for _ in range(b.size)],
        },
        schema=COLUMNS,
    )  # fmt: skip

    def scale(name, benchmarks):
        return Scale(
            scale=name, benchmarks=benchmarks, model="2pl", outcome="response", likelihood=likelihood,
            precision=precision, trials=trials, n_subjects=n_subjects, subjects_hash="", data_hash="",
            misfit_variance=misfit_variance,
        )  # fmt: skip

    scales = (scale("joint", tuple(names)),) if joint else tuple(scale(n, (n,)) for n in names)
    return ItemBank(frame, scales, "0")


def curve(theta, items) -> np.ndarray:
    """P of every subject on every item, (n_subjects, n_items)."""
    eta = items.discrimination * (np.atleast_1d(theta)[:, None] - items.difficulty)
    return items.guessing + (1 - items.guessing) * expit(eta)


def responses(values, bank, **more) -> Responses:
    """Responses to the items of a bank, which may be of several benchmarks."""
    names = bank.items.select("item", "benchmark")
    if names["benchmark"].n_unique() == 1:
        return Responses.from_matrix(
            np.asarray(values, dtype=float),
            items=names["item"].to_list(),
            benchmark=names["benchmark"][0],
            **more,
        )
    table = Responses.from_matrix(np.asarray(values, dtype=float), items=names["item"].to_list(), **more).responses
    return Responses.from_frames(table.drop("benchmark").join(names, on="item"), **more)
