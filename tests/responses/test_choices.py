"""Outcomes from log-likelihoods of choices, against plain Python."""

import math

import numpy as np
import polars as pl
import pytest

from irsl.errors import DataError
from irsl.responses import Responses

ITEMS = pl.DataFrame(
    {
        "item": ["four", "two", "several"],
        "benchmark": ["B", "B", "B"],
        "gold": [[2], [0], [0, 2]],
        "choice_characters": [[1, 4, 2, 8], [3, 3], [2, 5, 7]],
    }
)


def choices_frame(seed=0):
    rng = np.random.default_rng(seed)
    width = {"four": 4, "two": 2, "several": 3}
    rows = [(s, item, (-rng.gamma(2.0, 3.0, n)).tolist()) for s in "abcde" for item, n in width.items()]
    return pl.DataFrame(rows, schema=["subject", "item", "log_p"], orient="row")


def slow(outcome, log_p, gold, characters):
    """Spell the definitions out, choice by choice."""
    if outcome in ("acc_norm", "p_vocab_per_char", "p_choices_per_char"):
        log_p = [value / n for value, n in zip(log_p, characters, strict=True)]
    if outcome in ("acc", "acc_norm"):
        return float(log_p.index(max(log_p)) in gold)
    p = [math.exp(value) for value in log_p]
    if outcome == "p_vocab":
        return sum(p[j] for j in gold)
    if outcome == "p_vocab_per_char":
        return max(p[j] for j in gold)
    return sum(p[j] for j in gold) / sum(p)


OUTCOMES = ["acc", "acc_norm", "p_vocab", "p_choices", "p_vocab_per_char", "p_choices_per_char"]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_as_defined(outcome):
    frame = choices_frame()
    responses = Responses.from_frames(choices=frame, items=ITEMS)
    assert responses.outcomes["outcome"].to_list() == OUTCOMES
    chosen = responses.select(outcome=outcome)
    info = {row["item"]: row for row in ITEMS.iter_rows(named=True)}
    expected = [
        slow(outcome, row["log_p"], info[row["item"]]["gold"], info[row["item"]]["choice_characters"])
        for row in frame.iter_rows(named=True)
    ]
    np.testing.assert_allclose(chosen.responses["response"], expected, rtol=1e-12)
    assert chosen.choices is None
    assert chosen.outcomes["kind"].to_list() == ["binary" if outcome.startswith("acc") else "probability"]
    assert chosen.to_matrix().values.shape == (5, 3)


def test_probabilities_among_choices_sum_to_one_over_golds():
    frame = choices_frame()
    four = frame.filter(pl.col("item") == "four")
    total = sum(
        Responses.from_frames(choices=four, items=pl.DataFrame({"item": ["four"], "gold": [j]}))
        .select(outcome="p_choices")
        .to_matrix()
        .values
        for j in range(4)
    )
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)


def test_logits_stay_exact_where_the_probability_rounds_to_0_or_1():
    frame = pl.DataFrame({"subject": ["a", "b"], "item": "i", "log_p": [[-2000.0, -1.0, -3.0], [-1.0, -900.0, -950.0]]})
    responses = Responses.from_frames(choices=frame, items=pl.DataFrame({"item": ["i"], "gold": [0]}))
    matrix = responses.select(outcome="p_choices").to_matrix()
    assert matrix.values.ravel().tolist() == [0.0, 1.0]
    np.testing.assert_allclose(
        matrix.logits.ravel(), [-2000 - np.logaddexp(-1, -3), -1 - np.logaddexp(-900, -950)], rtol=1e-6
    )
    assert responses.select(outcome="acc").to_matrix().logits is None
    assert matrix.select_subjects(["b"]).logits.shape == (1, 1)


def test_equal_log_likelihoods_go_to_the_first():
    frame = pl.DataFrame({"subject": ["a"], "item": "i", "log_p": [[-1.0, -1.0]]})
    for gold, right in ((0, 1.0), (1, 0.0)):
        responses = Responses.from_frames(choices=frame, items=pl.DataFrame({"item": ["i"], "gold": [gold]}))
        assert responses.select(outcome="acc").responses["response"].to_list() == [right]


def test_stored_units_are_multiplied_and_remembered():
    frame = pl.DataFrame(
        {
            "subject": ["a", "b"],
            "item": "i",
            "log_p": pl.Series([[-128, -64], [-1, -2]], dtype=pl.Array(pl.Int16, 2)),
        }
    )
    responses = Responses.from_frames(choices=frame, items=pl.DataFrame({"item": ["i"], "gold": [1]}), log_p_unit=2**-7)
    assert responses.choices["log_p"].to_list() == [[-1.0, -0.5], [-(2**-7), -(2**-6)]]
    assert responses.resolution == 2**-7
    assert responses.select(outcome="acc").resolution == 2**-7


def test_chance_and_number_of_options_follow_from_the_choices():
    responses = Responses.from_frames(choices=choices_frame(), items=ITEMS)
    np.testing.assert_allclose(responses.select(outcome="acc").to_matrix().chance, [1 / 4, 1 / 2, 2 / 3])
    bare = Responses.from_frames(choices=choices_frame(), items=ITEMS.drop("choice_characters"))
    assert bare.items["n_options"].to_list() == [4, 2, 3]


def test_recorded_and_computed_outcomes_stand_side_by_side():
    recorded = pl.DataFrame({"subject": ["a", "b"], "item": "two", "outcome": "exact_match", "response": [1, 0]})
    responses = Responses.from_frames(recorded, choices=choices_frame(), items=ITEMS)
    assert responses.outcomes["outcome"].to_list() == ["exact_match", *OUTCOMES]
    with pytest.raises(DataError, match=r"several outcomes: 'exact_match', 'acc'.*select\(outcome='acc'\)"):
        responses.to_matrix()
    exact = responses.select(outcome="exact_match")
    assert exact.subjects["subject"].to_list() == ["a", "b"]
    assert exact.items["item"].to_list() == ["two"]
    assert responses.select(outcome=["exact_match", "acc"]).outcomes.height == 2


def test_a_recorded_outcome_goes_before_the_computed_one():
    recorded = pl.DataFrame({"subject": ["a", "b"], "item": "two", "outcome": "acc", "response": [1, 0]})
    responses = Responses.from_frames(recorded, choices=choices_frame(), items=ITEMS)
    assert responses.select(outcome="acc").responses.height == 2


def test_log_likelihoods_that_are_not_finite_make_the_row_null():
    frame = choices_frame().with_columns(
        log_p=pl.when(pl.int_range(pl.len()) == 1)
        .then(pl.lit([float("-inf"), -1.0]))
        .when(pl.int_range(pl.len()) == 2)
        .then(None)
        .otherwise("log_p")
    )
    responses = Responses.from_frames(choices=frame, items=ITEMS)
    assert {u.reason: u.count for u in responses.read_report.unread} == {"infinite": 1, "missing": 1}
    assert responses.select(outcome="p_choices").responses["response"].null_count() == 2
    assert responses.select(outcome="p_choices").to_matrix().observed == 13


def one(log_p, **item):
    frame = pl.DataFrame({"subject": ["a"], "item": ["i"], "log_p": [log_p]})
    return Responses.from_frames(choices=frame, items=pl.DataFrame({"item": ["i"], **item}))


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: one([-1.0, 0.5], gold=[0]), ["row 0, column 'log_p'", "at most 0", "0.5", "item 'i'"]),
        (lambda: one([-1.0, -0.5], gold=[2]), ["gold", "0 to 1", "[2]", "item 'i'", "from 0"]),
        (lambda: one([-1.0, -0.5], gold=[-1]), ["gold"]),
        (
            lambda: one([-1.0, -0.5], gold=[0], choice_characters=[[3]]),
            ["choice_characters", "expected 2 lengths"],
        ),
        (
            lambda: one([-1.0, -0.5], gold=[0]).select(outcome="acc_norm"),
            ["acc_norm", "items.choice_characters", "1 of 1"],
        ),
        (lambda: one([-1.0, -0.5]).select(outcome="acc"), ["acc", "items.gold", "'i'"]),
        (lambda: one([-1.0, -0.5]).to_matrix(), ["items.gold"]),
        (lambda: one([-1.0], gold=[0]).select(outcome="p_choices"), ["wrong choice", "'i'", "p_vocab"]),
        (lambda: one([-1.0, -0.5], gold=[0]).select(outcome="p_choice"), ["did you mean 'p_choices'"]),
        (lambda: one(["x"], gold=[0]), ["all scores of 1 of 1 subjects", "'a'"]),
        (
            lambda: Responses.from_frames(choices=choices_frame().head(3).with_columns(item=pl.lit("four"))),
            ["share theirs", "trial"],
        ),
        (
            lambda: Responses.from_frames(
                choices=pl.DataFrame({"subject": ["a", "b"], "item": "i", "log_p": [[-1.0], [-1.0, -2.0]]})
            ),
            ["same choices", "1 to 2", "'i'"],
        ),
        (lambda: Responses.from_frames(choices=choices_frame().drop("log_p")), ["'log_p'", "'subject'"]),
        (lambda: Responses.from_frames(choices=choices_frame(), log_p_unit=0.0), ["log_p_unit"]),
    ],
)
def test_bad_choices_get_one_clear_error(make, parts):
    with pytest.raises(DataError) as error:
        make()
    for part in parts:
        assert part in str(error.value)
