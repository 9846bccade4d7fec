"""What is open about items, against sums over fine grids and in simulation."""

import numpy as np
import pytest
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import norm

import irsl
from irsl.laws import rates
from irsl.laws.item_posterior import item_posterior
from irsl.laws.rates import BETA_SPREADS, Cells, Curves, Marginals
from irsl.likelihoods import Binomial, LogitNormalBinomial

N_SUBJECTS, N_ITEMS, N = 15, 12, 40
NORMAL = BETA_SPREADS.size + 16 + 9  # a symmetric normal scatter


@pytest.fixture(scope="module")
def case():
    """Abilities known within a tenth, counts scattered normally about exact curves; hard items with mostly zeros."""
    rng = np.random.default_rng(4)
    theta = rng.normal(size=N_SUBJECTS)
    slope, intercept = rng.lognormal(0.0, 0.2, N_ITEMS), np.linspace(-6.0, 1.0, N_ITEMS)
    sd = rates.LOGIT_SPREADS[NORMAL - BETA_SPREADS.size, 0]
    p = expit(np.outer(theta, slope) + intercept + sd * rng.normal(size=(N_SUBJECTS, N_ITEMS)))
    k = rng.binomial(N, p).astype(float)
    curves = Curves.of(slope, intercept, LogitNormalBinomial(sd))
    subjects = [Cells(np.full(N_ITEMS, float(N)), own, curves) for own in k]
    marginals = [Marginals.of(cells) for cells in subjects]
    found = [rates.evidence(*pair, mean, 0.1) for *pair, mean in zip(subjects, marginals, theta, strict=True)]
    prior = np.zeros((rates.N_SPREADS, rates.SHARES.size))
    prior[NORMAL, 0] = 1.0
    errors = np.tile(np.diag([0.04, 0.25]), (N_ITEMS, 1, 1))
    return subjects, marginals, found, prior, errors, sd


def integrated(k, sd, eta):
    """Log of the integral of the binomial over a normal scatter, on a fine grid."""
    z = np.linspace(-8, 8, 801)
    x = np.asarray(eta)[..., None] + sd * z
    return logsumexp(k * log_expit(x) + (N - k) * log_expit(-x) + norm.logpdf(z), axis=-1)


def test_it_is_the_posterior(case):
    """Log ratios of two places of an item, against the counts' likelihoods and the prior, summed by hand."""
    subjects, marginals, found, prior, errors, sd = case
    posterior, _ = item_posterior(subjects, marginals, found, prior, errors)
    weight = np.exp(posterior.log_weight)
    np.testing.assert_allclose(weight.sum(axis=0), 1.0)
    log_slope = np.log(posterior.slope)
    spread = {}
    for name, x in (("slope", log_slope), ("intercept", posterior.intercept)):
        mean = (weight * x).sum(axis=0).mean()
        spread[name] = mean, max((weight * (x - mean) ** 2).sum(axis=0).mean(), 0.01)
    z, w = np.sqrt(3.0) * np.array([-1.0, 0.0, 1.0]), np.array([1.0, 4.0, 1.0]) / 6
    # the same step along the intercept on both sides, so that both places stand for as much
    for item, (one, other) in ((0, (52, 55)), (5, (50, 71)), (11, (76, 74))):
        log_ratio = 0.0
        for place, sign in ((one, 1.0), (other, -1.0)):
            a, d = posterior.slope[place, item], posterior.intercept[place, item]
            value = sum(
                np.log(w @ np.exp(integrated(cells.n_correct[item], sd, a * (mean + error * z) + d)))
                for cells, evidence in zip(subjects, found, strict=True)
                for mean, error in [evidence.moments(NORMAL, 0)]
            )
            value += norm.logpdf(np.log(a), spread["slope"][0], np.sqrt(spread["slope"][1]))
            value += norm.logpdf(d, spread["intercept"][0], np.sqrt(spread["intercept"][1]))
            log_ratio += sign * value
        ours = posterior.log_weight[one, item] - posterior.log_weight[other, item]
        assert ours == pytest.approx(log_ratio, abs=0.03)


def test_three_curves_have_the_posteriors_mean_and_variance(case):
    posterior, _ = item_posterior(*case[:5])
    curves = case[0][0].curves
    for ability in (-2.0, 0.0, 1.5):
        found = posterior.at(curves, ability)
        eta = posterior.slope * ability + posterior.intercept
        weight = np.exp(posterior.log_weight)
        mean = (weight * eta).sum(axis=0)
        place, share = curves.slope * ability + curves.intercept + found.shift, np.exp(found.log_weight)
        np.testing.assert_allclose((share * place).sum(axis=0), mean, atol=1e-9)
        ours = (share * (place - mean) ** 2).sum(axis=0)
        np.testing.assert_allclose(ours, (weight * (eta - mean) ** 2).sum(axis=0), rtol=1e-6)
    # zeros bound hard items on one side only
    assert (found.shift[0] < 0)[0]
    assert -found.shift[0, 0] > found.shift[2, 0]


def test_own_counts_are_not_used_twice(case):
    """A subject's curves come from the others' counts: its own, however strange, move them far less than theirs."""
    subjects, marginals, found, prior, errors, _ = case
    _, before = item_posterior(subjects, marginals, found, prior, errors)
    strange = Cells(subjects[0].n_samples, N - subjects[0].n_correct, subjects[0].curves)
    others = [strange, *subjects[1:]], [Marginals.of(strange), *marginals[1:]]
    _, after = item_posterior(*others, found, prior, errors)
    moved = [np.abs(x.shift.mean(axis=0) - y.shift.mean(axis=0)).max() for x, y in zip(before, after, strict=True)]
    assert moved[0] < 0.25 * np.median(moved[1:])


def test_exact_items_stay_exact(case):
    subjects, marginals, found, prior, errors, _ = case
    posterior, own = item_posterior(subjects, marginals, found, prior, 0.0 * errors)
    for curves in [*own, posterior.at(subjects[0].curves, 1.0)]:
        np.testing.assert_allclose(curves.shift, 0.0, atol=1e-9)


def test_curves_are_the_likelihoods_means():
    slope, intercept = np.array([0.5, 1.5]), np.array([-2.0, 0.4])
    theta = np.linspace(-4, 4, 9)[:, None]
    assert Curves.of(slope, intercept, Binomial()).mean is None
    curves = Curves.of(slope, intercept, LogitNormalBinomial(1.5))
    z, w = np.polynomial.hermite_e.hermegauss(81)
    mean = expit((slope * theta + intercept)[:, :, None] + 1.5 * z) @ w / w.sum()
    np.testing.assert_allclose(expit(curves.logit(theta)), mean, atol=2e-5)


def test_items_of_few_subjects_do_not_make_intervals_too_narrow():
    """Twenty subjects on sixty common items, at ten times the samples; 5 draws of 20, a Monte Carlo error of .05."""
    inside, bias = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        a, b = rng.lognormal(0.0, 0.3, 60), rng.normal(2.5, 1.5, 60)
        p = expit(a * (rng.normal(size=(20, 1)) - b) + rng.normal(size=(20, 60)))
        counts = irsl.Responses.from_matrix(rng.binomial(50, p).astype(float), n_samples=np.full(p.shape, 50.0))
        curve = irsl.sampling_law(counts).curve([500])
        truth = -np.expm1(500 * np.log1p(-p)).mean(axis=1)
        inside.append((curve["pass_at_k_lower"] <= truth).to_numpy() & (curve["pass_at_k_upper"] >= truth).to_numpy())
        bias.append(curve["pass_at_k"].to_numpy() - truth)
    # with the items at their modes .73 and .008
    assert np.mean(inside) >= 0.78
    assert abs(np.mean(bias)) < 0.005
