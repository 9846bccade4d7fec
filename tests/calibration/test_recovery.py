"""Simulate, calibrate, and compare with the truth on the anchored scale."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

import irsl
from irsl.likelihoods import Beta, Binomial

Z90 = float(norm.ppf(0.95))


def truth_and_fit(rng, n_subjects, n_items, *, kind, trials=1, model="2pl", guessing=0.0, missing=0.0):
    theta = rng.normal(size=n_subjects)
    b = rng.normal(0.3, 1.1, n_items)
    a = np.ones(n_items) if model == "1pl" else rng.lognormal(0, 0.3, n_items)
    likelihood = Beta(12.0) if kind == "probability" else Binomial()
    y = likelihood.sample(a * (theta[:, None] - b), guessing, trials=trials, rng=rng)
    y = np.clip(y, 1e-5, 1 - 1e-5) if kind == "probability" else y
    y[rng.random(y.shape) < missing] = np.nan
    n = np.where(np.isnan(y), np.nan, trials) if kind == "counts" else None
    responses = irsl.Responses.from_matrix(y, n_samples=n, kind=kind)
    if guessing:
        responses = irsl.Responses.from_frames(
            responses.responses, items=responses.items.with_columns(chance=guessing), kind=kind
        )
    mean, sd = theta.mean(), theta.std()
    return ((theta - mean) / sd, (b - mean) / sd, a * sd), irsl.calibrate(responses, model=model)


@pytest.mark.parametrize(
    ("kind", "trials", "model", "guessing", "missing"),
    [
        ("binary", 1, "1pl", 0.0, 0.0),
        ("binary", 1, "2pl", 0.0, 0.3),
        ("binary", 1, "3pl", 0.25, 0.0),
        ("counts", 20, "2pl", 0.0, 0.2),
        ("probability", 1, "2pl", 0.0, 0.2),
    ],
)
def test_ninety_percent_intervals_cover(kind, trials, model, guessing, missing):
    """Pooled over the items of several draws: 84 to 96 % for items and abilities."""
    inside = {"difficulty": [], "log discrimination": [], "ability": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        (theta, b, a), c = truth_and_fit(
            rng, 250, 80, kind=kind, trials=trials, model=model, guessing=guessing, missing=missing
        )
        items = c.bank.items
        inside["difficulty"].append(np.abs(items["difficulty"] - b) < Z90 * items["se_difficulty"])
        se_log_a = items["se_discrimination"] / items["discrimination"]
        if model != "1pl":
            inside["log discrimination"].append(np.abs(np.log(items["discrimination"]) - np.log(a)) < Z90 * se_log_a)
        inside["ability"].append(np.abs(c.abilities["ability"] - theta) < Z90 * c.abilities["se_ability"])
    for name, parts in inside.items():
        if parts:
            coverage = float(np.concatenate(parts).mean())
            assert 0.84 <= coverage <= 0.96, (name, coverage)


@pytest.mark.parametrize("model", ["1pl", "2pl"])
def test_wide_tables_give_abilities_finer_than_any_grid(model):
    """200 x 2,000: posteriors of sd .06, RMSE that of the information that so many items hold."""
    (theta, b, a), c = truth_and_fit(np.random.default_rng(0), 200, 2000, kind="binary", model=model)
    ability = c.abilities["ability"].to_numpy()
    p = 1.0 / (1.0 + np.exp(-a * (theta[:, None] - b)))
    least = 1.0 / (a**2 * p * (1 - p)).sum(axis=1)
    # the anchor takes off what all errors have in common
    expected = np.sqrt((least * (1 - (1 + theta**2) / 200)).mean())
    assert np.sqrt(np.mean((ability - theta) ** 2)) == pytest.approx(expected, rel=0.1)
    assert np.unique(ability).size >= (200 if model == "2pl" else 175)  # under 1pl, equal scores are equal abilities
    for frame in (c.abilities, c.bank.items):
        for x in frame.select(pl.col(pl.Float64)).iter_columns():
            assert x.is_finite().all(), x.name
    assert c.converged


def test_a_common_slope_is_not_attenuated_by_errors_of_the_difficulties():
    """Twelve binary responses an item: with items taken at their modes the slope comes out 7 to 8 % too small."""
    errors = []
    for seed in range(25):
        (_, _, a), c = truth_and_fit(np.random.default_rng(seed), 12, 120, kind="binary", model="1pl")
        errors.append(float(np.log(c.bank.items["discrimination"][0] / a[0])))
    assert abs(np.mean(errors)) < 0.035  # a Monte Carlo error of .017


def test_precision_is_recovered():
    (_, _, _), c = truth_and_fit(np.random.default_rng(0), 300, 60, kind="probability")
    assert c.precision == pytest.approx(12.0, abs=0.3)


def test_routing_by_observed_responses_biases_nothing():
    """A two-stage test: who did badly on the first ten items is spared the hardest twenty."""
    rng = np.random.default_rng(4)
    theta = rng.normal(size=1000)
    b = np.concatenate([rng.normal(0, 1.0, 20), rng.normal(1.2, 0.5, 20)])
    y = (rng.random((1000, 40)) < 1 / (1 + np.exp(-(theta[:, None] - b)))).astype(float)
    weak = y[:, :10].sum(axis=1) < 5
    y[np.ix_(np.flatnonzero(weak), np.arange(20, 40))] = np.nan
    c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), model="1pl")
    error = c.bank.items["difficulty"].to_numpy() - (b - theta.mean()) / theta.std()
    assert abs(error[:20].mean()) < 0.05
    assert abs(error[20:].mean()) < 0.05


def test_the_input_array_is_never_changed():
    rng = np.random.default_rng(0)
    y = rng.uniform(0.1, 0.9, (30, 12))
    before = y.copy()
    irsl.calibrate(irsl.Responses.from_matrix(y, kind="probability"))
    np.testing.assert_array_equal(y, before)
