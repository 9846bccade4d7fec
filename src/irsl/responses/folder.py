"""Guard of folders that are replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from irsl.errors import DataError


def require_ours(folder: str | Path, files: frozenset[str]) -> Path:
    """Raise DataError if a folder about to be replaced holds anything but our own files.

    Returns
    -------
    Path
        The folder, absolute.
    """
    target = Path(folder).absolute()
    if target.exists():
        inside = sorted(p.name for p in target.iterdir()) if target.is_dir() else [target.name]
        others = [name for name in inside if name not in files or not target.is_dir()]
        if others:
            raise DataError(
                f"{folder}: expected a new or empty folder, or one written before; found {others[0]!r} in "
                "the way. Choose another folder."
            )
    return target
