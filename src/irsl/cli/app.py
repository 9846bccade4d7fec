"""irsl demo, calibrate, measure, report."""

from __future__ import annotations

import json
import math
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irsl._version import __version__
from irsl.errors import IrslError, OptionError

if TYPE_CHECKING:
    import polars as pl

    from irsl.report.analysis import Analysis
    from irsl.responses import Responses

app = typer.Typer(
    help="Measure language models with item response theory; turn the measurements into scaling laws and decisions.",
    epilog="Start with: irsl demo --out demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Likelihoods(StrEnum):
    """What a response is."""

    auto = "auto"
    bernoulli = "bernoulli"
    binomial = "binomial"
    beta_binomial = "beta_binomial"
    beta = "beta"


class Populations(StrEnum):
    """Distribution of the calibration subjects' abilities."""

    auto = "auto"
    normal = "normal"
    estimated = "estimated"


class Model(StrEnum):
    """Item-response models."""

    one = "1pl"
    two = "2pl"
    three = "3pl"


class Kind(StrEnum):
    """Outcome kinds."""

    binary = "binary"
    counts = "counts"
    probability = "probability"
    aggregate = "aggregate"


class Estimator(StrEnum):
    """Ability estimators."""

    eap = "eap"
    map = "map"
    wle = "wle"
    mle = "mle"


DataArgument = Annotated[
    Path,
    typer.Argument(help="Responses: Parquet or CSV, long or wide, or a folder saved by irsl.", show_default=False),
]
KindOption = Annotated[Kind | None, typer.Option(help="What the responses are, where the columns do not say it.")]
OutcomeOption = Annotated[str | None, typer.Option(help="Outcome to use, e.g. acc, where there are several.")]
BenchmarkOption = Annotated[list[str] | None, typer.Option(help="Benchmark to use; repeat for several. Default: all.")]
ConditionOption = Annotated[str | None, typer.Option(help="Condition to use, where there are several.")]
ModelOption = Annotated[
    Model, typer.Option(help="1pl: one slope; 2pl: one per item; 3pl: 2pl over a floor at the item's chance.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def main() -> None:
    """Run the command line; bad input ends with status 2 and one line that says what to do."""
    warnings.showwarning = _show_warning
    try:
        app(standalone_mode=False)
    except typer.Exit as stop:
        raise SystemExit(stop.exit_code) from None
    except typer.Abort:
        raise SystemExit(130) from None
    except (IrslError, OSError) as error:
        _fail(str(error))
    except (
        Exception
    ) as error:  # usage errors of typer carry their own text; anything else is a defect and is shown whole
        if hasattr(error, "format_message"):
            _fail(error.format_message())
        raise


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Hold the options of irsl itself."""
    if version:
        print(__version__)
        raise typer.Exit


@app.command(epilog="Example: irsl demo --out demo && open demo/report.html")
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write the report and its tables into.")] = Path("demo"),
    as_json: JsonOption = False,
) -> None:
    """Place a real pre-training ladder on calibrated scales, forecast its largest size, and check the forecast."""
    from irsl import ladder

    _report(
        ladder.load().select(outcome="acc"),
        out,
        title="A ladder of small language models",
        model=Model.three,
        as_json=as_json,
    )


@app.command(epilog="Example: irsl report responses.csv --out report")
def report(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Folder to write the report and its tables into.")],
    model: ModelOption = Model.two,
    kind: KindOption = None,
    outcome: OutcomeOption = None,
    benchmark: BenchmarkOption = None,
    condition: ConditionOption = None,
    title: Annotated[str | None, typer.Option(help="Title of the report. Default: the data's name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate, measure, fit laws where the subjects have FLOPs, and write report.html."""
    responses = _read(data, kind, outcome, benchmark, condition)
    _report(responses, out, title=title or data.stem, model=model, as_json=as_json)


@app.command(epilog="Example: irsl calibrate responses.csv --out bank --model 2pl")
def calibrate(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Folder to write the item bank into.")],
    model: ModelOption = Model.two,
    kind: KindOption = None,
    outcome: OutcomeOption = None,
    benchmark: BenchmarkOption = None,
    condition: ConditionOption = None,
    resolution: Annotated[
        float | None,
        typer.Option(help="Step between two probabilities that is believed; .01 where some are exactly 0 or 1."),
    ] = None,
    likelihood: Annotated[
        Likelihoods, typer.Option(help="What a response is; auto goes by its kind.")
    ] = Likelihoods.auto,
    population: Annotated[
        Populations, typer.Option(help="Of abilities: auto finds groups who saw the same items; estimated: any shape.")
    ] = Populations.auto,
    cluster: Annotated[
        str | None, typer.Option(help="Column of subjects that resemble each other (family, run): wider errors.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate the items of a table of responses and save them as an item bank."""
    from irsl.calibration import calibrate as run

    responses = _read(data, kind, outcome, benchmark, condition)
    with _progress("calibrating") as say:
        calibration = run(
            responses,
            model=model.value,
            likelihood=likelihood.value,
            population=population.value,
            cluster=cluster,
            resolution=resolution,
            progress=lambda scale, n, _: say(f"calibrating {scale}, pass {n}", None),
        )
    calibration.bank.save(out)
    if as_json:
        print(_json({"bank": str(out), "fits": calibration.fits.to_dicts()}))
        return
    print(f"{calibration!r}; saved to {out}")
    _print_table(
        calibration.fits.select(
            "scale", "n_subjects", "n_items", "likelihood", "precision", "overdispersion", "converged"
        ),
        "Calibration",
    )
    flagged = calibration.bank.items.filter(calibration.bank.items["flags"].list.len() > 0)
    if flagged.height:
        counts = flagged["flags"].explode().value_counts(sort=True)
        print("Flagged items: " + ", ".join(f"{n} {flag}" for flag, n in counts.iter_rows()))
    for row in calibration.fits.to_dicts():
        notes = row["message"].split("; ")[0 if not row["converged"] else 1 :]
        if notes:
            print(f"{row['scale']}: {'; '.join(notes)}", file=sys.stderr)


@app.command(epilog="Example: irsl measure new.csv --bank bank --out measured.csv")
def measure(
    data: DataArgument,
    bank: Annotated[Path, typer.Option(help="Folder of an item bank, written by irsl calibrate.")],
    out: Annotated[Path | None, typer.Option(help="Table to write: .csv, .parquet or .json.")] = None,
    estimator: Annotated[Estimator, typer.Option(help="How abilities are estimated.")] = Estimator.eap,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.9,
    kind: KindOption = None,
    outcome: OutcomeOption = None,
    benchmark: BenchmarkOption = None,
    condition: ConditionOption = None,
    resolution: Annotated[float | None, typer.Option(help="As in irsl calibrate.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Place subjects on the scales of an item bank: ability and benchmark accuracy, with intervals."""
    from irsl.ability import measure as run
    from irsl.calibration import ItemBank

    items = ItemBank.load(bank)
    table = run(
        _read(data, kind, outcome, benchmark, condition),
        items,
        estimator=estimator.value,
        level=level,
        resolution=resolution,
    )
    if out is not None:
        _write_table(table, out)
    if as_json:
        print(_json(table.to_dicts()))
        return
    _print_table(
        _with_intervals(table.sort("benchmark", "accuracy", descending=[False, True])).select(
            "subject", "benchmark", "accuracy", "accuracy interval", "ability", "ability interval", "n_observed"
        ),
        f"Accuracy over all items of the bank, {100 * level:g} % intervals",
    )
    if out is not None:
        print(f"Written to {out}")


def _read(
    data: Path, kind: Kind | None, outcome: str | None, benchmark: list[str] | None, condition: str | None
) -> Responses:
    from irsl.readers import read

    responses = read(data, kind=None if kind is None else kind.value)
    if responses.read_report.n_unread:
        print(f"irsl: note: {responses.read_report}", file=sys.stderr)
    if outcome is None and benchmark is None and condition is None:
        return responses
    return responses.select(outcome=outcome, benchmark=benchmark, condition=condition)


def _report(responses: Responses, out: Path, *, title: str, model: Model, as_json: bool) -> None:
    from irsl.report.analysis import analyse
    from irsl.report.page import write_report

    with _progress("calibrating") as say:
        analysis = analyse(responses, title=title, model=model.value, progress=say)
        say("drawing the report", 0.95)
        page = write_report(analysis, out)
    if as_json:
        tables = {name: table.to_dicts() for name, table in analysis.tables().items() if table.height <= 500}
        print(_json({"report": str(page), **tables}))
        return
    _print_summary(analysis)
    print(f"Report: {page}")


def _print_summary(analysis: Analysis) -> None:
    """Print the answer first, then what stands behind it."""
    import polars as pl

    laws = analysis.laws
    if laws is None:
        ranked = analysis.abilities.filter(pl.col("final")).sort("accuracy", descending=True)
        _print_table(
            _with_intervals(ranked).select("benchmark", "subject", "accuracy", "ability", "ability interval").head(20),
            "The first subjects by accuracy, 90 % intervals of ability",
        )
        for note in analysis.notes:
            print(note)
        return
    best = laws.choice.row(0, named=True)
    where = "over all benchmarks" if best["benchmark"] == "all" else f"on {best['benchmark']}"
    truth = laws.choice.filter(pl.col("benchmark") == best["benchmark"]).sort("observed", descending=True)
    winner = truth.row(0, named=True)
    print(
        f"Train {best['recipe']}: at {analysis.target} parameters it will reach {best['accuracy']:.3f} "
        f"[{best['accuracy_lower']:.3f}, {best['accuracy_upper']:.3f}] {where}, the best of {truth.height} recipes "
        f"with probability {best['p_best']:.2f} (forecast from the smaller sizes).\n"
        f"Observed: {best['observed']:.3f}; the best was "
        + ("the same." if winner["recipe"] == best["recipe"] else f"{winner['recipe']} with {winner['observed']:.3f}.")
    )
    names = {"irsl": "item-response law", "classical": "classical law", "small": "largest small size",
             "smallest": "smallest size", "seed": "another seed"}  # fmt: skip
    overall = "all" if "all" in laws.comparison["benchmark"] else laws.comparison["benchmark"][0]
    summary = (
        laws.comparison.filter(pl.col("benchmark") == overall)
        .drop("benchmark", "n_recipes")
        .with_columns(pl.col("method").replace(names))
    )
    _print_table(summary, f"Forecasts of {analysis.target} from smaller sizes, means over benchmarks")
    if analysis.replays is not None:
        replays = analysis.replays.group_by("selection", maintain_order=True).agg(
            pl.col("n_items", "error", "coverage", "width").mean()
        )
        _print_table(replays, "Held-out runs measured from few items: error in accuracy")
    for note in analysis.notes:
        print(note)


def _print_table(table: pl.DataFrame, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    numeric = [dtype.is_numeric() for dtype in table.dtypes]
    for name, right in zip(table.columns, numeric, strict=True):
        shown.add_column(name.replace("_", " "), justify="right" if right else "left", overflow="fold")
    limit = 40
    for row in table.head(limit).iter_rows():
        shown.add_row(*[_cell(value) for value in row])
    Console().print(shown)
    if table.height > limit:
        print(f"... and {table.height - limit} more rows; --json or --out gives all")


def _json(value: Any) -> str:
    """JSON as RFC 8259 has it: infinite and undefined numbers become null."""

    def finite(part: Any) -> Any:
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {key: finite(v) for key, v in part.items()}
        return [finite(v) for v in part] if isinstance(part, list) else part

    return json.dumps(finite(value), default=str, allow_nan=False)


def _with_intervals(table: pl.DataFrame) -> pl.DataFrame:
    """Add each pair of bounds as one column of text."""
    import polars as pl

    texts = {
        f"{name} interval": [
            f"{low:.{digits}f} to {high:.{digits}f}"
            for low, high in zip(table[f"{name}_lower"], table[f"{name}_upper"], strict=True)
        ]
        for name, digits in (("accuracy", 3), ("ability", 2))
    }
    return table.with_columns(**{name: pl.Series(values) for name, values in texts.items()})


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def _write_table(table: pl.DataFrame, out: Path) -> None:
    from irsl.files import replace_file

    writers = {".csv": "write_csv", ".parquet": "write_parquet", ".json": "write_json"}
    if out.suffix not in writers:
        raise OptionError(f"--out {out}: expected a name that ends in one of {list(writers)}")
    with replace_file(out) as temporary:
        getattr(table, writers[out.suffix])(temporary)


class _progress:  # noqa: N801  (a context manager that reads as a verb)
    """A progress bar on standard error, shown only where it is a terminal."""

    def __init__(self, first: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bar.add_task(first, total=None)

    def __enter__(self) -> Any:
        self.bar.start()
        return self._say

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def _say(self, what: str, share: float | None) -> None:
        self.bar.update(self.task, description=what, total=None if share is None else 1.0, completed=share or 0.0)


def _show_warning(message: Any, *_: object, **__: object) -> None:
    print(f"irsl: note: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print(f"irsl: {message}", file=sys.stderr)
    raise SystemExit(2)
