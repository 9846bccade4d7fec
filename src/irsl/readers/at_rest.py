"""A folder of Parquet files, with meta.json as `Responses.save` writes it, or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from irsl.errors import DataError
from irsl.readers.parquet import read_parquet
from irsl.responses import Responses
from irsl.responses.observed import DeclaredKind
from irsl.responses.origin import Origin
from irsl.responses.schema import SCHEMA_VERSION

SUPPORTED = "a folder with responses.parquet or choices.parquet"

# Another word for the table of subjects.
_FILES = {
    "responses": ("responses.parquet",),
    "items": ("items.parquet",),
    "subjects": ("subjects.parquet", "models.parquet"),
    "choices": ("choices.parquet",),
}


def sniff(path: Path) -> bool:
    """Whether this is a folder with responses, or says that it is."""
    return path.is_dir() and any(
        (path / name).is_file() for name in ("meta.json", "responses.parquet", "choices.parquet")
    )


def read(path: Path, *, kind: DeclaredKind = None) -> Responses:
    """Read a folder; a kind that is handed in goes before meta.json."""
    meta = _meta(path / "meta.json")
    frames: dict[str, pl.DataFrame] = {}
    origins: dict[str, Origin] = {}
    for table, names in _FILES.items():
        file = next((path / name for name in names if (path / name).is_file()), None)
        if file is not None:
            frames[table] = read_parquet(file)
            origins[table] = Origin(f"{path.name}/{file.name}")
    if not {"responses", "choices"} & frames.keys():
        raise DataError(f"{path}: expected responses.parquet or choices.parquet beside meta.json, found neither.")
    if "choices" in frames and frames.get("responses", pl.DataFrame()).is_empty():
        # A table of responses may be empty where everything is computed from log-likelihoods of choices.
        frames.pop("responses", None)
    return Responses.from_frames(
        frames.get("responses"),
        items=frames.get("items"),
        subjects=frames.get("subjects"),
        choices=frames.get("choices"),
        kind=meta.get("kinds") if kind is None else kind,
        log_p_unit=meta.get("log_p_unit"),
        origins=origins,
    )


def _meta(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: expected JSON, found something else ({error}).") from error
    version = meta.get("schema_version") if isinstance(meta, dict) else None
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{file}: expected schema_version {SCHEMA_VERSION}, found {version!r}. It was written by another "
            "version of irsl, or is not a folder of responses."
        )
    return dict(meta)
