"""Selecting, and what a matrix needs selected."""

import polars as pl
import pytest

from irsl.errors import DataError
from irsl.responses import Responses


@pytest.fixture
def responses():
    rows = [
        (subject, f"{benchmark}{i}", benchmark, outcome, condition, (i + len(subject)) % 2)
        for subject in ("small", "large!")
        for benchmark, outcome, condition in (
            ("A", "acc", "0-shot"),
            ("A", "acc", "5-shot"),
            ("A", "exact", "0-shot"),
            ("B", "acc", "0-shot"),
        )
        for i in range(3)
        if not (benchmark == "B" and subject == "small")
    ]
    frame = pl.DataFrame(
        rows, schema=["subject", "item", "benchmark", "outcome", "condition", "response"], orient="row"
    )
    return Responses.from_frames(frame, subjects=pl.DataFrame({"subject": ["large!", "small"], "flops": [2.0, 1.0]}))


def test_outcomes_say_what_is_there(responses):
    assert responses.outcomes.rows() == [
        ("A", "acc", "binary", ["0-shot", "5-shot"], 12),
        ("A", "exact", "binary", ["0-shot"], 6),
        ("B", "acc", "binary", ["0-shot"], 3),
    ]


def test_selecting_drops_what_is_left_without_rows(responses):
    chosen = responses.select(benchmark="B")
    assert chosen.subjects["subject"].to_list() == ["large!"]
    assert chosen.items["item"].to_list() == ["B0", "B1", "B2"]
    assert set(chosen.kinds) == {("B", "acc")}
    assert responses.subjects.height == 2


def test_subjects_by_name_list_and_expression(responses):
    for subjects in ("small", ["small"], pl.col("flops") < 1.5):
        assert responses.select(subjects=subjects).subjects["subject"].to_list() == ["small"]


def test_selections_combine(responses):
    matrix = responses.select(outcome="acc", condition="0-shot").to_matrix()
    assert matrix.subjects.tolist() == ["large!", "small"]
    assert matrix.items.tolist() == ["A0", "A1", "A2", "B0", "B1", "B2"]
    assert matrix.benchmarks.tolist() == ["A"] * 3 + ["B"] * 3
    assert matrix.observed == 9
    assert responses.select(outcome="acc", condition=["5-shot"]).responses.height == 6


@pytest.mark.parametrize(
    ("selection", "parts"),
    [
        ({"outcome": "accc"}, ["no outcome 'accc'", "did you mean 'acc'", "'exact'"]),
        ({"benchmark": ["A", "C"]}, ["no benchmark 'C'", "'A', 'B'"]),
        ({"condition": "5shot"}, ["did you mean '5-shot'"]),
        ({"subjects": "smal"}, ["no subject 'smal'", "did you mean 'small'"]),
        ({"subjects": pl.col("flops") > 99}, ["nothing is left"]),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(responses, selection, parts):
    with pytest.raises(DataError) as error:
        responses.select(**selection)
    for part in parts:
        assert part in str(error.value)


def test_a_matrix_needs_one_outcome_and_one_condition(responses):
    with pytest.raises(DataError, match=r"several outcomes: 'acc', 'exact'.*select\(outcome='acc'\)"):
        responses.to_matrix()
    with pytest.raises(DataError, match=r"several conditions: '0-shot', '5-shot'.*condition='0-shot'"):
        responses.select(outcome="acc").to_matrix()
    assert responses.to_matrix(benchmark="B").observed == 3


def test_benchmarks_may_each_have_their_own_outcome(responses):
    chosen = responses.select(outcome="exact", benchmark="A")
    other = responses.select(benchmark="B")
    both = Responses.from_frames(pl.concat([chosen.responses, other.responses]))
    assert both.to_matrix().n_items == 6


def test_aggregates_and_unlike_kinds_are_refused(responses):
    means = Responses.from_frames(responses.select(benchmark="B").responses, kind="aggregate")
    with pytest.raises(DataError, match="benchmark mean cannot calibrate"):
        means.to_matrix()
    mixed = pl.concat([responses.select(outcome="exact").responses, responses.select(benchmark="B").responses])
    unlike = Responses.from_frames(mixed, kind={"exact": "probability"})
    with pytest.raises(DataError, match="unlike kinds"):
        unlike.to_matrix()


def test_repr_says_the_essentials(responses):
    text = repr(responses)
    for part in ("2 subjects", "6 items", "2 benchmarks ('A', 'B')", "acc (binary)", "75 %"):
        assert part in text
