"""Responses: what was observed, who was asked, and what was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import ArrayLike

from irsl.errors import DataError, listed, nearest
from irsl.files import replace_folder
from irsl.responses.assemble import assemble
from irsl.responses.choices import CHOICE_OUTCOMES, OUTCOMES, computable, compute, in_units
from irsl.responses.folder import require_ours
from irsl.responses.from_array import matrix_from_array
from irsl.responses.items import conform_items, read_item_names, with_chance
from irsl.responses.matrix import ResponseMatrix, code_matrix, long_table, with_columns
from irsl.responses.observed import DeclaredKind, KindOf
from irsl.responses.origin import Origin
from irsl.responses.report import Account, ReadReport
from irsl.responses.schema import CHOICES, DEFAULT_CONDITION, DEFAULT_OUTCOME, RESPONSES, SCHEMA_VERSION
from irsl.responses.subjects import conform_subjects

FILES = frozenset({"responses.parquet", "items.parquet", "subjects.parquet", "choices.parquet", "meta.json"})

OneOrMore = str | Sequence[str] | None


@dataclass(frozen=True, eq=False, repr=False)
class Responses:
    """Responses of subjects to items, checked, with the kind of every outcome declared.

    Made by `Responses.from_frames`, `Responses.from_matrix` or `irsl.read`; never changed.

    Parameters
    ----------
    items : frame
        item (unique), benchmark, text, options, gold (list), n_options, chance, choice_characters,
        choice_bytes, metadata (JSON).
    subjects : frame
        subject (unique), family, run, recipe, seed, params, tokens, step, flops, loss, date.
    kinds : {(benchmark, outcome): kind}
        Of the recorded outcomes.
    read_report : ReadReport
    resolution : float or None
        The step, in nats, to which log-likelihoods of choices were rounded; None if they were not.
    """

    items: pl.DataFrame
    subjects: pl.DataFrame
    kinds: Mapping[tuple[str, str], str]
    read_report: ReadReport
    resolution: float | None = None
    # Either a table (with `logit` beside the columns of RESPONSES where it is known), or a matrix, so that a
    # large array becomes a long table only when asked.
    _table: pl.DataFrame | None = None
    _matrix: ResponseMatrix | None = None
    _choices: pl.DataFrame | None = None

    @classmethod
    def from_frames(
        cls,
        responses: pl.DataFrame | None = None,
        *,
        items: pl.DataFrame | None = None,
        subjects: pl.DataFrame | None = None,
        choices: pl.DataFrame | None = None,
        kind: DeclaredKind = None,
        log_p_unit: float | None = None,
        origins: Mapping[str, Origin] | None = None,
    ) -> Responses:
        """Check and take over tables.

        Parameters
        ----------
        responses : frame, a row a trial
            subject (or model) and item; response, or n_samples and n_correct; perhaps benchmark (else
            "benchmark"), outcome or metric (else "response"), condition (else "default"), trial (else 0).
            Columns about subjects (recipe, flops, ...) that are constant in each are taken if `subjects` is
            not given.
        items, subjects : frames
            Columns as in `Responses.items` and `.subjects`, all but the name optional; other columns of items
            go to `metadata`.
        choices : frame
            subject, item, log_p (list, natural logarithms), perhaps benchmark, condition, trial.
        kind : str, {outcome: kind} or {benchmark: {outcome: kind}}
            "binary", "counts", "probability" or "aggregate". Left out, n_samples declares counts, and values
            that are all 0 or 1 declare binary; anything else must be said.
        log_p_unit : float
            What one unit of log_p is in nats, if it is stored in units (then also the resolution).
        origins : {table: Origin}
            For readers: what to call the tables and their rows in messages.

        Raises
        ------
        DataError
            The tables do not hold what they should; the message names the place.
        """
        frames = {"responses": responses, "choices": choices, "items": items, "subjects": subjects}
        parts = assemble(frames, kind=kind, log_p_unit=log_p_unit, origins=origins or {})
        return cls(
            items=parts.items,
            subjects=parts.subjects,
            kinds=parts.kinds,
            read_report=parts.report,
            resolution=log_p_unit,
            _table=parts.table,
            _choices=parts.choices,
        )

    @classmethod
    def from_matrix(
        cls,
        values: ArrayLike,
        *,
        subjects: Sequence[str] | pl.DataFrame | None = None,
        items: Sequence[str] | pl.DataFrame | None = None,
        n_samples: int | ArrayLike | None = None,
        benchmark: str = "benchmark",
        kind: str | None = None,
    ) -> Responses:
        """Take over an array of scores.

        Parameters
        ----------
        values : (n_subjects, n_items) numbers or booleans
            NaN is missing. With `n_samples` they are numbers of successes. The array is not changed; it is copied,
            unless it is a memory map without missing cells of the type that is stored (float32 for probabilities, uint8
            for binary responses and small counts), which stays on disk.
        subjects, items : names, or frames as for `from_frames`, in the order of rows and columns
            Left out, they are called subject-0, ... and item-0, ...
        n_samples : int or (n_subjects, n_items) integers
            Trials of each cell.
        benchmark : str
        kind : "binary", "counts", "probability" or "aggregate"

        Raises
        ------
        DataError
            As `from_frames`.
        """
        account = Account()
        matrix = matrix_from_array(
            values,
            subjects=_names_of(subjects, "subject"),
            items=_names_of(items, "item"),
            n_samples=n_samples,
            benchmark=benchmark,
            kind=kind,
            account=account,
        )
        asked = pl.DataFrame({"item": matrix.items.astype(str), "benchmark": matrix.benchmarks.astype(str)})
        item_frame = None
        if isinstance(items, pl.DataFrame):
            item_frame = read_item_names(items, Origin("items")).with_columns(benchmark=pl.lit(benchmark))
        item_table = conform_items(item_frame, asked, Origin("items"), account)
        answering = pl.Series("subject", matrix.subjects.astype(str))
        subject_frame = subjects if isinstance(subjects, pl.DataFrame) else None
        whole = cls(
            items=item_table,
            subjects=conform_subjects(subject_frame, answering, Origin("subjects"), account),
            kinds={(benchmark, DEFAULT_OUTCOME): "aggregate" if kind == "aggregate" else matrix.kind},
            read_report=account.report(sources=["values"], n_rows=matrix.observed),
            _matrix=replace(matrix, chance=with_chance(item_table)["chance"].to_numpy()),
        )
        # A matrix of benchmark means is none for calibration: it lives as a table only.
        return replace(whole, _table=whole.responses, _matrix=None) if kind == "aggregate" else whole

    @classmethod
    def from_coded(cls, matrix: ResponseMatrix) -> Responses:
        """Take over a coded matrix of one benchmark as it is stored, in memory or on disk.

        Raises
        ------
        DataError
            It holds several benchmarks.
        """
        benchmarks = sorted(set(matrix.benchmarks.tolist()))
        if len(benchmarks) != 1:
            raise DataError(f"matrix: expected one benchmark, found {listed(benchmarks, 5)}. Take them one by one.")
        account = Account()
        names = {"item": matrix.items.astype(str), "benchmark": matrix.benchmarks.astype(str)}
        known = pl.DataFrame({**names, "chance": matrix.chance})
        return cls(
            items=conform_items(known, pl.DataFrame(names), Origin("items"), account),
            subjects=conform_subjects(
                None, pl.Series("subject", matrix.subjects.astype(str)), Origin("subjects"), account
            ),
            kinds={(benchmarks[0], DEFAULT_OUTCOME): matrix.kind},
            read_report=account.report(sources=["matrix"], n_rows=matrix.observed),
            _matrix=matrix,
        )

    @cached_property
    def responses(self) -> pl.DataFrame:
        """The long table, a row a trial, with the columns of the schema (built on demand from an array)."""
        if self._table is not None:
            return self._table.select(RESPONSES.names())
        assert self._matrix is not None  # one of the two is always there
        return long_table(self._matrix)

    @property
    def choices(self) -> pl.DataFrame | None:
        """Log-likelihoods of choices: subject, item, condition, trial, log_p; None if there are none."""
        return None if self._choices is None else self._choices.select(CHOICES.names())

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """What can be selected: benchmark, outcome, kind, conditions, n_rows.

        Recorded outcomes, and those that the log-likelihoods of choices allow; a recorded one goes first.
        """
        if self._matrix is not None:
            groups = pl.DataFrame(
                [(*key, [DEFAULT_CONDITION], self._matrix.observed) for key in self.kinds],
                schema=["benchmark", "outcome", "conditions", "n_rows"],
                orient="row",
            )
        else:
            groups = self.responses.group_by("benchmark", "outcome", maintain_order=True).agg(
                conditions=pl.col("condition").unique(maintain_order=True), n_rows=pl.len().cast(pl.Int64)
            )
        kinds = [self.kinds[key] for key in groups.select("benchmark", "outcome").iter_rows()]
        recorded = groups.with_columns(kind=pl.Series(kinds, dtype=pl.String))
        recorded = recorded.select(OUTCOMES.names()).cast(OUTCOMES)
        if self._choices is None:
            return recorded
        computed = computable(self._choices, self.items)
        computed = computed.join(recorded, on=["benchmark", "outcome"], how="anti", maintain_order="left")
        return pl.concat([recorded, computed])

    def select(
        self,
        *,
        outcome: OneOrMore = None,
        benchmark: OneOrMore = None,
        condition: OneOrMore = None,
        subjects: OneOrMore | pl.Expr = None,
    ) -> Responses:
        """Keep some outcomes, benchmarks, conditions, subjects; items and subjects left without a row go too.

        Parameters
        ----------
        outcome : str or list of str
            Also one that is computed from log-likelihoods of choices ("acc", "acc_norm", "p_vocab",
            "p_choices", "p_vocab_per_char", "p_choices_per_char"); these themselves are kept only if
            `outcome` is left out.
        benchmark, condition : str or list of str
        subjects : str, list of str, or polars expression over `.subjects`, e.g. ``pl.col("flops") < 1e12``

        Raises
        ------
        DataError
            A name is not there (the message gives the nearest and what is), or nothing is left.
        """
        kept = self
        if benchmark is not None:
            wanted = _known(benchmark, self.items["benchmark"].unique(maintain_order=True), "benchmark")
            kept = kept._filtered(pl.col("benchmark").is_in(wanted))
        if condition is not None:
            there = kept.outcomes["conditions"].explode().unique(maintain_order=True)
            kept = kept._filtered(pl.col("condition").is_in(_known(condition, there, "condition")))
        if subjects is not None:
            if isinstance(subjects, pl.Expr):
                chosen = kept.subjects.filter(subjects)["subject"].to_list()
            else:
                chosen = _known(subjects, self.subjects["subject"], "subject")
            kept = kept._filtered(pl.col("subject").is_in(chosen), subjects=chosen)
        if outcome is not None:
            kept = kept._with_outcomes([outcome] if isinstance(outcome, str) else list(outcome))
        if kept.subjects.is_empty():
            raise DataError("select: nothing is left; no response meets all that was asked for.")
        return kept

    def to_matrix(self, *, benchmark: OneOrMore = None, items: Sequence[str] | None = None) -> ResponseMatrix:
        """Code the responses as arrays.

        Parameters
        ----------
        benchmark : str or list of str
            As `select(benchmark=...)` first.
        items : ids
            The columns, in order; those never asked are all missing. Left out: every item that was asked.

        Returns
        -------
        ResponseMatrix
            Subjects in the order of `.subjects`. Trials of binary outcomes are added to counts.

        Raises
        ------
        DataError
            A benchmark has several outcomes or conditions, or the outcome is an aggregate.
        """
        if benchmark is not None:
            return self.select(benchmark=benchmark).to_matrix(items=items)
        columns = with_chance(self.items)
        if items is not None:
            wanted = pl.DataFrame({"item": list(items)}, schema={"item": pl.String})
            if wanted["item"].is_duplicated().any():
                twice = wanted["item"].filter(wanted["item"].is_duplicated())[0]
                raise DataError(f"to_matrix: expected each item once, found {twice!r} more than once.")
            columns = wanted.join(columns, on="item", how="left", maintain_order="left").with_columns(
                pl.col("benchmark").fill_null(""), pl.col("chance").fill_null(0.0)
            )
        if self._matrix is not None:
            return self._matrix if items is None else with_columns(self._matrix, columns)
        table = self._table
        assert table is not None  # there is a table where there is no matrix
        if items is not None:
            table = table.filter(pl.col("item").is_in(columns["item"].implode()))
        kind = self._only_kind(columns["benchmark"].unique().to_list())
        if items is None:
            columns = columns.filter(pl.col("item").is_in(table["item"].unique().implode()))
        return code_matrix(table, columns, self.subjects["subject"].to_list(), kind=kind)

    def _only_kind(self, benchmarks: list[str]) -> str:
        """Find the kind of a matrix, refusing several outcomes, conditions or unlike kinds."""
        there = self.outcomes.filter(pl.col("benchmark").is_in(benchmarks))
        if self._choices is not None:
            barren = self._choices["benchmark"].unique(maintain_order=True)
            barren = barren.filter(barren.is_in(benchmarks) & ~barren.is_in(there["benchmark"].implode()))
            if len(barren):
                raise DataError(
                    f"benchmark {barren[0]!r} has log-likelihoods of choices, but items.gold does not say "
                    "which choice is correct. Add gold to the table of items."
                )
        for key, group in there.group_by("benchmark", maintain_order=True):
            if set(group["kind"]) == {"aggregate"}:
                raise DataError(
                    f"outcome {group['outcome'][0]!r} of benchmark {key[0]!r} is an aggregate: a benchmark "
                    "mean cannot calibrate items, which needs responses to single items. Aggregates serve "
                    "the classical laws."
                )
            if group.height > 1:
                names = group["outcome"].to_list()
                raise DataError(
                    f"benchmark {key[0]!r} has several outcomes: {listed(names)}. Choose one, e.g. "
                    f"responses.select(outcome={_example(names)!r})."
                )
            conditions = group["conditions"][0].to_list()
            if len(conditions) > 1:
                raise DataError(
                    f"outcome {group['outcome'][0]!r} of benchmark {key[0]!r} was observed under several "
                    f"conditions: {listed(conditions)}. Choose one, e.g. "
                    f"responses.select(condition={conditions[0]!r})."
                )
        kinds = set(there["kind"])
        if kinds == {"binary", "counts"}:
            return "counts"
        if len(kinds) > 1:
            raise DataError(
                f"the benchmarks have outcomes of unlike kinds ({listed(sorted(kinds))}), which no single "
                "matrix holds. Take them one by one, e.g. "
                f"responses.select(benchmark={there['benchmark'][0]!r})."
            )
        # Items asked for that nobody answered make an empty matrix of any kind.
        return str(next(iter(kinds), "binary"))

    def save(self, folder: str | Path) -> None:
        """Write responses.parquet, items.parquet, subjects.parquet, perhaps choices.parquet, and meta.json.

        An interrupted save leaves what was in the folder before. `irsl.read` gives the same tables back.

        Raises
        ------
        DataError
            The folder holds files that are not of a saved Responses.
        """
        kinds: dict[str, dict[str, str]] = {}
        for (benchmark, outcome), kind in self.kinds.items():
            kinds.setdefault(benchmark, {})[outcome] = kind
        meta: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "sources": list(self.read_report.sources),
            "kinds": kinds,
        }
        if self.resolution is not None:
            meta["log_p_unit"] = self.resolution
        with replace_folder(require_ours(folder, FILES)) as new:
            self.responses.write_parquet(new / "responses.parquet")
            self.items.write_parquet(new / "items.parquet")
            self.subjects.write_parquet(new / "subjects.parquet")
            if self.choices is not None:
                in_units(self.choices, self.resolution).write_parquet(new / "choices.parquet")
            (new / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")

    def __repr__(self) -> str:
        benchmarks = self.items["benchmark"].unique(maintain_order=True).to_list()
        outcomes = self.outcomes.select("outcome", "kind").unique(maintain_order=True)
        lines = [
            f"Responses: {self.subjects.height:,} subjects, {self.items.height:,} items, "
            f"{len(benchmarks):,} benchmark{'s' if len(benchmarks) != 1 else ''} ({listed(benchmarks, 6)})",
            f"  outcomes: {', '.join(f'{name} ({kind})' for name, kind in outcomes.iter_rows())}",
            f"  observed: {100 * self._share_observed():.4g} % of subject-item pairs",
        ]
        if self.read_report.n_unread:
            lines.append(f"  null: {self.read_report.n_unread:,} scores could not be read, see .read_report")
        return "\n".join(lines)

    def _share_observed(self) -> float:
        pairs = self.subjects.height * self.items.height
        if self._matrix is not None:
            return self._matrix.observed / max(pairs, 1)
        seen = [self.responses.filter(pl.col("response").is_not_null()).select("subject", "item")]
        if self._choices is not None:
            seen.append(self._choices.filter(pl.col("log_p").is_not_null()).select("subject", "item"))
        return pl.concat(seen).unique().height / max(pairs, 1)

    def _filtered(self, rows: pl.Expr, *, subjects: list[str] | None = None) -> Responses:
        """Keep the rows of an expression over the key, and the items and subjects that still occur."""
        if self._matrix is not None:
            matrix = self._matrix
            if subjects is not None:
                order = self.subjects.filter(pl.col("subject").is_in(subjects))
                return replace(self, subjects=order, _matrix=matrix.select_subjects(order["subject"].to_list()))
            return self  # a matrix has one benchmark, outcome and condition, whose names have been checked
        table = None if self._table is None else self._table.filter(rows)
        choices = None if self._choices is None else self._choices.filter(rows)
        return self._pruned(table, choices if choices is not None and choices.height else None)

    def _with_outcomes(self, wanted: list[str]) -> Responses:
        """Keep recorded outcomes, compute the others, and let the log-likelihoods go."""
        there = self.outcomes
        if self._matrix is not None:
            _known(wanted, there["outcome"], "outcome")
            return self
        parts = []
        kinds: KindOf = {}
        assert self._table is not None  # there is a table where there is no matrix
        for outcome in wanted:
            names = there["outcome"].unique(maintain_order=True)
            if self._choices is not None and outcome in CHOICE_OUTCOMES and outcome not in names:
                compute(outcome, self._choices, self.items)  # raises, saying which column is missing
            _known(outcome, names, "outcome")
            parts.append(self._table.filter(pl.col("outcome") == outcome))
            kinds |= {key: kind for key, kind in self.kinds.items() if key[1] == outcome}
            computed = there.filter(pl.col("outcome") == outcome)["benchmark"].to_list()
            computed = [name for name in computed if (name, outcome) not in self.kinds]
            if computed and self._choices is not None:
                rows = self._choices.filter(pl.col("benchmark").is_in(computed))
                parts.append(compute(outcome, rows, self.items))
                kinds |= {(name, outcome): CHOICE_OUTCOMES[outcome].kind for name in computed}
        table = pl.concat(parts, how="diagonal")
        return replace(self, kinds=kinds)._pruned(table, None)

    def _pruned(self, table: pl.DataFrame | None, choices: pl.DataFrame | None) -> Responses:
        frames = [frame for frame in (table, choices) if frame is not None]
        items, subjects = (
            frame.filter(pl.col(name).is_in(pl.concat([f[name].unique() for f in frames]).unique().implode()))
            for name, frame in (("item", self.items), ("subject", self.subjects))
        )
        kinds = dict(self.kinds)
        if table is not None:
            left = set(table.select("benchmark", "outcome").unique().iter_rows())
            kinds = {key: kind for key, kind in kinds.items() if key in left}
        return replace(self, items=items, subjects=subjects, kinds=kinds, _table=table, _choices=choices)


def _known(wanted: str | Sequence[str], there: pl.Series, what: str) -> list[str]:
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    known = set(there)
    for name in names:
        if name not in known:
            raise DataError(f"select: no {what} {name!r} here{nearest(name, there)}; there is {listed(there)}.")
    return names


def _example(outcomes: list[str]) -> str:
    return "acc" if "acc" in outcomes else outcomes[0]


def _names_of(names: Sequence[str] | pl.DataFrame | None, what: str) -> list[str] | None:
    if isinstance(names, pl.DataFrame):
        if what not in names.columns and "model" in names.columns and what == "subject":
            return names["model"].cast(pl.String).to_list()
        if what not in names.columns:
            raise DataError(f"{what}s: expected a column {what!r}, found {listed(names.columns)}.")
        return names[what].cast(pl.String).to_list()
    return None if names is None else [str(name) for name in names]
