"""Counts: when the binomial holds, when it does not, and how much more they vary."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

import irsl
from irsl.calibration.m_step import Items
from irsl.calibration.overdispersion import overdispersion_score
from irsl.likelihoods import BetaBinomial, Binomial
from matrices import coded


def draw(rho, n_subjects, n_items, trials, seed=0):
    """Abilities, difficulties, counts; `trials` is a number or an array."""
    rng = np.random.default_rng(seed)
    theta, b = rng.normal(size=n_subjects), rng.normal(0.0, 1.0, n_items)
    likelihood = Binomial() if rho == 0 else BetaBinomial(rho)
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
