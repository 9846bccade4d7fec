"""The coded matrix: responses as arrays, subjects by items, for arithmetic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from irsl.errors import DataError, listed, nearest
from irsl.files import replace_folder
from irsl.responses.folder import require_ours
from irsl.responses.schema import DEFAULT_CONDITION, DEFAULT_OUTCOME
from irsl.threads import over_ranges

# Below this share of observed cells, compressed rows (8 bytes an observed cell) take at most half the memory
# of dense arrays (4 bytes a cell).
DENSE_SHARE = 0.25

Floats = NDArray[np.float32]
Names = NDArray[Any]
Index = Sequence[str] | NDArray[Any] | slice

_FILES = frozenset(
    {"matrix.json"}
    | {f"{name}.npy" for name in ("values", "trials", "logits")}
    | {f"{name}.npy" for name in ("indptr", "indices", "values_data", "trials_data", "logits_data")}
)


@dataclass(frozen=True, eq=False)
class ResponseMatrix:
    """Responses of one outcome, subjects by items.

    Parameters
    ----------
    subjects : (n_subjects,) object
        Names, in the order of the table of subjects.
    items : (n_items,) object
        Ids, in the order of the table of items.
    benchmarks : (n_items,) object
        Benchmark of each item.
    chance : (n_items,) float64
        Probability of a correct answer by guessing; 0 where unknown.
    kind : "binary", "counts" or "probability"
    values : (n_subjects, n_items) float32 or, where they fit, uint8; array, memory map or scipy.sparse.csr_array
        Successes for binary and counts, the probability for probability; 0 where missing. A CSR array stores
        every observed cell, zeros too.
    trials : int, or like `values`
        Number of trials of each cell, 0 where missing; an int where every cell is observed with that many.
    logits : like `values`, or None
        Exact logits of probabilities computed from log-likelihoods, finite where `values` rounds to 0 or 1.
    """

    subjects: Names
    items: Names
    benchmarks: Names
    chance: NDArray[np.float64]
    kind: str
    values: Any
    trials: Any
    logits: Any = None

    def __post_init__(self) -> None:
        shape = (len(self.subjects), len(self.items))
        for name in ("values", "trials", "logits"):
            array = getattr(self, name)
            if array is not None and not isinstance(array, int) and array.shape != shape:
                raise DataError(f"matrix: expected {name} of shape {shape}, found {array.shape}.")

    @property
    def n_subjects(self) -> int:
        """Number of rows."""
        return len(self.subjects)

    @property
    def n_items(self) -> int:
        """Number of columns."""
        return len(self.items)

    @property
    def is_sparse(self) -> bool:
        """Whether values, trials and logits are CSR arrays."""
        return bool(sparse.issparse(self.values))

    @property
    def is_complete(self) -> bool:
        """Whether every cell is observed, with the same number of trials."""
        return isinstance(self.trials, int)

    @property
    def observed(self) -> int:
        """Number of cells with at least one trial."""
        if isinstance(self.trials, int):
            return self.n_subjects * self.n_items
        if self.is_sparse:
            return int(np.count_nonzero(self.trials.data))
        return sum(int(np.count_nonzero(trials)) for _, _, trials in self.blocks(rows_for(self.n_items)))

    def blocks(self, size: int) -> Iterator[tuple[slice, Any, Any]]:
        """Yield blocks of rows: (rows, values, trials), trials being an int for complete data.

        Parameters
        ----------
        size : int
            Rows in a block, at least 1.
        """
        for start in range(0, self.n_subjects, max(size, 1)):
            rows = slice(start, min(start + max(size, 1), self.n_subjects))
            yield rows, self.values[rows], self.trials if isinstance(self.trials, int) else self.trials[rows]

    def item_means(self) -> NDArray[np.float64]:
        """Successes per trial of each item, or its mean probability, (n_items,); NaN where unobserved."""
        return self._means(0)

    def subject_means(self) -> NDArray[np.float64]:
        """Successes per trial of each subject, (n_subjects,); NaN where unobserved."""
        return self._means(1)

    def _means(self, axis: int) -> NDArray[np.float64]:
        length = self.n_items if axis == 0 else self.n_subjects
        total, trials = np.zeros(length), np.zeros(length)

        def sums(rows: slice) -> tuple[slice, Any, Any]:
            k, n = self.values[rows], self.trials if isinstance(self.trials, int) else self.trials[rows]
            n_trials = n * k.shape[axis] if isinstance(n, int) else n.sum(axis=axis, dtype=np.float64)
            return slice(None) if axis == 0 else rows, k.sum(axis=axis, dtype=np.float64), n_trials

        for part, successes, n in over_ranges(sums, self.n_subjects, rows_for(self.n_items)):
            total[part] += np.ravel(successes)
            trials[part] += n if isinstance(n, int) else np.ravel(n)
        means: NDArray[np.float64] = np.divide(total, trials, out=np.full(length, np.nan), where=trials > 0)
        return means

    def responses(self) -> NDArray[np.float64]:
        """Observed responses in 0..1 (the proportion, for counts), (n_subjects, n_items) dense; NaN where missing."""
        values, trials = (x.toarray() if sparse.issparse(x) else x for x in (self.values, self.trials))
        result = np.full((self.n_subjects, self.n_items), np.nan)
        np.divide(values, trials, out=result, where=np.asarray(trials) > 0, dtype=np.float64)
        return result

    def only(self, asked: NDArray[np.bool_]) -> ResponseMatrix:
        """Take the cells where `asked`, (n_subjects, n_items), holds; all others are missing."""

        def kept(array: Any) -> Any:
            dense = array.toarray() if sparse.issparse(array) else array
            return np.where(asked, dense, 0).astype(np.float32)

        logits = None if self.logits is None else kept(self.logits)
        return replace(self, values=kept(self.values), trials=kept(self.trials), logits=logits)

    def select_subjects(self, which: Index) -> ResponseMatrix:
        """Take some rows, by name, index, mask or slice, in the order given."""
        rows = _index(which, self.subjects, "subject")
        return replace(self, subjects=self.subjects[rows], **self._taken(lambda array: array[rows]))

    def select_items(self, which: Index) -> ResponseMatrix:
        """Take some columns, by id, index, mask or slice, in the order given."""
        columns = _index(which, self.items, "item")
        return replace(
            self,
            items=self.items[columns],
            benchmarks=self.benchmarks[columns],
            chance=self.chance[columns],
            **self._taken(lambda array: array[:, columns]),
        )

    def _taken(self, take: Any) -> dict[str, Any]:
        return {
            "values": take(self.values),
            "trials": self.trials if isinstance(self.trials, int) else take(self.trials),
            "logits": None if self.logits is None else take(self.logits),
        }

    def write(self, folder: str | Path) -> None:
        """Write a folder of .npy files and matrix.json; if interrupted, the old folder stays whole."""
        with replace_folder(require_ours(folder, _FILES)) as new:
            head = {
                "subjects": self.subjects.tolist(),
                "items": self.items.tolist(),
                "benchmarks": self.benchmarks.tolist(),
                "chance": self.chance.tolist(),
                "kind": self.kind,
                "trials": self.trials if isinstance(self.trials, int) else None,
                "sparse": self.is_sparse,
                "logits": self.logits is not None,
            }
            (new / "matrix.json").write_text(json.dumps(head), encoding="utf-8")
            arrays = {"values": self.values, "trials": self.trials, "logits": self.logits}
            arrays = {name: a for name, a in arrays.items() if a is not None and not isinstance(a, int)}
            if self.is_sparse:
                np.save(new / "indptr.npy", self.values.indptr)
                np.save(new / "indices.npy", self.values.indices)
                arrays = {f"{name}_data": a.data for name, a in arrays.items()}
            for name, array in arrays.items():
                np.save(new / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def open(cls, folder: str | Path) -> ResponseMatrix:
        """Open a written matrix; its arrays stay on disk, mapped into memory.

        Raises
        ------
        DataError
            The folder holds no matrix.
        """
        path = Path(folder)
        if not (path / "matrix.json").is_file():
            raise DataError(f"{folder}: expected a folder written by ResponseMatrix.write, found no matrix.json.")
        head = json.loads((path / "matrix.json").read_text(encoding="utf-8"))

        def mapped(name: str) -> NDArray[Any]:
            array: NDArray[Any] = np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            return array

        shape = (len(head["subjects"]), len(head["items"]))

        def array(name: str) -> Any:
            if not head["sparse"]:
                return mapped(name)
            return sparse.csr_array((mapped(f"{name}_data"), mapped("indices"), mapped("indptr")), shape=shape)

        return cls(
            subjects=np.array(head["subjects"], dtype=object),
            items=np.array(head["items"], dtype=object),
            benchmarks=np.array(head["benchmarks"], dtype=object),
            chance=np.array(head["chance"], dtype=np.float64),
            kind=head["kind"],
            values=array("values"),
            trials=head["trials"] if head["trials"] is not None else array("trials"),
            logits=array("logits") if head["logits"] else None,
        )

    def __repr__(self) -> str:
        share = self.observed / max(self.n_subjects * self.n_items, 1)
        return (
            f"ResponseMatrix: {self.n_subjects:,} subjects x {self.n_items:,} items, {self.kind}, "
            f"{100 * share:.4g} % observed, {'sparse' if self.is_sparse else 'dense'}"
        )


def code_matrix(table: pl.DataFrame, items: pl.DataFrame, subjects: Sequence[str], *, kind: str) -> ResponseMatrix:
    """Put a long table into a matrix.

    Parameters
    ----------
    table : subject, item, response, n_samples, n_correct, perhaps logit
        Of one outcome and condition. Rows with null are missing; trials of a cell are added, or averaged
        where they are probabilities. Items that are not among `items` are left out.
    items : item, benchmark, chance
        The columns, in order; an item without any response has an empty column.
    subjects : names of the rows, in order
    kind : "binary", "counts" or "probability"
    """
    item_ids = items["item"].to_numpy().astype(object)
    shape = (len(subjects), len(item_ids))
    counts = pl.col("n_samples").is_not_null()
    exact = kind == "probability" and "logit" in table.columns and table["logit"].is_not_null().any()
    cells = table.lazy().filter(pl.col("response").is_not_null()).select(
        row=pl.col("subject").cast(pl.Enum(list(subjects)), strict=False).to_physical().cast(pl.Int64),
        column=pl.col("item").cast(pl.Enum(list(item_ids)), strict=False).to_physical().cast(pl.Int64),
        value=pl.when(counts).then(pl.col("n_correct").cast(pl.Float64)).otherwise("response"),
        n=pl.when(counts).then(pl.col("n_samples").cast(pl.Float64)).otherwise(1.0),
        logit=pl.col("logit") if exact else pl.lit(None, pl.Float64),
    ).drop_nulls(["row", "column"]).collect()  # fmt: skip
    if cells.select((pl.col("row") * shape[1] + pl.col("column")).is_duplicated().any()).item():
        sums = pl.col("value", "n").sum() if kind != "probability" else pl.col("value", "n").mean()
        cells = cells.group_by("row", "column").agg(sums, pl.col("logit").mean())
        if kind == "binary" and cells["n"].max() != 1:
            kind = "counts"
    if exact and cells["logit"].null_count():
        exact = False
    dense = cells.height >= DENSE_SHARE * shape[0] * shape[1]
    put = _dense if dense else compressed
    row, column = cells["row"].to_numpy(), cells["column"].to_numpy()
    n = cells["n"].to_numpy()
    complete = cells.height == shape[0] * shape[1] and cells.height > 0 and bool((n == n[0]).all())
    return ResponseMatrix(
        subjects=np.array(list(subjects), dtype=object),
        items=item_ids,
        benchmarks=items["benchmark"].to_numpy().astype(object),
        chance=items["chance"].to_numpy().astype(np.float64),
        kind=kind,
        values=put(row, column, cells["value"].to_numpy(), shape),
        trials=int(n[0]) if complete and dense else put(row, column, n, shape),
        logits=put(row, column, cells["logit"].to_numpy(), shape) if exact else None,
    )


def with_columns(matrix: ResponseMatrix, items: pl.DataFrame) -> ResponseMatrix:
    """Arrange columns as in `items` (item, benchmark, chance); those that it lacks are all missing."""
    place = {name: index for index, name in enumerate(matrix.items)}
    wanted = items["item"].to_list()
    source = np.array([place.get(name, -1) for name in wanted], dtype=np.int64)
    known = np.flatnonzero(source >= 0)
    if len(known) == len(wanted):
        return matrix.select_items(source)
    shape = (matrix.n_subjects, len(wanted))
    taken = matrix.select_items(source[known])
    trials = taken.trials
    if isinstance(trials, int):
        trials = np.full(taken.values.shape, trials, np.float32)

    def spread(array: Any) -> Any:
        if matrix.is_sparse:
            cells = array.tocoo()
            return compressed(cells.row, known[cells.col], cells.data, shape)
        wide = np.zeros(shape, np.float32)
        wide[:, known] = array
        return wide

    return ResponseMatrix(
        subjects=matrix.subjects,
        items=np.array(wanted, dtype=object),
        benchmarks=items["benchmark"].to_numpy().astype(object),
        chance=items["chance"].to_numpy().astype(np.float64),
        kind=matrix.kind,
        values=spread(taken.values),
        trials=spread(trials),
        logits=None if taken.logits is None else spread(taken.logits),
    )


def long_table(matrix: ResponseMatrix) -> pl.DataFrame:
    """Write the observed cells of a matrix out as a table of responses, subject by subject."""
    if matrix.is_sparse:
        cells = matrix.values.tocoo()
        row, column, value, n = cells.row, cells.col, cells.data, matrix.trials.data
    else:
        complete = isinstance(matrix.trials, int)
        row, column = np.nonzero(np.ones(matrix.values.shape, bool) if complete else matrix.trials > 0)
        value = matrix.values[row, column]
        n = np.full(len(row), matrix.trials) if complete else matrix.trials[row, column]
    value, n = value.astype(np.float64), n.astype(np.int64)
    counts = matrix.kind == "counts"
    names = {
        "subject": matrix.subjects[row],
        "item": matrix.items[column],
        "benchmark": matrix.benchmarks[column],
    }
    return pl.DataFrame({name: pl.Series(array, dtype=pl.String) for name, array in names.items()}).select(
        *names,
        outcome=pl.lit(DEFAULT_OUTCOME),
        condition=pl.lit(DEFAULT_CONDITION),
        trial=pl.lit(0, pl.Int64),
        response=pl.Series(value / n if counts else value),
        n_samples=pl.Series(n) if counts else pl.lit(None, pl.Int64),
        n_correct=pl.Series(value.astype(np.int64)) if counts else pl.lit(None, pl.Int64),
    )


def _dense(row: NDArray[Any], column: NDArray[Any], data: NDArray[Any], shape: tuple[int, int]) -> Floats:
    array = np.zeros(shape, np.float32)
    array[row, column] = data
    return array


def compressed(row: NDArray[Any], column: NDArray[Any], data: NDArray[Any], shape: tuple[int, int]) -> Any:
    """Put cells into compressed rows; zeros are kept, since they were observed."""
    index: Any = np.int32 if max(*shape, len(row)) < np.iinfo(np.int32).max else np.int64
    cells = (data.astype(np.float32), (row.astype(index), column.astype(index)))
    array = sparse.coo_array(cells, shape=shape).tocsr()
    array.sort_indices()
    return array


def _index(which: Index, names: Names, what: str) -> Any:
    """Turn names into positions; leave indices, masks and slices as they are."""
    if isinstance(which, slice):
        return which
    chosen = np.asarray(which)
    if chosen.dtype.kind in "iub":
        return np.flatnonzero(chosen) if chosen.dtype.kind == "b" else chosen
    place = {name: index for index, name in enumerate(names)}
    unknown = [name for name in chosen.tolist() if name not in place]
    if unknown:
        raise DataError(
            f"matrix: {what} {unknown[0]!r} is not in it ({len(unknown):,} of {len(chosen):,} unknown)"
            f"{nearest(str(unknown[0]), place)}; it has {listed(names, 5)}."
        )
    return np.array([place[name] for name in chosen.tolist()], dtype=np.int64)


def rows_for(n_items: int, cells: int = 4_000_000) -> int:
    """Rows in a block of about `cells` cells, so that float64 temporaries stay small."""
    return max(1, cells // max(n_items, 1))
