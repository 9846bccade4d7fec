"""What reading did to the input, so that nothing is dropped or taken for granted in silence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Unread:
    """Cells that became null, for one reason.

    Parameters
    ----------
    column : str
    reason : str
        "missing" (empty, NA, null, nan), "infinite", "unreadable text", ...
    count : int
    first : str
        The first place, with what stood there.
    """

    column: str
    reason: str
    count: int
    first: str


@dataclass(frozen=True)
class ReadReport:
    """Account of one reading.

    Parameters
    ----------
    sources : tuple of str
        Files or frames.
    n_rows : int
        Rows of responses and of log-likelihoods of choices.
    unread : tuple of Unread
        Scores that became null.
    ignored : tuple of str
        Columns that were not used, as "table.column".
    notes : tuple of str
        Decisions, e.g. a kind taken from the columns.
    """

    sources: tuple[str, ...] = ()
    n_rows: int = 0
    unread: tuple[Unread, ...] = ()
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def n_unread(self) -> int:
        """Number of cells that became null."""
        return sum(entry.count for entry in self.unread)

    def __str__(self) -> str:
        lines = [f"{self.n_rows:,} rows from {', '.join(self.sources)}"]
        lines += [
            f"{entry.count:,} x {entry.reason} in {entry.column!r} became null (first: {entry.first})"
            for entry in self.unread
        ]
        if self.ignored:
            lines.append(f"columns not used: {', '.join(self.ignored)}")
        return "\n".join([*lines, *self.notes])


@dataclass
class Account:
    """A report in the making, handed from step to step of one reading."""

    unread: list[Unread] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self, *, sources: Iterable[str], n_rows: int) -> ReadReport:
        """Close the account."""
        return ReadReport(tuple(sources), n_rows, tuple(self.unread), tuple(self.ignored), tuple(self.notes))
