"""Outcomes computed from the log-likelihoods of an item's choices.

For choices with log-likelihoods l_1..l_m and correct choices G (one, or several):

=====================  ==================================================================
acc                    1 if the largest l_j is in G (the first of equal ones counts)
acc_norm               the same with l_j / characters_j
p_vocab                sum over G of exp(l_j)
p_choices              sum over G of softmax(l)_j
p_vocab_per_char       exp(l_j / characters_j), the largest over G (a sum could exceed 1)
p_choices_per_char     sum over G of softmax(l / characters)_j
=====================  ==================================================================

The logit of p_choices is logsumexp over G minus logsumexp over the rest, which stays finite where the
probability itself rounds to 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit

from irsl.errors import DataError
from irsl.responses.conform import names, rename_aliases, require_columns, require_rows, require_unique, typed
from irsl.responses.items import place_in_benchmarks
from irsl.responses.observed import read_condition, read_trial
from irsl.responses.origin import Origin
from irsl.responses.report import Account, Unread
from irsl.responses.schema import CHOICES_KEY
from irsl.responses.scores import INFINITE, MISSING

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ChoiceOutcome:
    """How an outcome follows from log-likelihoods of choices."""

    kind: str
    per_character: bool
    among_choices: bool


CHOICE_OUTCOMES = {
    "acc": ChoiceOutcome("binary", per_character=False, among_choices=True),
    "acc_norm": ChoiceOutcome("binary", per_character=True, among_choices=True),
    "p_vocab": ChoiceOutcome("probability", per_character=False, among_choices=False),
    "p_choices": ChoiceOutcome("probability", per_character=False, among_choices=True),
    "p_vocab_per_char": ChoiceOutcome("probability", per_character=True, among_choices=False),
    "p_choices_per_char": ChoiceOutcome("probability", per_character=True, among_choices=True),
}


def read_choices(
    frame: pl.DataFrame,
    items: pl.DataFrame | None,
    log_p_unit: float | None,
    origin: Origin,
    account: Account,
) -> pl.DataFrame:
    """Read a table of log-likelihoods of choices: columns of CHOICES and benchmark.

    Parameters
    ----------
    frame : subject (or model), item, log_p (list), perhaps benchmark, condition, trial
    log_p_unit : float or None
        What one unit of the stored log_p is in nats; None if they are nats.

    Raises
    ------
    DataError
        A column is missing, a key occurs twice, a log-likelihood is above 0, or an item's
        number of choices varies.
    """
    frame = rename_aliases(frame, "choices")
    require_columns(frame, ["subject", "item", "log_p"], origin)
    require_rows(frame, origin)
    account.ignored += [f"choices.{name}" for name in frame.columns if name not in (*CHOICES_KEY, "log_p")]
    table = frame.with_columns(names(frame, name, origin).alias(name) for name in ("subject", "item"))
    table = place_in_benchmarks(table, items, origin)
    log_p = typed(table["log_p"], pl.List(pl.Float64()), origin)
    if log_p_unit is not None:
        if not log_p_unit > 0:
            raise DataError(f"{origin.at()}: expected log_p_unit above 0, found {log_p_unit!r}.")
        log_p = log_p.list.eval(pl.element() * log_p_unit)
    table = table.select("subject", "item", "benchmark", read_condition(table), read_trial(table, origin), log_p)
    table = _finite(table, origin, account)
    require_unique(table, CHOICES_KEY, origin, "Drop the copies, or number repeated samples in a column 'trial'.")
    counts = (
        table.filter(pl.col("log_p").is_not_null())
        .group_by("benchmark", "item", maintain_order=True)
        .agg(low=pl.col("log_p").list.len().min(), high=pl.col("log_p").list.len().max())
        .filter(pl.col("low") != pl.col("high"))
    )
    if counts.height:
        _, item, low, high = counts.row(0)
        raise DataError(
            f"{origin.at(column='log_p')}: expected the same choices for every subject, found {low} to "
            f"{high} for item {item!r} ({counts.height:,} such items). Give every choice, in one order."
        )
    return table


def _finite(table: pl.DataFrame, origin: Origin, account: Account) -> pl.DataFrame:
    """Refuse log-likelihoods above 0; make those that are not finite null, with their row."""
    element = pl.element()
    judged = table.select(
        high=pl.col("log_p").list.max(),
        infinite=pl.col("log_p").list.eval(element.is_infinite()).list.any(),
        lacking=pl.col("log_p").list.eval(element.is_null() | element.is_nan()).list.any(),
        n=pl.col("log_p").list.len(),
    )
    above = ((judged["high"] > 0) & judged["high"].is_finite()).fill_null(False)
    if above.any():
        row = above.arg_true()[0]
        raise DataError(
            f"{origin.at(row, 'log_p')}: expected log-likelihoods, at most 0, found {judged['high'][row]:g} "
            f"({above.sum():,} of {table.height:,} rows; first: subject {table['subject'][row]!r}, item "
            f"{table['item'][row]!r}). Give natural logarithms of probabilities."
        )
    missing = judged["n"].is_null() | (judged["n"] == 0) | judged["lacking"]
    infinite = ~missing & judged["infinite"]
    for reason, lost in ((MISSING, missing), (INFINITE, infinite)):
        if lost.any():
            row = lost.arg_true()[0]
            account.unread.append(
                Unread("log_p", reason, int(lost.sum()), f"{origin.at(row)}: {table['log_p'].to_list()[row]!r}")
            )
    return table.with_columns(log_p=pl.when(~(missing | infinite)).then("log_p"))


def in_units(choices: pl.DataFrame, unit: float | None) -> pl.DataFrame:
    """Express log-likelihoods as whole units of their resolution, if any, so that the same come back."""
    if unit is None:
        return choices
    return choices.with_columns(pl.col("log_p").list.eval((pl.element() / unit).round().cast(pl.Int32)))


def with_widths(items: pl.DataFrame, choices: pl.DataFrame) -> pl.DataFrame:
    """Fill in n_options from the number of log-likelihoods, where the table of items does not say."""
    return items.join(_widths(choices), on="item", how="left", maintain_order="left").select(
        pl.coalesce("n_options", "width").alias("n_options") if name == "n_options" else name for name in items.columns
    )


def _widths(choices: pl.DataFrame) -> pl.DataFrame:
    return (
        choices.filter(pl.col("log_p").is_not_null())
        .group_by("item", maintain_order=True)
        .agg(width=pl.col("log_p").first().list.len().cast(pl.Int64))
    )


def check_gold(choices: pl.DataFrame, items: pl.DataFrame, origin: Origin) -> None:
    """Raise DataError if gold, or the lengths of the choices, do not fit the number of choices."""
    widths = _widths(choices).join(items, on="item", how="left", maintain_order="left")
    width = pl.col("width")
    astray = widths.filter((pl.col("gold").list.min() < 0) | (pl.col("gold").list.max() >= width))
    if astray.height:
        item, gold, n = astray.select("item", "gold", "width").row(0)
        raise DataError(
            f"{origin.at(column='gold')}: expected the index of a correct choice, 0 to {n - 1}, found {gold} "
            f"for item {item!r} ({astray.height:,} items). Count choices from 0."
        )
    for name in ("choice_characters", "choice_bytes"):
        uneven = widths.filter(pl.col(name).list.len() != width)
        if uneven.height:
            item, lengths, n = uneven.select("item", name, "width").row(0)
            raise DataError(
                f"{origin.at(column=name)}: expected {n} lengths, one a choice, found {lengths} for item "
                f"{item!r} ({uneven.height:,} items)."
            )


def computable(choices: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """List the outcomes that log-likelihoods allow: benchmark, outcome, kind, conditions, n_rows.

    A benchmark's outcome needs gold, and characters where it is per character, of every item that was asked.
    """
    groups = (
        choices.join(items.select("item", "gold", "choice_characters"), on="item", how="left", maintain_order="left")
        .group_by("benchmark", maintain_order=True)
        .agg(
            gold=pl.col("gold").is_not_null().all(),
            characters=pl.col("choice_characters").is_not_null().all(),
            conditions=pl.col("condition").unique(maintain_order=True),
            n_rows=pl.len().cast(pl.Int64),
        )
    )
    rows = [
        (benchmark, name, outcome.kind, conditions, n_rows)
        for benchmark, gold, characters, conditions, n_rows in groups.iter_rows()
        for name, outcome in CHOICE_OUTCOMES.items()
        if gold and (characters or not outcome.per_character)
    ]
    return pl.DataFrame(rows, schema=OUTCOMES, orient="row")


OUTCOMES = pl.Schema(
    {
        "benchmark": pl.String(),
        "outcome": pl.String(),
        "kind": pl.String(),
        "conditions": pl.List(pl.String()),
        "n_rows": pl.Int64(),
    }
)


def compute(outcome: str, choices: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Compute an outcome of every row of choices.

    Returns
    -------
    frame : subject, item, benchmark, outcome, condition, trial, response, logit
        `logit` is null but for outcomes that are probabilities among the choices.

    Raises
    ------
    DataError
        An item lacks gold, or characters where the outcome is per character, or has no wrong choice.
    """
    how = CHOICE_OUTCOMES[outcome]
    known = choices["log_p"].is_not_null()
    response = np.full(len(known), np.nan)
    logit = np.full(len(known), np.nan)
    rows = choices.filter(known)
    if rows.height:
        ragged = _Ragged.of(rows, items, outcome, how)
        value, exact = _evaluate(ragged, how)
        response[known.to_numpy()] = value
        if exact is not None:
            logit[known.to_numpy()] = exact
    return choices.drop("log_p").with_columns(
        outcome=pl.lit(outcome),
        response=pl.Series(response, nan_to_null=True),
        logit=pl.Series(logit, nan_to_null=True),
    )


@dataclass(frozen=True)
class _Ragged:
    """Choices of all rows laid end to end: log-likelihoods, which are correct, and where each row starts."""

    log_p: Floats
    correct: NDArray[np.bool_]
    starts: Ints
    lengths: Ints

    @classmethod
    def of(cls, rows: pl.DataFrame, items: pl.DataFrame, outcome: str, how: ChoiceOutcome) -> _Ragged:
        lengths = rows["log_p"].list.len().cast(pl.Int64).to_numpy()
        starts = np.cumsum(lengths) - lengths
        log_p = rows["log_p"].explode().to_numpy().astype(np.float64)
        asked = (
            rows.select("item").unique(maintain_order=True).join(items, on="item", how="left", maintain_order="left")
        )
        _require(asked, "gold", outcome)
        code = rows["item"].cast(pl.Enum(asked["item"])).to_physical().cast(pl.Int64).to_numpy()
        item_widths = np.zeros(asked.height, np.int64)
        item_widths[code] = lengths
        item_starts = np.cumsum(item_widths) - item_widths

        gold = asked["gold"].explode().to_numpy()
        gold_item = np.repeat(np.arange(asked.height), asked["gold"].list.len().to_numpy())
        item_correct = np.zeros(int(item_widths.sum()), bool)
        item_correct[item_starts[gold_item] + gold] = True
        where = np.repeat(item_starts[code] - starts, lengths) + np.arange(len(log_p))
        if how.per_character:
            _require(asked, "choice_characters", outcome)
            characters = np.maximum(asked["choice_characters"].explode().to_numpy(), 1)
            log_p = log_p / characters[where]
        ragged = cls(log_p, item_correct[where], starts, lengths)
        if how.among_choices and how.kind == "probability":
            full = np.bincount(gold_item, minlength=asked.height) >= item_widths
            if full.any():
                raise DataError(
                    f"outcome {outcome!r} needs a wrong choice beside the correct ones; {full.sum():,} of "
                    f"{len(full):,} items have none (first: {asked['item'][int(np.argmax(full))]!r}). Use "
                    "'p_vocab' or leave them out."
                )
        return ragged

    def log_sum(self, which: NDArray[np.bool_]) -> Floats:
        """Logsumexp over some choices of each row; -inf where there is none."""
        masked = np.where(which, self.log_p, -np.inf)
        top = np.maximum.reduceat(masked, self.starts)
        shift = np.where(np.isfinite(top), top, 0.0)
        total = np.add.reduceat(np.exp(masked - np.repeat(shift, self.lengths)), self.starts)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(total) + shift, dtype=np.float64)


def _evaluate(ragged: _Ragged, how: ChoiceOutcome) -> tuple[Floats, Floats | None]:
    if how.kind == "binary":
        top = np.maximum.reduceat(ragged.log_p, ragged.starts)
        at_top = ragged.log_p == np.repeat(top, ragged.lengths)
        position = np.where(at_top, np.arange(len(at_top)), len(at_top))
        return ragged.correct[np.minimum.reduceat(position, ragged.starts)].astype(np.float64), None
    if not how.among_choices:
        if how.per_character:
            best = np.maximum.reduceat(np.where(ragged.correct, ragged.log_p, -np.inf), ragged.starts)
            return np.exp(best), None
        return np.minimum(np.exp(ragged.log_sum(ragged.correct)), 1.0), None
    logit = ragged.log_sum(ragged.correct) - ragged.log_sum(~ragged.correct)
    return np.asarray(expit(logit)), logit


def _require(asked: pl.DataFrame, column: str, outcome: str) -> None:
    lacking = asked[column].is_null()
    if lacking.any():
        raise DataError(
            f"outcome {outcome!r} needs items.{column}, missing for {lacking.sum():,} of {asked.height:,} "
            f"items (first: {asked['item'][lacking.arg_true()[0]]!r}). Add the column to the table of items."
        )
