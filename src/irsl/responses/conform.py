"""Bring a table to its schema, names and types: what every table goes through first."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from irsl.errors import DataError, listed, nearest
from irsl.responses.origin import Origin
from irsl.responses.schema import ALIASES


def rename_aliases(frame: pl.DataFrame, table: str) -> pl.DataFrame:
    """Give known columns our names; an alias beside the real name, or a second alias of it, is left alone."""
    taken = set(frame.columns)
    renaming = {}
    for alias, name in ALIASES[table].items():
        if alias in frame.columns and name not in taken:
            renaming[alias] = name
            taken.add(name)
    return frame.rename(renaming)


def require_columns(frame: pl.DataFrame, needed: Collection[str], origin: Origin) -> None:
    """Raise DataError for the first needed column that is missing, naming what is there and the nearest."""
    for name in needed:
        if name not in frame.columns:
            raise DataError(
                f"{origin.at()}: expected a column {name!r}, found {listed(frame.columns)}"
                f"{nearest(name, [c for c in frame.columns if c not in needed])}. Rename the column or add "
                "it."
            )


def require_rows(frame: pl.DataFrame, origin: Origin) -> None:
    """Raise DataError if a table has no rows."""
    if frame.is_empty():
        raise DataError(
            f"{origin.at()}: expected at least one row, found an empty table (columns {listed(frame.columns)})."
        )


def names(frame: pl.DataFrame, column: str, origin: Origin) -> pl.Series:
    """Read a column of names as text; a name may not be missing."""
    text = frame[column].cast(pl.String)
    absent = text.is_null() | (text.str.strip_chars() == "")
    if absent.any():
        row = absent.arg_true()[0]
        raise DataError(
            f"{origin.at(row, column)}: expected a name, found none ({absent.sum():,} of {len(text):,} "
            "rows). Name them, or leave these rows out."
        )
    return text


def null_column(name: str, dtype: pl.DataType, height: int) -> pl.Series:
    """Make a column of nothing but nulls."""
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, height)


def loosely_cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Cast a column, null where a value does not fit; a number becomes a list of one if need be."""
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if isinstance(dtype, pl.List) and not isinstance(column.dtype, pl.List):
        single = column.cast(dtype.inner, strict=False).to_frame("single")
        return single.select(pl.when(pl.col("single").is_not_null()).then(pl.concat_list("single"))).to_series()
    try:
        if column.dtype == pl.String and dtype == pl.Date:
            return column.str.to_date(strict=False)
        return column.cast(dtype, strict=False)
    except pl.exceptions.InvalidOperationError:
        return null_column(column.name, dtype, len(column))


def typed(column: pl.Series, dtype: pl.DataType, origin: Origin) -> pl.Series:
    """Cast a column to its type, naming the first value that does not fit."""
    if column.dtype == dtype:
        return column
    cast = loosely_cast(column, dtype)
    lost = cast.is_null() & column.is_not_null()
    if column.dtype == pl.String:
        lost &= column.str.strip_chars() != ""
    if lost.any():
        row = lost.arg_true()[0]
        raise DataError(
            f"{origin.at(row, column.name)}: expected {_WORDS.get(dtype, str(dtype))}, found {column[row]!r} "
            f"({lost.sum():,} of {len(column):,} rows). Correct the value or rename the column."
        )
    return cast.alias(column.name)


_WORDS = {
    pl.Int64(): "a whole number",
    pl.Float64(): "a number",
    pl.String(): "text",
    pl.Date(): "a date as 2024-12-31",
    pl.List(pl.Int64()): "a whole number or a list of them",
    pl.List(pl.Float64()): "a list of numbers",
    pl.List(pl.String()): "a list of texts",
}


def conform(frame: pl.DataFrame, schema: pl.Schema, origin: Origin) -> pl.DataFrame:
    """Give a table exactly the columns of a schema; absent ones are null, others are dropped."""
    columns = []
    for name, dtype in schema.items():
        if name in frame.columns:
            columns.append(typed(frame[name], dtype, origin))
        else:
            columns.append(null_column(name, dtype, frame.height))
    return pl.DataFrame(columns)


def require_unique(frame: pl.DataFrame, key: Collection[str], origin: Origin, advice: str) -> None:
    """Raise DataError if a key occurs twice, with the first pair of rows."""
    doubled = frame.select(pl.struct(*key).is_duplicated()).to_series()
    if not doubled.any():
        return
    rows = frame.select(*key).with_row_index("row").filter(doubled)
    pair = rows.filter(pl.struct(*key) == rows.select(pl.struct(*key).first()).to_series())["row"]
    values = ", ".join(f"{name} {frame[name][pair[0]]!r}" for name in key)
    raise DataError(
        f"{origin.at()}: expected each ({', '.join(key)}) once, found {doubled.sum():,} rows that share "
        f"theirs (first pair: {origin.place(pair[0])} and {origin.place(pair[1])}: {values}). {advice}"
    )
