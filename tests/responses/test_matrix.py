"""The coded matrix: dense, sparse and on disk hold the same numbers."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from irsl.errors import DataError
from irsl.responses import ResponseMatrix, Responses


def table(n_subjects=40, n_items=30, share=1.0, trials=1, seed=0):
    """Simulate a long table, a share of its cells observed, some with several trials."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{i}", f"i{j}", t, int(rng.random() < 0.6))
        for i in range(n_subjects)
        for j in range(n_items)
        if i == j or rng.random() < share
        for t in range(trials if (i + j) % 3 else 1)
    ]
    return pl.DataFrame(rows, schema=["subject", "item", "trial", "response"], orient="row")


def slow(frame, subjects, items):
    """Successes and trials of each cell, row by row."""
    k, n = np.zeros((len(subjects), len(items))), np.zeros((len(subjects), len(items)))
    for subject, item, _, response in frame.iter_rows():
        k[list(subjects).index(subject), list(items).index(item)] += response
        n[list(subjects).index(subject), list(items).index(item)] += 1
    return k, n


def dense(array, shape):
    return array.toarray() if sparse.issparse(array) else np.broadcast_to(array, shape)


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


@pytest.mark.parametrize(("share", "is_sparse"), [(1.0, False), (0.6, False), (0.1, True)])
@pytest.mark.parametrize(("trials", "kind"), [(1, "binary"), (3, "counts")])
def test_the_matrix_holds_what_the_table_holds(share, is_sparse, trials, kind):
    frame = table(share=share, trials=trials)
    matrix = Responses.from_frames(frame).to_matrix()
    k, n = slow(frame, matrix.subjects, matrix.items)
    assert matrix.is_sparse is is_sparse
    assert matrix.kind == kind
    np.testing.assert_array_equal(dense(matrix.values, n.shape), k)
    np.testing.assert_array_equal(dense(matrix.trials, n.shape), n)
    assert matrix.observed == np.count_nonzero(n)
    assert matrix.is_complete is (share == 1.0 and trials == 1)
    if is_sparse:
        assert matrix.values.nnz == matrix.observed
        np.testing.assert_array_equal(matrix.values.indices, matrix.trials.indices)
    with np.errstate(invalid="ignore", divide="ignore"):
        np.testing.assert_allclose(matrix.item_means(), k.sum(0) / n.sum(0))
        np.testing.assert_allclose(matrix.subject_means(), k.sum(1) / n.sum(1))


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_cover_all_rows(share, size):
    matrix = Responses.from_frames(table(share=share)).to_matrix()
    rows = np.concatenate([np.arange(matrix.n_subjects)[part] for part, _, _ in matrix.blocks(size)])
    np.testing.assert_array_equal(rows, np.arange(40))
    total = sum(values.sum() for _, values, _ in matrix.blocks(size))
    assert total == matrix.values.sum()
    assert all(isinstance(n, int) == matrix.is_complete for _, _, n in matrix.blocks(size))


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1])
@pytest.mark.parametrize("kind", [None, "probability"])
def test_written_and_opened_it_is_the_same_and_stays_on_disk(tmp_path, share, kind):
    matrix = Responses.from_frames(table(share=share), kind=kind).to_matrix()
    matrix = dataclasses.replace(matrix, logits=matrix.values)
    matrix.write(tmp_path / "m")
    matrix.write(tmp_path / "m")
    opened = ResponseMatrix.open(tmp_path / "m")
    for name in ("values", "trials", "logits"):
        expected, found = getattr(matrix, name), getattr(opened, name)
        assert type(found) is type(expected) or isinstance(found, np.memmap)
        np.testing.assert_array_equal(dense(found, (40, 30)), dense(expected, (40, 30)))
    for name in ("subjects", "items", "benchmarks", "chance"):
        np.testing.assert_array_equal(getattr(opened, name), getattr(matrix, name))
    assert opened.kind == matrix.kind
    assert is_mapped(opened.values.data if matrix.is_sparse else opened.values)
    np.testing.assert_allclose(opened.item_means(), matrix.item_means())
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_opening_something_else_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no matrix\.json"):
        ResponseMatrix.open(tmp_path)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_selecting_rows_and_columns(share):
    matrix = Responses.from_frames(table(share=share)).to_matrix()
    whole = dense(matrix.values, (40, 30))
    columns = [matrix.items.tolist().index(name) for name in ("i4", "i2")]
    chosen = matrix.select_items(["i4", "i2"]).select_subjects(np.array([3, 1, 0]))
    np.testing.assert_array_equal(dense(chosen.values, (3, 2)), whole[np.ix_([3, 1, 0], columns)])
    assert chosen.items.tolist() == ["i4", "i2"]
    assert chosen.subjects.tolist() == ["s3", "s1", "s0"]
    mask = np.arange(30) % 2 == 0
    assert matrix.select_items(mask).n_items == 15
    assert matrix.select_subjects(slice(5, 8)).subjects.tolist() == ["s5", "s6", "s7"]
    with pytest.raises(DataError, match="item 'i99' is not in it"):
        matrix.select_items(["i99"])


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_columns_as_in_a_bank(share):
    responses = Responses.from_frames(table(share=share))
    whole = responses.to_matrix()
    matrix = responses.to_matrix(items=["i7", "never asked", "i0"])
    assert matrix.items.tolist() == ["i7", "never asked", "i0"]
    assert matrix.benchmarks.tolist() == ["benchmark", "", "benchmark"]
    assert np.isnan(matrix.item_means()[1])
    columns = [whole.items.tolist().index(name) for name in ("i7", "i0")]
    np.testing.assert_allclose(matrix.item_means()[[0, 2]], whole.item_means()[columns])
    assert matrix.n_subjects == whole.n_subjects
    with pytest.raises(DataError, match="'i7' more than once"):
        responses.to_matrix(items=["i7", "i7"])


def test_a_bank_that_shares_no_item_gives_an_empty_matrix():
    matrix = Responses.from_frames(table()).to_matrix(items=["x"])
    assert matrix.observed == 0
    assert np.isnan(matrix.subject_means()).all()


def test_trials_of_probabilities_are_averaged():
    frame = pl.DataFrame({"subject": ["a", "a"], "item": "i", "trial": [0, 1], "response": [0.2, 0.6]})
    matrix = Responses.from_frames(frame, kind="probability").to_matrix()
    np.testing.assert_allclose(matrix.values, [[0.4]])
    assert matrix.trials == 1


def test_counts_of_unequal_trials_add_up():
    frame = pl.DataFrame(
        {
            "subject": ["a", "a", "b"],
            "item": "i",
            "trial": [0, 1, 0],
            "n_samples": [4, 6, 3_000_000],
            "n_correct": [1, 2, 5],
        }
    )
    matrix = Responses.from_frames(frame).to_matrix()
    assert matrix.values.tolist() == [[3], [5]]
    assert matrix.trials.tolist() == [[10], [3_000_000]]


def test_one_common_number_of_trials_is_an_int():
    frame = pl.DataFrame({"subject": ["a", "b"], "item": "i", "n_samples": 50, "n_correct": [7, 50]})
    assert Responses.from_frames(frame).to_matrix().trials == 50


def test_the_order_is_that_of_the_tables():
    frame = pl.DataFrame({"subject": ["a", "b"], "item": ["x", "y"], "response": [1, 0]})
    matrix = Responses.from_frames(
        frame,
        items=pl.DataFrame({"item": ["y", "unasked", "x"]}),
        subjects=pl.DataFrame({"subject": ["b", "a"]}),
    ).to_matrix()
    assert matrix.subjects.tolist() == ["b", "a"]
    assert matrix.items.tolist() == ["y", "x"]
    np.testing.assert_array_equal(matrix.values, [[0, 0], [0, 1]])


def test_shapes_must_agree():
    names = np.array(["a"], dtype=object)
    with pytest.raises(DataError, match="expected values of shape"):
        ResponseMatrix(names, names, names, np.zeros(1), "binary", np.zeros((2, 1), np.float32), 1)
