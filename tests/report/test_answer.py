from __future__ import annotations

import math

import polars as pl
import pytest
from scipy.stats import norm

from irsl.report.answer import choices, duel, gain, near_chance, ranking


def choice_frame(p_best, observed=(0.70, 0.75, 0.60)) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "benchmark": ["all"] * 3,
            "recipe": ["a", "b", "c"],
            "p_best": p_best,
            "accuracy": [0.72, 0.71, 0.5],
            "accuracy_lower": [0.68, 0.66, 0.4],
            "accuracy_upper": [0.76, 0.74, 0.55],
            "observed": observed,
        }
    )


@pytest.mark.parametrize(
    ("p_best", "certainty", "n_race"),
    [((0.95, 0.04, 0.01), "sure", 1), ((0.7, 0.25, 0.05), "likely", 2), ((0.5, 0.3, 0.2), "open", 3)],
)
def test_certainty_and_race(p_best, certainty, n_race):
    choice = choices(choice_frame(p_best))["all"]
    assert choice.certainty == certainty
    assert len(choice.race) == n_race


def test_choice_is_judged_by_what_came():
    choice = choices(choice_frame((0.7, 0.25, 0.05)))["all"]
    assert choice.chosen["recipe"] == "a"
    assert choice.best is not None
    assert choice.best["recipe"] == "b"
    assert choice.cost == pytest.approx(0.05)
    assert [row["inside"] for row in choice.rows] == [True, False, False]
    assert (choice.low, choice.high) == (0.4, 0.76)


def test_choice_without_observation():
    choice = choices(choice_frame((0.7, 0.25, 0.05), observed=(None, None, None)))["all"]
    assert choice.best is None
    assert choice.cost is None
    assert choice.inside is None


def comparison_frame() -> pl.DataFrame:
    rows = [("x", "irsl", 0.02), ("x", "classical", 0.03), ("y", "irsl", 0.04), ("y", "classical", 0.02)]
    rows += [("z", "irsl", 0.05), ("z", "classical", 0.0501), ("all", "irsl", 0.0), ("all", "classical", 1.0)]
    return pl.DataFrame(rows, schema=["benchmark", "method", "error"], orient="row")


def test_duel_counts_benchmarks_and_leaves_all_out():
    found = duel(comparison_frame(), "classical", "error", smaller_is_better=True)
    assert found is not None
    assert (found.won, found.lost, found.even, found.n) == (1, 1, 1, 3)
    assert found.ours == pytest.approx(0.11 / 3)
    assert duel(comparison_frame(), "seed", "error", smaller_is_better=True) is None


def forecast_frame(saved: list[float]) -> pl.DataFrame:
    rows = [
        dict(benchmark=b, recipe=f"r{k}", method=m, accuracy=0.5 + error, observed=0.5)
        for k, s in enumerate(saved)
        for b in ("x", "y")
        for m, error in (("irsl", -0.02), ("classical", 0.02 + s))
    ]
    return pl.DataFrame(rows)


def test_gain_is_a_paired_t_interval_over_recipes():
    found = gain(forecast_frame([0.01, 0.02, 0.03]), level=0.9)
    assert found.mean == pytest.approx(0.02)
    half = 2.919986 * 0.01 / math.sqrt(3)  # t quantile .95, 2 degrees
    assert found.lower == pytest.approx(0.02 - half, rel=1e-6)
    assert found.verdict == "ours"
    assert gain(forecast_frame([-0.01, -0.011, -0.012]), level=0.9).verdict == "theirs"
    assert gain(forecast_frame([-0.01, 0.01, 0.0]), level=0.9).verdict == "open"
    assert gain(forecast_frame([0.5, 0.5]), level=0.9).verdict == "open"


def ability_frame() -> pl.DataFrame:
    rows = []
    for subject, final, ability, accuracies in (
        ("one", True, 1.0, (0.8, 0.6)),
        ("two", True, 0.5, (0.7, 0.6)),
        ("early", False, 9.0, (0.99, 0.99)),
        ("half", True, 2.0, (0.9,)),
    ):
        rows += [
            dict(
                subject=subject, benchmark=b, ability=ability, se_ability=0.3, accuracy=a,
                accuracy_lower=a - 0.03, accuracy_upper=a + 0.03, n_observed=10, final=final,
            )
            for b, a in zip("xy", accuracies, strict=False)
        ]  # fmt: skip
    return pl.DataFrame(rows)


def test_ranking_of_finals_with_all_benchmarks():
    found = ranking(ability_frame(), level=0.9)
    assert [row["subject"] for row in found.rows] == ["one", "two"]
    assert (found.n_benchmarks, found.n_left_out) == (2, 1)
    first = found.rows[0]
    assert first["accuracy"] == pytest.approx(0.7)
    assert first["accuracy_upper"] - first["accuracy"] == pytest.approx(0.03 / math.sqrt(2))
    se = 0.3 / math.sqrt(2)
    assert first["ability_upper"] == pytest.approx(1.0 + norm.ppf(0.95) * se)
    assert first["p_ahead"] == pytest.approx(norm.cdf(0.5 / (se * math.sqrt(2))))
    assert found.rows[1]["p_ahead"] is None


def test_choice_knows_when_intervals_are_too_narrow():
    frame = choice_frame((0.7, 0.25, 0.05))
    choice = choices(frame)["all"]
    assert (choice.held, choice.judged) == (1, 3)
    assert choice.too_narrow(0.9)  # 1 of 3 or fewer has probability .028
    assert not choice.too_narrow(0.5)
    assert not choices(frame.with_columns(observed=pl.col("accuracy")))["all"].too_narrow(0.9)


def test_near_chance_looks_at_the_largest_size_below_the_target():
    rows = [
        dict(benchmark=b, recipe=r, size=s, flops=f, accuracy=a)
        for r in ("one", "two")
        for b, s, f, a in (
            ("late", "1k", 1.0, 0.25), ("late", "2k", 2.0, 0.39), ("late", "4k", 4.0, 0.95),
            ("early", "1k", 1.0, 0.25), ("early", "2k", 2.0, 0.41), ("early", "4k", 4.0, 0.42),
        )
    ]  # fmt: skip
    items = pl.DataFrame({"benchmark": ["late", "early"], "chance": [0.25, 0.25]})
    assert near_chance(pl.DataFrame(rows), items, target="4k") == {"late": (2, 2, "2k")}
    assert near_chance(pl.DataFrame(rows).clear(), items, target="4k") == {}
