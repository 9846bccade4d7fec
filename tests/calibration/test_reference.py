"""Agreement with published estimates.

LSAT6 and LSAT7 are the 32-pattern frequency tables of Bock and Lieberman (1970), table 1; the estimates are those of R
mirt (TOL 1e-8) and R ltm on them.
"""

from dataclasses import replace

import numpy as np
import pytest

import irsl

LSAT7 = [
    12,
    19,
    1,
    7,
    3,
    19,
    3,
    17,
    10,
    5,
    3,
    7,
    7,
    23,
    8,
    28,
    7,
    39,
    11,
    34,
    14,
    51,
    15,
    90,
    6,
    25,
    7,
    35,
    18,
    136,
    32,
    308,
]
LSAT6 = [
    3,
    6,
    2,
    11,
    1,
    1,
    3,
    4,
    1,
    8,
    0,
    16,
    0,
    3,
    2,
    15,
    10,
    29,
    14,
    81,
    3,
    28,
    15,
    80,
    16,
    56,
    21,
    173,
    11,
    61,
    28,
    298,
]


def expand(frequencies):
    """Responses (1000, 5): pattern number in binary, first item the highest bit."""
    patterns = (np.arange(32)[:, None] >> np.arange(4, -1, -1)) & 1
    return np.repeat(patterns, frequencies, axis=0).astype(float)


def fit(frequencies, model, hide=()):
    y = expand(frequencies)
    for cell in hide:
        y[cell] = np.nan
    return irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), model=model, item_prior="none")


def slopes_and_intercepts(calibration):
    items = calibration.bank.items
    a = items["discrimination"].to_numpy()
    return a, -a * items["difficulty"].to_numpy()


def test_lsat7_2pl_is_mirts():
    c = fit(LSAT7, "2pl")
    a, d = slopes_and_intercepts(c)
    np.testing.assert_allclose(a, [0.9875, 1.0808, 1.7075, 0.7650, 0.7357], atol=2e-3)
    np.testing.assert_allclose(d, [1.8559, 0.8080, 1.8052, 0.4860, 1.8545], atol=2e-3)
    assert c.log_likelihood == pytest.approx(-2658.8051, abs=1e-3)
    assert c.converged


def test_lsat7_population_errors_are_mirts():
    """Oakes' identity (1999), in R mirt: SE.type = "Oakes"."""
    c = fit(LSAT7, "2pl")
    errors = c.population_errors
    np.testing.assert_allclose(errors["se_discrimination"], [0.1772, 0.1688, 0.3211, 0.1341, 0.1511], rtol=0.01)
    np.testing.assert_allclose(errors["se_intercept"], [0.1315, 0.0912, 0.2048, 0.0749, 0.1144], rtol=0.01)
    np.testing.assert_allclose(errors["intercept"], slopes_and_intercepts(c)[1], rtol=1e-12)


def test_lsat6_2pl_is_mirts():
    c = fit(LSAT6, "2pl")
    a, d = slopes_and_intercepts(c)
    np.testing.assert_allclose(a, [0.8257, 0.7227, 0.8909, 0.6884, 0.6569], atol=2e-3)
    np.testing.assert_allclose(d, [2.7732, 0.9902, 0.2491, 1.2848, 2.0533], atol=2e-3)
    assert c.log_likelihood == pytest.approx(-2466.6534, abs=1e-3)


@pytest.mark.parametrize(
    ("data", "variance", "d", "log_likelihood"),
    [
        (LSAT7, 1.0226, [1.8683, 0.7910, 1.4610, 0.5215, 1.9930], -2664.9009),
        (LSAT6, 0.5702, [2.7300, 0.9986, 0.2399, 1.3065, 2.0994], -2466.9376),
    ],
    ids=["LSAT7", "LSAT6"],
)
def test_common_slope_is_the_rasch_model_with_free_variance(data, variance, d, log_likelihood):
    c = fit(data, "1pl")
    a, intercept = slopes_and_intercepts(c)
    np.testing.assert_allclose(a, np.sqrt(variance), atol=2e-3)
    np.testing.assert_allclose(intercept, d, atol=2e-3)
    assert c.log_likelihood == pytest.approx(log_likelihood, abs=1e-3)


def test_lsat7_with_two_cells_missing_is_mirts():
    """Cells [1, 1] and [2, 2] of mirt's table, which is sorted by pattern with the rarest first."""
    c = fit(LSAT7, "2pl", hide=((0, 0), (1, 1)))
    a, d = slopes_and_intercepts(c)
    np.testing.assert_allclose(a, [0.9687, 1.0736, 1.7185, 0.7631, 0.7307], atol=2e-3)
    np.testing.assert_allclose(d, [1.8507, 0.8078, 1.8116, 0.4858, 1.8523], atol=2e-3)


def test_lsat7_abilities_are_mirts():
    """EAP and MAP of the all-wrong and all-right patterns, under N(0, 1) as there."""
    c = fit(LSAT7, "2pl")
    responses = irsl.Responses.from_matrix(np.array([[0.0] * 5, [1.0] * 5]), kind="binary")
    exact = irsl.ItemBank(
        c.bank.items.with_columns(se_difficulty=None, se_discrimination=None, covariance=None),
        tuple(replace(s, n_subjects=0) for s in c.bank.scales),
        "0",
    )
    eap = irsl.measure(responses, exact)
    np.testing.assert_allclose(eap["ability"], [-1.870, 0.727], atol=2e-3)
    np.testing.assert_allclose(eap["se_ability"], [0.693, 0.801], atol=2e-3)
    mode = irsl.measure(responses, exact, estimator="map")
    np.testing.assert_allclose(mode["ability"], [-1.8164, 0.6382], atol=2e-3)


def test_lsat7_information_is_mirts():
    c = fit(LSAT7, "2pl")
    info = irsl.information([-1.0, 0.0, 1.0], c.bank)
    np.testing.assert_allclose(info[:, 0], [0.2031, 0.1140, 0.0507], atol=3e-4)
    assert info[1].sum() == pytest.approx(0.9181, abs=2e-3)


def test_rasch_beta_recovery_of_the_published_recipe():
    """200 x 100, phi = 10, default_rng(0): joint maximum likelihood has RMSE .0509 and .0652 on this draw."""
    rng = np.random.default_rng(0)
    theta, b = rng.normal(size=200), rng.normal(size=100)
    mu = 1 / (1 + np.exp(-(theta[:, None] - b)))
    y = np.clip(rng.beta(10 * mu, 10 * (1 - mu)), 1e-6, 1 - 1e-6)
    c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="probability"), model="1pl", item_prior="none")
    assert c.precision == pytest.approx(10.0, abs=0.3)
    a = c.bank.items["discrimination"][0]
    scaled = a * (c.bank.items["difficulty"].to_numpy() - c.bank.items["difficulty"].mean())
    assert np.sqrt(np.mean((scaled - (b - b.mean())) ** 2)) <= 1.05 * 0.0509
    ability = a * c.abilities["ability"].to_numpy()
    assert np.sqrt(np.mean((ability - ability.mean() - theta + theta.mean()) ** 2)) <= 1.05 * 0.0652


def test_two_slope_beta_recovery_of_the_published_recipe():
    """500 x 50, phi = 50, default_rng(3): RMSE .028 (a), .020 (b), .041 (theta)."""
    rng = np.random.default_rng(3)
    theta = rng.normal(size=500)
    theta = (theta - theta.mean()) / theta.std()
    a, b = rng.lognormal(0, 0.3, 50), 0.7 * rng.normal(size=50)
    mu = 1 / (1 + np.exp(-a * (theta[:, None] - b)))
    y = np.clip(rng.beta(50 * mu, 50 * (1 - mu)), 1e-6, 1 - 1e-6)
    c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="probability"), item_prior="none")
    rmse = lambda x, y: float(np.sqrt(np.mean((x - y) ** 2)))  # noqa: E731
    assert rmse(c.bank.items["discrimination"].to_numpy(), a) <= 1.05 * 0.028
    assert rmse(c.bank.items["difficulty"].to_numpy(), b) <= 1.05 * 0.0206
    assert rmse(c.abilities["ability"].to_numpy(), theta) <= 1.05 * 0.0413
