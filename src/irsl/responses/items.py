"""The table of items: benchmark, text, choices, gold, chance; ids unique over benchmarks."""

from __future__ import annotations

import polars as pl

from irsl.errors import DataError
from irsl.responses.conform import conform, names, rename_aliases, require_columns, require_unique
from irsl.responses.origin import Origin
from irsl.responses.report import Account
from irsl.responses.schema import DEFAULT_BENCHMARK, ITEMS


def place_in_benchmarks(table: pl.DataFrame, items: pl.DataFrame | None, origin: Origin) -> pl.DataFrame:
    """Add the benchmark of each row where the table does not say: from the items, else one for all."""
    if "benchmark" in table.columns:
        return table.with_columns(names(table, "benchmark", origin).alias("benchmark"))
    if items is None or "benchmark" not in items.columns:
        return table.with_columns(benchmark=pl.lit(DEFAULT_BENCHMARK))
    homes = items.select("item", "benchmark").unique(maintain_order=True)
    clash = homes.filter(pl.col("item").is_duplicated() & pl.col("item").is_in(table["item"].unique().implode()))
    if clash.height:
        raise DataError(
            f"{origin.at()}: item {clash['item'][0]!r} occurs in several benchmarks, so a column 'benchmark' "
            "is needed to tell them apart. Add it."
        )
    return table.join(homes, on="item", how="left", maintain_order="left").with_columns(
        pl.col("benchmark").fill_null(DEFAULT_BENCHMARK)
    )


def conform_items(frame: pl.DataFrame | None, asked: pl.DataFrame, origin: Origin, account: Account) -> pl.DataFrame:
    """Give the table of items its columns; columns of its own go to `metadata` as JSON.

    Parameters
    ----------
    frame : table of items, or None
    asked : item, benchmark
        What was asked, unique, in order of appearance; items missing from `frame` are added.

    Raises
    ------
    DataError
        An item is listed twice, or a chance is no probability.
    """
    if frame is None:
        return conform(asked, ITEMS, origin)
    known = conform(_with_metadata(frame), ITEMS, origin)
    known = known.with_columns(
        n_options=pl.coalesce("n_options", pl.col("options").list.len(), pl.col("choice_characters").list.len())
    )
    require_unique(known, ["benchmark", "item"], origin, "Keep one row for each item.")
    astray = known.filter((pl.col("chance") < 0) | (pl.col("chance") >= 1))
    if astray.height:
        raise DataError(
            f"{origin.at(column='chance')}: expected a probability below 1, found {astray['chance'][0]:g} "
            f"for item {astray['item'][0]!r} ({astray.height:,} items). Give the probability of guessing "
            "right."
        )
    unlisted = asked.join(known, on=["item", "benchmark"], how="anti", maintain_order="left")
    if unlisted.height:
        account.notes.append(
            f"{unlisted.height:,} items are not in {origin.name} (first: {unlisted['item'][0]!r}); added by name"
        )
        known = pl.concat([known, conform(unlisted, ITEMS, origin)])
    return known


def read_item_names(frame: pl.DataFrame, origin: Origin) -> pl.DataFrame:
    """Check and read the names in a table of items, before anything is looked up in it."""
    frame = rename_aliases(frame, "items")
    require_columns(frame, ["item"], origin)
    frame = frame.with_columns(names(frame, "item", origin).alias("item"))
    if "benchmark" in frame.columns:
        frame = frame.with_columns(names(frame, "benchmark", origin).alias("benchmark"))
    return frame


def with_chance(items: pl.DataFrame) -> pl.DataFrame:
    """Give item, benchmark, chance: as stated, else correct choices over choices, else 0."""
    n_correct = pl.coalesce(pl.col("gold").list.len(), 1)
    guessing = pl.when(pl.col("n_options") > n_correct).then(n_correct / pl.col("n_options"))
    return items.select("item", "benchmark", chance=pl.coalesce("chance", guessing, 0.0))


def require_at_home(asked: pl.DataFrame, items: pl.DataFrame, origin: Origin) -> None:
    """Raise DataError if an item is listed under another benchmark only than its responses state."""
    key = ["item", "benchmark"]
    astray = asked.join(items, on=key, how="anti", maintain_order="left")
    astray = astray.join(items.select("item", home="benchmark"), on="item", how="inner", maintain_order="left")
    astray = astray.join(asked, left_on=["item", "home"], right_on=key, how="anti", maintain_order="left")
    if astray.height:
        item, benchmark, home = astray.row(0)
        raise DataError(
            f"{origin.at()}: item {item!r} belongs to benchmark {home!r} here, but its responses say "
            f"{benchmark!r}. Make them agree."
        )


def clashing_benchmarks(homes: pl.DataFrame) -> list[str]:
    """Name the benchmarks that share an item id with another; `homes` has unique item, benchmark."""
    return homes.filter(pl.col("item").is_duplicated())["benchmark"].unique(maintain_order=True).to_list()


def prefix_items(table: pl.DataFrame, benchmarks: list[str]) -> pl.DataFrame:
    """Rename the items of some benchmarks to "benchmark:item"."""
    return table.with_columns(
        item=pl.when(pl.col("benchmark").is_in(benchmarks))
        .then(pl.concat_str("benchmark", pl.lit(":"), "item"))
        .otherwise("item")
    )


def _with_metadata(frame: pl.DataFrame) -> pl.DataFrame:
    """Move columns that are not ours into `metadata`, one JSON object an item."""
    if "options" in frame.columns and frame["options"].dtype == pl.String:
        frame = _parse_options(frame)
    others = [name for name in frame.columns if name not in ITEMS]
    if "metadata" in frame.columns:
        if isinstance(frame["metadata"].dtype, pl.Struct):
            frame = frame.with_columns(pl.col("metadata").struct.json_encode())
        if not others:
            return frame
        frame, others = frame.rename({"metadata": "metadata_given"}), [*others, "metadata_given"]
    if not others:
        return frame
    return frame.with_columns(metadata=pl.struct(others).struct.json_encode()).drop(others)


def _parse_options(frame: pl.DataFrame) -> pl.DataFrame:
    """Read options stored as JSON lists; in any other notation they are kept as text in the metadata."""
    try:
        return frame.with_columns(pl.col("options").str.json_decode(pl.List(pl.String)))
    except pl.exceptions.ComputeError:
        return frame.rename({"options": "options_text"})
