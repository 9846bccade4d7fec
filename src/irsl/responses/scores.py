"""Numbers from what people store as scores: an unreadable score is null with a reason, never a number."""

from __future__ import annotations

import polars as pl

from irsl.errors import DataError
from irsl.responses.origin import Origin
from irsl.responses.report import Unread

MISSING_WORDS = ("", "na", "n/a", "null", "none", "nan")
MISSING, INFINITE, UNREADABLE = "missing", "infinite", "unreadable text"


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
    text = raw.str.strip_chars().str.to_lowercase()
    if column.dtype == pl.String:
        value = (
            pl.when(text == "true").then(1.0).when(text == "false").then(0.0)
            .otherwise(text.cast(pl.Float64, strict=False))
        )  # fmt: skip
        missing = raw.is_null() | text.is_in(MISSING_WORDS)
    else:
        value = raw.cast(pl.Float64, strict=False)
        missing = raw.is_null() | value.is_nan()
    number = pl.col("value")
    read = (
        column.to_frame("raw")
        .with_columns(value=value, missing=missing)
        .select(
            reason=pl.when("missing").then(pl.lit(MISSING))
            .when(number.is_infinite()).then(pl.lit(INFINITE))
            .when(number.is_null() | number.is_nan()).then(pl.lit(UNREADABLE)),
            value=number,
        )
        .with_columns(value=pl.when(pl.col("reason").is_null()).then("value"))
    )  # fmt: skip
    return read["value"], read["reason"]


def unread_cells(raw: pl.Series, reasons: pl.Series, column: str, origin: Origin) -> list[Unread]:
    """Count the cells that could not be read, by reason, with the first place of each."""
    rows = (
        pl.DataFrame({"raw": raw, "reason": reasons})
        .with_row_index("row")
        .filter(pl.col("reason").is_not_null())
    )
    found = rows.group_by("reason", maintain_order=True).agg(
        pl.len(), pl.col("row").first(), pl.col("raw").first()
    )
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
