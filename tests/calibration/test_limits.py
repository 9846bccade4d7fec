import numpy as np
import polars as pl
import pytest

import irsl


def table(y, kind="binary", **more):
    return irsl.Responses.from_matrix(np.asarray(y, dtype=float), kind=kind, **more)


def some(n=40, m=12, seed=0):
    rng = np.random.default_rng(seed)
    eta = rng.normal(size=(n, 1)) - rng.normal(size=m)
    return (rng.random((n, m)) < 1 / (1 + np.exp(-eta))).astype(float)


@pytest.mark.parametrize("prior", ["empirical", "none"])
@pytest.mark.parametrize("model", ["1pl", "2pl"])
def test_items_that_all_or_none_solved_are_flagged_and_finite(prior, model):
    y = some()
    y[:, 0], y[:, 1] = 1.0, 0.0
    items = irsl.calibrate(table(y), model=model, item_prior=prior).bank.items
    assert "everybody_solved" in items["flags"][0]
    assert "nobody_solved" in items["flags"][1]
    assert items["difficulty"].is_finite().all()
    if prior == "empirical":
        assert items["difficulty"][0] < items["difficulty"][2:].min()
        assert items["difficulty"][1] > items["difficulty"][2:].max()
        assert np.isfinite(items["se_difficulty"].to_numpy()).all()


def test_subjects_who_solved_all_or_none_have_finite_abilities_and_errors():
    y = some()
    y[0], y[1] = 1.0, 0.0
    abilities = irsl.calibrate(table(y)).abilities
    assert abilities["ability"][0] == abilities["ability"].max()
    assert abilities["ability"][1] == abilities["ability"].min()
    assert abilities["se_ability"].is_finite().all()


@pytest.mark.parametrize("shape", [(2, 30), (30, 1), (3, 3)])
def test_tiny_tables_end_with_numbers_and_a_status(shape):
    rng = np.random.default_rng(0)
    y = (rng.random(shape) < 0.5).astype(float)
    y.flat[0], y.flat[-1] = 1.0, 0.0
    c = irsl.calibrate(table(y))
    assert c.bank.items["difficulty"].is_finite().all()
    assert c.abilities["ability"].is_finite().all()
    assert c.fits["message"][0]


def test_one_subject_is_refused():
    with pytest.raises(irsl.DataError, match="at least two subjects"):
        irsl.calibrate(table(some(1, 10)))


def test_everybody_solved_everything():
    c = irsl.calibrate(table(np.ones((5, 4))))
    assert c.bank.items["difficulty"].is_finite().all()
    assert all("everybody_solved" in f for f in c.bank.items["flags"])


def test_unknown_choices_name_the_supported_ones():
    responses = table(some())
    for option, value in (
        ("model", "4pl"), ("likelihood", "normal"), ("scale", "all"), ("item_prior", "flat"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{option} '{value}' is not supported; choose one of"):
            irsl.calibrate(responses, **{option: value})


def test_a_likelihood_for_another_kind_is_refused():
    with pytest.raises(irsl.DataError, match=r"binary responses.*found 'beta'"):
        irsl.calibrate(table(some()), likelihood="beta")
    with pytest.raises(ValueError, match="3pl"):
        irsl.calibrate(table(np.full((4, 4), 0.5), kind="probability"), model="3pl")


def test_aggregates_cannot_calibrate_items():
    with pytest.raises(irsl.DataError, match="aggregate"):
        irsl.calibrate(table(np.random.default_rng(0).normal(size=(5, 4)), kind="aggregate"))


def test_exact_zeros_of_probabilities_are_censored_and_counted():
    y = np.clip(some(), 0.1, 0.9)
    y[2, 3] = 0.0
    c = irsl.calibrate(table(y, kind="probability"))
    assert (
        "1 of 480 probabilities within 0.005 of 0 or 1 enter by the probability of lying there" in c.fits["message"][0]
    )
    assert "would move by" in c.fits["message"][0]
    assert c.bank.scales[0].resolution == 0.01
    whole = irsl.calibrate(table(y, kind="probability"), resolution=0.25)
    assert whole.bank.scales[0].resolution == 0.25


def test_no_nan_where_no_information_is_left():
    y = some(30, 10)
    y[:, 0] = np.nan
    y[3, 0] = 1.0
    items = irsl.calibrate(table(y)).bank.items
    assert items["difficulty"].is_finite().all()
    assert items["se_difficulty"][0] == items["se_difficulty"].max()


def test_results_of_several_fits_are_asked_for_by_scale():
    responses = irsl.Responses.from_frames(
        pl.concat(
            [
                table(some(seed=k)).responses.with_columns(
                    pl.lit(f"b{k}").alias("benchmark"),
                    item=pl.lit(f"b{k}:") + pl.col("item"),
                )
                for k in (1, 2)
            ]
        ),
        kind="binary",
    )
    c = irsl.calibrate(responses)
    assert c.fits["scale"].to_list() == ["b1", "b2"]
    with pytest.raises(ValueError, match="this calibration has 2"):
        _ = c.log_likelihood
    joint = irsl.calibrate(responses, scale="joint")
    assert joint.fits["benchmarks"][0].to_list() == ["b1", "b2"]
    assert joint.fits["n_items"][0] == 24


def test_items_that_fall_with_ability_are_flagged_and_those_without_slope_are_not():
    y = some(200, 20, seed=3)
    rng = np.random.default_rng(0)
    y[:, 0] = 1.0 - y[:, 1]
    y[:, 2] = rng.random(200) < 0.5
    flags = irsl.calibrate(table(y)).bank.items["flags"]
    assert "falls_with_ability" in flags[0]
    assert not any("falls_with_ability" in f for f in flags[1:])
