"""The joint law: bent compute, recovery of lines and ceilings, forecasts from abilities, the trade of size and k."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import irsl
from irsl.errors import DataError, OptionError
from irsl.laws import fit_trends
from irsl.laws.joint import ALL, BENDS, bent, fit_bent_trends, joint_law

FLOPS = np.logspace(16, 19, 7)
SIZES = ("small", "large")


def simulated_law(seed=0, n_items=60, n_samples=400):
    """Two sizes of seven checkpoints with abilities on lines in log FLOPs, counted and fitted."""
    rng = np.random.default_rng(seed)
    names = [f"{size}@{c:.0e}" for size in SIZES for c in FLOPS]
    ability = np.concatenate([-1.5 + 0.9 * (np.log10(FLOPS) - 16), -1.2 + 0.9 * (np.log10(FLOPS) - 16)])
    difficulty = rng.normal(1.5, 1.2, n_items)
    rates = expit(1.3 * (ability[:, None] - difficulty))
    right = rng.binomial(n_samples, rates).astype(float)
    responses = irsl.Responses.from_matrix(
        right, subjects=names, n_samples=np.full_like(right, n_samples), kind="counts"
    )
    law = irsl.sampling_law(responses, irsl.calibrate(responses, likelihood="binomial").bank)
    flops = dict(zip(names, np.tile(FLOPS, 2), strict=True))
    return law, flops, {name: name.split("@")[0] for name in names}, dict(zip(names, rates, strict=True)), difficulty


@pytest.fixture(scope="module")
def simulated():
    return simulated_law()


@pytest.fixture(scope="module")
def joint(simulated):
    law, flops, groups, _, _ = simulated
    return joint_law(law, flops, groups=groups)


@pytest.mark.parametrize("bend", BENDS)
def test_bent_compute_has_the_span_of_log_compute_and_rises(bend):
    x = bent(np.array([1e-3, 1e-2, 0.1, 1.0, 10.0]), bend, 1e-3)
    np.testing.assert_allclose([x[0], x[3]], [-3.0, 0.0], atol=1e-12)
    assert (np.diff(x) > 0).all()
    if bend == 0.0:
        np.testing.assert_allclose(x, [-3, -2, -1, 0, 1], atol=1e-12)
    else:
        assert (np.diff(x, 2) < 0).all()


def test_a_small_bend_is_nearly_a_line():
    ratio = np.logspace(-3, 1, 9)
    np.testing.assert_allclose(bent(ratio, 1e-6, 1e-3), np.log10(ratio), atol=1e-4)


def test_a_line_in_log_compute_is_recovered():
    rng = np.random.default_rng(1)
    group = np.repeat(["a", "b", "c"], FLOPS.size)
    flops = np.tile(FLOPS, 3)
    value = np.repeat([0.0, 0.3, -0.2], FLOPS.size) + 0.8 * (np.log10(flops) - 16) + rng.normal(0, 0.02, flops.size)
    trend = fit_bent_trends(list(group), flops, value, np.full(flops.size, 0.01))
    assert trend.bend < 0.03
    mean, sd = trend.forecast("b", 1e20)
    assert abs(mean - 3.5) < 0.1
    assert 0.005 < sd < 0.2


def test_without_a_bend_the_forecast_is_that_of_fit_trends():
    rng = np.random.default_rng(2)
    value = 0.5 * np.log10(FLOPS) + rng.normal(0, 0.1, FLOPS.size)
    se = np.full(FLOPS.size, 0.05)
    trend = fit_bent_trends([ALL] * FLOPS.size, FLOPS, value, se)
    mean, sd = replace(trend, weights=(np.array(BENDS) == 0).astype(float)).forecast(ALL, 1e20)
    plain = fit_trends([ALL] * FLOPS.size, FLOPS, value, se).forecast(1e20)
    assert mean == pytest.approx(plain.mean[0], rel=1e-6)
    low, high = plain.interval(0.9)
    assert 2 * 1.6448536 * sd == pytest.approx(high[0] - low[0], rel=1e-4)


def test_growth_towards_a_ceiling_is_recovered():
    rng = np.random.default_rng(3)
    flops, tops = np.logspace(16, 19, 10), (1.0, 1.2, 0.9)
    group = np.repeat(["a", "b", "c"], flops.size)
    curve = 1.0 - 0.05 * (flops / 1e19) ** -0.4
    value = np.concatenate([curve + top for top in tops]) + rng.normal(0, 0.02, 30)
    trend = fit_bent_trends(list(group), np.tile(flops, 3), value, np.full(30, 0.01))
    assert abs(trend.bend - 0.4) < 0.1
    for name, top in zip("abc", tops, strict=True):
        mean, sd = trend.forecast(name, 1e21)
        assert abs(mean - (top + 1.0 - 0.05 * 100**-0.4)) < min(3.0 * sd, 0.1)


def test_intervals_of_abilities_cover():
    """Lines and ceilings, three groups of six checkpoints, one decade ahead; 90 % intervals."""
    rng, inside, n = np.random.default_rng(4), 0, 0
    group = list(np.repeat(["a", "b", "c"], 6))
    flops = np.logspace(17, 19, 6)
    for replication in range(40):
        bend = (0.0, 0.3)[replication % 2]
        slope, level = 0.8 + rng.normal(0, 0.1, 3), rng.normal(0, 0.3, 3)
        truth = level[:, None] + slope[:, None] * bent(flops / 1e19, bend, 0.01) + rng.normal(0, 0.08, (3, 6))
        trend = fit_bent_trends(group, np.tile(flops, 3), truth.ravel() + rng.normal(0, 0.03, 18), np.full(18, 0.03))
        for index, name in enumerate("abc"):
            mean, sd = trend.forecast(name, 1e20)
            value = level[index] + slope[index] * float(bent(10.0, bend, 0.01)) + rng.normal(0, 0.08)
            inside += abs(value - mean) < 1.645 * sd
            n += 1
    assert 0.82 < inside / n < 1.0


def test_forecasts_hold_the_pass_at_k_of_checkpoints_to_come(simulated, joint):
    *_, difficulty = simulated
    k = np.array([1, 10, 100])
    for size, level in zip(SIZES, (-1.5, -1.2), strict=True):
        found = joint.forecast([1e20], k, size)
        rates = expit(1.3 * (level + 0.9 * 4 - difficulty))
        truth = (1.0 - np.exp(np.log1p(-rates)[:, None] * k)).mean(axis=0)
        assert found.columns == [
            "group", "flops", "benchmark", "k", "pass_at_k", "pass_at_k_lower", "pass_at_k_upper",
        ]  # fmt: skip
        np.testing.assert_allclose(found["pass_at_k"], truth, atol=0.1)
        assert (found["pass_at_k_lower"].to_numpy() <= truth + 0.002).all()
        assert (found["pass_at_k_upper"].to_numpy() >= truth - 0.002).all()


def test_a_forecast_is_the_law_at_the_ability_of_the_trend(joint):
    mean, sd = joint.trend.forecast("small", 3e19)
    direct = joint.law.predict(mean, sd, [1, 50])
    assert joint.forecast(3e19, [1, 50], "small")["pass_at_k"].to_list() == direct["pass_at_k"].to_list()


def test_one_group_needs_no_name(simulated):
    law, flops, _, _, _ = simulated
    single = joint_law(law, {name: c for name, c in flops.items() if name.startswith("small")})
    found = single.forecast([1e18, 1e20], 10)
    assert found["group"].unique().to_list() == [ALL]
    assert found["pass_at_k"].is_sorted()


def test_subjects_of_whom_the_law_says_nothing_are_named_and_left_out(simulated):
    law, flops, groups, _, _ = simulated
    blank = law.laws[0]
    found = joint_law(replace(law, laws=(replace(blank, bank_weight=0.1), *law.laws[1:])), flops, groups=groups)
    assert found.left_out == (blank.subject,)
    none = tuple(replace(own, bank_weight=0.1) for own in law.laws)
    with pytest.raises(DataError, match="nothing of any"):
        joint_law(replace(law, laws=none), flops, groups=groups)


def test_a_subject_without_a_success_is_no_zero_of_the_trend(simulated):
    """It takes part with the wide error of its ability, and moves what is forecast little."""
    law, flops, groups, _, _ = simulated
    plain = joint_law(law, flops, groups=groups).trend.forecast("small", 1e20)
    first = law.laws[0]
    draws = np.random.default_rng(0).normal(-6.0, 3.0, first.ability.size)
    wide = replace(law, laws=(replace(first, ability=draws), *law.laws[1:]))
    mean, sd = joint_law(wide, flops, groups=groups).trend.forecast("small", 1e20)
    assert abs(mean - plain[0]) < 2.0 * max(sd, plain[1])


def test_trade_of_measured_subjects_finds_the_better_buy(simulated, joint):
    _, _, _, rates, _ = simulated
    weak, strong = "small@1e+18", "small@1e+19"
    cost, budget = {weak: 1.0, strong: 8.0}, np.array([4.0, 80.0, 800.0])
    table = joint.trade(cost, budget)
    assert table.filter(pl.col("budget") == 4.0)["option"].to_list() == [weak]  # the other costs more
    assert table.filter(pl.col("budget") == 4.0)["p_best"].to_list() == [1.0]
    for bought in (80, 800):
        part = table.filter(pl.col("budget") == bought)
        k = dict(part.select("option", "k").iter_rows())
        assert k == {weak: bought, strong: bought / 8}
        truth = {name: (1.0 - (1.0 - rates[name]) ** k[name]).mean() for name in cost}
        assert part.filter("best")["option"].to_list() == [max(truth, key=truth.get)]
        assert part["p_best"].sum() == pytest.approx(1.0)
        for row in part.iter_rows(named=True):
            assert row["pass_at_k_lower"] <= truth[row["option"]] <= row["pass_at_k_upper"]


def test_a_forecast_option_stands_beside_measured_ones(joint):
    cost = {"small@1e+19": 1.0, "larger": 5.0}
    table = joint.trade(cost, [5.0, 50.0], flops={"larger": 1e21}, groups={"larger": "large"})
    assert table["option"].to_list() == ["small@1e+19", "larger"] * 2
    direct = joint.forecast(1e21, [1, 10], "large")["pass_at_k"].to_list()
    assert table.filter(pl.col("option") == "larger")["pass_at_k"].to_list() == direct
    np.testing.assert_allclose(table.group_by("budget").agg(pl.col("p_best").sum())["p_best"], 1.0)


def test_beyond_the_horizon_an_option_takes_no_part(joint):
    far = 10.0 * max(own.horizon for own in joint.law.laws)
    table = joint.trade({"small@1e+19": 1.0, "large@1e+19": far / 10}, [far])
    assert table["pass_at_k"].to_list()[0] is None
    assert table["p_best"].to_list() == [None, 1.0]
    assert table["best"].to_list()[1]


def test_results_repeat(joint):
    cost = {"small@1e+18": 1.0, "large@1e+18": 2.0}
    assert joint.trade(cost, [10.0]).equals(joint.trade(cost, [10.0]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda j, f: j.forecast(1e18, 1), "which group"),
        (lambda j, f: j.forecast(1e18, 1, "tiny"), "no group 'tiny'"),
        (lambda j, f: j.forecast(-1.0, 1, "small"), "positive"),
        (lambda j, f: j.forecast(1e18, 1, "small", benchmark="other"), "no benchmark 'other'"),
        (lambda j, f: j.trade({"nobody": 1.0}, [1.0]), "'nobody' has no FLOPs"),
        (lambda j, f: j.trade({"small@1e+18": 10.0}, [1.0]), "no budget buys"),
        (lambda j, f: joint_law(j.law, {**f, "nobody": 1e18}), "not in the law .first: 'nobody'"),
        (lambda j, f: joint_law(j.law, f, groups={}), "not in the groups"),
        (lambda j, f: joint_law(j.law, {**f, "small@1e+18": -1.0}), "FLOPs must be positive"),
        (lambda j, f: joint_law(j.law, dict.fromkeys(f, 1e18)), "several FLOPs"),
    ],
)
def test_what_is_refused_says_why(simulated, joint, call, message):
    with pytest.raises(DataError, match=message):
        call(joint, simulated[1])


@pytest.mark.parametrize(("cost", "budget"), [({}, [1.0]), ({"small@1e+18": 0.0}, [1.0]), ({"small@1e+18": 1.0}, [])])
def test_costs_and_budgets_must_be_positive(joint, cost, budget):
    with pytest.raises(OptionError, match="must be positive"):
        joint.trade(cost, budget)


def test_a_law_without_a_bank_has_no_abilities():
    right = np.array([[3.0, 0.0, 9.0]])
    responses = irsl.Responses.from_matrix(right, subjects=["m"], n_samples=np.full_like(right, 10.0), kind="counts")
    with pytest.raises(DataError, match="without an item bank"):
        joint_law(irsl.sampling_law(responses), {"m": 1e18})
