"""The logit-normal binomial against numerical integration, direct sums and finite differences."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, log_expit

from irsl.errors import OptionError
from irsl.likelihoods import Binomial, LogitNormalBinomial
from irsl.likelihoods import logit_normal_binomial as module
from irsl.likelihoods.binomial import log_choose
from irsl.likelihoods.overdispersed import EXACT_TRIALS
from irsl.likelihoods.statistics import Expected, Levels
from matrices import coded

ETA = np.array([-6.0, -2.5, -0.3, 0.0, 0.8, 3.0])
CASES = [(0.1, 10), (0.5, 50), (1.0, 1), (1.0, 200), (5.0, 30), (0.3, 1500)]


def integral(k, n, eta, sd):
    """Log f without the binomial coefficient, by quadrature about the mode, falling faster than N(0, sd^2)."""
    mode = brentq(
        lambda x: k * expit(-x) - (n - k) * expit(x) - (x - eta) / sd**2, eta - sd**2 * n - 1, eta + sd**2 * n + 1
    )
    height = lambda x: k * log_expit(x) + (n - k) * log_expit(-x) - 0.5 * ((x - eta) / sd) ** 2  # noqa: E731
    narrow = 10 / np.sqrt(n * expit(mode) * expit(-mode) + sd**-2)
    ends = [mode - 12 * sd, mode - narrow, mode, mode + narrow, mode + 12 * sd]
    relative = lambda x: np.exp(height(x) - height(mode))  # noqa: E731
    total = sum(quad(relative, a, b, epsabs=1e-10, epsrel=1e-7, limit=200)[0] for a, b in pairwise(ends))
    return height(mode) + np.log(total / (sd * np.sqrt(2 * np.pi)))


def counts_of(n):
    return sorted({0, min(1, n), min(30, n), n // 100, n // 3, max(n - 40, 0), n})


def one_item(k, n):
    """Levels of one item with these counts."""
    k, n = np.broadcast_arrays(np.atleast_1d(k).astype(float), float(n))
    return Levels(np.zeros(k.size, np.intp), np.array([0, k.size]), k, n)


@pytest.mark.parametrize("n", [1, 2, 50, 1000, 3_000_000])
@pytest.mark.parametrize("sd", [0.1, 0.3, 0.5, 1.0, 5.0])
def test_density_is_the_integral_over_rates(sd, n):
    for k in counts_of(n):
        middle = np.log((k + 0.5) / (n - k + 0.5))
        eta = middle + np.linspace(-10, 10, 9) * np.hypot(sd, 1 / np.sqrt(1 + k * (1 - k / n)))
        eta = eta[np.abs(eta) < 30]
        expected = np.array([integral(k, n, x, sd) for x in eta])
        ours = LogitNormalBinomial(sd).log_density(k, n, eta, 0.0) - log_choose(float(n), float(k))
        near = expected > expected.max() - 50
        np.testing.assert_allclose(ours[near], expected[near], rtol=0, atol=3e-5 if sd < 0.15 else 1e-5)


@pytest.mark.parametrize(("sd", "n"), [*CASES, (0.2, 3_000_000), (6.0, 3_000_000)])
def test_log_density_far_from_the_counts_is_concave_and_finite(sd, n):
    likelihood, eta = LogitNormalBinomial(sd), np.linspace(-300.0, 300.0, 4801)
    for k in counts_of(n):
        log_f = likelihood.log_density(k, n, eta, 0.0)
        score = likelihood.score(k, n, eta, 0.0)
        assert np.isfinite(log_f).all()
        assert (np.diff(score) <= 1e-5 * (1 + np.abs(score).max())).all()
        np.testing.assert_allclose(
            np.diff(log_f), 0.125 * (score[1:] + score[:-1]) / 2, atol=0.03 * np.abs(score).max()
        )


@pytest.mark.parametrize(("sd", "n"), [*CASES, (0.2, 3_000_000), (6.0, 3_000_000)])
def test_score_is_the_finite_difference_of_the_log_density(sd, n):
    likelihood, h = LogitNormalBinomial(sd), 1e-5
    for k in counts_of(n):
        up, down = (likelihood.log_density(k, n, 1.7 * ETA + s, 0.0) for s in (h, -h))
        np.testing.assert_allclose(likelihood.score(k, n, 1.7 * ETA, 0.0), (up - down) / (2 * h), rtol=1e-4, atol=1e-3)


def test_missing_cells_have_no_score():
    score = LogitNormalBinomial(0.1).score(np.zeros((3, 6)), np.zeros((3, 1)), ETA, 0.0)
    np.testing.assert_array_equal(score, np.zeros((3, 6)))


@pytest.mark.parametrize(("sd", "n"), [*CASES, (0.3, 5000), (1.0, 5000)])
def test_information_and_its_bias_are_sums_over_every_count(sd, n):
    likelihood, k = LogitNormalBinomial(sd), np.arange(n + 1.0)
    f = np.exp(likelihood.log_density(k, n, ETA[:, None], 0.0))
    np.testing.assert_allclose(f.sum(axis=1), 1.0, atol=1e-5)
    first, second = likelihood.level_slopes(np.broadcast_to(ETA, (1, ETA.size)), 0.0, one_item(k, n))
    moment = lambda x: (f.T * x).sum(axis=0)  # noqa: E731
    information = moment(first**2)
    np.testing.assert_allclose(likelihood.information(n, ETA, 0.0), information, rtol=2e-3)
    bias = moment(first * second + first**3)  # of the same units as information^(3/2)
    np.testing.assert_allclose(likelihood.information_bias(n, ETA, 0.0), bias, atol=1e-3 * information.max() ** 1.5)


@pytest.mark.parametrize(("sd", "n"), [*CASES, (0.3, 5000), (0.2, 3_000_000), (2.0, 3_000_000)])
def test_information_is_between_that_of_mean_and_variance_and_what_is_there(sd, n):
    """No count tells more of eta than the rate itself, whose logit is normal about it."""
    likelihood = LogitNormalBinomial(sd)
    p, slope = likelihood.response_mean(ETA, 0.0), likelihood.response_slope(ETA, 0.0)
    information = likelihood.information(n, ETA, 0.0)
    assert (information >= (1 - 4e-3) * slope**2 / likelihood.response_variance(p, n)).all()
    assert (information <= (1 + 4e-3) / sd**2).all()
    assert likelihood.information(0, ETA, 0.0).sum() == 0.0


def test_information_of_many_numbers_of_trials_lies_between_tables():
    likelihood, n = LogitNormalBinomial(0.5), EXACT_TRIALS + 40 * np.arange(1, 101)
    many = likelihood.information(n, np.full(n.size, -3.0), 0.0)
    few = [likelihood.information(n[j], np.array([-3.0]), 0.0)[0] for j in (0, 50, 99)]
    np.testing.assert_allclose(many[[0, 50, 99]], few, rtol=2e-3)


@pytest.mark.parametrize("sd", [0.1, 1.0, 5.0])
def test_one_trial_is_bernoulli_at_the_mean_curve(sd):
    ours = LogitNormalBinomial(sd)
    p, slope = ours.response_mean(ETA, 0.0), ours.response_slope(ETA, 0.0)
    np.testing.assert_allclose(ours.log_density(1.0, 1, ETA, 0.0), np.log(p), atol=1e-5)
    np.testing.assert_allclose(ours.log_density(0.0, 1, ETA, 0.0), np.log1p(-p), atol=1e-5)
    np.testing.assert_allclose(ours.score(1.0, 1, ETA, 0.0), slope / p, atol=1e-4)
    np.testing.assert_allclose(ours.information(1, ETA, 0.0), slope**2 / (p * (1 - p)), rtol=1e-3)


@pytest.mark.parametrize("sd", [0.1, 0.7, 2.0, 6.0])
def test_mean_slope_and_variance_are_those_of_the_rates(sd):
    likelihood = LogitNormalBinomial(sd)
    eta = np.concatenate([2.0 * ETA, [-35.0, 20.0]])
    z = np.linspace(-12, 12, 4001)
    rates = expit(eta[:, None] + sd * z)
    weight = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    mean, slope = rates @ weight, (rates * (1 - rates)) @ weight
    variance = (rates - mean[:, None]) ** 2 @ weight + (rates * (1 - rates)) @ weight / 20
    np.testing.assert_allclose(likelihood.response_mean(eta, 0.0), mean, rtol=1e-5)
    np.testing.assert_allclose(likelihood.response_slope(eta, 0.0), slope, rtol=1e-4)
    np.testing.assert_allclose(likelihood.response_variance(mean, 20), variance, rtol=2e-3)
    beyond = np.array([-1e-12, 0.0, 1.0, 1.0 + 1e-12])  # what sums over interpolating functions may give
    np.testing.assert_array_equal(likelihood.response_variance(beyond, 20), 0.0)


@pytest.mark.parametrize("sd", [0.1, 6.0])
def test_the_curve_goes_on_beyond_its_table(sd):
    eta = np.array([-700.0, -300.0, -61.0, 59.0, 500.0])
    likelihood = LogitNormalBinomial(sd)
    p, slope = likelihood.response_mean(eta, 0.0), likelihood.response_slope(eta, 0.0)
    np.testing.assert_allclose(np.log(p[:3]), eta[:3] + sd**2 / 2, atol=2e-3)  # the mean of exp(eta + sd z)
    np.testing.assert_allclose(slope[:3], p[:3], rtol=1e-3)
    np.testing.assert_array_equal(p[3:], 1.0)
    expected = Expected((np.ones((1, 5)),), one_item(3, 20))
    first, information, observed = likelihood.objective_slopes(eta[None], 0.0, expected)
    assert np.isfinite([first, information, observed]).all()
    assert (information >= 0).all()
    assert (observed[0, [0, 1, 2, 4]] == 0).all()  # log f goes on straight


def test_samples_have_the_stated_mean_and_variance():
    likelihood = LogitNormalBinomial(0.9)
    k = likelihood.sample(np.full(100_000, 0.6), 0.0, trials=20, rng=np.random.default_rng(1)) / 20
    mean = likelihood.response_mean(np.array(0.6), 0.0)
    assert k.mean() == pytest.approx(float(mean), abs=0.003)
    assert k.var() == pytest.approx(float(likelihood.response_variance(mean, 20)), rel=0.02)


def some_expected(sd=0.7, largest=30):
    """Levels of 5 items answered by 300 subjects with unequal n, the last by nobody; expected counts at 3 abilities."""
    rng = np.random.default_rng(0)
    n = rng.choice([0, 1, 8, largest], (300, 6), p=[0.1, 0.2, 0.3, 0.4]).astype(np.float32)
    n[:, 5] = 0
    eta = rng.normal(size=(300, 1)) + rng.normal(size=6)
    k = rng.binomial(n.astype(int), expit(eta + sd * rng.normal(size=eta.shape)))
    statistics = LogitNormalBinomial(sd).sufficient_statistics(coded(k, "counts", n))
    weight = rng.dirichlet([1.0, 1.0, 1.0], 300)
    expected = Expected((statistics.indicator.T @ weight,), statistics.levels)
    return expected, rng.normal(size=(6, 3)), statistics, weight


@pytest.mark.parametrize("largest", [30, 100_000])
def test_objective_is_the_sum_of_log_densities_without_their_constants(largest):
    expected, eta, statistics, weight = some_expected(largest=largest)
    likelihood = LogitNormalBinomial(0.7)
    k, n = statistics.cells(slice(0, 300))
    direct = likelihood.log_density(k[:, :, None], n[:, :, None], eta, 0.0) * (n > 0)[:, :, None] * weight[:, None, :]
    choose = Binomial().log_density(k, n, np.zeros_like(k), 0.0) + n * np.log(2)
    assert statistics.constant == pytest.approx(choose[n > 0].sum(), rel=1e-6)
    ours = likelihood.objective(eta, 0.0, expected)
    np.testing.assert_allclose(ours + choose.T @ weight, direct.sum(axis=0), rtol=1e-6)
    assert (ours[5] == 0).all()


@pytest.mark.parametrize("largest", [30, 100_000])
@pytest.mark.parametrize("sd", [0.15, 0.7])
def test_objective_slopes_are_finite_differences(sd, largest):
    expected, eta, _, _ = some_expected(largest=largest)
    likelihood, h = LogitNormalBinomial(sd), 1e-4
    first, information, observed = likelihood.objective_slopes(eta, 0.0, expected)
    up, down = (likelihood.objective(eta + s, 0.0, expected) for s in (h, -h))
    np.testing.assert_allclose(first, (up - down) / (2 * h), rtol=1e-5, atol=2e-3)
    up, down = (likelihood.objective_slopes(eta + s, 0.0, expected)[0] for s in (h, -h))
    np.testing.assert_allclose(observed, -(up - down) / (2 * h), rtol=1e-2, atol=1e-2)
    assert (information[:5] > 0).all()
    assert (information[5] == 0).all()


def test_expected_information_is_that_of_mean_and_variance():
    expected, eta, statistics, weight = some_expected(largest=1000)
    likelihood = LogitNormalBinomial(0.7)
    _, n = statistics.cells(slice(0, 300))
    p, slope = likelihood.response_mean(eta, 0.0), likelihood.response_slope(eta, 0.0)
    variance = likelihood.response_variance(p[None], np.maximum(n, 1)[:, :, None])
    direct = (weight[:, None, :] * (n > 0)[:, :, None] * slope**2 / variance).sum(axis=0)
    np.testing.assert_allclose(likelihood.objective_slopes(eta, 0.0, expected)[1], direct, rtol=1e-3)


@pytest.mark.parametrize("start", [0.1, 0.4, 1.5, 6.0])
def test_parameter_steps_climb_to_the_maximum(start):
    expected, eta, _, _ = some_expected()
    height = lambda likelihood: float(likelihood.objective(eta, 0.0, expected).sum())  # noqa: E731
    likelihood = LogitNormalBinomial(start)
    for _ in range(15):
        moved = likelihood.parameter_step(eta, 0.0, expected, 0.0, 0.0)
        assert height(moved) >= height(likelihood) - 1e-6 * abs(height(likelihood))
        likelihood = moved
    best = minimize_scalar(lambda x: -height(LogitNormalBinomial(float(np.exp(x)))), bounds=(-2, 1.7), method="bounded")
    assert np.log(likelihood.logit_sd) == pytest.approx(best.x, abs=0.01)


def test_floors_are_refused():
    likelihood, levels = LogitNormalBinomial(), one_item(3, 20)
    expected = Expected((np.ones((1, 1)),), levels)
    eta, floor = np.zeros((1, 1)), np.array([[0.25]])
    for refused in (
        lambda: likelihood.functions(eta, floor, levels),
        lambda: likelihood.objective(eta, floor, expected),
        lambda: likelihood.objective_slopes(eta, floor, expected),
        lambda: likelihood.information(20, eta, floor),
        lambda: likelihood.score(3, 20, eta, floor),
        lambda: likelihood.log_density(3, 20, eta, floor),
        lambda: likelihood.response_mean(eta, floor),
        lambda: likelihood.response_slope(eta, floor),
        lambda: likelihood.sample(eta, floor, trials=20, rng=np.random.default_rng(0)),
    ):
        with pytest.raises(TypeError, match="floors"):
            refused()
    with pytest.raises(TypeError, match="levels"):
        likelihood.functions(eta, 0.0)


def test_nothing_is_answered_with_nothing():
    likelihood = LogitNormalBinomial()
    assert likelihood.log_density(np.empty(0), 5, np.empty(0), 0.0).shape == (0,)
    assert likelihood.score(np.empty((0, 4)), np.empty((0, 4)), np.empty((0, 4)), 0.0).shape == (0, 4)
    nothing = Levels(np.empty(0, np.intp), np.zeros(3, np.intp), np.empty(0), np.empty(0))
    assert (likelihood.objective(np.zeros((2, 7)), 0.0, Expected((np.empty((0, 7)),), nothing)) == 0).all()


def test_tables_that_are_let_go_are_worked_out_again(monkeypatch):
    likelihood, k = LogitNormalBinomial(0.37), np.arange(41.0)
    whole = likelihood.log_density(k, 40, ETA[:, None], 0.0)
    monkeypatch.setattr(module, "KEPT_NUMBERS", 10_000)
    module._tables.cache_clear()
    for part in (k[:30], k[20:], k, k[::-1]):
        np.testing.assert_array_equal(likelihood.log_density(part, 40, ETA[:, None], 0.0), whole[:, part.astype(int)])
    assert module._tables(0.37)._held[0].size <= k.size


@pytest.mark.parametrize("logit_sd", [0.0, 0.05, 7.0, float("nan")])
def test_a_scatter_out_of_range_is_refused(logit_sd):
    with pytest.raises(OptionError, match="logit_sd must lie between"):
        LogitNormalBinomial(logit_sd)
