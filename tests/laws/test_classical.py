"""The classical law's scale: logits of accuracies above chance."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import binom, norm

from irsl.laws.classical import PRIOR_SD, accuracy_logit, accuracy_of_logit


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_the_logit_is_finite_and_increasing_from_all_wrong_to_all_right(chance):
    accuracy = np.linspace(0, 1, 101)
    z, se = accuracy_logit(accuracy, 200, chance)
    assert np.isfinite(z).all()
    assert np.isfinite(se).all()
    assert (np.diff(z) > 0).all()
    assert (se <= PRIOR_SD + 1e-9).all()


def test_at_and_below_chance_the_error_is_large():
    z, se = accuracy_logit(np.array([0.1, 0.25, 0.6]), 200, 0.25)
    assert z[0] < z[1] < z[2]
    assert (se[:2] > 3 * se[2]).all()


@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_many_items_invert_the_curve(chance):
    z = np.linspace(-2, 2, 9)
    back, se = accuracy_logit(accuracy_of_logit(z, chance), 10_000_000, chance)
    np.testing.assert_allclose(back, z, atol=1e-4)
    assert (se < 0.01).all()


@pytest.mark.parametrize(
    ("k", "n", "chance"), [(0, 50, 0.25), (9, 50, 0.25), (30, 50, 0.25), (50, 50, 0.0), (1, 3, 0.5)]
)
def test_the_logit_is_the_posterior_mode(k, n, chance):
    minus = lambda z: -binom.logpmf(k, n, accuracy_of_logit(z, chance)) - norm.logpdf(z, 0, PRIOR_SD)  # noqa: E731
    start = min(np.linspace(-10, 10, 401), key=minus)
    slow = minimize_scalar(minus, bounds=(start - 0.1, start + 0.1), method="bounded", options=dict(xatol=1e-10)).x
    z, _ = accuracy_logit(np.array([k / n]), n, chance)
    assert z[0] == pytest.approx(slow, abs=1e-6)


def test_the_error_covers():
    """400 accuracies from 300 items each: 84 to 96 % of 90 % intervals hold the true z."""
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 2.5, 400)
    n = np.full(400, 300)
    estimate, se = accuracy_logit(rng.binomial(n, accuracy_of_logit(z, 0.25)) / n, n, 0.25)
    assert 0.84 <= (np.abs(estimate - z) < norm.ppf(0.95) * se).mean() <= 0.96


def test_of_the_error_without_chance_is_the_binomials():
    """Large n: 1 / sqrt(n p q)."""
    _, se = accuracy_logit(np.array([0.3]), 100_000, 0.0)
    assert se[0] == pytest.approx((100_000 * 0.21) ** -0.5, rel=1e-3)
