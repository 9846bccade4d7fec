"""Point estimates and their errors against published numbers, slow versions, and the limits of the data."""

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import beta, binom

import irsl
from banks import curve, make_bank, responses
from irsl.ability.estimators import ESTIMATORS


def one(values, bank, estimator="mle", **more):
    return irsl.measure(responses([values], bank, **more), bank, estimator=estimator).row(0, named=True)


@pytest.mark.parametrize(
    ("values", "likelihood", "precision", "n", "ability", "se"),
    [
        ((0.8, 0.5, 0.3), "beta", 10.0, None, 0.1442555, 0.3686953),
        ((0.8, 0.5, 0.3), "beta", 49.0, None, 0.1565738, 0.1760145),
        ((1, 1, 0), "bernoulli", None, None, 0.8029344, None),
        ((40, 25, 15), "binomial", None, 50, 0.1556579, None),
    ],
)
def test_maximum_likelihood_of_three_items(values, likelihood, precision, n, ability, se):
    """Difficulties -1, 0, 1: computed with SciPy from the densities; docs of the reference system, value A6.

    With easinesses in place of difficulties every one of them differs.
    """
    bank = make_bank([-1.0, 0.0, 1.0], likelihood=likelihood, precision=precision, trials=n or 1)
    kind = {"beta": "probability", "bernoulli": "binary", "binomial": "counts"}[likelihood]
    row = one(values, bank, kind=kind, n_samples=n)
    assert row["ability"] == pytest.approx(ability, abs=1e-5)
    if se is not None:
        assert row["se_ability"] == pytest.approx(se, abs=1e-5)


def test_a_zero_count_is_one_zero_count():
    """Ten items 25 of 50 and one 0 of 50, all difficulties 0: logit(5 / 11), value A7."""
    bank = make_bank(np.zeros(11), likelihood="binomial", trials=50)
    row = one([25.0] * 10 + [0.0], bank, kind="counts", n_samples=50)
    assert row["ability"] == pytest.approx(np.log(5 / 6), abs=1e-6)
    assert row["ability"] == pytest.approx(-0.1823216, abs=1e-6)


CASES = {
    "2pl": dict(likelihood="bernoulli"),
    "3pl": dict(likelihood="bernoulli", guessing=0.2),
    "counts": dict(likelihood="binomial", trials=7),
    "beta": dict(likelihood="beta", precision=8.0),
}
KINDS = {"bernoulli": "binary", "binomial": "counts", "beta": "probability"}


def drawn(case, n_subjects=12, n_items=40, seed=1, calibrated_on=0):
    rng = np.random.default_rng(seed)
    bank = make_bank(
        rng.normal(0, 1, n_items), rng.lognormal(0.1, 0.3, n_items), n_subjects=calibrated_on, **CASES[case]
    )
    items, scale = bank.parameters(), bank.scales[0]
    p = curve(rng.normal(size=n_subjects), items)
    phi = scale.precision
    y = (
        np.clip(rng.beta(phi * p, phi * (1 - p)), 1e-4, 1 - 1e-4)
        if case == "beta"
        else rng.binomial(scale.trials, p).astype(float)
    )
    y = y.astype(np.float32).astype(float)  # as Responses stores it
    y[rng.random(y.shape) < 0.2] = np.nan
    more = dict(n_samples=np.where(np.isnan(y), 0, scale.trials)) if case == "counts" else {}
    return bank, y, responses(y, bank, kind=KINDS[scale.likelihood], **more)


def log_likelihood(theta, y, bank):
    """(n_theta,) of one subject, straight from SciPy's densities."""
    items, scale = bank.parameters(), bank.scales[0]
    seen = np.isfinite(y)
    p, y = curve(theta, items)[:, seen], y[seen]
    if scale.likelihood == "beta":
        return beta.logpdf(y, p * scale.precision, (1 - p) * scale.precision).sum(axis=1)
    return binom.logpmf(y, scale.trials, p).sum(axis=1)


def slow_peak(y, bank, prior):
    f = lambda t: -(log_likelihood(t, y, bank)[0] - prior * t**2 / 2)  # noqa: E731
    start = min(np.linspace(-5, 5, 101), key=f)
    return minimize_scalar(f, bounds=(start - 0.2, start + 0.2), method="bounded", options=dict(xatol=1e-9)).x


@pytest.mark.parametrize(("calibrated_on", "variance"), [(0, 1.0), (12, 13 / 9)])
@pytest.mark.parametrize("case", CASES)
def test_posterior_mean_and_sd_equal_grid_integration(case, calibrated_on, variance):
    bank, y, data = drawn(case, calibrated_on=calibrated_on)
    table = irsl.measure(data, bank, estimator="eap")
    grid = np.linspace(-8, 8, 3201)
    for row, ability, se in zip(y, table["ability"], table["se_ability"], strict=True):
        log_weight = log_likelihood(grid, row, bank) - grid**2 / (2 * variance)
        weight = np.exp(log_weight - log_weight.max())
        weight /= weight.sum()
        mean = weight @ grid
        assert ability == pytest.approx(mean, abs=1e-3)
        assert se == pytest.approx(np.sqrt(weight @ (grid - mean) ** 2), abs=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("estimator", "calibrated_on", "prior"), [("map", 0, 1.0), ("map", 12, 9 / 13), ("mle", 12, 0.0)]
)
def test_mode_equals_a_scalar_search(case, estimator, calibrated_on, prior):
    bank, y, data = drawn(case, calibrated_on=calibrated_on)
    table = irsl.measure(data, bank, estimator=estimator)
    slow = [slow_peak(row, bank, prior) for row in y]
    np.testing.assert_allclose(table["ability"].to_numpy(), slow, atol=2e-6)


@pytest.mark.parametrize("case", ["2pl", "3pl", "counts"])
def test_wle_solves_warms_equation(case):
    """Warm (1989), equation 11: sum n (y - P) P' / (P Q) + J / (2 I) = 0, J = sum n P' P'' / (P Q)."""
    bank, y, data = drawn(case)
    items, n = bank.parameters(), bank.scales[0].trials
    a, c = items.discrimination, items.guessing

    def equation(theta, row):
        seen = np.isfinite(row)
        p = curve(theta, items)[0]
        s = (p - c) / (1 - c)
        d1, d2 = a * (1 - c) * s * (1 - s), a**2 * (1 - c) * s * (1 - s) * (1 - 2 * s)
        w = 1 / (p * (1 - p))
        score, info, j = ((row - n * p) * d1 * w)[seen], (n * d1**2 * w)[seen], (n * d1 * d2 * w)[seen]
        return score.sum() + j.sum() / (2 * info.sum())

    table = irsl.measure(data, bank, estimator="wle")
    slow = [brentq(equation, -5, 5, args=(row,), xtol=1e-10) for row in y]
    np.testing.assert_allclose(table["ability"].to_numpy(), slow, atol=2e-6)


@pytest.mark.parametrize("case", ["2pl", "beta"])
def test_interval_of_a_posterior_is_its_quantiles(case):
    bank, y, data = drawn(case)
    table = irsl.measure(data, bank, level=0.8)
    grid = np.linspace(-7, 7, 2801)
    for row, lower, upper in zip(y, table["ability_lower"], table["ability_upper"], strict=True):
        log_weight = log_likelihood(grid, row, bank) - grid**2 / 2
        below = np.cumsum(np.exp(log_weight - log_weight.max()))
        exact = np.interp([0.1, 0.9], below / below[-1], grid)
        np.testing.assert_allclose([lower, upper], exact, atol=0.03)


def test_the_error_is_the_root_of_the_inverse_information():
    """mle and wle: 1 / sqrt(I); map adds the prior's, 1 over 13 / 9 with 12 calibration subjects."""
    bank, _, data = drawn("2pl", calibrated_on=12)
    full = data.to_matrix().trials > 0
    for estimator, prior in (("mle", 0.0), ("wle", 0.0), ("map", 9 / 13)):
        table = irsl.measure(data, bank, estimator=estimator)
        total = (irsl.information(table["ability"], bank) * full).sum(axis=1)
        np.testing.assert_allclose(table["se_ability"], (total + prior) ** -0.5, rtol=1e-6)


def all_right_and_wrong(estimator, guessing=0.0):
    bank = make_bank(np.linspace(-1, 1, 20), guessing=guessing)
    return irsl.measure(responses([[1.0] * 20, [0.0] * 20], bank, kind="binary"), bank, estimator=estimator)


@pytest.mark.parametrize("guessing", [0.0, 0.25])
def test_maximum_likelihood_of_all_right_and_all_wrong_is_infinite(guessing):
    table = all_right_and_wrong("mle", guessing)
    assert table["ability"].to_list() == [np.inf, -np.inf]
    assert table["se_ability"].to_list() == [None, None]
    assert table["ability_upper"][0] == np.inf
    assert table["ability_lower"][1] == -np.inf
    assert np.isfinite([table["ability_lower"][0], table["ability_upper"][1]]).all()
    assert table["ability_lower"][0] > table["ability_upper"][1]
    for column in ("accuracy", "accuracy_lower", "accuracy_upper", "accuracy_expected"):
        assert table[column].is_finite().all()


@pytest.mark.parametrize("guessing", [0.0, 0.25])
@pytest.mark.parametrize("estimator", ["eap", "map", "wle"])
def test_other_estimates_of_all_right_and_all_wrong_are_finite(estimator, guessing):
    table = all_right_and_wrong(estimator, guessing)
    for column in ("ability", "se_ability", "ability_lower", "ability_upper"):
        assert table[column].is_finite().all(), column
    right, wrong = table.rows(named=True)
    assert wrong["ability"] < -0.5
    assert right["ability"] > 1.5
    for row in (right, wrong):
        assert row["ability_lower"] < row["ability"] < row["ability_upper"]
    if guessing == 0.0:
        assert right["ability"] == pytest.approx(-wrong["ability"], abs=1e-6)


@pytest.mark.parametrize("estimator", ["map", "wle"])
def test_modes_below_the_floor(estimator):
    """All wrong, few right, and only the hardest right, of items with a floor: the highest point of the objective.

    Warm's estimate is where the score plus J / (2 I) is zero, which the slow version integrates to an objective.
    """
    bank = make_bank(np.linspace(-1.5, 1.5, 24), 1.5, 0.25)
    y = np.zeros((5, 24))
    y[1, ::8], y[2, -4:], y[3, -9:], y[4, ::3] = 1, 1, 1, 1
    got = irsl.measure(responses(y, bank, kind="binary"), bank, estimator=estimator)["ability"].to_numpy()
    grid = np.linspace(-8, 6, 14001)
    p = curve(grid, bank.parameters())
    s = (p - 0.25) / 0.75
    d1, d2 = 1.5 * 0.75 * s * (1 - s), 1.5**2 * 0.75 * s * (1 - s) * (1 - 2 * s)
    w = 1 / (p * (1 - p))
    slope = {"map": -grid, "wle": (d1 * d2 * w).sum(axis=1) / (2 * (d1**2 * w).sum(axis=1))}[estimator]
    for row, ability in zip(y, got, strict=True):
        equation = ((row - p) * d1 * w).sum(axis=1) + slope
        roots = grid[:-1][(equation[:-1] > 0) & (equation[1:] <= 0)]
        assert np.abs(roots - ability).min() < 2e-3, (roots, ability)


def test_estimators_agree_on_many_items():
    """With 2,000 items the prior and Warm's correction hardly matter."""
    rng = np.random.default_rng(5)
    bank = make_bank(rng.normal(0, 1, 2000), rng.lognormal(0, 0.2, 2000))
    theta = np.array([-1.5, 0.0, 1.5])
    data = responses((rng.random((3, 2000)) < curve(theta, bank.parameters())).astype(float), bank, kind="binary")
    estimates = {e: irsl.measure(data, bank, estimator=e)["ability"].to_numpy() for e in ESTIMATORS}
    for ability in estimates.values():
        np.testing.assert_allclose(ability, estimates["mle"], atol=0.01)
        np.testing.assert_allclose(ability, theta, atol=0.2)


def test_warms_estimate_removes_the_bias_of_maximum_likelihood():
    """Exact expectation over all 2^10 patterns at theta = 1: WLE's bias is far below that of EAP.

    Warm (1989), table 1: the first-order bias of the weighted likelihood estimate is zero.
    """
    bank = make_bank(np.linspace(-1.5, 1.5, 10))
    patterns = ((np.arange(1024)[:, None] >> np.arange(10)) & 1).astype(float)
    p = curve(1.0, bank.parameters())[0]
    probability = np.prod(np.where(patterns > 0, p, 1 - p), axis=1)
    data = responses(patterns, bank, kind="binary")
    bias = {e: probability @ irsl.measure(data, bank, estimator=e)["ability"].to_numpy() - 1.0 for e in ("wle", "eap")}
    assert abs(bias["wle"]) < 0.05
    assert bias["eap"] < -0.2
