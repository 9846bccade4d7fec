"""Responses from tables: columns, kinds, identity, and one clear error for each way to be wrong."""

import polars as pl
import pytest

from irsl.errors import DataError
from irsl.responses import Responses
from irsl.responses.schema import ITEMS, RESPONSES, SUBJECTS


def long(**columns):
    base = {"subject": ["a", "a", "b", "b"], "item": ["1", "2", "1", "2"], "response": [1.0, 0.0, 0.0, 1.0]}
    return pl.DataFrame(base | columns, strict=False)


def test_the_frames_have_exactly_the_columns_of_the_schema():
    responses = Responses.from_frames(long(extra=[1, 2, 3, 4]))
    assert responses.responses.schema == RESPONSES
    assert responses.items.schema == ITEMS
    assert responses.subjects.schema == SUBJECTS
    assert responses.choices is None
    assert responses.read_report.ignored == ("responses.extra",)
    assert responses.responses.row(0) == ("a", "1", "benchmark", "response", "default", 0, 1.0, None, None)


def test_model_is_accepted_for_subject_and_metric_for_outcome():
    frame = long(metric=["acc"] * 4).rename({"subject": "model"})
    responses = Responses.from_frames(frame, subjects=pl.DataFrame({"model": ["b", "a"], "params": [7, 3]}))
    assert responses.subjects["subject"].to_list() == ["b", "a"]
    assert responses.subjects["params"].to_list() == [7.0, 3.0]
    assert responses.outcomes["outcome"].to_list() == ["acc"]


def test_columns_about_subjects_are_taken_where_they_are_constant_in_each():
    frame = long(flops=["1e9", "1e9", "2e9", "2e9"], tokens=[5, 6, 7, 8], date=["May", "May", "June", "June"])
    responses = Responses.from_frames(frame)
    assert responses.subjects["flops"].to_list() == [1e9, 2e9]
    assert responses.subjects["tokens"].to_list() == [None, None]
    assert set(responses.read_report.ignored) == {"responses.tokens", "responses.date"}


def test_other_columns_of_items_go_to_the_metadata():
    items = pl.DataFrame({"item": ["1", "2"], "shots": [5, None], "gold": [0, 1], "options": ['["x", "y"]', "[]"]})
    responses = Responses.from_frames(long(), items=items)
    assert responses.items["metadata"].str.json_decode(pl.Struct({"shots": pl.Int64})).struct.field(
        "shots"
    ).to_list() == [5, None]
    assert responses.items["gold"].to_list() == [[0], [1]]
    assert responses.items["options"].to_list() == [["x", "y"], []]
    assert responses.items["n_options"].to_list() == [2, 0]


def test_options_in_another_notation_are_kept_as_text():
    items = pl.DataFrame({"item": ["1", "2"], "options": ["{'text': ['x']}", None]})
    responses = Responses.from_frames(long(), items=items)
    assert responses.items["options"].to_list() == [None, None]
    assert "{'text': ['x']}" in responses.items["metadata"][0]


def test_items_shared_by_benchmarks_are_prefixed_and_others_left():
    frame = pl.DataFrame(
        {
            "subject": ["a"] * 4,
            "benchmark": ["A", "B", "B", "C"],
            "item": ["1", "1", "2", "z"],
            "response": [1, 0, 1, 1],
        }
    )
    items = pl.DataFrame(
        {"item": ["1", "1", "2", "z"], "benchmark": ["A", "B", "B", "C"], "text": ["p", "q", "r", "s"]}
    )
    responses = Responses.from_frames(frame, items=items)
    assert responses.items.select("item", "text").rows() == [
        ("A:1", "p"),
        ("B:1", "q"),
        ("B:2", "r"),
        ("z", "s"),
    ]
    assert responses.responses["item"].to_list() == ["A:1", "B:1", "B:2", "z"]


def test_the_benchmark_comes_from_the_items_where_the_responses_do_not_say():
    items = pl.DataFrame({"item": ["2", "1"], "benchmark": ["B", "A"]})
    responses = Responses.from_frames(long(), items=items)
    assert responses.responses["benchmark"].to_list() == ["A", "B", "A", "B"]
    assert responses.items["item"].to_list() == ["2", "1"]


def test_items_and_subjects_missing_from_their_tables_are_added_and_noted():
    responses = Responses.from_frames(
        long(), items=pl.DataFrame({"item": ["2"]}), subjects=pl.DataFrame({"subject": ["b"]})
    )
    assert responses.items["item"].to_list() == ["2", "1"]
    assert responses.subjects["subject"].to_list() == ["b", "a"]
    assert sum("added by name" in note for note in responses.read_report.notes) == 2


def test_scores_that_cannot_be_read_are_null_counted_by_reason_with_the_first_place():
    cells = ["1", "true", " 0 ", "FALSE", "", "NA", "nan", None, "inf", "-Infinity", "50%", "yes", "1e0"]
    frame = pl.DataFrame({"subject": "a", "item": [str(i) for i in range(len(cells))], "response": cells})
    responses = Responses.from_frames(frame)
    assert responses.responses["response"].to_list() == [1, 1, 0, 0, *[None] * 8, 1]
    found = {entry.reason: (entry.count, entry.first) for entry in responses.read_report.unread}
    assert found == {
        "missing": (4, "responses, row 4, column 'response': ''"),
        "infinite": (2, "responses, row 8, column 'response': 'inf'"),
        "unreadable text": (2, "responses, row 10, column 'response': '50%'"),
    }
    assert responses.read_report.n_unread == 8
    assert "8 scores" in repr(responses)


def test_missing_numbers_are_null_never_zero():
    responses = Responses.from_frames(long(response=[1.0, None, float("nan"), 1.0]))
    assert responses.responses["response"].to_list() == [1.0, None, None, 1.0]
    assert responses.to_matrix().trials.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("frame", "kind", "expected"),
    [
        (long(), None, "binary"),
        (long(response=[True, False, True, False]), None, "binary"),
        (long(n_samples=[5] * 4, n_correct=[5, 0, 0, 5]), None, "counts"),
        (long().drop("response").with_columns(n_samples=5, n_correct=2), None, "counts"),
        (long(response=[0.5, 0.1, 1.0, 0.0]), "probability", "probability"),
        (long(), {"response": "probability"}, "probability"),
        (long(), {"benchmark": {"response": "aggregate"}}, "aggregate"),
        (long(response=[3.5, -1.0, 1e9, 0.0]), "aggregate", "aggregate"),
    ],
)
def test_kinds_are_declared_by_argument_or_columns(frame, kind, expected):
    responses = Responses.from_frames(frame, kind=kind)
    assert responses.outcomes["kind"].to_list() == [expected]
    assert bool(responses.read_report.notes) == (kind is None)


def test_counts_and_shares_complete_each_other():
    frame = long(response=[None, 0.5, 0.3334, 0.25]).with_columns(
        n_samples=pl.Series([4, 4, 3, None]), n_correct=pl.Series([1, None, None, None], dtype=pl.Int64)
    )
    responses = Responses.from_frames(frame)
    assert responses.responses.select("response", "n_samples", "n_correct").rows() == [
        (0.25, 4, 1), (0.5, 4, 2), (1 / 3, 3, 1), (None, None, None)
    ]  # fmt: skip
    (lost,) = responses.read_report.unread
    assert (lost.reason, lost.count) == ("without n_samples or n_correct", 1)
    assert "row 3" in lost.first


def test_no_trials_is_no_response():
    responses = Responses.from_frames(
        long().drop("response").with_columns(n_samples=pl.Series([2, 0, 2, 2]), n_correct=0)
    )
    assert responses.responses["response"].to_list() == [0, None, 0, 0]


def test_different_outcomes_may_be_of_different_kinds():
    frame = pl.concat(
        [
            long().with_columns(outcome=pl.lit("acc")),
            long(response=[0.5, 0.1, 0.2, 0.3]).with_columns(outcome=pl.lit("p_choices")),
        ]
    )
    responses = Responses.from_frames(frame, kind={"p_choices": "probability"})
    assert responses.outcomes.select("outcome", "kind", "n_rows").rows() == [
        ("acc", "binary", 4), ("p_choices", "probability", 4)
    ]  # fmt: skip


ERRORS = {
    "missing column": (
        lambda: Responses.from_frames(long().rename({"response": "respons"})),
        ["'response'", "'respons'", "did you mean"],
    ),
    "empty": (lambda: Responses.from_frames(long().clear()), ["responses", "empty table"]),
    "nothing": (lambda: Responses.from_frames(), ["neither"]),
    "pandas": (lambda: Responses.from_frames([1]), ["polars", "list"]),
    "nothing readable": (
        lambda: Responses.from_frames(long(response=["x"] * 4)),
        ["column 'response'", "none among 4", "'x'"],
    ),
    "no name": (
        lambda: Responses.from_frames(long(item=["1", None, "1", "2"])),
        ["row 1", "column 'item'", "1 of 4"],
    ),
    "not binary": (
        lambda: Responses.from_frames(long(response=[1, 0, 0.5, 2]), kind="binary"),
        ["row 2", "column 'response'", "0 or 1", "found 0.5", "2 of 4", "subject 'b'", "item '1'"],
    ),
    "not a probability": (
        lambda: Responses.from_frames(long(response=[1, 0, 0.5, 2]), kind="probability"),
        ["row 3", "0 to 1", "found 2", "1 of 4", "aggregate"],
    ),
    "unstated kind": (
        lambda: Responses.from_frames(long(response=[1, 0, 0.5, 0.1])),
        ["kind='probability'", "n_samples", "kind='aggregate'", "not stated"],
    ),
    "unstated kind beyond one": (
        lambda: Responses.from_frames(long(response=[1, 0, 55, 0.1])),
        ["0 to 55", "divide by 100"],
    ),
    "unknown kind": (
        lambda: Responses.from_frames(long(), kind="count"),
        ["'count'", "did you mean 'counts'", "'binary'"],
    ),
    "counts without": (lambda: Responses.from_frames(long(), kind="counts"), ["n_samples", "kind='binary'"]),
    "too many correct": (
        lambda: Responses.from_frames(long(n_samples=[5, 5, 5, 5], n_correct=[5, 0, 6, 5]).drop("response")),
        ["row 2", "n_correct", "at most n_samples", "found 6", "subject 'b'"],
    ),
    "counts that are shares": (
        lambda: Responses.from_frames(long(n_samples=[5] * 4, n_correct=[0.5, 0, 0, 1])),
        ["column 'n_correct'", "whole number", "found 0.5"],
    ),
    "negative counts": (
        lambda: Responses.from_frames(long(n_samples=[-5] * 4, n_correct=[0] * 4)),
        ["n_samples", "-5"],
    ),
    "contradiction": (
        lambda: Responses.from_frames(long(n_samples=[5] * 4, n_correct=[5, 1, 0, 5])),
        ["row 1", "n_correct / n_samples", "found 0"],
    ),
    "duplicate": (
        lambda: Responses.from_frames(long(item=["1", "2", "1", "1"])),
        ["row 2 and row 3", "subject 'b'", "item '1'", "trial", "2 rows"],
    ),
    "bad trial": (
        lambda: Responses.from_frames(long(trial=["0", "0", "x", "0"])),
        ["row 2", "column 'trial'", "'x'"],
    ),
    "silent subject": (
        lambda: Responses.from_frames(long(), subjects=pl.DataFrame({"subject": ["a", "b", "mute"]})),
        ["subjects", "1 of 3", "'mute'"],
    ),
    "subject all null": (
        lambda: Responses.from_frames(long(response=[1, 0, None, None])),
        ["'b'", "1 of 2", "missing"],
    ),
    "doubled subject": (
        lambda: Responses.from_frames(long(), subjects=pl.DataFrame({"subject": ["a", "a"]})),
        ["row 0 and row 1"],
    ),
    "doubled item": (
        lambda: Responses.from_frames(long(), items=pl.DataFrame({"item": ["1", "1"]})),
        ["items", "item '1'"],
    ),
    "astray": (
        lambda: Responses.from_frames(
            long(benchmark=["A"] * 4), items=pl.DataFrame({"item": ["1"], "benchmark": ["B"]})
        ),
        ["item '1'", "'B'", "'A'"],
    ),
    "bad chance": (
        lambda: Responses.from_frames(long(), items=pl.DataFrame({"item": ["1"], "chance": [25.0]})),
        ["chance", "25"],
    ),
    "bad size": (
        lambda: Responses.from_frames(long(), subjects=pl.DataFrame({"subject": ["a", "b"], "params": ["1", "7B"]})),
        ["subjects, row 1, column 'params'", "'7B'"],
    ),
    "bad date": (
        lambda: Responses.from_frames(
            long(), subjects=pl.DataFrame({"subject": ["a", "b"], "date": ["2024-01-01", "x"]})
        ),
        ["row 1, column 'date'", "2024-12-31"],
    ),
    "ambiguous items": (
        lambda: Responses.from_frames(long(), items=pl.DataFrame({"item": ["1", "1"], "benchmark": ["A", "B"]})),
        ["item '1'", "several benchmarks", "column 'benchmark'"],
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_gets_one_error_that_names_place_and_remedy(case):
    make, parts = ERRORS[case]
    with pytest.raises(DataError) as error:
        make()
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_the_order_of_rows_does_not_matter():
    n_subjects, n_items = 300, 400
    frame = pl.DataFrame(
        {
            "subject": [f"s{i}" for i in range(n_subjects) for _ in range(n_items)],
            "item": [f"i{j}" for _ in range(n_subjects) for j in range(n_items)],
            "response": [(i * j) % 2 for i in range(n_subjects) for j in range(n_items)],
        }
    )
    matrix = Responses.from_frames(frame.sample(fraction=1, shuffle=True, seed=1)).to_matrix()
    assert matrix.is_complete
    assert matrix.values.sum() == sum((i * j) % 2 for i in range(n_subjects) for j in range(n_items))
