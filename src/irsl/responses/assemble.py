"""Tables as handed in, checked one by one and against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from irsl.errors import DataError, listed
from irsl.responses.choices import check_gold, read_choices, with_widths
from irsl.responses.items import (
    clashing_benchmarks,
    conform_items,
    place_in_benchmarks,
    prefix_items,
    read_item_names,
    require_at_home,
)
from irsl.responses.observed import DeclaredKind, KindOf, read_responses
from irsl.responses.origin import Origin
from irsl.responses.report import Account, ReadReport
from irsl.responses.schema import RESPONSES
from irsl.responses.subjects import conform_subjects, lift_subjects


@dataclass(frozen=True)
class Assembled:
    """Tables that agree: columns of the schema, ids unique, every subject with a response."""

    table: pl.DataFrame
    choices: pl.DataFrame | None
    items: pl.DataFrame
    subjects: pl.DataFrame
    kinds: KindOf
    report: ReadReport


def assemble(
    frames: Mapping[str, pl.DataFrame | None],
    *,
    kind: DeclaredKind,
    log_p_unit: float | None,
    origins: Mapping[str, Origin],
) -> Assembled:
    """Check the tables "responses", "choices", "items", "subjects"; see `Responses.from_frames`."""
    for name, frame in frames.items():
        if frame is not None and not isinstance(frame, pl.DataFrame):
            raise DataError(f"{name}: expected a polars DataFrame, found {type(frame).__name__}. Convert it.")
    if frames["responses"] is None and frames["choices"] is None:
        raise DataError("expected a table of responses, or of log-likelihoods of choices, found neither.")
    origin = {name: Origin(name) for name in frames} | dict(origins)
    account = Account()
    items, subjects = frames["items"], frames["subjects"]
    if items is not None:
        items = read_item_names(items, origin["items"])
    kinds: KindOf = {}
    table, choices = pl.DataFrame(schema=RESPONSES), None
    if frames["responses"] is not None:
        table, kinds = read_responses(frames["responses"], items, kind, origin["responses"], account)
        if subjects is None:
            subjects = lift_subjects(frames["responses"].with_columns(table["subject"]), account)
    if frames["choices"] is not None:
        choices = read_choices(frames["choices"], items, log_p_unit, origin["choices"], account)

    asked = [part.select("item", "benchmark") for part in (table, choices) if part is not None]
    homes = pl.concat(asked).unique(maintain_order=True)
    if items is not None:
        items = place_in_benchmarks(items, homes, origin["items"])
        require_at_home(homes, items, origin["items"])
        asked.append(items.select("item", "benchmark"))
    if clashing := clashing_benchmarks(pl.concat(asked).unique(maintain_order=True)):
        account.notes.append(f"items of {listed(clashing, 3)} share ids; renamed to 'benchmark:item'")
        table, homes = prefix_items(table, clashing), prefix_items(homes, clashing)
        items = None if items is None else prefix_items(items, clashing)
        choices = None if choices is None else prefix_items(choices, clashing)
    items = conform_items(items, homes, origin["items"], account)
    if choices is not None:
        items = with_widths(items, choices)
        check_gold(choices, items, origin["items"])

    answered = _answered(table, choices, origin["responses" if table.height else "choices"])
    subjects = conform_subjects(subjects, answered, origin["subjects"], account)
    report = account.report(
        sources=[origin[name].name for name, frame in frames.items() if frame is not None],
        n_rows=table.height + (0 if choices is None else choices.height),
    )
    return Assembled(table.select(RESPONSES.names()), choices, items, subjects, kinds, report)


def _answered(table: pl.DataFrame, choices: pl.DataFrame | None, origin: Origin) -> pl.Series:
    """Name the subjects in order of appearance, refusing those whose every score is null."""
    named = [table.select("subject", seen=pl.col("response").is_not_null())]
    if choices is not None:
        named.append(choices.select("subject", seen=pl.col("log_p").is_not_null()))
    subjects = pl.concat(named).group_by("subject", maintain_order=True).agg(pl.col("seen").any())
    mute = subjects.filter(~pl.col("seen"))["subject"]
    if len(mute):
        raise DataError(
            f"{origin.at()}: expected a response of every subject, but all scores of {len(mute):,} of "
            f"{subjects.height:,} subjects are missing (first: {listed(mute, 3)}). Leave these subjects out."
        )
    return subjects["subject"]
