"""The table of subjects: what was measured, with its recipe, size, step, tokens, FLOPs and loss."""

from __future__ import annotations

import polars as pl

from irsl.errors import DataError, listed
from irsl.responses.conform import (
    conform,
    loosely_cast,
    names,
    rename_aliases,
    require_columns,
    require_unique,
)
from irsl.responses.origin import Origin
from irsl.responses.report import Account
from irsl.responses.schema import SUBJECTS


def conform_subjects(
    frame: pl.DataFrame | None, answering: pl.Series, origin: Origin, account: Account
) -> pl.DataFrame:
    """Give the table of subjects its columns and check it against those that answered.

    Parameters
    ----------
    frame : table of subjects, or None
    answering : (n,) String
        Subjects with at least one response, unique, in order of appearance.
    account : Account
        Extended by columns not used and by decisions.

    Raises
    ------
    DataError
        A subject is listed twice, or has no response.
    """
    if frame is None:
        return conform(answering.to_frame("subject"), SUBJECTS, origin)
    frame = rename_aliases(frame, "subjects")
    require_columns(frame, ["subject"], origin)
    frame = frame.with_columns(names(frame, "subject", origin).alias("subject"))
    account.ignored += [f"subjects.{name}" for name in frame.columns if name not in SUBJECTS]
    known = conform(frame, SUBJECTS, origin)
    require_unique(known, ["subject"], origin, "Keep one row for each subject.")
    silent = known["subject"].filter(~known["subject"].is_in(answering.implode()))
    if len(silent):
        raise DataError(
            f"{origin.at()}: expected a response of every subject, found none of {len(silent):,} of "
            f"{known.height:,} (first: {listed(silent, 3)}). Take them out of the table of subjects, or add "
            "their responses."
        )
    unlisted = answering.filter(~answering.is_in(known["subject"].implode()))
    if len(unlisted):
        account.notes.append(
            f"{len(unlisted):,} subjects are not in {origin.name} (first: {unlisted[0]!r}); added by name"
        )
        known = pl.concat([known, conform(unlisted.to_frame("subject"), SUBJECTS, origin)])
    return known


def lift_subjects(responses: pl.DataFrame, account: Account) -> pl.DataFrame | None:
    """Take columns about subjects (flops, recipe, ...) out of a table of responses.

    A column is taken where each subject has one value of it, of the right type; `tokens` that vary from
    response to response, say, are something else, and stay among the columns not used.

    Returns
    -------
    frame : one row a subject, or None if there is nothing to take
    """
    lifted = []
    for name in responses.columns:
        if name not in SUBJECTS or name == "subject":
            continue
        values = pl.col(name).drop_nulls()
        column = responses.group_by("subject", maintain_order=True).agg(n=values.n_unique(), value=values.first())
        typed = loosely_cast(column["value"], SUBJECTS[name])
        if (column["n"] <= 1).all() and typed.null_count() == column["value"].null_count():
            lifted.append(typed.alias(name))
            account.ignored.remove(f"responses.{name}")
    if not lifted:
        return None
    return pl.DataFrame([responses["subject"].unique(maintain_order=True), *lifted])
