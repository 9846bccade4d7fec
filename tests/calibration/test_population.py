"""Populations of subjects: several normal ones, and a density of any shape."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import irsl
from irsl.calibration.engine import Settings, fit
from irsl.calibration.item_prior import initial_prior
from irsl.calibration.m_step import Items
from irsl.calibration.population import EstimatedPopulation, NormalPopulation
from irsl.likelihoods import Binomial
from matrices import coded

POINTS = np.linspace(-8.0, 8.0, 4001)
STEP = POINTS[1] - POINTS[0]


def fitted(y, population):
    """The engine's outcome on complete binary responses."""
    likelihood = Binomial("bernoulli")
    statistics = likelihood.sufficient_statistics(coded(y, "binary"))
    zeros = np.zeros(y.shape[1])
    prior = initial_prior(np.zeros(y.shape[1], np.intp), common_slope=False)
    return fit(
        statistics, Items(zeros, zeros, zeros, likelihood), prior, population, common_slope=False, settings=Settings()
    )


def answers(rng, theta, n_items=30):
    a, b = rng.lognormal(0.0, 0.3, n_items), rng.normal(0.0, 1.2, n_items)
    return a, b, (rng.random((theta.size, n_items)) < expit(a * (theta[:, None] - b))).astype(float)


def densities(population):
    """Density of the first subject of every group at POINTS."""
    subjects = np.unique(population.group, return_index=True)[1]
    weight = population.log_density(subjects)
    rows = np.arange(subjects.size)
    return np.exp(weight(np.tile(POINTS, (subjects.size, 1)), rows))


def test_groups_recover_their_means_and_sds():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [700, 300, 500])
    theta = np.array([-0.8, 0.3, 1.2])[group] + np.array([0.6, 0.3, 1.0])[group] * rng.normal(size=1500)
    theta = (theta - theta.mean()) / theta.std()
    _, _, y = answers(rng, theta)
    outcome = fitted(y, NormalPopulation.of(group))
    population = outcome.population
    assert outcome.converged
    np.testing.assert_allclose(population.mean, [theta[group == g].mean() for g in range(3)], atol=0.06)
    np.testing.assert_allclose(population.sd, [theta[group == g].std() for g in range(3)], atol=0.06)
    np.testing.assert_allclose(densities(population).sum(axis=1) * STEP, 1.0, rtol=1e-6)


def shapes(rng, size=800):
    """Samples of two populations of mean 0 and sd 1, and their densities."""
    half, sd = 0.9, np.sqrt(1 - 0.9**2)
    two = np.where(rng.random(size) < 0.5, -half, half) + sd * rng.normal(size=size)
    skewed = rng.gamma(2.0, size=size) / np.sqrt(2.0) - np.sqrt(2.0)
    x = np.sqrt(2.0) * POINTS + 2.0
    return {
        "bimodal": (two, (norm.pdf(POINTS, -half, sd) + norm.pdf(POINTS, half, sd)) / 2),
        "skewed": (skewed, np.sqrt(2.0) * np.where(x > 0, x * np.exp(-np.maximum(x, 0.0)), 0.0)),
    }


@pytest.mark.parametrize("name", ["bimodal", "skewed"])
def test_an_estimated_density_is_close_to_the_truth_and_the_items_less_biased(name):
    """Total variation distance at most .6 of the best normal's; slopes and intercepts closer than under a normal."""
    rng = np.random.default_rng(1)
    theta, truth = shapes(rng)[name]
    a, b, y = answers(rng, theta)
    outcome = fitted(y, EstimatedPopulation.normal())
    density = outcome.population.density(POINTS)
    assert density.sum() * STEP == pytest.approx(1.0, rel=1e-6)
    distance = lambda x: 0.5 * np.abs(x - truth).sum() * STEP  # noqa: E731
    assert distance(density) < 0.6 * distance(norm.pdf(POINTS))
    step = outcome.step
    assert step.ability.mean() == pytest.approx(0.0, abs=1e-3)
    assert step.ability.var() + (step.se_ability**2).mean() == pytest.approx(1.0, abs=0.01)
    expected = np.log(a * theta.std()), (theta.mean() - b) * a
    plain = fitted(y, NormalPopulation.of(np.zeros(theta.size, np.intp)))
    for ours, other, x in (
        (outcome.items.log_a, plain.items.log_a, expected[0]),
        (outcome.items.intercept, plain.items.intercept, expected[1]),
    ):
        assert np.square(ours - x).mean() < np.square(other - x).mean()


def test_calibrate_says_what_population_it_estimated():
    theta, _ = shapes(np.random.default_rng(2), 200)["skewed"]
    _, _, y = answers(np.random.default_rng(2), theta, 20)
    c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), population="estimated")
    assert "estimated population of skewness" in c.fits["message"][0]


def test_moved_populations_keep_their_densities():
    """The density of (theta - shift) / scale."""
    shift, scale = 0.4, 1.7
    group = np.array([0, 1, 1])
    normal = NormalPopulation(group, np.array([-0.5, 0.7]), np.array([0.6, 1.2]))
    moved = densities(normal.moved(shift, scale))
    plain = [scale * norm.pdf(shift + scale * POINTS, m, s) for m, s in zip(normal.mean, normal.sd, strict=True)]
    np.testing.assert_allclose(moved, plain, rtol=1e-10, atol=1e-300)
    weights = np.random.default_rng(0).dirichlet(np.ones(31))
    bumps = EstimatedPopulation(0.1, 0.4, weights)
    np.testing.assert_allclose(
        bumps.moved(shift, scale).density(POINTS), scale * bumps.density(shift + scale * POINTS), atol=1e-12
    )
    direct = (bumps.bumps(POINTS) * weights).sum(axis=1)
    np.testing.assert_allclose(bumps.density(POINTS), direct, atol=1e-12)
    log_density = bumps.log_density(np.arange(2))(np.tile(POINTS, (2, 1)), np.arange(2))
    inside = np.abs(POINTS - 0.1) < 5.0
    np.testing.assert_allclose(np.exp(log_density)[:, inside], np.tile(direct[inside], (2, 1)), atol=1e-12)
