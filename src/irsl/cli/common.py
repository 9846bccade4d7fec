"""What the commands share: options of the data, reading, tables, JSON, files, and progress."""

from __future__ import annotations

import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from irsl.errors import OptionError

if TYPE_CHECKING:
    import polars as pl

    from irsl.responses import Responses


class Kind(StrEnum):
    """Outcome kinds."""

    binary = "binary"
    counts = "counts"
    probability = "probability"
    aggregate = "aggregate"


DataArgument = Annotated[
    Path,
    typer.Argument(help="Responses: Parquet or CSV, long or wide, or a folder saved by irsl.", show_default=False),
]
KindOption = Annotated[Kind | None, typer.Option(help="What the responses are, where the columns do not say it.")]
OutcomeOption = Annotated[str | None, typer.Option(help="Outcome to use, e.g. acc, where there are several.")]
BenchmarkOption = Annotated[list[str] | None, typer.Option(help="Benchmark to use; repeat for several. Default: all.")]
ConditionOption = Annotated[str | None, typer.Option(help="Condition to use, where there are several.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def read_responses(
    data: Path, kind: Kind | None, outcome: str | None, benchmark: list[str] | None, condition: str | None
) -> Responses:
    """Read the data and keep what the options ask for; what could not be read is noted on standard error."""
    from irsl.readers import read

    responses = read(data, kind=None if kind is None else kind.value)
    if responses.read_report.n_unread:
        print(f"irsl: note: {responses.read_report}", file=sys.stderr)
    if outcome is None and benchmark is None and condition is None:
        return responses
    return responses.select(outcome=outcome, benchmark=benchmark, condition=condition)


def print_table(table: pl.DataFrame, title: str, *, limit: int = 40) -> None:
    """Print the first `limit` rows on standard output; a cell may have several lines."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    numeric = [dtype.is_numeric() for dtype in table.dtypes]
    for name, right in zip(table.columns, numeric, strict=True):
        shown.add_column(name.replace("_", " "), justify="right" if right else "left", overflow="fold")
    for row in table.head(limit).iter_rows():
        shown.add_row(*[Text(_cell(value)) for value in row])
    Console().print(shown)
    if table.height > limit:
        print(f"... and {table.height - limit} more rows; --json or --out gives all")


def to_json(value: Any) -> str:
    """JSON as RFC 8259 has it: infinite and undefined numbers become null."""

    def finite(part: Any) -> Any:
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {key: finite(v) for key, v in part.items()}
        return [finite(v) for v in part] if isinstance(part, list) else part

    return json.dumps(finite(value), default=str, allow_nan=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


TABLE_WRITERS = {".csv": "write_csv", ".parquet": "write_parquet", ".json": "write_json"}


def check_table_name(out: Path) -> None:
    """Refuse a name whose ending is of no format that tables are written in."""
    if out.suffix not in TABLE_WRITERS:
        raise OptionError(f"--out {out}: expected a name that ends in one of {list(TABLE_WRITERS)}")


def write_table(table: pl.DataFrame, out: Path) -> None:
    """Write a table in the format that the name ends in, whole or not at all."""
    from irsl.files import replace_file

    check_table_name(out)
    with replace_file(out) as temporary:
        getattr(table, TABLE_WRITERS[out.suffix])(temporary)


PICTURE_FORMATS = (".png", ".svg")
DOTS_PER_INCH = 200


def check_picture_name(plot: Path) -> None:
    """Refuse a name whose ending is of no format that pictures are written in."""
    if plot.suffix not in PICTURE_FORMATS:
        raise OptionError(f"--plot {plot}: expected a name that ends in one of {list(PICTURE_FORMATS)}")


class Picture(Protocol):
    """What is needed of a matplotlib figure, which the command line does not import."""

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write it to a file."""


def write_picture(figure: Picture, plot: Path) -> None:
    """Write a figure in the format that the name ends in, whole or not at all."""
    from irsl.files import replace_file
    from irsl.plots.style import styled

    check_picture_name(plot)
    undated = {"Software": None} if plot.suffix == ".png" else {"Date": None, "Creator": None}
    with replace_file(plot) as temporary, styled():
        figure.savefig(
            temporary, dpi=DOTS_PER_INCH, facecolor="white", bbox_inches="tight", pad_inches=0.12, metadata=undated
        )


class progress:  # noqa: N801  (a context manager that reads as a verb)
    """A progress bar on standard error, shown only where it is a terminal."""

    def __init__(self, first: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,  # elsewhere it would still end with an empty line
        )
        self.task = self.bar.add_task(first, total=None)

    def __enter__(self) -> Any:
        self.bar.start()
        return self._say

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _say(self, what: str, share: float | None) -> None:
        self.bar.update(self.task, description=what, total=None if share is None else 1.0, completed=share or 0.0)
