"""The table of subjects: what was measured, with its recipe, size, step, tokens, FLOPs and loss."""

from __future__ import annotations

import polars as pl

from irsl.errors import DataError, listed
from irsl.responses.conform import conform, names, rename_aliases, require_columns, require_unique
from irsl.responses.origin import Origin
from irsl.responses.schema import SUBJECTS


def conform_subjects(
    frame: pl.DataFrame | None, answering: pl.Series, origin: Origin, ignored: list[str], notes: list[str]
) -> pl.DataFrame:
    """Give the table of subjects its columns and check it against those that answered.

    Parameters
    ----------
    frame : table of subjects, or None
    answering : (n,) String
        Subjects with at least one response, unique, in order of appearance.
    ignored, notes : list of str
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
    ignored += [f"subjects.{name}" for name in frame.columns if name not in SUBJECTS]
    known = conform(frame, SUBJECTS, origin)
    require_unique(known, ["subject"], origin, "Keep one row for each subject.")
    silent = known["subject"].filter(~known["subject"].is_in(answering.implode()))
    if len(silent):
        raise DataError(
            f"{origin.at()}: expected a response of every subject, found none of {len(silent):,} of {known.height:,} "
            f"(first: {listed(silent, 3)}). Take them out of the table of subjects, or add their responses."
        )
    unlisted = answering.filter(~answering.is_in(known["subject"].implode()))
    if len(unlisted):
        notes.append(
            f"{len(unlisted):,} subjects are not in {origin.name} (first: {unlisted[0]!r}); added by name"
        )
        known = pl.concat([known, conform(unlisted.to_frame("subject"), SUBJECTS, origin)])
    return known


def lift_subjects(responses: pl.DataFrame, origin: Origin) -> tuple[pl.DataFrame | None, set[str]]:
    """Take columns about subjects (flops, recipe, ...) out of a table of responses, where they are constant in each.

    Returns
    -------
    frame : one row a subject, or None if there is nothing to take
    lifted : the names of the columns taken
    """
    candidates = [name for name in responses.columns if name in SUBJECTS and name != "subject"]
    if not candidates:
        return None, set()
    by_subject = responses.group_by("subject", maintain_order=True).agg(
        *(pl.col(name).drop_nulls().n_unique().alias(f"n_{name}") for name in candidates),
        *(pl.col(name).drop_nulls().first() for name in candidates),
    )
    constant = [name for name in candidates if int(by_subject[f"n_{name}"].max() or 0) <= 1]  # type: ignore[call-overload, arg-type]
    if not constant:
        return None, set()
    return by_subject.select("subject", *constant), set(constant)
