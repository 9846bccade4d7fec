"""The beta-binomial against SciPy, direct sums and finite differences."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import betabinom

from irsl.likelihoods import BetaBinomial, Binomial
from irsl.likelihoods.statistics import Expected, levels_of
from matrices import as_csr, coded

ETA = np.array([-6.0, -2.5, -0.3, 0.0, 0.8, 3.0])
CASES = [(0.05, 10, 0.0), (0.3, 50, 0.0), (0.002, 200, 0.0), (0.9, 7, 0.0), (0.1, 20, 0.25)]


def shapes(rho, eta, c):
    phi, p = 1 / rho - 1, c + (1 - c) * expit(eta)
    return p * phi, (1 - p) * phi


def every_k(rho, n, eta, c):
    """All k, and their probabilities at every eta, (n_eta, n + 1)."""
    k = np.arange(n + 1.0)
    p, q = shapes(rho, np.asarray(eta)[:, None], c)
    return k, betabinom.pmf(k, n, p, q)


@pytest.mark.parametrize(("rho", "n", "c"), CASES)
def test_density_is_scipys(rho, n, c):
    k = np.arange(n + 1.0)
    for eta in ETA:
        expected = betabinom.logpmf(k, n, *shapes(rho, eta, c))
        np.testing.assert_allclose(BetaBinomial(rho).log_density(k, n, eta, c), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rho", [1e-6, 1e-4, 0.2])
@pytest.mark.parametrize(("k", "eta"), [(0, -13.0), (3, -13.0), (1_200_000, -0.4), (2_999_999, 9.0)])
def test_density_of_millions_of_trials_is_the_product_of_its_draws(rho, k, eta):
    """Polya's urn: log f = log C(n, k) + sum log(p + i) + sum log(q + i) - sum log(p + q + i), term by term."""
    n = 3_000_000
    p, q = shapes(rho, eta, 0.0)
    draws = np.arange(n, dtype=np.longdouble)
    tail = draws[: min(k, n - k)]
    log_choose = (np.log(n - tail) - np.log(tail + 1)).sum()
    expected = np.log(p + draws[:k]).sum() + np.log(q + draws[: n - k]).sum() - np.log(p + q + draws).sum() + log_choose
    assert BetaBinomial(rho).log_density(k, n, np.array(eta), 0.0) == pytest.approx(float(expected), rel=1e-7, abs=1e-6)


@pytest.mark.parametrize(("rho", "n", "c"), [*CASES, (1e-6, 3_000_000, 0.0)])
def test_score_is_the_finite_difference_of_the_log_density(rho, n, c):
    likelihood, h = BetaBinomial(rho), 1e-5
    for k in (0.0, 1.0, n // 3, float(n)):
        up, down = (likelihood.log_density(k, n, ETA + s, c) for s in (h, -h))
        np.testing.assert_allclose(likelihood.score(k, n, ETA, c), (up - down) / (2 * h), rtol=1e-5, atol=2e-3 * n**0.1)


@pytest.mark.parametrize(("rho", "n", "c"), [*CASES, (0.03, 5000, 0.0)])
def test_information_and_its_bias_are_sums_over_every_count(rho, n, c):
    likelihood = BetaBinomial(rho)
    k, f = every_k(rho, n, ETA, c)
    up, here, down = (likelihood.score(k, n, ETA[:, None] + s, c) for s in (1e-4, 0.0, -1e-4))
    second = (up - down) / 2e-4
    moment = lambda x: (f * x).sum(axis=1)  # noqa: E731
    close = lambda ours, x: np.testing.assert_allclose(ours, x, rtol=4e-3, atol=1e-5 * np.abs(x).max())  # noqa: E731
    close(likelihood.information(n, ETA, c), moment(here**2))
    close(likelihood.information_bias(n, ETA, c), moment(here * second + here**3))


@pytest.mark.parametrize(("rho", "n", "c"), [*CASES, (0.03, 5000, 0.0), (1e-4, 3_000_000, 0.0), (1e-6, 3_000_000, 0.0)])
def test_information_is_at_least_that_of_mean_and_variance(rho, n, c):
    likelihood = BetaBinomial(rho)
    p = likelihood.response_mean(ETA, c)
    slope = (1 - c) * expit(ETA) * expit(-ETA)
    least = slope**2 / likelihood.response_variance(p, n)
    information = likelihood.information(n, ETA, c)
    assert (information >= (1 - 2e-3) * least).all()
    assert (information <= n * slope**2 / (p * (1 - p)) * (1 + 1e-3)).all()
    assert likelihood.information(0, ETA, c).sum() == 0.0


def test_one_trial_is_bernoulli():
    plain, ours = Binomial("bernoulli"), BetaBinomial(0.3)
    for c in (0.0, 0.2):
        for k in (0.0, 1.0):
            np.testing.assert_allclose(ours.log_density(k, 1, ETA, c), plain.log_density(k, 1, ETA, c), atol=1e-10)
            np.testing.assert_allclose(ours.score(k, 1, ETA, c), plain.score(k, 1, ETA, c), atol=1e-8)
        np.testing.assert_allclose(ours.information(1, ETA, c), plain.information(1, ETA, c), rtol=1e-4)


def some_expected(rho=0.1, c=0.0, largest=30):
    """Levels of 5 items answered by 300 subjects with unequal n, expected counts at three abilities."""
    rng = np.random.default_rng(0)
    n = rng.choice([0, 1, 8, largest], (300, 5), p=[0.1, 0.2, 0.3, 0.4]).astype(np.float32)
    eta = rng.normal(size=(300, 1)) + rng.normal(size=5)
    p = rng.beta(*shapes(rho, eta, c))
    statistics = BetaBinomial(rho).sufficient_statistics(coded(rng.binomial(n.astype(int), p), "counts", n))
    weight = rng.dirichlet([1.0, 1.0, 1.0], 300)
    expected = Expected((statistics.indicator.T @ weight,), statistics.levels)
    return expected, rng.normal(size=(5, 3)), statistics, weight


@pytest.mark.parametrize("largest", [30, 100_000])
@pytest.mark.parametrize("c", [0.0, 0.2])
def test_objective_is_the_sum_of_log_densities_without_their_constants(c, largest):
    expected, eta, statistics, weight = some_expected(c=c, largest=largest)
    likelihood = BetaBinomial(0.1)
    k, n = statistics.cells(slice(0, 300))
    direct = likelihood.log_density(k[:, :, None], n[:, :, None], eta, c) * (n > 0)[:, :, None] * weight[:, None, :]
    ours = likelihood.objective(eta, c, expected)
    choose = Binomial().log_density(k, n, np.zeros_like(k), 0.0) + n * np.log(2)
    assert statistics.constant == pytest.approx(choose[n > 0].sum(), rel=1e-6)
    np.testing.assert_allclose(ours + choose.T @ weight, direct.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("largest", [30, 100_000])
@pytest.mark.parametrize("c", [0.0, 0.2])
def test_objective_slopes_are_finite_differences(c, largest):
    expected, eta, _, _ = some_expected(c=c, largest=largest)
    likelihood, h = BetaBinomial(0.1), 1e-4
    first, information, observed = likelihood.objective_slopes(eta, c, expected)
    up, down = (likelihood.objective(eta + s, c, expected) for s in (h, -h))
    np.testing.assert_allclose(first, (up - down) / (2 * h), rtol=1e-5, atol=1e-3)
    up, down = (likelihood.objective_slopes(eta + s, c, expected)[0] for s in (h, -h))
    np.testing.assert_allclose(observed, -(up - down) / (2 * h), rtol=1e-5, atol=1e-5)
    assert (information > 0).all()


@pytest.mark.parametrize("c", [0.0, 0.2])
def test_expected_information_is_that_of_mean_and_variance(c):
    """Whatever was observed: at the maximum of a single response its score, and so its square, is 0."""
    expected, eta, statistics, weight = some_expected(c=c, largest=1000)
    likelihood = BetaBinomial(0.1)
    _, n = statistics.cells(slice(0, 300))
    p, slope = likelihood.response_mean(eta, c), (1 - c) * expit(eta) * expit(-eta)
    variance = likelihood.response_variance(p[None], np.maximum(n, 1)[:, :, None])
    direct = (weight[:, None, :] * (n > 0)[:, :, None] * slope**2 / variance).sum(axis=0)
    np.testing.assert_allclose(likelihood.objective_slopes(eta, c, expected)[1], direct, rtol=1e-10)


@pytest.mark.parametrize("start", [0.001, 0.02, 0.4, 0.9])
def test_parameter_steps_climb_to_the_maximum(start):
    expected, eta, _, _ = some_expected()
    height = lambda likelihood: float(likelihood.objective(eta, 0.0, expected).sum())  # noqa: E731
    likelihood = BetaBinomial(start)
    for _ in range(15):
        moved = likelihood.parameter_step(eta, 0.0, expected, 0.0, 0.0)
        assert height(moved) >= height(likelihood) - 1e-6 * abs(height(likelihood))
        likelihood = moved
    best = minimize_scalar(lambda x: -height(BetaBinomial(float(expit(x)))), bounds=(-9, 3), method="bounded")
    assert logit(likelihood.overdispersion) == pytest.approx(best.x, abs=0.01)


@pytest.mark.parametrize("storage", ["dense", "csr", "complete"])
def test_levels_hold_every_response(storage):
    rng = np.random.default_rng(3)
    n = np.full((40, 6), 9) if storage == "complete" else rng.choice([0, 1, 9, 1_000_000], (40, 6))
    k = rng.binomial(n, 0.4)
    k[:2] = 0
    if storage == "csr":
        n[:, 4] = 0
        k[:, 4] = 0
    values, trials = as_csr(k, n) if storage == "csr" else (k, 9 if storage == "complete" else n)
    levels, indicator = levels_of(values, trials)
    table = indicator.toarray()
    np.testing.assert_array_equal(table.sum(axis=1), (n > 0).sum(axis=1))
    for j in range(6):
        own = slice(levels.start[j], levels.start[j + 1])
        assert (levels.item[own] == j).all()
        np.testing.assert_array_equal(table[:, own] @ levels.values[own], k[:, j])
        np.testing.assert_array_equal(table[:, own] @ levels.trials[own], n[:, j])
        assert own.stop - own.start == len({(a, b) for a, b in zip(k[:, j], n[:, j], strict=True) if b > 0})
    some = np.array([5, 4, 1])
    part, position = levels.take(some)
    whole = levels.total(table.sum(axis=0)[:, None])[:, 0]
    np.testing.assert_array_equal(whole, (n > 0).sum(axis=0))
    np.testing.assert_array_equal(part.total(table.sum(axis=0)[position, None])[:, 0], whole[some])


def test_samples_have_the_stated_mean_and_variance():
    likelihood = BetaBinomial(0.08)
    k = likelihood.sample(np.full(100_000, 0.6), 0.0, trials=20, rng=np.random.default_rng(1)) / 20
    assert k.mean() == pytest.approx(expit(0.6), abs=0.005)
    assert k.var() == pytest.approx(float(likelihood.response_variance(np.array(expit(0.6)), 20)), rel=0.03)
