"""Replay a test on stored responses: which items a rule would have asked, and what it would have concluded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from irsl.ability.measure import checked_benchmarks, measure_matrix
from irsl.adaptive.selection import RULES
from irsl.calibration.bank import ItemBank
from irsl.errors import OptionError

if TYPE_CHECKING:
    from irsl.responses import Responses


def replay(
    responses: Responses,
    bank: ItemBank,
    *,
    budget: int,
    selection: str = "information",
    seed: int = 0,
    estimator: str = "eap",
    level: float = 0.9,
) -> pl.DataFrame:
    """Ask each subject `budget` items of each benchmark's scale from its stored responses, and measure it from those.

    Parameters
    ----------
    responses : Responses
        One outcome per benchmark, the bank's; subjects best unknown to the calibration.
    bank : ItemBank
    budget : int
        Items per subject and scale.
    selection : {"information", "random", "stratified", "short_form"}
        Adaptive by Fisher information at the present estimate; random; one random item per stratum of difficulty; the
        same best form for everybody.
    seed : int
        Of the random rules.
    estimator, level
        As in `measure`.

    Returns
    -------
    polars.DataFrame
        subject, benchmark, n_items (asked), and measure's columns. The accuracy's interval is that of all items of
        the bank, of which n_items were seen.

    Raises
    ------
    OptionError
        An unknown selection, or a budget below 1.
    DataError
        No benchmark of the responses is in the bank.
    """
    if selection not in RULES:
        raise OptionError(f"selection {selection!r} is not supported; choose one of {list(RULES)}")
    if budget < 1:
        raise OptionError(f"budget must be at least 1; found {budget}")
    known = checked_benchmarks(responses, bank, estimator=estimator, level=level)
    rule = RULES[selection]
    frames = []
    for scale in bank.scales:
        benchmarks = [b for b in scale.benchmarks if b in known]
        if not benchmarks:
            continue
        part = bank.select(benchmark=[b for b in scale.benchmarks if b in bank.benchmarks])
        matrix = responses.select(benchmark=benchmarks).to_matrix(items=part.items["item"].to_list())
        likelihood = scale.response_likelihood()
        values, trials = likelihood.sufficient_statistics(matrix).cells(slice(0, matrix.n_subjects))
        trials = np.broadcast_to(np.asarray(trials, dtype=np.float64), values.shape)
        rng = np.random.default_rng(seed)
        asked = rule(values, trials, part.parameters(), likelihood, budget, rng)
        frame = measure_matrix(
            matrix.only(asked), part, scale, benchmarks, estimator=estimator, level=level, resolution=None
        )
        counts = pl.DataFrame({"subject": [str(s) for s in matrix.subjects], "n_items": asked.sum(axis=1)})
        frames.append(frame.join(counts, on="subject", how="left", maintain_order="left"))
    table = pl.concat(frames)
    first = ["subject", "benchmark", "n_items"]
    return table.select(*first, pl.exclude(first))
