"""The table of responses: one row a trial, checked against what its kind of outcome can be."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from irsl.errors import DataError, listed, nearest
from irsl.responses.conform import (
    names,
    null_column,
    rename_aliases,
    require_columns,
    require_rows,
    require_unique,
    typed,
)
from irsl.responses.items import place_in_benchmarks
from irsl.responses.origin import Origin
from irsl.responses.report import Account, Unread
from irsl.responses.schema import DEFAULT_CONDITION, DEFAULT_OUTCOME, KINDS, RESPONSE_KEY, RESPONSES
from irsl.responses.scores import MISSING, parse_numbers, require_readable, unread_cells

KindOf = dict[tuple[str, str], str]
DeclaredKind = str | Mapping[str, str | Mapping[str, str]] | None

# A stated share may have been rounded to three digits before it was stored.
SHARE_TOLERANCE = 1e-3


def read_responses(
    frame: pl.DataFrame,
    items: pl.DataFrame | None,
    kind: DeclaredKind,
    origin: Origin,
    account: Account,
) -> tuple[pl.DataFrame, KindOf]:
    """Read a table of responses into the schema and settle the kind of each of its outcomes.

    Parameters
    ----------
    frame : long table
        At least subject (or model), item, and response or both of n_samples, n_correct.
    items : item and perhaps benchmark, or None
    kind : str, {outcome: kind}, {benchmark: {outcome: kind}} or None

    Returns
    -------
    table : columns of RESPONSES, rows in the order of `frame`
    kinds : {(benchmark, outcome): kind}

    Raises
    ------
    DataError
        A column or kind is missing, a value is out of its outcome's range, or a key occurs twice.
    """
    frame = rename_aliases(frame, "responses")
    counted = {"n_samples", "n_correct"} <= set(frame.columns)
    require_columns(frame, ["subject", "item"] if counted else ["subject", "item", "response"], origin)
    require_rows(frame, origin)
    account.ignored += [f"responses.{name}" for name in frame.columns if name not in RESPONSES]
    table = frame.with_columns(names(frame, name, origin).alias(name) for name in ("subject", "item"))
    table = place_in_benchmarks(table, items, origin)
    table = table.select(
        "subject",
        "item",
        "benchmark",
        names(table, "outcome", origin) if "outcome" in table.columns else pl.lit(DEFAULT_OUTCOME).alias("outcome"),
        read_condition(table),
        read_trial(table, origin),
        *_numbers(table, origin, account, counted),
    )
    kinds = _settle_kinds(table, kind, origin, account)
    table = _checked(table, kinds, origin, account)
    require_unique(
        table,
        RESPONSE_KEY,
        origin,
        "Drop the copies, or number repeated samples in a column 'trial'; a training seed makes another subject.",
    )
    return table, kinds


def read_condition(table: pl.DataFrame) -> pl.Series:
    """Read the condition (prompt, number of shots, ...); DEFAULT_CONDITION where none is stated."""
    if "condition" not in table.columns:
        return pl.Series("condition", [DEFAULT_CONDITION]).new_from_index(0, table.height)
    return table["condition"].cast(pl.String).fill_null(DEFAULT_CONDITION)


def read_trial(table: pl.DataFrame, origin: Origin) -> pl.Series:
    """Read the trial's number, 0 where none is stated."""
    if "trial" not in table.columns:
        return pl.Series("trial", [0], dtype=pl.Int64).new_from_index(0, table.height)
    return _whole(table, "trial", typed(table["trial"], pl.Float64(), origin), origin).fill_null(0)


def _numbers(table: pl.DataFrame, origin: Origin, account: Account, counted: bool) -> list[pl.Series]:
    """Read response, n_samples and n_correct; a missing response is no loss where there are counts."""
    counts = []
    for name in ("n_samples", "n_correct"):
        if name not in table.columns:
            counts.append(null_column(name, pl.Int64(), table.height))
            continue
        values, reasons = parse_numbers(table[name])
        lost = pl.select(pl.when(reasons != MISSING).then(reasons)).to_series()
        account.unread += unread_cells(table[name], lost, name, origin)
        counts.append(_whole(table, name, values, origin))
    raw = table["response"] if "response" in table.columns else null_column("response", pl.Float64(), table.height)
    values, reasons = parse_numbers(raw)
    if not counted:
        require_readable(values, raw, "response", origin)
    has_counts = counts[0].is_not_null() & counts[1].is_not_null()
    lost = pl.select(pl.when(~has_counts | (reasons != MISSING)).then(reasons)).to_series()
    account.unread += unread_cells(raw, lost, "response", origin)
    return [values.alias("response"), *counts]


def _whole(table: pl.DataFrame, name: str, values: pl.Series, origin: Origin) -> pl.Series:
    bad = ((values != values.round()) | (values < 0)).fill_null(False)
    _refuse(
        table,
        bad,
        origin,
        name,
        "a whole number, 0 or more",
        values,
        "Counts are not shares; correct the column.",
    )
    return values.cast(pl.Int64).alias(name)


def _refuse(
    table: pl.DataFrame,
    bad: pl.Series,
    origin: Origin,
    column: str,
    expected: str,
    values: pl.Series,
    advice: str,
) -> None:
    """Raise DataError for the first row of `bad`, if any."""
    if not bad.any():
        return
    row = bad.arg_true()[0]
    raise DataError(
        f"{origin.at(row, column)}: expected {expected}, found {values[row]:g} ({bad.sum():,} of "
        f"{len(bad):,} rows; first: subject {table['subject'][row]!r}, item {table['item'][row]!r}). {advice}"
    )


def _settle_kinds(table: pl.DataFrame, kind: DeclaredKind, origin: Origin, account: Account) -> KindOf:
    """Take each outcome's kind as declared, or the one that its columns declare."""
    value = pl.col("response")
    groups = table.group_by("benchmark", "outcome", maintain_order=True).agg(
        counted=pl.col("n_samples").is_not_null().any(),
        zero_one=((value == 0) | (value == 1)).all(),
        unit=value.is_between(0, 1).all(),
        low=value.min(),
        high=value.max(),
    )
    kinds: KindOf = {}
    inferred: dict[str, list[str]] = {}
    for benchmark, outcome, counted, zero_one, unit, low, high in groups.iter_rows():
        declared = _declared(kind, benchmark, outcome)
        if declared is not None:
            if declared not in KINDS:
                raise DataError(
                    f"{origin.at()}: kind {declared!r} of outcome {outcome!r} is not "
                    f"known{nearest(declared, KINDS)}; choose from {listed(KINDS)}."
                )
        elif counted:
            declared = "counts"
            inferred.setdefault("counts, because there is n_samples", []).append(f"{benchmark}/{outcome}")
        elif zero_one:
            declared = "binary"
            inferred.setdefault("binary, because every value is 0 or 1", []).append(f"{benchmark}/{outcome}")
        else:
            advice = (
                "Say which: kind='probability' if these are probabilities or graded scores of single items, "
                "columns n_samples and n_correct (kind='counts') if they are shares of several trials, "
                "kind='aggregate' if they are benchmark means."
                if unit
                else "Say which: kind='aggregate' if these are benchmark means, losses or other measures; "
                "otherwise bring scores to 0..1 first (percentages: divide by 100)."
            )
            raise DataError(
                f"{origin.at(column='response')}: the kind of outcome {outcome!r} of benchmark {benchmark!r} "
                f"is not stated, and its values, from {low:g} to {high:g}, leave several. {advice}"
            )
        kinds[benchmark, outcome] = declared
    account.notes += [f"kind taken as {why}: {listed(which, 3)}" for why, which in inferred.items()]
    return kinds


def _declared(kind: DeclaredKind, benchmark: str, outcome: str) -> str | None:
    if kind is None or isinstance(kind, str):
        return kind
    by_benchmark = kind.get(benchmark)
    if isinstance(by_benchmark, Mapping):
        return by_benchmark.get(outcome)
    by_outcome = kind.get(outcome)
    return by_outcome if isinstance(by_outcome, str) else None


def _checked(table: pl.DataFrame, kinds: KindOf, origin: Origin, account: Account) -> pl.DataFrame:
    """Check every value against its outcome's kind; complete counts and shares from each other."""
    keys = pl.DataFrame(
        [(*key, kind) for key, kind in kinds.items()], schema=["benchmark", "outcome", "kind"], orient="row"
    )
    kind = table.join(keys, on=["benchmark", "outcome"], how="left", maintain_order="left")["kind"]
    value, n, k = table["response"], table["n_samples"], table["n_correct"]

    binary = (kind == "binary") & (value != 0) & (value != 1)
    _refuse(table, binary.fill_null(False), origin, "response", "0 or 1, the kind being binary", value,
            "Use kind='probability' for graded scores, n_samples and n_correct for trials.")  # fmt: skip
    unit = ((kind == "probability") | (kind == "counts")) & ((value < 0) | (value > 1))
    _refuse(table, unit.fill_null(False), origin, "response", "a number from 0 to 1", value,
            "Divide percentages by 100; use kind='aggregate' for losses and other measures.")  # fmt: skip

    counts = kind == "counts"
    if not counts.any():
        account.ignored += [
            f"responses.{c.name}, of an outcome that is not counts" for c in (n, k) if c.is_not_null().any()
        ]
        return table.with_columns(n_samples=pl.lit(None, pl.Int64), n_correct=pl.lit(None, pl.Int64))
    if not (counts & n.is_not_null()).any():
        raise DataError(
            f"{origin.at()}: kind 'counts' needs n_samples and n_correct, and there is no n_samples. Add the "
            "columns, or use kind='binary' for single trials."
        )
    _refuse(table, (counts & (k > n)).fill_null(False), origin, "n_correct", "at most n_samples", k,
            "n_correct counts the successes among n_samples.")  # fmt: skip
    expected_k = value * n
    k = pl.select(pl.coalesce(k, expected_k.round().cast(pl.Int64))).to_series()
    off = (counts & ((value - k / n).abs() > SHARE_TOLERANCE)).fill_null(False)
    _refuse(table, off, origin, "response", "n_correct / n_samples", value,
            "Leave the column response out, or correct the counts.")  # fmt: skip
    uncounted = counts & (n.is_null() | k.is_null() | (n == 0).fill_null(False))
    lost = uncounted & (value.is_not_null() | (n == 0).fill_null(False))
    if lost.any():
        row = lost.arg_true()[0]
        account.unread.append(
            Unread("response", "without n_samples or n_correct", int(lost.sum()),
                   f"{origin.at(row)}: subject {table['subject'][row]!r}, item {table['item'][row]!r}")
        )  # fmt: skip
    usable = pl.Series(counts & ~uncounted)
    return table.with_columns(
        response=pl.when(counts).then(pl.when(usable).then(k / n)).otherwise(value),
        n_samples=pl.when(usable).then(n),
        n_correct=pl.when(usable).then(k),
    )
