"""irsl demo, calibrate, measure, report, law."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irsl._version import __version__
from irsl.cli.common import (
    BenchmarkOption,
    ConditionOption,
    DataArgument,
    JsonOption,
    KindOption,
    OutcomeOption,
    print_table,
    progress,
    read_responses,
    to_json,
    write_table,
)
from irsl.cli.law import law
from irsl.errors import IrslError

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
app.add_typer(law, name="law")


class Likelihoods(StrEnum):
    """What a response is."""

    auto = "auto"
    bernoulli = "bernoulli"
    binomial = "binomial"
    beta_binomial = "beta_binomial"
    logit_normal_binomial = "logit_normal_binomial"
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


class Estimator(StrEnum):
    """Ability estimators."""

    eap = "eap"
    map = "map"
    wle = "wle"
    mle = "mle"


ModelOption = Annotated[
    Model, typer.Option(help="1pl: one slope; 2pl: one per item; 3pl: 2pl over a floor at the item's chance.")
]


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
    responses = read_responses(data, kind, outcome, benchmark, condition)
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

    responses = read_responses(data, kind, outcome, benchmark, condition)
    with progress("calibrating") as say:
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
        print(to_json({"bank": str(out), "fits": calibration.fits.to_dicts()}))
        return
    print(f"{calibration!r}; saved to {out}")
    own = [c for c in ("precision", "overdispersion", "logit_sd") if calibration.fits[c].count() > 0]
    print_table(
        calibration.fits.select("scale", "n_subjects", "n_items", "likelihood", *own, "converged"), "Calibration"
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
        read_responses(data, kind, outcome, benchmark, condition),
        items,
        estimator=estimator.value,
        level=level,
        resolution=resolution,
    )
    if out is not None:
        write_table(table, out)
    if as_json:
        print(to_json(table.to_dicts()))
        return
    print_table(
        _with_intervals(table.sort("benchmark", "accuracy", descending=[False, True])).select(
            "subject", "benchmark", "accuracy", "accuracy interval", "ability", "ability interval", "n_observed"
        ),
        f"Accuracy over all items of the bank, {100 * level:g} % intervals",
    )
    if out is not None:
        print(f"Written to {out}")


def _report(responses: Responses, out: Path, *, title: str, model: Model, as_json: bool) -> None:
    from irsl.report.analysis import analyse
    from irsl.report.page import write_report

    with progress("calibrating") as say:
        analysis = analyse(responses, title=title, model=model.value, progress=say)
        say("drawing the report", 0.95)
        page = write_report(analysis, out)
    if as_json:
        tables = {name: table.to_dicts() for name, table in analysis.tables().items() if table.height <= 500}
        print(to_json({"report": str(page), **tables}))
        return
    _print_summary(analysis)
    print(f"Report: {page}")


def _print_summary(analysis: Analysis) -> None:
    """Print the answer first, then what stands behind it."""
    import polars as pl

    laws = analysis.laws
    if laws is None:
        ranked = analysis.abilities.filter(pl.col("final")).sort("accuracy", descending=True)
        print_table(
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
    print_table(summary, f"Forecasts of {analysis.target} from smaller sizes, means over benchmarks")
    if analysis.replays is not None:
        replays = analysis.replays.group_by("selection", maintain_order=True).agg(
            pl.col("n_items", "error", "coverage", "width").mean()
        )
        print_table(replays, "Held-out runs measured from few items: error in accuracy")
    for note in analysis.notes:
        print(note)


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


def _show_warning(message: Any, *_: object, **__: object) -> None:
    print(f"irsl: note: {message}", file=sys.stderr)


def _fail(message: str) -> None:
    print(f"irsl: {message}", file=sys.stderr)
    raise SystemExit(2)
