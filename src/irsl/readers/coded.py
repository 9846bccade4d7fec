"""A coded matrix on disk, as `ResponseMatrix.write` leaves it: its arrays stay there, mapped into memory."""

from __future__ import annotations

from pathlib import Path

from irsl.errors import DataError
from irsl.responses import Responses
from irsl.responses.matrix import ResponseMatrix
from irsl.responses.observed import DeclaredKind

SUPPORTED = "a folder with matrix.json"


def sniff(path: Path) -> bool:
    """Whether this is such a folder."""
    return path.is_dir() and (path / "matrix.json").is_file()


def read(path: Path, *, kind: DeclaredKind = None) -> Responses:
    """Open it; a matrix knows its kind."""
    matrix = ResponseMatrix.open(path)
    if kind is not None and kind != matrix.kind:
        raise DataError(f"{path}: holds {matrix.kind} responses; asked for {kind!r}.")
    return Responses.from_coded(matrix)
