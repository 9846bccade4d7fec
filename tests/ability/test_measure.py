"""measure: coverage of its intervals, benchmark accuracy, and what it refuses."""

import numpy as np
import polars as pl
import pytest

import irsl
from banks import curve, make_bank, responses
from irsl.calibration import ItemBank
from simulate import Truth, draw_truth

COLUMNS = [
    "subject", "benchmark", "ability", "se_ability", "ability_lower", "ability_upper",
    "accuracy", "accuracy_lower", "accuracy_upper", "accuracy_expected", "n_observed",
]  # fmt: skip


def inside(truth, table, what):
    return (table[f"{what}_lower"].to_numpy() <= truth) & (truth <= table[f"{what}_upper"].to_numpy())


def width(table, what):
    return float((table[f"{what}_upper"] - table[f"{what}_lower"]).mean())


def only_some(y, n, rng):
    """NaN all but n random items of every row."""
    rank = rng.random(y.shape).argsort(axis=1).argsort(axis=1)
    return np.where(rank < n, y, np.nan)


def without_errors(bank):
    names = ("se_difficulty", "se_discrimination", "covariance")
    return ItemBank(
        bank.items.with_columns(pl.lit(None, pl.Float64).alias(name) for name in names), bank.scales, bank.version
    )


@pytest.mark.parametrize("estimator", ["eap", "map", "wle", "mle"])
@pytest.mark.parametrize("guessing", [0.0, 0.25])
def test_intervals_cover_with_known_items(estimator, guessing):
    """600 subjects, 30 to 50 random items of 200: 84 to 96 % for 90 % intervals of ability and accuracy."""
    rng = np.random.default_rng(3)
    truth = draw_truth(rng, 600, 200, guessing=guessing)
    bank = make_bank(truth.difficulty, truth.discrimination, truth.guessing)
    y = (rng.random((600, 200)) < truth.probability()).astype(float)
    table = irsl.measure(
        responses(only_some(y, rng.integers(30, 51, (600, 1)), rng), bank, kind="binary"), bank, estimator=estimator
    )
    assert 0.84 <= inside(truth.ability, table, "ability").mean() <= 0.96
    assert 0.84 <= inside(y.mean(axis=1), table, "accuracy").mean() <= 0.96
    assert table["n_observed"].is_between(30, 50).all()


@pytest.mark.parametrize("trials", [1, 20])
def test_intervals_cover_with_calibrated_items(trials):
    """Banks of 200 items from 60 subjects each, pooled over four of them; truth on the anchored scale."""
    ability, accuracy = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = draw_truth(rng, 160, 200)
        k = rng.binomial(trials, truth.probability()).astype(float)
        more = dict(kind="binary") if trials == 1 else dict(kind="counts", n_samples=trials)
        bank = irsl.calibrate(irsl.Responses.from_matrix(k[:60], **more)).bank
        mean, sd = truth.ability[:60].mean(), truth.ability[:60].std()
        new = only_some(k[60:], 40, rng)
        if trials > 1:
            more["n_samples"] = np.where(np.isnan(new), 0, trials)
        table = irsl.measure(irsl.Responses.from_matrix(new, **more), bank)
        ability.append(inside((truth.ability[60:] - mean) / sd, table, "ability"))
        accuracy.append(inside(k[60:].mean(axis=1) / trials, table, "accuracy"))
    assert 0.84 <= np.mean(ability) <= 0.96
    assert 0.84 <= np.mean(accuracy) <= 0.96


def few_then_many():
    """Items calibrated on 60 subjects answering once, then 120 subjects answering 40 of them 50 times."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        truth = draw_truth(rng, 180, 200)
        bank = irsl.calibrate(
            irsl.Responses.from_matrix((rng.random((60, 200)) < truth.probability()[:60]).astype(float), kind="binary"),
            model="1pl",
        ).bank
        anchored = Truth(truth.ability[:60], truth.difficulty, truth.discrimination, truth.guessing)
        mean, sd = anchored.ability.mean(), anchored.ability.std()
        k = only_some(rng.binomial(50, truth.probability()[60:]).astype(float), 40, rng)
        data = irsl.Responses.from_matrix(k, kind="counts", n_samples=np.where(np.isnan(k), 0, 50))
        yield (truth.ability[60:] - mean) / sd, bank, data


def test_the_items_own_errors_are_in_the_intervals():
    """Where the items' errors dwarf the responses', dropping them loses most of the coverage."""
    kept, dropped, wide, narrow = [], [], [], []
    for theta, bank, data in few_then_many():
        with_errors = irsl.measure(data, bank)
        exact = irsl.measure(data, without_errors(bank))
        np.testing.assert_allclose(with_errors["ability"], exact["ability"])
        kept.append(inside(theta, with_errors, "ability"))
        dropped.append(inside(theta, exact, "ability"))
        wide.append(width(with_errors, "ability"))
        narrow.append(width(exact, "ability"))
    assert np.mean(narrow) < 0.8 * np.mean(wide)
    assert np.mean(dropped) < np.mean(kept) - 0.1


def test_accuracy_of_everything_observed_is_the_mean_with_width_zero():
    rng = np.random.default_rng(0)
    bank = make_bank(rng.normal(0, 1, 30), covariance=0.04 * np.eye(2), misfit_variance=0.1)
    y = (rng.random((20, 30)) < 0.6).astype(float)
    table = irsl.measure(responses(y, bank, kind="binary"), bank)
    for column in ("accuracy", "accuracy_lower", "accuracy_upper"):
        np.testing.assert_allclose(table[column], y.mean(axis=1), atol=1e-12)
    assert (table["n_observed"] == 30).all()
    assert table.columns == COLUMNS


def test_expected_accuracy_is_the_posterior_mean_of_the_mean_curve():
    rng = np.random.default_rng(2)
    bank = make_bank(rng.normal(0, 1, 50), rng.lognormal(0, 0.3, 50), 0.2)
    items = bank.parameters()
    y = only_some((rng.random((5, 50)) < curve(rng.normal(size=5), items)).astype(float), 20, rng)
    table = irsl.measure(responses(y, bank, kind="binary"), bank)
    grid = np.linspace(-7, 7, 1401)
    p = curve(grid, items)
    for i, row in enumerate(y):
        seen = np.isfinite(row)
        log_weight = np.log(np.where(row == 1, p, 1 - p))[:, seen].sum(axis=1) - grid**2 / 2
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        assert table["accuracy_expected"][i] == pytest.approx(weight @ p.mean(axis=1), abs=5e-4)
        predicted = (weight @ p[:, ~seen]).sum()
        assert table["accuracy"][i] == pytest.approx((row[seen].sum() + predicted) / 50, abs=5e-4)


def test_expected_accuracy_of_a_long_test_is_the_mean_curve_at_the_ability():
    rng = np.random.default_rng(2)
    bank = make_bank(rng.normal(0, 1, 3000))
    y = (rng.random((1, 3000)) < curve(0.8, bank.parameters())).astype(float)
    row = irsl.measure(responses(y, bank, kind="binary"), bank).row(0, named=True)
    assert row["accuracy_expected"] == pytest.approx(curve(row["ability"], bank.parameters()).mean(), abs=1e-3)


def test_more_misfit_and_fewer_items_widen_the_accuracy():
    rng = np.random.default_rng(4)
    b = rng.normal(0, 1, 60)
    y = (rng.random((40, 60)) < curve(rng.normal(size=40), make_bank(b).parameters())).astype(float)
    widths = [
        width(irsl.measure(responses(only_some(y, n, np.random.default_rng(1)), bank, kind="binary"), bank), "accuracy")
        for bank in (make_bank(b, misfit_variance=m) for m in (0.0, 0.2))
        for n in (10, 40)
    ]
    assert widths[1] < widths[0] < widths[2]
    assert widths[1] < widths[3] < widths[2]


@pytest.mark.parametrize("estimator", ["eap", "mle"])
def test_the_accuracys_interval_stays_between_what_is_still_possible(estimator):
    rng = np.random.default_rng(4)
    bank = make_bank(rng.normal(0, 1, 40), misfit_variance=1.0)
    y = only_some((rng.random((50, 40)) < 0.5).astype(float), 8, rng)
    table = irsl.measure(responses(y, bank, kind="binary"), bank, estimator=estimator, level=0.999)
    right = np.nansum(y, axis=1)
    assert (table["accuracy_lower"].to_numpy() >= right / 40 - 1e-12).all()
    assert (table["accuracy_upper"].to_numpy() <= (right + 32) / 40 + 1e-12).all()
    assert inside(table["accuracy"].to_numpy(), table, "accuracy").all()


def test_a_joint_scale_has_one_ability_and_a_row_per_benchmark():
    rng = np.random.default_rng(6)
    names = ["x"] * 15 + ["y"] * 10
    bank = make_bank(np.r_[rng.normal(-1, 1, 15), rng.normal(1, 1, 10)], benchmark=names, joint=True)
    y = (rng.random((6, 25)) < curve(rng.normal(size=6), bank.parameters())).astype(float)
    table = irsl.measure(responses(y, bank, kind="binary"), bank)
    assert table.height == 12
    x, other = (table.filter(pl.col("benchmark") == b) for b in ("x", "y"))
    assert x["subject"].to_list() == other["subject"].to_list()
    np.testing.assert_array_equal(x["ability"], other["ability"])
    np.testing.assert_allclose(x["accuracy"], y[:, :15].mean(axis=1))
    np.testing.assert_allclose(other["accuracy"], y[:, 15:].mean(axis=1))
    assert (x["n_observed"] == 15).all()
    assert (other["n_observed"] == 10).all()

    apart = irsl.measure(responses(y, bank, kind="binary"), make_bank(bank.parameters().difficulty, benchmark=names))
    assert apart.filter(pl.col("benchmark") == "x")["ability"].to_list() != x["ability"].to_list()
    assert (apart["se_ability"] > pl.concat([x, other])["se_ability"]).all()


def test_every_subject_is_measured_as_if_alone():
    """Blocks and neighbours change nothing: a subject's row is the same in any company."""
    rng = np.random.default_rng(8)
    bank = make_bank(rng.normal(0, 1, 30))
    y = only_some((rng.random((7, 30)) < 0.6).astype(float), 12, rng)
    together = irsl.measure(responses(y, bank, kind="binary"), bank)
    for i in (0, 6):
        alone = irsl.measure(responses(y[i : i + 1], bank, kind="binary"), bank)
        for column in COLUMNS[2:]:
            assert alone[column][0] == pytest.approx(together[column][i], abs=2e-3), column


def test_unknown_items_are_left_out_with_a_warning():
    bank = make_bank([0.0, 0.5, 1.0])
    full = responses([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]], bank, kind="binary")
    with pytest.warns(UserWarning, match=r"1 items are not in the bank.*'item-2'"):
        table = irsl.measure(full, bank.select(items=["item-0", "item-1"]))
    assert (table["n_observed"] == 2).all()


def test_a_benchmark_without_calibrated_items_is_left_out_with_a_warning():
    bank = make_bank([0.0, 0.5, 1.0, 0.2], benchmark=["x", "x", "y", "y"])
    data = responses([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]], bank, kind="binary")
    with pytest.warns(UserWarning, match=r"left out: \['y'\]"):
        table = irsl.measure(data, bank.select(benchmark="x"))
    assert table["benchmark"].unique().to_list() == ["x"]


def test_one_benchmark_of_two_with_foreign_items_only():
    """Benchmark y is known by name, but none of its items is: an error or a warning of ours, never a crash."""
    bank = make_bank([0.0, 0.5, 1.0, 0.2], benchmark=["x", "x", "y", "y"])
    data = responses([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 1.0]], bank, kind="binary")
    renamed = data.responses.with_columns(
        item=pl.when(pl.col("benchmark") == "y").then("other-" + pl.col("item")).otherwise("item")
    )
    with pytest.warns(UserWarning, match="not in the bank"):
        table = irsl.measure(irsl.Responses.from_frames(renamed, kind="binary"), bank)
    assert table["benchmark"].to_list() == ["x", "x"]


def test_no_overlap_is_refused():
    bank = make_bank([0.0, 0.5])
    y = [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(irsl.DataError, match="none of the 2 items answered is in the bank"):
        irsl.measure(irsl.Responses.from_matrix(y, items=["p", "q"], kind="binary"), bank)
    with pytest.raises(irsl.DataError, match=r"no benchmark.*\['other'\]"):
        irsl.measure(irsl.Responses.from_matrix(y, benchmark="other", kind="binary"), bank)


def test_another_outcome_or_kind_is_refused():
    bank = make_bank([0.0, 0.5])
    table = responses([[1.0, 0.0], [0.0, 1.0]], bank, kind="binary").responses
    other = irsl.Responses.from_frames(table.with_columns(outcome=pl.lit("acc_norm")), kind="binary")
    with pytest.raises(irsl.DataError, match="a different scoring"):
        irsl.measure(other, bank)
    with pytest.raises(irsl.DataError, match="probability responses"):
        irsl.measure(responses([[0.4, 0.2]], bank, kind="probability"), bank)


def test_unknown_options_name_the_supported_ones():
    bank = make_bank([0.0, 0.5])
    data = responses([[1.0, 0.0]], bank, kind="binary")
    with pytest.raises(ValueError, match=r"'bayes' is not supported; choose one of \['eap', 'map', 'wle', 'mle'\]"):
        irsl.measure(data, bank, estimator="bayes")
    for level in (0.0, 1.0, 90):
        with pytest.raises(ValueError, match=r"level must lie in \(0, 1\)"):
            irsl.measure(data, bank, level=level)


def test_a_benchmark_without_any_score_leaves_the_other_measured():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "subject": [f"s{s}" for s in range(30) for _ in range(20)],
            "item": [f"{b}{i}" for _ in range(30) for b in "AB" for i in range(10)],
            "benchmark": [b for _ in range(30) for b in "AB" for _ in range(10)],
            "response": rng.integers(0, 2, 600).astype(float),
        }
    )
    bank = irsl.calibrate(irsl.Responses.from_frames(frame, kind="binary")).bank
    new = frame.filter(pl.col("subject") == "s0").with_columns(
        response=pl.when(pl.col("benchmark") == "A").then(pl.col("response"))
    )
    kinds = {"A": {"response": "binary"}, "B": {"response": "binary"}}
    table = irsl.measure(irsl.Responses.from_frames(new, kind=kinds), bank)
    assert table["benchmark"].to_list() == ["A"]


def test_warms_estimate_lies_inside_its_own_interval_also_for_who_solved_all():
    truth = np.linspace(-1, 1, 10)
    rng = np.random.default_rng(0)
    y = (rng.random((300, 10)) < 1 / (1 + np.exp(-4 * (rng.normal(size=(300, 1)) - truth)))).astype(float)
    bank = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary")).bank
    row = irsl.measure(irsl.Responses.from_matrix(np.ones((1, 10)), kind="binary"), bank, estimator="wle").row(
        0, named=True
    )
    assert row["ability_lower"] < row["ability"] < row["ability_upper"]
