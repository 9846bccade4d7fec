"""The items' prior: derivatives, moves of the scale, and which intercepts or difficulties it finds independent."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

import irsl
from irsl.calibration.engine import Settings, fit
from irsl.calibration.item_prior import ItemPrior, initial_prior, no_prior
from irsl.calibration.m_step import Items
from irsl.calibration.population import NormalPopulation
from irsl.likelihoods import Binomial
from matrices import coded

RNG = np.random.default_rng(0)
LOG_A, D, BLOCK = RNG.normal(0.2, 0.5, 8), RNG.normal(0.3, 1.5, 8), np.repeat([0, 1], 4)


def prior(exponent, sd=(0.4, 1.3)):
    return ItemPrior(0.1, np.array([-0.5, 0.8]), np.array(sd), BLOCK, exponent)


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_score_and_information_are_derivatives(exponent):
    own, h = prior(exponent), 1e-5
    numeric = np.stack(
        [
            (own.log_density(LOG_A + h * u, D + h * v) - own.log_density(LOG_A - h * u, D - h * v)) / (2 * h)
            for u, v in ((1, 0), (0, 1))
        ],
        axis=1,
    )
    np.testing.assert_allclose(own.score(LOG_A, D), numeric, atol=1e-8)
    # where c is at its mean the curvature has no other part
    d = own.mean_scaled[BLOCK] * np.exp(exponent * LOG_A)
    curvature = np.stack(
        [
            (own.score(LOG_A - h * u, d - h * v) - own.score(LOG_A + h * u, d + h * v)) / (2 * h)
            for u, v in ((1, 0), (0, 1))
        ],
        axis=2,
    )
    np.testing.assert_allclose(own.information(LOG_A, d), curvature, atol=1e-7)


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0])
def test_the_density_is_one_of_log_a_and_d(exponent):
    own, grid = prior(exponent).take(np.array([5])), np.linspace(-14.0, 14.0, 1401)
    log_a = np.linspace(-2.0, 2.2, 211)
    table = [np.exp(replace(own, block=np.full(grid.size, 1)).log_density(np.full(grid.size, u), grid)) for u in log_a]
    assert np.sum(table) * (grid[1] - grid[0]) * (log_a[1] - log_a[0]) == pytest.approx(1.0, abs=1e-3)


def test_a_part_without_prior_has_no_say():
    none = no_prior(8)
    assert not none.log_density(LOG_A, D).any()
    assert not none.score(LOG_A, D).any()
    assert not none.information(LOG_A, D).any()


def test_independent_difficulties_move_with_the_scale_exactly():
    own, shift, scale = prior(1.0), 0.7, 1.6
    moved = own.moved(np.exp(LOG_A), shift, scale)
    before = own.deviation(LOG_A, D) / own.sd
    after = moved.deviation(LOG_A + np.log(scale), D + np.exp(LOG_A) * shift) / moved.sd
    np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_it_finds_what_is_independent_of_discrimination(truth):
    rng = np.random.default_rng(7)
    a, c = rng.lognormal(0.0, 0.4, 400), rng.normal(0.8, 1.2, 400)
    theta, d = rng.normal(size=200), c * a**truth
    y = (rng.random((200, 400)) < expit(theta[:, None] * a + d)).astype(float)
    likelihood, zeros = Binomial("bernoulli"), np.zeros(400)
    outcome = fit(
        likelihood.sufficient_statistics(coded(y, "binary")),
        Items(zeros, zeros, zeros, likelihood),
        initial_prior(np.zeros(400, np.intp), common_slope=False),
        NormalPopulation.of(np.zeros(200, np.intp)),
        common_slope=False,
        settings=Settings(),
    )
    assert outcome.converged
    assert abs(outcome.prior.exponent - truth) < 0.25
    np.testing.assert_allclose(outcome.prior.sd, [0.4, 1.2], rtol=0.15)


def test_a_common_slope_has_one_prior_of_its_own():
    own = initial_prior(np.zeros(30, np.intp), common_slope=True)
    d = RNG.normal(size=30)
    at = [own.log_density(np.full(30, x), d).sum() for x in (-1.0, 0.0, 1.0)]
    assert at[0] - at[1] == pytest.approx(-0.5)
    assert at[2] - at[1] == pytest.approx(-0.5)
    again = own.centred(np.full(30, 0.4), d).spread(np.array([5.0, 1.0])).moved(np.full(30, 1.5), 0.3, 1.2)
    assert again.mean_log_a == 0.0
    assert again.sd[0] == own.sd[0]
    assert again.exponent == own.exponent == 0.0


def test_a_slope_of_which_nothing_is_known_stays_in_reach():
    y = np.array([[1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0]])
    calibration = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), model="1pl")
    slope = calibration.bank.items["discrimination"][0]
    assert 0.2 < slope < 5.0
    assert 0.5 < calibration.bank.items["se_discrimination"][0] / slope < 1.6
