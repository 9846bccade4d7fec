"""Fisher information: published values, the score's variance, and what is refused."""

import numpy as np
import pytest
from scipy.stats import beta

import irsl
from banks import curve, make_bank
from irsl.likelihoods import Beta


@pytest.mark.parametrize(
    ("precision", "mean", "expected"),
    [
        (10, 0.5, 2.766537), (10, 0.3, 2.418793), (10, 0.1, 1.427581), (10, 0.01, 0.995189),
        (1, 0.5, 0.616850), (1, 0.01, 0.980423), (400, 0.5, 100.250417), (400, 0.1, 36.413379),
    ],
)  # fmt: skip
def test_beta_information_values(precision, mean, expected):
    """Computed with SciPy's trigamma from Ferrari and Cribari-Neto (2004); reference value A5."""
    bank = make_bank([0.0], likelihood="beta", precision=float(precision))
    ability = np.log(mean / (1 - mean))
    assert irsl.information(ability, bank)[0, 0] == pytest.approx(expected, abs=1e-5)
    same = irsl.information(ability, make_bank([0.0]), likelihood=Beta(float(precision)))
    assert same[0, 0] == pytest.approx(expected, abs=1e-5)


def test_test_information_of_three_2pl_items():
    """a = (1, 2, .5), b = (0, 1, -1); the a = 2 item is the most informative at 0. Reference value A5."""
    bank = make_bank([0.0, 1.0, -1.0], [1.0, 2.0, 0.5])
    table = irsl.information([0.0, 1.0], bank)
    np.testing.assert_allclose(table.sum(axis=1), [0.7287253, 1.2457649], atol=1e-6)
    assert table.shape == (2, 3)
    assert table[0].argmax() == 1
    assert irsl.information(0.0, make_bank([0.0]))[0, 0] == pytest.approx(0.25)
    assert irsl.information(0.0, make_bank([0.0], 2.0))[0, 0] == pytest.approx(1.0)


def test_information_with_a_floor():
    """Birnbaum (1968), 20.2.3: a^2 (P - c)^2 Q / ((1 - c)^2 P)."""
    theta, c = np.linspace(-3, 3, 7), 0.25
    bank = make_bank([0.4], 1.3, c)
    p = curve(theta, bank.parameters())[:, 0]
    expected = 1.3**2 * (p - c) ** 2 * (1 - p) / ((1 - c) ** 2 * p)
    np.testing.assert_allclose(irsl.information(theta, bank)[:, 0], expected, rtol=1e-10)


def test_beta_information_is_the_variance_of_the_score():
    theta, h, bank = 0.7, 1e-4, make_bank([0.2], 1.4, likelihood="beta", precision=6.0)
    shapes = lambda t: (6 * curve(t, bank.parameters())[0, 0], 6 * (1 - curve(t, bank.parameters())[0, 0]))  # noqa: E731
    score = lambda y: (beta.logpdf(y, *shapes(theta + h)) - beta.logpdf(y, *shapes(theta - h))) / (2 * h)  # noqa: E731
    variance = beta.expect(lambda y: score(y) ** 2, shapes(theta))
    assert irsl.information(theta, bank)[0, 0] == pytest.approx(variance, rel=1e-4)


def test_columns_follow_the_bank_over_several_scales():
    b = [0.0, 1.0, -1.0, 2.0]
    two = make_bank(b, benchmark=["x", "y", "x", "y"])
    np.testing.assert_allclose(irsl.information([0.3], two), irsl.information([0.3], make_bank(b)))


def test_what_is_refused():
    bank = make_bank([0.0])
    with pytest.raises(irsl.DataError, match="number 1"):
        irsl.information([0.0, np.nan], bank)
    with pytest.raises(ValueError, match="bernoulli, binomial, beta_binomial, logit_normal_binomial or beta"):
        irsl.information(0.0, bank, likelihood="normal")
    with pytest.raises(ValueError, match="has no precision"):
        irsl.information(0.0, bank, likelihood="beta")
