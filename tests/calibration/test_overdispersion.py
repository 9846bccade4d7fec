"""Counts: when the binomial holds, when it does not, and how much more they vary."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import irsl
from irsl.calibration.m_step import Items
from irsl.calibration.overdispersion import overdispersion_score
from irsl.errors import OptionError
from irsl.likelihoods import BetaBinomial, Binomial, LogitNormalBinomial
from matrices import coded


def draw(rho, n_subjects, n_items, trials, seed=0):
    """Abilities, difficulties, counts; `trials` is a number or an array."""
    rng = np.random.default_rng(seed)
    theta, b = rng.normal(size=n_subjects), rng.normal(0.0, 1.0, n_items)
    likelihood = Binomial() if rho == 0 else BetaBinomial(rho)
    return theta, b, likelihood.sample(theta[:, None] - b, 0.0, trials=trials, rng=rng)


def draw_scattered(logit_sd, n_subjects, n_items, trials, seed=0, *, b_sd=1.0):
    """The same, with rates that scatter normally on the logit scale."""
    rng = np.random.default_rng(seed)
    theta, b = rng.normal(size=n_subjects), rng.normal(0.0, b_sd, n_items)
    likelihood = LogitNormalBinomial(logit_sd)
    return theta, b, likelihood.sample(theta[:, None] - b, 0.0, trials=trials, rng=rng)


def counts(k, n):
    return irsl.Responses.from_matrix(k, n_samples=np.broadcast_to(n, k.shape).astype(float), kind="counts")


def score_at_the_truth(rho, seed, trials):
    theta, b, k = draw(rho, 30, 40, trials, seed)
    likelihood = Binomial()
    items = Items(np.zeros(40), -b, np.zeros(40), likelihood)
    statistics = likelihood.sufficient_statistics(coded(k, "counts", trials))
    return overdispersion_score(statistics, SimpleNamespace(items=items, step=SimpleNamespace(ability=theta)))


@pytest.mark.parametrize("unequal", [False, True])
def test_the_score_test_is_standard_normal_under_the_binomial(unequal):
    trials = np.random.default_rng(9).choice([1, 2, 5, 40], (30, 40)) if unequal else 8
    z = np.array([score_at_the_truth(0.0, seed, trials).z for seed in range(400)])
    assert abs(z.mean()) < 3.5 / np.sqrt(400)
    assert z.var() == pytest.approx(1.0, abs=0.25)


def test_its_start_is_an_estimate_of_the_overdispersion():
    start = [score_at_the_truth(0.05, seed, 20).start for seed in range(20)]
    assert np.mean(start) == pytest.approx(0.05, abs=0.005)


def test_overdispersion_of_few_subjects_is_not_too_large():
    """With the mean square of the scores for information it came out a twelfth too large."""
    found = [
        irsl.calibrate(counts(draw(0.01, 20, 60, 1000, seed)[2], 1000), likelihood="beta_binomial").fits[
            "overdispersion"
        ]
        for seed in range(5)
    ]
    assert np.mean(found) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("likelihood", ["auto", "beta_binomial"])
def test_overdispersion_is_recovered(likelihood):
    theta, b, k = draw(0.05, 200, 40, 20)
    c = irsl.calibrate(counts(k, 20), likelihood=likelihood)
    fit = c.fits.row(0, named=True)
    assert fit["likelihood"] == "beta_binomial"
    assert fit["overdispersion"] == pytest.approx(0.05, abs=0.01)
    assert "counts vary more than a binomial (likelihood ratio" in fit["message"]
    plain = irsl.calibrate(counts(k, 20), likelihood="binomial")
    assert fit["log_likelihood"] > plain.log_likelihood + 50
    error = c.bank.items["difficulty"].to_numpy() - (b - theta.mean()) / theta.std()
    z = [error / x.bank.items["se_difficulty"].to_numpy() for x in (c, plain)]
    assert np.mean(z[0] ** 2) < 1.6 < np.mean(z[1] ** 2)  # the binomial's errors are too small


@pytest.mark.parametrize("seed", range(3))
def test_binomial_counts_stay_binomial(seed):
    _, _, k = draw(0.0, 60, 30, 20, seed)
    fit = irsl.calibrate(counts(k, 20)).fits.row(0, named=True)
    assert fit["likelihood"] == "binomial"
    assert fit["overdispersion"] is None
    assert "counts vary no more than a binomial (" in fit["message"]


@pytest.mark.parametrize("shape", [(12, 60), (30, 30)])
def test_a_little_overdispersion_is_found_in_small_tables(shape):
    """Residuals at fitted abilities are smaller than at the true ones; the test must not lose its power by that."""
    found = [
        irsl.calibrate(counts(draw(0.03, *shape, 20, seed)[2], 20), tolerance=0.01).fits["likelihood"][0]
        for seed in range(4)
    ]
    assert found.count("binomial") <= 1


def test_numbers_of_trials_from_one_to_a_million():
    rng = np.random.default_rng(3)
    n = rng.choice([1, 7, 300, 1_000_000], (25, 12))
    theta, _, k = draw(0.1, 25, 12, n, seed=3)
    c = irsl.calibrate(counts(k, n))
    fit = c.fits.row(0, named=True)
    assert (fit["likelihood"], fit["converged"]) == ("beta_binomial", True)
    assert fit["overdispersion"] == pytest.approx(0.1, abs=0.03)
    ability = (theta - theta.mean()) / theta.std()
    assert np.corrcoef(c.abilities["ability"], ability)[0, 1] > 0.95
    z = (c.abilities["ability"] - ability) / c.abilities["se_ability"]
    assert 0.4 < float((z**2).mean()) < 2.0


def test_a_saved_bank_measures_with_its_overdispersion(tmp_path):
    theta, _, k = draw(0.1, 80, 30, 20)
    c = irsl.calibrate(counts(k, 20))
    c.bank.save(tmp_path / "bank")
    bank = irsl.ItemBank.load(tmp_path / "bank")
    assert bank.scales[0].likelihood == "beta_binomial"
    assert bank.scales[0].overdispersion == c.fits["overdispersion"][0]
    measured = irsl.measure(counts(k, 20), bank)
    assert np.corrcoef(measured["ability"], theta)[0, 1] > 0.95
    plain = irsl.measure(counts(k, 20), irsl.calibrate(counts(k, 20), likelihood="binomial").bank)
    # the variance of a count is 1 + 19 rho = 2.9 times the binomial's
    ratio = (measured["se_ability"] / plain["se_ability"]).median()
    assert 1.3 < ratio < 1.75


def test_items_far_from_every_ability_are_calibrated():
    """Curves that reach 0 and 1 to the last bit at the ends of the ability range must not end the fit."""
    rng = np.random.default_rng(0)
    theta, b = rng.normal(size=20), np.concatenate([rng.normal(size=25), [-9.0, 9.0]])
    a = np.concatenate([rng.lognormal(1.0, 0.5, 25), [8.0, 8.0]])
    p = expit(a * (theta[:, None] - b))
    p = rng.beta(np.maximum(2 * p, 1e-6), np.maximum(2 * (1 - p), 1e-6))
    k = rng.binomial(400, p).astype(float)
    fit = irsl.calibrate(irsl.Responses.from_matrix(k, n_samples=np.full(k.shape, 400.0)), likelihood="beta_binomial")
    assert fit.converged
    assert np.isfinite(fit.bank.items["difficulty"].to_numpy()).all()


@pytest.mark.parametrize("likelihood", ["auto", "logit_normal_binomial"])
def test_scatter_is_recovered(likelihood):
    theta, b, k = draw_scattered(1.0, 120, 40, 400, b_sd=2.5)
    fitted, other = (irsl.calibrate(counts(k, 400), likelihood=name) for name in (likelihood, "beta_binomial"))
    fit = fitted.fits.row(0, named=True)
    assert (fit["likelihood"], fit["overdispersion"], fit["converged"]) == ("logit_normal_binomial", None, True)
    assert fit["logit_sd"] == pytest.approx(1.0, abs=0.05)
    assert fit["log_likelihood"] > other.log_likelihood + 100
    error = [c.bank.items["difficulty"].to_numpy() - (b - theta.mean()) / theta.std() for c in (fitted, other)]
    assert np.mean(error[0] ** 2) < 0.5 * np.mean(error[1] ** 2)
    assert np.mean((error[0] / fitted.bank.items["se_difficulty"].to_numpy()) ** 2) < 1.6


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("drawn", [BetaBinomial(0.15), LogitNormalBinomial(1.0)], ids=lambda x: x.name)
def test_auto_takes_the_kind_that_was_drawn(drawn, seed):
    rng = np.random.default_rng(seed)
    k = drawn.sample(rng.normal(size=(40, 1)) - rng.normal(size=30), 0.0, trials=50, rng=rng)
    fit = irsl.calibrate(counts(k, 50)).fits.row(0, named=True)
    assert fit["likelihood"] == drawn.name
    assert "beta_binomial" in fit["message"]
    assert "logit_normal_binomial" in fit["message"]


def test_a_saved_bank_measures_with_its_scatter(tmp_path):
    theta, _, k = draw_scattered(1.0, 80, 30, 40)
    c = irsl.calibrate(counts(k, 40))
    c.bank.save(tmp_path / "bank")
    bank = irsl.ItemBank.load(tmp_path / "bank")
    assert bank.scales[0].likelihood == "logit_normal_binomial"
    assert bank.scales[0].logit_sd == c.fits["logit_sd"][0]
    measured = irsl.measure(counts(k, 40), bank)
    assert np.corrcoef(measured["ability"], theta)[0, 1] > 0.95
    plain = irsl.measure(counts(k, 40), irsl.calibrate(counts(k, 40), likelihood="binomial").bank)
    # 40 samples at the middle of a curve are worth 4 n / (4 + n logit_sd^2) = 3.6 on a curve as steep
    assert 2.0 < (measured["se_ability"] / plain["se_ability"]).median() < 4.0
    for estimator in ("map", "wle"):
        assert np.corrcoef(irsl.measure(counts(k, 40), bank, estimator=estimator)["ability"], theta)[0, 1] > 0.95


def test_floors_are_for_others():
    _, _, k = draw_scattered(1.0, 30, 20, 20)
    drawn = counts(k, 20)
    items, n = drawn.items.with_columns(chance=0.25), pl.col("n_samples")
    frame = drawn.responses.with_columns(n_correct=(pl.col("response") * n).round().cast(pl.Int64)).drop("response")
    responses = irsl.Responses.from_frames(frame, items=items, kind="counts")
    with pytest.raises(OptionError, match="takes no floors"):
        irsl.calibrate(responses, model="3pl", likelihood="logit_normal_binomial")
    assert irsl.calibrate(responses, model="3pl").fits["likelihood"][0] == "beta_binomial"


def test_curves_are_flattened_by_the_scatter_and_accuracies_use_them():
    _, _, k = draw_scattered(2.0, 150, 30, 100)
    bank = irsl.calibrate(counts(k, 100)).bank
    scatter, items = bank.scales[0].logit_sd, bank.parameters()
    z = np.random.default_rng(1).normal(size=(200_000, 1))
    points = np.array([-2.0, 0.0, 1.5])
    drawn = np.array([expit(eta + scatter * z).mean(axis=0) for eta in items.eta(points)])
    np.testing.assert_allclose(bank.curves(points), drawn, atol=0.004)
    assert (np.abs(bank.curves(points) - expit(items.eta(points))).max(axis=0) > 0.05).all()

    everybody = irsl.measure(counts(k, 100), bank)
    np.testing.assert_allclose(everybody["accuracy"], (k / 100).mean(axis=1), atol=1e-6)
    some = np.where(np.arange(30) % 2, k, np.nan)
    measured = irsl.measure(counts(some, 100), bank)
    error = measured["accuracy"].to_numpy() - (k / 100).mean(axis=1)
    assert abs(error.mean()) < 3 * error.std() / np.sqrt(150)
    covered = (everybody["accuracy"] > measured["accuracy_lower"]) & (
        everybody["accuracy"] < measured["accuracy_upper"]
    )
    assert covered.mean() == pytest.approx(0.9, abs=0.08)
