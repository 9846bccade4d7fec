"""How responses were stored: one module a format, each with sniff(path) and read(path, kind=None)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from irsl.errors import DataError
from irsl.readers import at_rest, coded, table
from irsl.responses import Responses
from irsl.responses.observed import DeclaredKind


class Reader(Protocol):
    """A module that reads one format."""

    SUPPORTED: str

    def sniff(self, path: Path) -> bool:
        """Whether this looks like the reader's format."""

    def read(self, path: Path, *, kind: DeclaredKind) -> Responses:
        """Read it, or raise DataError."""


_READERS: tuple[Reader, ...] = (at_rest, coded, table)


def read(path: str | Path, *, kind: DeclaredKind = None) -> Responses:
    """Read responses from any supported file or folder.

    Parameters
    ----------
    path : path
        A folder at rest (`Responses.save`, or responses.parquet with items.parquet, subjects.parquet or
        models.parquet), a coded matrix (`ResponseMatrix.write`; it stays on disk), or a long or wide table as Parquet
        or CSV.
    kind : str, {outcome: kind} or {benchmark: {outcome: kind}}
        "binary", "counts", "probability" or "aggregate", where the columns do not declare it.

    Raises
    ------
    DataError
        Nothing is there, no reader knows it, or what it holds is not in order.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: expected a file or folder, found nothing there.")
    for reader in _READERS:
        if reader.sniff(path):
            return reader.read(path, kind=kind)
    supported = "; ".join(reader.SUPPORTED for reader in _READERS)
    raise DataError(f"{path}: no reader knows this {'folder' if path.is_dir() else 'file'}. Supported: {supported}.")


__all__ = ["read"]
