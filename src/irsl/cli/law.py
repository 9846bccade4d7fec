"""irsl law testtime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from irsl.cli.common import (
    BenchmarkOption,
    ConditionOption,
    DataArgument,
    JsonOption,
    KindOption,
    OutcomeOption,
    check_picture_name,
    check_table_name,
    print_table,
    progress,
    read_responses,
    to_json,
    write_picture,
    write_table,
)
from irsl.errors import OptionError, nearest

if TYPE_CHECKING:
    import polars as pl

    from irsl.laws.sampling import SamplingLaw
    from irsl.responses import Responses

law = typer.Typer(help="Laws fitted to a table of responses.", no_args_is_help=True)

A_DECADE, DENSE_A_DECADE = 4, 16  # values of k in a table and along a drawn curve
MOST_K = 10**9
MOST_COLUMNS = 6
MOST_ROWS = 20
SURE, HELPED = 0.9, 0.5  # probabilities from which a power law, and help of the items, are spoken of
NEAR = 5e-4  # of 0 or 1: written as a bound, because three digits would say that it is reached


@law.command("testtime", epilog="Example: irsl law testtime samples.csv --k 1:10000 --plot testtime.png")
def repeated_sampling(
    data: DataArgument,
    k: Annotated[
        str, typer.Option("--k", help="Numbers of samples: first:last, about four a decade, or a list as 1,10,100.")
    ] = "1:10000",
    bank: Annotated[
        Path | None, typer.Option(help="Folder of an item bank. Default: items are calibrated on the data.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="Subject to show; repeat for several. All are fitted. Default: all.")
    ] = None,
    level: Annotated[float, typer.Option(help="Level of the intervals.")] = 0.9,
    kind: KindOption = None,
    outcome: OutcomeOption = None,
    benchmark: BenchmarkOption = None,
    condition: ConditionOption = None,
    out: Annotated[Path | None, typer.Option(help="Table to write: .csv, .parquet or .json.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture to write: .png or .svg.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws that intervals come from.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Forecast pass@k, also beyond the samples that were drawn, from counts of correct samples."""
    ks = parse_k(k)
    if not 0.0 < level < 1.0:
        raise OptionError(f"--level must lie in (0, 1); found {level}")
    if seed < 0:
        raise OptionError(f"--seed must be a whole number of at least 0; found {seed}")
    if out is not None:
        check_table_name(out)
    if plot is not None:
        check_picture_name(plot)
    responses = read_responses(data, kind, outcome, benchmark, condition)
    _check(responses, subject)
    fitted = _fit(responses, bank, level=level, seed=seed)
    if subject is not None:
        fitted = replace(fitted, laws=tuple(own for own in fitted.laws if own.subject in subject))
    curve, subjects = _ranked(fitted, ks, benchmark)
    notes = _notes(fitted, subjects, ks)
    answers = [_answer(curve.filter(benchmark=name), name, ks) for name in _benchmarks(curve)]
    asked = curve.filter(curve["k"].is_in(ks))
    if plot is not None:
        _draw(fitted, curve, ks, plot)
    if out is not None:
        write_table(asked, out)
    if as_json:
        found = {"answer": answers, "level": level, "subjects": subjects.to_dicts(), "curve": asked.to_dicts()}
        print(to_json({**found, "notes": notes}))
        return
    for answer in answers:
        print(_sentence(answer, ks))
    for name in _benchmarks(curve):
        _print_curve(asked.filter(benchmark=name), ks, f"{name}: pass@k on these {_n_items(fitted, name)} items", level)
    for note in notes:
        print(f"- {note}")
    for path in (out, plot):
        if path is not None:
            print(f"Written to {path}")


def parse_k(text: str) -> list[int]:
    """Return the values of k that --k asks for, in order.

    Raises
    ------
    OptionError
        Neither a range first:last nor a list; or a value that is not a whole number from 1 to a billion.
    """
    expected = "--k: expected a range such as 1:10000 or a list such as 1,10,100"
    pieces = re.split("[:,]", text)
    is_range = ":" in text
    if not all(re.fullmatch(r"\s*\d+\s*", piece) for piece in pieces) or (is_range and len(pieces) != 2):
        raise OptionError(f"{expected}, of whole numbers from 1; found {text!r}")
    values = [int(piece) for piece in pieces]
    wrong = [value for value in values if not 1 <= value <= MOST_K]
    if wrong:
        raise OptionError(f"{expected}, of whole numbers from 1 to {MOST_K:,}; found {wrong[0]} in {text!r}")
    if not is_range:
        return sorted(set(values))
    first, last = values
    if first > last:
        raise OptionError(f"{expected}, the smaller end first; found {text!r}")
    return sorted({first, last, *_grid(first, last, A_DECADE)})


def _grid(first: float, last: float, a_decade: int) -> Iterable[int]:
    """Whole numbers from first to last, evenly spaced in the logarithm, powers of ten among them."""
    n_steps = a_decade * len(str(int(last)))
    return (v for v in (round(10 ** (step / a_decade)) for step in range(n_steps + 1)) if first <= v <= last)


def _check(responses: Responses, subjects: Sequence[str] | None) -> None:
    """Refuse subjects that are not there before items are calibrated, which takes long."""
    known = responses.subjects["subject"].to_list()
    for subject in subjects or ():
        if subject not in known:
            raise OptionError(f"--subject {subject}: no such subject among {len(known)}{nearest(subject, known)}")


def _fit(responses: Responses, bank: Path | None, *, level: float, seed: int) -> SamplingLaw:
    from irsl.calibration import ItemBank
    from irsl.laws.sampling import sampling_law

    items = None if bank is None else ItemBank.load(bank)
    with progress("calibrating the items" if bank is None else "fitting the law") as say:
        return sampling_law(
            responses, items, level=level, seed=seed, progress=lambda done, all_: say("fitting the law", done / all_)
        )


def _benchmarks(curve: pl.DataFrame) -> list[str]:
    names: list[str] = curve["benchmark"].unique(maintain_order=True).to_list()
    return names


def _n_items(fitted: SamplingLaw, benchmark: str) -> int:
    return fitted.items.filter(benchmark=benchmark).height


def _ranked(fitted: SamplingLaw, ks: list[int], benchmarks: Sequence[str] | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Curves of every benchmark at 1, the values asked for and those to draw, and the subjects; both best first.

    Best is the largest pass@k at the last value of `ks` that is identified for any subject, to three digits; then
    pass@1. A bank on whose scale there are further benchmarks gives these too, unless `benchmarks` names some.
    """
    import polars as pl

    ends = {int(own.horizon) for own in fitted.laws}
    dense = {*_grid(ks[0], ks[-1], DENSE_A_DECADE), *(h for h in ends | {e + 1 for e in ends} if ks[0] <= h <= ks[-1])}
    curve = fitted.curve(sorted({1, *ks, *dense}))
    if benchmarks:
        curve = curve.filter(pl.col("benchmark").is_in(benchmarks))
    curve = curve.join(_unbiased(fitted, sorted({*ks})), on=["subject", "benchmark", "k"], how="left")
    curve = curve.join(_never(fitted), on=["subject", "benchmark"], how="left")
    last = curve.filter(pl.col("identified") & pl.col("k").is_in(ks))["k"].max() or 1
    key = ["benchmark", "subject"]
    order = curve.filter(k=1).select(*key, at_one="pass_at_k")
    order = order.join(curve.filter(k=last).select(*key, at_last=pl.col("pass_at_k").round(3)), on=key)
    order = order.sort("benchmark", "at_last", "at_one", descending=[False, True, True], nulls_last=True)
    order = order.with_columns(rank=pl.int_range(pl.len())).select(*key, "rank")
    curve = curve.join(order, on=key).sort("rank", "k").drop("rank")
    overall = order.group_by("subject").agg(pl.col("rank").min())
    return curve, fitted.subjects.join(overall, on="subject").sort("rank").drop("rank")


def _unbiased(fitted: SamplingLaw, ks: list[int]) -> pl.DataFrame:
    """Unbiased pass@k where every item of the benchmark has k samples, and their number did not depend on outcomes."""
    import polars as pl

    from irsl.laws.pass_at_k import dataset_pass_at_k

    schema = {"subject": pl.String, "benchmark": pl.String, "k": pl.Int64, "unbiased": pl.Float64}
    frames = [pl.DataFrame(schema=schema)]
    names = fitted.items["benchmark"]
    for own in fitted.laws if not fitted.stopping.found else ():
        for name in names.unique(maintain_order=True):
            here = (names == name).to_numpy()
            n, c = own.cells.n_samples[here], own.cells.n_correct[here]
            reached = [value for value in ks if value <= n.min()]
            if reached:
                values = dataset_pass_at_k(n, c, reached).select("k", unbiased="pass_at_k")
                values = values.with_columns(subject=pl.lit(own.subject), benchmark=pl.lit(name))
                frames.append(values.select(list(schema)))
    return pl.concat(frames)


def _never(fitted: SamplingLaw) -> pl.DataFrame:
    """Share of a benchmark's items that a subject never solves, from the draws of the items' rates."""
    import numpy as np
    import polars as pl

    tail = (1.0 - fitted.level) / 2.0
    names = fitted.items["benchmark"]
    rows = []
    for own in fitted.laws:
        for name in names.unique(maintain_order=True):
            share = np.isneginf(own.logit[:, (names == name).to_numpy()]).mean(axis=1)
            low, high = np.quantile(share, [tail, 1.0 - tail])
            rows.append((own.subject, name, float(share.mean()), float(low), float(high)))
    columns = ["never_solved", "never_solved_lower", "never_solved_upper"]
    return pl.DataFrame(rows, schema=["subject", "benchmark", *columns], orient="row")


def _answer(curve: pl.DataFrame, benchmark: str, ks: list[int]) -> dict[str, Any]:
    """Return the best subject of a benchmark, its pass@1, and pass@k at the largest identified k that was asked for."""
    import polars as pl

    asked = curve.filter(pl.col("k").is_in(ks))
    last = asked.filter("identified")["k"].max()
    at = asked.filter(pl.col("identified") & (pl.col("k") == last))
    columns = ("pass_at_k", "pass_at_k_lower", "pass_at_k_upper")
    n_subjects = curve["subject"].n_unique()
    first = curve.filter(k=1)
    best = (at if at.height else first).row(0, named=True)
    alone = first.filter(subject=best["subject"]).row(0, named=True)
    answer = {"benchmark": benchmark, "subject": best["subject"], "n_subjects": n_subjects, "k": last}
    answer |= {name.replace("_k", "_1", 1): alone[name] for name in columns}
    answer |= {name: best[name] if at.height else None for name in columns}
    others = asked.filter((pl.col("k") == last) & (pl.col("subject") != best["subject"]))
    answer["n_overlapping"] = int((others["pass_at_k_upper"] >= best["pass_at_k_lower"]).sum()) if at.height else None
    return answer


def _sentence(answer: dict[str, Any], ks: list[int]) -> str:
    def value(k: int, name: str) -> str:
        low, high = (_share(answer[f"{name}_{end}"]) for end in ("lower", "upper"))
        return f"pass@{k:,} {_share(answer[name])} [{low}, {high}]"

    n_others = answer["n_subjects"] - 1
    text = f"{answer['subject']} on {answer['benchmark']}: {value(1, 'pass_at_1')}"
    if answer["k"] is None:
        return f"{text}; pass@k is not identified at any k asked for, from {ks[0]:,} on."
    if answer["k"] > 1:
        text += f", {value(answer['k'], 'pass_at_k')}"
    if not n_others:
        return f"{text}."
    overlapping = answer["n_overlapping"]
    others = "that of the other" if n_others == 1 else f"those of {overlapping} of the {n_others} others"
    rest = f"; the interval overlaps with {others}" if overlapping else ""
    return f"Best of {n_others + 1} at k = {answer['k']:,}, {text}{rest}."


def _print_curve(curve: pl.DataFrame, ks: list[int], title: str, level: float) -> None:
    """Print a row per subject: pass@k at powers of ten and the share of items never solved, with intervals below."""
    import polars as pl

    columns = _columns(ks)
    reached = set(curve.filter("identified")["k"])
    unknown = [k for k in columns if k not in reached]
    columns = [k for k in columns if k in reached or k == unknown[0]]  # beyond, the bound stays the same
    rows = []
    for (subject,), part in curve.group_by("subject", maintain_order=True):
        at = {row["k"]: row for row in part.iter_rows(named=True)}
        row = {"subject": str(subject)}
        for k in columns:
            bound = f"not\nidentified\n> {_short(at[k]['pass_at_k_lower']).lstrip('>')}"
            row[f"k = {k:,}"] = _with_interval(at[k], "pass_at_k") if at[k]["identified"] else bound
        never = part.select(pl.col("^never_solved.*$").round(3)).row(0, named=True)  # of draws: no more digits
        row["never solved"] = _with_interval(never, "never_solved")
        rows.append(row)
    print_table(pl.DataFrame(rows), f"{title}, {100 * level:g} % intervals", limit=MOST_ROWS)


def _columns(ks: list[int]) -> list[int]:
    """Values of k to print: the powers of ten, or as many others as fit."""
    decades = [k for k in ks if str(k).strip("0") == "1"]
    shown = ks if len(ks) <= MOST_COLUMNS else decades if len(decades) > 1 else [ks[0], ks[-1]]
    step = -(-len(shown) // MOST_COLUMNS)
    return shown[::-1][::step][::-1]


def _with_interval(row: dict[str, Any], name: str) -> str:
    return f"{_short(row[name])}\n{_short(row[f'{name}_lower'])}–{_short(row[f'{name}_upper'])}"


def _share(value: float) -> str:
    """Three digits, more below .001; values that are nearly 1, and nearly 0, do not become these."""
    if 0.0 < value < NEAR:
        return f"{value:.0e}"
    return ">0.999" if 1.0 - NEAR < value < 1.0 else f"{value:.3f}"


def _short(value: float) -> str:
    """Write as `_share`, without the 0 before the point, because columns are narrow."""
    return str(int(value)) if value in (0.0, 1.0) else _share(value).replace("0.", ".", 1)


def _notes(fitted: SamplingLaw, subjects: pl.DataFrame, ks: list[int]) -> list[str]:
    """What a reader should know of how the numbers came about, in at most four lines."""
    notes = []
    stopping = fitted.stopping.note()
    if stopping is not None:
        notes.append(stopping)
    horizons = subjects["horizon"].to_list()
    least, most = min(horizons), max(horizons)
    source = "the samples of the most sampled subject" if fitted.has_bank and most == least else "a subject's samples"
    reach = f"{least:,.0f}" if most == least else f"{least:,.0f} to {most:,.0f} by subject"
    beyond = "" if ks[-1] > least else " (all that was asked for)"
    notes.append(
        f"pass@k is identified up to k = {reach}{beyond}, {source} over all items: beyond, nothing tells a rare "
        "success from an item never solved"
    )
    p = sum(subjects["p_power_law"]) / subjects.height
    verdict = "supported" if p > SURE else "not supported" if p < 1.0 - SURE else "open"
    notes.append(
        f"a power law for large k is {verdict}: probability {p:.2f} that rates fall like a power towards 0 and no item "
        f"is never solved{', mean over the subjects shown' if subjects.height > 1 else ''}"
    )
    if not fitted.has_bank:
        notes.append("nothing is known of the items but their counts: fewer than three subjects and no --bank")
    else:
        weights = subjects["bank_weight"].to_list()
        helped = sum(weight > HELPED for weight in weights)
        notes.append(
            f"the items' difficulties help to predict {helped} of the {len(weights)} subjects shown (mean weight "
            f"{sum(weights) / len(weights):.2f} against counts alone)"
        )
    return notes


def _draw(fitted: SamplingLaw, curve: pl.DataFrame, ks: list[int], plot: Path) -> None:
    import numpy as np
    import polars as pl

    from irsl.plots.sampling import sampling_curves

    names = _benchmarks(curve)
    if len(names) > 1:
        raise OptionError(f"--plot {plot}: a picture is of one benchmark; choose one of {names} with --benchmark")
    here = (fitted.items["benchmark"] == names[0]).to_numpy()
    drawn = pl.DataFrame(
        {
            "subject": [own.subject for own in fitted.laws],
            "n_samples": [
                float(np.median(own.cells.n_samples[here & (own.cells.n_samples > 0)]))
                if (here & (own.cells.n_samples > 0)).any()
                else 0.0
                for own in fitted.laws
            ],
        }
    )
    within = curve.filter(pl.col("k").is_between(ks[0], ks[-1])).join(drawn, on="subject", maintain_order="left")
    points = curve.filter(pl.col("unbiased").is_not_null()).select("subject", "k", pass_at_k="unbiased")
    write_picture(sampling_curves(within, points, title=names[0], level=fitted.level), plot)
