"""The report: one HTML file that needs nothing else, and every table behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from irsl._version import __version__
from irsl.calibration.bank import CONVENTION
from irsl.files import replace_file
from irsl.plots.style import power_of_ten, shortened
from irsl.report import pictures
from irsl.report.analysis import LEVEL, Analysis
from irsl.report.answer import Choice, choices, duel, gain, known, near_chance, ranking
from irsl.report.forecasts import METHODS

N_RANKED = 12
N_WORST = 12


def write_report(analysis: Analysis, folder: str | Path) -> Path:
    """Write report.html and tables/<name>.parquet and .json into `folder`; return the page's path.

    Each file is written whole or not at all; other files of the folder are left alone.
    """
    target = Path(folder)
    for name, table in analysis.tables().items():
        with replace_file(target / "tables" / f"{name}.parquet") as path:
            table.write_parquet(path, compression="zstd")
        with replace_file(target / "tables" / f"{name}.json") as path:
            table.write_json(path)
    page = render(analysis)
    with replace_file(target / "report.html") as path:
        path.write_text(page, encoding="utf-8")
    return target / "report.html"


def render(analysis: Analysis) -> str:
    """Return the page as HTML."""
    decisions = {} if analysis.laws is None else choices(analysis.laws.choice)
    answer = headline(decisions)
    drawn = pictures.draw(analysis, answer)
    environment = Environment(
        loader=PackageLoader("irsl.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "acc": accuracy,
        "percent": percent,
        "flops": lambda value: power_of_ten(float(value)) if known(value) else "–",
        "short": shortened,
        "svg": Markup,
        "first_capital": lambda text: text[:1].upper() + text[1:],
        "number": lambda value, digits=2: f"{value:.{digits}f}" if known(value) else "–",
    }
    environment.globals |= {"interval": interval, "known": known, "place": place}
    return environment.get_template("template.html.j2").render(
        analysis=analysis,
        answer=answer,
        decisions=decisions,
        per_benchmark=[d for b, d in decisions.items() if b != "all"],
        ranked=ranking(analysis.abilities, level=LEVEL) if answer is None else None,
        n_ranked=N_RANKED,
        near=_near_chance(analysis),
        notes=_notes(analysis),
        comparison=_comparison(analysis),
        replays=_replays(analysis),
        fit_rows=_fit_rows(analysis),
        worst=_worst(analysis),
        flags=_flags(analysis),
        fits=analysis.calibration.fits.to_dicts(),
        pictures=drawn,
        tables={name: table.height for name, table in analysis.tables().items()},
        counts=_counts(analysis),
        scales=analysis.calibration.bank.scales,
        convention=CONVENTION,
        level=LEVEL,
        version=__version__,
    )


def headline(decisions: dict[str, Choice]) -> Choice | None:
    """Return the decision on "all", or on the only benchmark, or else on the first one; None without any."""
    if not decisions:
        return None
    return decisions.get("all") or next(iter(decisions.values()))


def accuracy(value: float | None, digits: int = 3) -> str:
    """Write an accuracy or a difference of accuracies."""
    return f"{value:.{digits}f}".replace("-", "−") if value is not None and known(value) else "–"


def percent(value: float | None) -> str:
    """Write a probability; never 0 % or 100 % of what is only nearly so."""
    if value is None or not known(value):
        return "–"
    if 0 <= value < 0.01:
        return "<\u00a01\u00a0%"
    if value > 0.99:
        return ">\u00a099\u00a0%"
    return f"{100 * value:.0f}\u00a0%"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Write an interval; empty where it is not known."""
    if low is None or high is None or not (known(low) and known(high)):
        return ""
    return f"{accuracy(low, digits)} to {accuracy(high, digits)}"


def place(value: float, low: float, high: float) -> str:
    """Place of a value on a strip from low to high, from 2 to 98, for drawing."""
    share = 0.5 if high <= low else min(max((float(value) - low) / (high - low), 0.0), 1.0)
    return f"{2 + 96 * share:.1f}"


def _near_chance(analysis: Analysis) -> dict[str, tuple[int, int, str]]:
    if analysis.laws is None:
        return {}
    return near_chance(analysis.laws.points, analysis.calibration.bank.items, target=analysis.target)


def _notes(analysis: Analysis) -> list[str]:
    """Notes of the analysis, with the fits that did not converge in one sentence, as the last table has them all."""
    fits = analysis.calibration.fits
    late = fits.filter(~pl.col("converged"))
    messages = {f"{row['scale']}: {row['message']}" for row in late.to_dicts()}
    if len(messages) < 2:
        return list(analysis.notes)
    merged = f"{late.height} of {fits.height} calibrations did not converge; their last iterates are used."
    return [merged, *(note for note in analysis.notes if note not in messages)]


def _comparison(analysis: Analysis) -> dict[str, Any] | None:
    """Methods by benchmark, and the duels of the item-response law with each other method."""
    if analysis.laws is None:
        return None
    table = analysis.laws.comparison
    rows: dict[str, dict[str, Any]] = {}
    for row in table.to_dicts():
        rows.setdefault(row["benchmark"], {})[row["method"]] = row
    present = [m for m in METHODS if (table["method"] == m).any()]
    width = (
        table.filter(pl.col("method") == "irsl")
        .select(((pl.col("decision_upper") - pl.col("decision_lower")) / 2).fill_nan(None).mean())
        .item()
    )
    means = (
        table.filter(pl.col("benchmark") != "all")
        .group_by("method", maintain_order=True)
        .agg(pl.col("error", "coverage", "width", "decision_accuracy").fill_nan(None).mean())
        .sort("decision_accuracy", descending=True, nulls_last=True, maintain_order=True)
    )
    return {
        "rows": rows,
        "methods": {m: METHODS[m] for m in present},
        "means": {row["method"]: row for row in means.to_dicts()},
        "gain": gain(analysis.laws.forecasts, level=LEVEL),
        "nearer": duel(table, "classical", "error", smaller_is_better=True),
        "decided": {m: duel(table, m, "decision_accuracy", smaller_is_better=False) for m in present if m != "irsl"},
        "half_width": width,
        "n_recipes": int(table["n_recipes"].max()),  # type: ignore[arg-type]
    }


def _replays(analysis: Analysis) -> list[dict[str, Any]]:
    """Ways of choosing items, the smallest mean error first, with the range over benchmarks."""
    if analysis.replays is None:
        return []
    columns = [c for c in ("coverage", "width", "ability_error") if c in analysis.replays.columns]
    rows = (
        analysis.replays.group_by("selection", maintain_order=True)
        .agg(
            pl.col("n_items", "n_subjects").max(),
            pl.col("error").mean(),
            pl.col(*columns).mean(),
            error_lower=pl.col("error").min(),
            error_upper=pl.col("error").max(),
        )
        .sort("error", maintain_order=True)
        .to_dicts()
    )
    return [row | {"name": pictures.SELECTION_NAMES.get(row["selection"], row["selection"])} for row in rows]


def _fit_rows(analysis: Analysis) -> list[dict[str, Any]]:
    """Per benchmark: items, their median infit, how many are noisy, and the mean gap of the proportions."""
    gaps = analysis.proportions.group_by("benchmark").agg(
        gap=((pl.col("predicted") - pl.col("observed")).abs() * pl.col("n")).sum() / pl.col("n").sum()
    )
    return (
        analysis.item_fit.group_by("benchmark", maintain_order=True)
        .agg(
            n=pl.len(),
            infit=pl.col("infit").median(),
            noisy=(pl.col("infit") > 1.2).sum(),
            worst=pl.col("infit").max(),
        )
        .join(gaps, on="benchmark", how="left", maintain_order="left")
        .to_dicts()
    )


def _worst(analysis: Analysis) -> list[dict[str, Any]]:
    """The items with the highest outfit, with their parameters."""
    items = analysis.calibration.bank.items.select(
        "item", "difficulty", "se_difficulty", "discrimination", "mean_response", "flags"
    )
    return (
        analysis.item_fit.filter(pl.col("outfit").is_not_null())
        .sort("outfit", descending=True, maintain_order=True)
        .head(N_WORST)
        .join(items, on="item", how="left", maintain_order="left")
        .to_dicts()
    )


def _flags(analysis: Analysis) -> list[tuple[str, int]]:
    table = (
        analysis.calibration.bank.items.select(pl.col("flags").explode())
        .drop_nulls()
        .group_by("flags")
        .len()
        .sort("len", "flags", descending=[True, False])
    )
    return [(str(name).replace("_", " "), int(n)) for name, n in table.iter_rows()]


def _counts(analysis: Analysis) -> dict[str, int]:
    abilities = analysis.abilities
    return {
        "subjects": abilities["subject"].n_unique(),
        "items": len(analysis.calibration.bank),
        "benchmarks": len(analysis.calibration.bank.benchmarks),
        "responses": int(abilities["n_observed"].sum()),
        "recipes": abilities["recipe"].n_unique() if "recipe" in abilities.columns else 0,
        "runs": abilities["run"].n_unique() if "run" in abilities.columns else 0,
        "calibrated": analysis.calibration.abilities["subject"].n_unique(),
    }
