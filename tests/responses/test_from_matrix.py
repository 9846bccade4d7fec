"""Responses from an array that somebody holds."""

import numpy as np
import polars as pl
import pytest

from irsl.errors import DataError
from irsl.responses import Responses

NAN = float("nan")


def test_names_and_kinds():
    responses = Responses.from_matrix([[1, 0, NAN], [0, 1, 1]], benchmark="quiz")
    assert responses.subjects["subject"].to_list() == ["subject-0", "subject-1"]
    assert responses.items.select("item", "benchmark").rows()[0] == ("item-0", "quiz")
    assert responses.outcomes.rows() == [("quiz", "response", "binary", ["default"], 5)]
    matrix = responses.to_matrix()
    np.testing.assert_array_equal(matrix.values, [[1, 0, 0], [0, 1, 1]])
    np.testing.assert_array_equal(matrix.trials, [[1, 1, 0], [1, 1, 1]])
    assert matrix.values.dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ([[1.0, 0.0], [NAN, 1.0]], {}),
        ([[True, False], [False, True]], {}),
        ([[3, 0], [5, 1]], {"n_samples": 5}),
        ([[3, 1], [5, 0]], {"n_samples": [[3, 2], [9, 0]]}),
        ([[0.3, NAN], [0.5, 1.0]], {"kind": "probability"}),
    ],
)
def test_the_array_and_its_long_table_make_the_same_matrix(values, options):
    direct = Responses.from_matrix(values, **options)
    by_table = Responses.from_frames(direct.responses, kind=direct.outcomes["kind"][0])
    one, two = direct.to_matrix(), by_table.to_matrix()
    assert one.kind == two.kind
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(
        np.broadcast_to(one.trials, one.values.shape), np.broadcast_to(two.trials, two.values.shape)
    )
    assert one.subjects.tolist() == two.subjects.tolist()


def test_mostly_missing_arrays_become_sparse():
    values = np.full((10, 10), NAN)
    np.fill_diagonal(values, [1, 0] * 5)
    responses = Responses.from_matrix(values)
    matrix = responses.to_matrix()
    assert matrix.is_sparse
    assert matrix.observed == 10
    assert matrix.values.nnz == 10
    assert responses.responses["response"].to_list() == [1, 0] * 5
    wider = responses.to_matrix(items=["item-3", "never", "item-0"])
    np.testing.assert_array_equal(wider.trials.toarray()[:4], [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])


def test_the_callers_array_is_not_changed():
    values = np.array([[1.0, NAN], [0.0, 1.0]])
    before = values.copy()
    Responses.from_matrix(values)
    np.testing.assert_array_equal(values, before)


def test_frames_carry_chance_and_size():
    responses = Responses.from_matrix(
        [[1, 0], [0, 1]],
        items=pl.DataFrame({"item": ["x", "y"], "chance": [0.25, None], "n_options": [None, 5]}),
        subjects=pl.DataFrame({"model": ["a", "b"], "flops": [1e9, 2e9]}),
    )
    assert responses.to_matrix().chance.tolist() == [0.25, 0.2]
    assert responses.subjects["flops"].to_list() == [1e9, 2e9]


def test_aggregates_live_as_a_table():
    responses = Responses.from_matrix([[2.5, NAN], [3.5, -1.0]], kind="aggregate")
    assert responses.responses["response"].to_list() == [2.5, 3.5, -1.0]
    with pytest.raises(DataError, match="aggregate"):
        responses.to_matrix()


def test_what_was_not_finite_is_counted():
    responses = Responses.from_matrix([[1, NAN, np.inf], [0, 1, NAN]])
    assert [(u.reason, u.count, u.first) for u in responses.read_report.unread] == [
        ("missing", 2, "subject 'subject-0', item 'item-1'"),
        ("infinite", 1, "subject 'subject-0', item 'item-2'"),
    ]


def test_selecting_keeps_to_the_matrix():
    responses = Responses.from_matrix([[1, 0], [0, 1], [1, 1]], subjects=["a", "b", "c"], benchmark="quiz")
    chosen = responses.select(benchmark="quiz", outcome="response", condition="default", subjects=["c", "a"])
    assert chosen.to_matrix().subjects.tolist() == ["a", "c"]
    assert chosen.subjects["subject"].to_list() == ["a", "c"]
    with pytest.raises(DataError, match="no benchmark 'quizz' here; did you mean 'quiz'"):
        responses.select(benchmark="quizz")
    with pytest.raises(DataError, match="no outcome 'acc' here"):
        responses.select(outcome="acc")


@pytest.mark.parametrize(
    ("values", "options", "parts"),
    [
        ([1, 0], {}, ["(n_subjects, n_items)", "(2,)"]),
        (np.empty((0, 3)), {}, ["at least one subject"]),
        ([["x"]], {}, ["numbers"]),
        ([[0.5]], {}, ["kind='probability'", "n_samples"]),
        ([[1, 2]], {"kind": "binary"}, ["subject 'subject-0'", "item 'item-1'", "found 2"]),
        ([[1, 1.5]], {"kind": "probability"}, ["0 to 1", "1.5"]),
        ([[1, 6]], {"n_samples": 5}, ["whole number from 0 to n_samples", "found 6"]),
        ([[1, 2.5]], {"n_samples": 5}, ["whole number"]),
        ([[1, 2]], {"n_samples": [5, 5, 5]}, ["n_samples", "(1, 2)"]),
        ([[1, 2]], {"n_samples": -1}, ["n_samples", "0 or more"]),
        ([[1, 0]], {"n_samples": 5, "kind": "binary"}, ["kind='counts'"]),
        ([[1, 0]], {"kind": "counts"}, ["n_samples"]),
        ([[1, 0]], {"kind": "beta"}, ["'beta'", "'binary'"]),
        ([[1, 0], [NAN, NAN]], {}, ["'subject-1'", "1 of 2"]),
        ([[1, 0]], {"subjects": ["a", "b"]}, ["expected 1 names", "found 2"]),
        ([[1, 0]], {"items": ["x", "x"]}, ["'x' more than once"]),
    ],
)
def test_bad_arrays_get_one_clear_error(values, options, parts):
    with pytest.raises(DataError) as error:
        Responses.from_matrix(values, **options)
    for part in parts:
        assert part in str(error.value)
