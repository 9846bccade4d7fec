"""Parquet files as frames, with our error where they cannot be read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from irsl.errors import DataError


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file whole; DataError names the file if it is none."""
    try:
        return pl.read_parquet(path, hive_partitioning=False, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: expected a Parquet file, found one that cannot be read ({error}).") from error
