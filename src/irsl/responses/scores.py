"""Numbers from what people store as scores: an unreadable score is null with a reason, never a number."""

from __future__ import annotations

import polars as pl

from irsl.errors import DataError
from irsl.responses.origin import Origin
from irsl.responses.report import Unread

MISSING_WORDS = ("", "na", "n/a", "null", "none", "nan")
MISSING, INFINITE, UNREADABLE = "missing", "infinite", "unreadable text"


def number_in(column: str, dtype: pl.DataType) -> pl.Expr:
    """Express the finite number in each cell of a column of scores; null where there is none."""
    value = _value(pl.col(column), dtype)
    return pl.when(value.is_finite()).then(value).alias(column)


def parse_numbers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Read a column of scores tolerantly.

    Parameters
    ----------
    column : (n_rows,) numbers, booleans or text

    Returns
    -------
    values : (n_rows,) Float64, null where no finite number stood
    reasons : (n_rows,) String, why a value is null; null where it is not
    """
    raw = pl.col("raw")
    value = _value(raw, column.dtype)
    if column.dtype == pl.String:
        missing = raw.is_null() | raw.str.strip_chars().str.to_lowercase().is_in(MISSING_WORDS)
    else:
        missing = raw.is_null() | value.is_nan()
    read = column.to_frame("raw").select(
        number_in("raw", column.dtype).alias("value"),
        reason=pl.when(missing)
        .then(pl.lit(MISSING))
        .when(value.is_infinite())
        .then(pl.lit(INFINITE))
        .when(value.is_null() | value.is_nan())
        .then(pl.lit(UNREADABLE)),
    )
    return read["value"], read["reason"]


def _value(raw: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype != pl.String:
        return raw.cast(pl.Float64, strict=False)
    text = raw.str.strip_chars().str.to_lowercase()
    number = text.cast(pl.Float64, strict=False)
    return pl.when(text == "true").then(1.0).when(text == "false").then(0.0).otherwise(number)


def unread_cells(raw: pl.Series, reasons: pl.Series, column: str, origin: Origin) -> list[Unread]:
    """Count the cells that could not be read, by reason, with the first place of each."""
    rows = pl.DataFrame({"raw": raw, "reason": reasons}).with_row_index("row").filter(pl.col("reason").is_not_null())
    found = rows.group_by("reason", maintain_order=True).agg(pl.len(), pl.col("row").first(), pl.col("raw").first())
    return [
        Unread(column, reason, count, f"{origin.at(row, column)}: {first!r}")
        for reason, count, row, first in found.iter_rows()
    ]


def require_readable(values: pl.Series, raw: pl.Series, column: str, origin: Origin) -> None:
    """Raise DataError if a column of scores holds no number at all."""
    if len(values) and values.null_count() == len(values):
        text = raw.cast(pl.String, strict=False).drop_nulls() if raw.dtype != pl.Null else raw
        seen = f"the first cell holds {text[0]!r}" if len(text) else "every cell is empty"
        raise DataError(
            f"{origin.at(column=column)}: expected scores, found none among {len(values):,} cells; {seen}. "
            "Scores are numbers, true or false; give the column that holds them the name it should have."
        )
