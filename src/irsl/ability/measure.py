"""Place subjects on calibrated scales, in abilities and in benchmark units."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from irsl.ability.accuracy import bank_accuracy
from irsl.ability.estimators import ESTIMATORS, estimate
from irsl.calibration.bank import ItemBank, Scale
from irsl.errors import DataError, OptionError
from irsl.threads import ours_alone

if TYPE_CHECKING:
    from irsl.responses import Responses
    from irsl.responses.matrix import ResponseMatrix

LIKELIHOODS_OF_KIND = {
    "binary": ("bernoulli", "binomial", "beta_binomial", "logit_normal_binomial"),
    "counts": ("bernoulli", "binomial", "beta_binomial", "logit_normal_binomial"),
    "probability": ("beta",),
}
BLOCK_SUBJECTS = 512
SCHEMA: dict[str, type[pl.DataType]] = {
    "subject": pl.String,
    "benchmark": pl.String,
    "ability": pl.Float64,
    "se_ability": pl.Float64,
    "ability_lower": pl.Float64,
    "ability_upper": pl.Float64,
    "accuracy": pl.Float64,
    "accuracy_lower": pl.Float64,
    "accuracy_upper": pl.Float64,
    "accuracy_expected": pl.Float64,
    "n_observed": pl.Int64,
}


def measure(
    responses: Responses,
    bank: ItemBank,
    *,
    estimator: str = "eap",
    level: float = 0.9,
    resolution: float | None = None,
) -> pl.DataFrame:
    """Ability and accuracy of every subject on every benchmark of the bank that it has responses for.

    Parameters
    ----------
    responses : Responses
        One outcome per benchmark, the one that the bank was calibrated on.
    bank : ItemBank
    estimator : {"eap", "map", "wle", "mle"}
        Posterior mean or mode under the prior of a new subject, N(0, `Scale.prior_sd`^2), Warm's weighted likelihood,
        maximum likelihood (infinite for subjects who solved all or none). Subjects of the calibration itself are
        better known from `Calibration.abilities`.
    level : float
        Of the intervals.
    resolution : float, optional
        Of probabilities, as in `calibrate`; default: the calibration's.

    Returns
    -------
    polars.DataFrame
        A row per subject and benchmark: subject, benchmark, ability, se_ability, ability_lower, ability_upper,
        accuracy (mean over all items of the bank, the unobserved predicted), accuracy_lower, accuracy_upper,
        accuracy_expected (mean of the curves), n_observed.

    Raises
    ------
    DataError
        No item of a benchmark is in the bank, or its outcome is not the bank's.
    OptionError
        An unknown estimator, or a level outside (0, 1).

    Warns
    -----
    UserWarning
        Items that the bank does not hold were left out; the message counts them and names the first.
    """
    known = checked_benchmarks(responses, bank, estimator=estimator, level=level)
    frames = []
    for scale in bank.scales:
        benchmarks = [b for b in scale.benchmarks if b in known]
        if benchmarks:
            frames.append(
                _measure_scale(
                    responses.select(benchmark=benchmarks),
                    bank,
                    scale,
                    benchmarks,
                    estimator,
                    level,
                    resolution,
                )
            )
    return pl.concat(frames)


def checked_benchmarks(responses: Responses, bank: ItemBank, *, estimator: str, level: float) -> list[str]:
    """Benchmarks that can be measured, in the order of the bank; what cannot is refused or warned of, as `measure`."""
    if estimator not in ESTIMATORS:
        raise OptionError(f"estimator {estimator!r} is not supported; choose one of {list(ESTIMATORS)}")
    if not 0.0 < level < 1.0:
        raise OptionError(f"level must lie in (0, 1); found {level}")
    return known_benchmarks(responses, bank)


def known_benchmarks(responses: Responses, bank: ItemBank) -> list[str]:
    """Benchmarks of the responses that the bank has items of, in its order; the rest is refused or warned of."""
    there = responses.outcomes["benchmark"].unique(maintain_order=True).to_list()
    known = [b for b in bank.benchmarks if b in there]
    if not known:
        raise DataError(f"no benchmark of the responses {there} is in the bank, which has {bank.benchmarks}")
    items = responses.items.filter(pl.col("benchmark").is_in(known))
    met = items.join(bank.items, on="item", how="semi")["benchmark"].unique()
    _warn_of_unknown_items(responses, bank, known)
    for scale in bank.scales:
        _check_outcome(responses, scale, [b for b in scale.benchmarks if b in known])
    return [b for b in known if b in met]


def _warn_of_unknown_items(responses: Responses, bank: ItemBank, benchmarks: list[str]) -> None:
    items = responses.items.filter(pl.col("benchmark").is_in(benchmarks))
    unknown = items.join(bank.items, on="item", how="anti")["item"]
    if unknown.len() == items.height:
        raise DataError(
            f"none of the {items.height} items answered is in the bank (first: {unknown[0]!r}; the bank's first: "
            f"{bank.items['item'][0]!r}): are item names spelt as they were at calibration?"
        )
    absent = sorted(set(responses.outcomes["benchmark"]) - set(benchmarks))
    if absent:
        warnings.warn(f"benchmarks without calibrated items were left out: {absent}", stacklevel=4)
    if unknown.len():
        warnings.warn(
            f"{unknown.len()} items are not in the bank and were left out (first: {unknown[0]!r})",
            stacklevel=4,
        )


def _measure_scale(
    responses: Responses,
    bank: ItemBank,
    scale: Scale,
    benchmarks: list[str],
    estimator: str,
    level: float,
    resolution: float | None,
) -> pl.DataFrame:
    part = bank.select(benchmark=[b for b in scale.benchmarks if b in bank.benchmarks])
    matrix = responses.to_matrix(items=part.items["item"].to_list())
    return measure_matrix(matrix, part, scale, benchmarks, estimator=estimator, level=level, resolution=resolution)


def measure_matrix(
    matrix: ResponseMatrix,
    bank: ItemBank,
    scale: Scale,
    benchmarks: list[str],
    *,
    estimator: str,
    level: float,
    resolution: float | None,
) -> pl.DataFrame:
    """Measure the rows of a coded matrix whose columns are the items of `bank`, all of one scale.

    Returns
    -------
    polars.DataFrame
        As `measure`; a row without any response has no row in it.
    """
    if scale.likelihood not in LIKELIHOODS_OF_KIND[matrix.kind]:
        raise DataError(
            f"scale {scale.scale!r} was calibrated with a {scale.likelihood} likelihood; "
            f"these are {matrix.kind} responses"
        )
    likelihood = scale.response_likelihood(resolution)
    parameters = bank.parameters()
    item_benchmark = bank.items["benchmark"].to_numpy()
    frames = []
    for start in range(0, matrix.n_subjects, BLOCK_SUBJECTS):
        block = matrix.select_subjects(np.arange(start, min(start + BLOCK_SUBJECTS, matrix.n_subjects)))
        observed = block.responses()
        some = np.isfinite(observed).any(axis=1)
        if not some.any():
            continue
        if not some.all():
            block, observed = block.select_subjects(np.flatnonzero(some)), observed[some]
        statistics = likelihood.sufficient_statistics(block)
        with ours_alone():
            estimates = estimate(
                statistics, parameters, likelihood, prior_sd=scale.prior_sd, estimator=estimator, level=level
            )
        for benchmark in benchmarks:
            columns = np.flatnonzero(item_benchmark == benchmark)
            accuracy = bank_accuracy(observed[:, columns], parameters.take(columns), scale, estimates, level=level)
            frames.append(
                pl.DataFrame(
                    {
                        "subject": [str(s) for s in block.subjects],
                        "benchmark": [benchmark] * block.n_subjects,
                        "ability": estimates.ability,
                        "se_ability": estimates.se_ability,
                        "ability_lower": estimates.lower,
                        "ability_upper": estimates.upper,
                        "accuracy": accuracy.accuracy,
                        "accuracy_lower": accuracy.lower,
                        "accuracy_upper": accuracy.upper,
                        "accuracy_expected": accuracy.expected,
                        "n_observed": accuracy.n_observed,
                    },
                ).with_columns(pl.col("se_ability").fill_nan(None))
            )
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)


def _check_outcome(responses: Responses, scale: Scale, benchmarks: list[str]) -> None:
    found = responses.outcomes.filter(pl.col("benchmark").is_in(benchmarks))["outcome"].unique().to_list()
    if len(found) == 1 and found[0] != scale.outcome:
        raise DataError(
            f"scale {scale.scale!r} was calibrated on the outcome {scale.outcome!r}; these responses are {found[0]!r}, "
            "a different scoring: select the bank's outcome, or calibrate a bank for this one"
        )
