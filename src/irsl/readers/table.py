"""One table as Parquet or CSV: long (a row a response), or wide (a row a subject, a column an item)."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import polars as pl

from irsl.errors import DataError, listed
from irsl.readers.parquet import read_parquet
from irsl.responses import Responses
from irsl.responses.observed import DeclaredKind
from irsl.responses.origin import Origin
from irsl.responses.scores import number_in

SUPPORTED = "a long or wide table as .parquet, .csv or .tsv"

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
# What polars makes of a column name that it has met before.
_RENAMED = re.compile(r"_duplicated_\d+$")
_LONG = ("item", "response", "n_correct", "outcome", "benchmark")


def sniff(path: Path) -> bool:
    """Whether the file's name ends as a table's."""
    return path.is_file() and path.suffix.lower() in (".parquet", *_SEPARATORS)


def read(path: Path, *, kind: DeclaredKind = None) -> Responses:
    """Read a table. It is long if a column has one of a long table's names, else wide with subjects first."""
    frame, place = _load(path)
    if frame.width == 0 or frame.is_empty():
        raise DataError(f"{path.name}: expected a header and at least one row, found an empty table.")
    if any(name in frame.columns for name in _LONG):
        return Responses.from_frames(frame, kind=kind, origins={"responses": Origin(path.name, place)})
    return _read_wide(frame, path.name, place, kind)


def _load(path: Path) -> tuple[pl.DataFrame, Callable[[int], str]]:
    if path.suffix.lower() == ".parquet":
        return read_parquet(path), lambda row: f"row {row}"
    try:
        # As text first: a tolerant parser of our own says what it could not read, and where.
        frame = pl.read_csv(
            path,
            separator=_SEPARATORS[path.suffix.lower()],
            infer_schema=False,
        )
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{path.name}: expected a header and at least one row, found an empty file.") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name}: expected a table of comma-separated values, found none ({error}).") from error
    twice = [name for name in frame.columns if (stem := _RENAMED.sub("", name)) != name and stem in frame.columns]
    if twice:
        raise DataError(
            f"{path.name}, line 1: expected each column once, found {_RENAMED.sub('', twice[0])!r} more than once."
        )
    return frame, lambda row: f"line {row + 2}"


def _read_wide(frame: pl.DataFrame, name: str, place: Callable[[int], str], kind: DeclaredKind) -> Responses:
    subject, *items = frame.columns
    if not items:
        raise DataError(
            f"{name}: expected columns subject, item, response, or a subject and its items; found only {subject!r}."
        )
    if frame[subject].is_duplicated().any():
        twice = frame[subject].filter(frame[subject].is_duplicated())[0]
        rows = (frame[subject] == twice).arg_true()
        raise DataError(
            f"{name}: a wide table has one row a subject; {twice!r} has {len(rows)} (first: {place(rows[0])} "
            f"and {place(rows[1])}). For a long table the columns subject, item, response are needed; found "
            f"{listed(frame.columns)}{_hint(frame.columns)}."
        )
    readable = frame.select(number_in(item, frame[item].dtype).is_not_null().any() for item in items).row(0)
    if not all(readable):
        empty = items[readable.index(False)]
        cells = frame[empty].cast(pl.String, strict=False).drop_nulls()
        seen = f"the first cell holds {cells[0]!r}" if len(cells) else "every cell is empty"
        raise DataError(
            f"{name}, column {empty!r}: expected scores of an item, found none; {seen}. In a wide table "
            "every column after the first is an item: leave this one out. For a long table the columns "
            f"subject, item, response are needed{_hint(frame.columns)}."
        )
    numeric = all(frame[item].dtype.is_numeric() for item in items)
    scores = frame.select(items if numeric else pl.col(items).cast(pl.String))
    n_rows = frame.height
    long = scores.unpivot(variable_name="item", value_name="response").with_columns(
        subject=frame[subject].gather(pl.int_range(n_rows * len(items), eager=True) % n_rows)
    )

    def cell(row: int) -> str:
        return f"{place(row % n_rows)}, column {items[row // n_rows]!r}"

    return Responses.from_frames(long, kind=kind, origins={"responses": Origin(name, cell, column_is_item=True)})


def _hint(columns: list[str]) -> str:
    for name in ("item", "response", "subject"):
        if name not in columns and (close := get_close_matches(name, columns, n=1)):
            return f"; is {close[0]!r} meant for {name!r}?"
    return ""
