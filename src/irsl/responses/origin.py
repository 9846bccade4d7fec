"""Where a row came from, for messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _row(row: int) -> str:
    return f"row {row}"


@dataclass(frozen=True)
class Origin:
    """The file (or frame) that a table came from, and how its rows are called there.

    Parameters
    ----------
    name : str
        File name, or "responses" and the like for a frame handed in.
    place : callable
        Turns a row's index (from 0) into its place, e.g. "line 7" of a CSV file whose header is line 1.
    column_is_item : bool
        The table was wide: its columns are items, and `place` names them.
    """

    name: str
    place: Callable[[int], str] = _row
    column_is_item: bool = False

    def at(self, row: int | None = None, column: str | None = None) -> str:
        """Name a place, e.g. "scores.csv, line 7, column 'response'"."""
        parts = [self.name]
        if row is not None:
            parts.append(self.place(row))
        if column is not None and not self.column_is_item:
            parts.append(f"column {column!r}")
        return ", ".join(parts)
