"""The power law and the tail it comes from: exact values, derivatives, recovery, and what is refused."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import betabinom

import irsl
from irsl.laws import power_law as module
from irsl.laws.pass_at_k import posterior_mean
from irsl.laws.power_law import PowerLaw, fit_power_law, tail_index

KS = np.array([1, 10, 100, 1000])
VALUES = [0.22313016, 0.55037206, 0.78841240, 0.90969709]


def test_values_and_their_fit():
    """Reference value A12: exp(-1.5 k^-.4)."""
    np.testing.assert_allclose(PowerLaw(1.5, 0.4, 0.0, 0.0).at(KS), VALUES, atol=5e-9)
    fit = fit_power_law(KS, np.exp(-1.5 * KS**-0.4))
    assert (fit.a, fit.b) == (pytest.approx(1.5, abs=1e-6), pytest.approx(0.4, abs=1e-6))
    assert max(fit.se_log_a, fit.se_b) < 1e-12
    rounded = fit_power_law(KS, VALUES, weights=[1, 2, 3, 4])
    assert (rounded.a, rounded.b) == (pytest.approx(1.5, abs=1e-6), pytest.approx(0.4, abs=1e-6))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_fit_and_its_errors_are_those_of_curve_fit(weighted):
    rng = np.random.default_rng(0)
    p = np.clip(np.exp(-1.5 * KS.repeat(3) ** -0.4) + rng.normal(0, 0.02, 12), 0.01, 0.99)
    se = rng.uniform(0.01, 0.03, 12)
    fit = fit_power_law(KS.repeat(3), p, weights=se**-2 if weighted else None)
    (log_a, b), covariance = curve_fit(
        lambda x, log_a, b: log_a - b * x,
        np.log(KS.repeat(3)),
        np.log(-np.log(p)),
        sigma=-se / (p * np.log(p)) if weighted else None,
    )
    assert (np.log(fit.a), fit.b) == (pytest.approx(log_a, rel=1e-6), pytest.approx(b, rel=1e-6))
    np.testing.assert_allclose([fit.se_log_a, fit.se_b], np.sqrt(np.diag(covariance)), rtol=1e-5)


def test_the_errors_cover():
    """400 laws of 8 independent points: 91 to 98 % within the 95 % interval of t with 6 degrees, 2.447."""
    rng = np.random.default_rng(0)
    k = np.logspace(0, 3, 8)
    inside = []
    for _ in range(400):
        fit = fit_power_law(k, np.exp(-np.exp(np.log(1.5) - 0.4 * np.log(k) + rng.normal(0, 0.1, 8))))
        inside.append((abs(fit.b - 0.4) < 2.447 * fit.se_b, abs(np.log(fit.a / 1.5)) < 2.447 * fit.se_log_a))
    assert ((np.mean(inside, axis=0) > 0.91) & (np.mean(inside, axis=0) < 0.98)).all()


def test_points_without_a_logarithm_or_a_weight_are_left_out():
    exact = np.exp(-1.5 * KS**-0.4)
    k, p = np.append(KS, [2, 3, 5, 7]), np.append(exact, [0, 1, np.nan, 0.5])
    fit = fit_power_law(k, p, weights=[1, 1, 1, 1, 1, 1, 1, 0])
    assert (fit.a, fit.b) == (pytest.approx(1.5, abs=1e-9), pytest.approx(0.4, abs=1e-9))


@pytest.mark.parametrize(
    ("k", "p", "weights", "message"),
    [
        ([1, 2, 3], [0.1, 0.2], None, r"vectors of one length; found \(3,\), \(2,\)"),
        (
            [1, 0, -3],
            [0.1, 0.2, 0.3],
            None,
            r"k must be positive and finite; found 0 \(number 1, from 0; the first of 2\)",
        ),
        ([1, 2, 3], [0.1, 0.2, 1.3], None, "pass_at_k must lie in 0..1; found 1.3"),
        ([1, 2, 3], [0.1, 0.2, 0.3], [1, np.nan, 1], "weights must be finite and not negative; found nan"),
        ([1, 2, 3], [0.1, 0.2, 1.0], None, "at least 3 points .* 2 of 3 points are such, at 2 values of k"),
        ([2, 2, 2], [0.1, 0.2, 0.3], None, "3 of 3 points are such, at 1 values"),
        ([], [], None, "0 of 0 points"),
    ],
)
def test_what_has_no_power_law_is_refused(k, p, weights, message):
    with pytest.raises(irsl.DataError, match=message):
        fit_power_law(k, p, weights=weights)


def test_the_exponent_approaches_the_tail_index_for_large_k():
    """Exact pass@k of Beta(.3, 3) rates, two decades of k at a time: b falls to .3."""
    exponents = []
    for decade in (0, 2, 4, 6, 8):
        k = np.round(np.logspace(decade, decade + 2, 9))
        exponents.append(fit_power_law(k, posterior_mean(0, 0, k, alpha=0.3, beta=3.0)).b)
    error = np.array(exponents) - 0.3
    assert (np.diff(error) < 0).all()
    assert 0.002 > error[3] > error[4] > 0
    assert error[4] < 5e-4


def test_unsolvable_items_break_the_law():
    """With a tenth of rate 0 pass@k stops at .9, and the fitted exponent falls to 0."""
    k = np.logspace(6, 8, 9).round()
    assert fit_power_law(k, 0.9 * posterior_mean(0, 0, k, alpha=0.3, beta=3.0)).b < 0.05


def counts(rng, n_items, alpha, beta, *, share=0.0):
    n = rng.integers(20, 300, n_items)
    rate = np.where(rng.random(n_items) < share, 0.0, rng.beta(alpha, beta, n_items))
    return n, rng.binomial(n, rate)


@pytest.mark.parametrize("x", [[-1.0, 1.2], [-1.0, 1.2, -1.5], [2.0, -0.5, 1.0]])
def test_the_gradient_is_a_finite_difference(x):
    n, c = counts(np.random.default_rng(0), 30, 0.3, 3.0)
    model = module._Rates(n.astype(float), c.astype(float), np.arange(1.0, 31.0))
    x, step = np.array(x), 1e-5
    slow = [np.subtract(*(model.minus_log_likelihood(x + s * e)[0] for s in (step, -step))) for e in np.eye(x.size)]
    np.testing.assert_allclose(model.minus_log_likelihood(x)[1], np.array(slow) / (2 * step), rtol=1e-6, atol=1e-6)


def test_the_likelihood_is_scipys():
    n, c = counts(np.random.default_rng(0), 100, 0.3, 3.0, share=0.3)
    fit = tail_index(n, c)
    log = betabinom.logpmf(c, n, fit.alpha, fit.beta)
    assert fit.log_likelihood == pytest.approx(log.sum(), rel=1e-9)
    share = fit.share_unsolvable
    p = share * (c == 0) + (1 - share) * betabinom.pmf(c, n, fit.alpha_solvable, fit.beta_solvable)
    assert fit.log_likelihood_unsolvable == pytest.approx(np.log(p).sum(), rel=1e-9)
    assert fit.likelihood_ratio == pytest.approx(2 * (np.log(p).sum() - log.sum()), abs=1e-6)


def test_the_maximum_has_no_slope_and_its_error_is_the_curvature():
    n, c = counts(np.random.default_rng(1), 300, 0.3, 3.0)
    fit = tail_index(n, c)
    total = lambda a, b: betabinom.logpmf(c, n, a, b).sum()  # noqa: E731
    h = np.array([1e-3 * fit.alpha, 1e-3 * fit.beta])
    at = np.array([[total(fit.alpha + i * h[0], fit.beta + j * h[1]) for j in (-1, 0, 1)] for i in (-1, 0, 1)])
    slope = [(at[2, 1] - at[0, 1]) / (2 * h[0]), (at[1, 2] - at[1, 0]) / (2 * h[1])]
    np.testing.assert_allclose(slope * h * 1000, 0, atol=1e-3)
    aa, bb = (at[2, 1] - 2 * at[1, 1] + at[0, 1]) / h[0] ** 2, (at[1, 2] - 2 * at[1, 1] + at[1, 0]) / h[1] ** 2
    ab = (at[2, 2] - at[2, 0] - at[0, 2] + at[0, 0]) / (4 * h[0] * h[1])
    assert fit.se_alpha == pytest.approx(np.linalg.inv([[-aa, -ab], [-ab, -bb]])[0, 0] ** 0.5, rel=1e-3)


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 3.0), (1.5, 1.5)])
def test_the_index_is_recovered_and_its_error_covers(alpha, beta):
    """20 datasets of 300 items with unequal n: every one within 3 se, and the z values of unit spread."""
    rng = np.random.default_rng(0)
    fits = [tail_index(*counts(rng, 300, alpha, beta)) for _ in range(20)]
    z = np.array([(fit.alpha - alpha) / fit.se_alpha for fit in fits])
    assert (np.abs(z) < 3).all()
    assert 0.6 < z.std() < 1.4
    assert np.mean([fit.likelihood_ratio > 2.71 for fit in fits]) <= 0.2
    assert np.median([fit.share_unsolvable for fit in fits]) < 0.05


def test_unsolvable_items_are_found_and_pull_the_index_down_where_they_are_left_out():
    fit = tail_index(*counts(np.random.default_rng(0), 600, 0.8, 3.0, share=0.2))
    assert fit.share_unsolvable == pytest.approx(0.2, abs=0.06)
    assert fit.alpha_solvable == pytest.approx(0.8, abs=0.2)
    assert fit.beta_solvable == pytest.approx(3.0, abs=0.8)
    assert fit.alpha < 0.6
    assert fit.likelihood_ratio > 20


def test_the_order_of_items_and_items_without_samples_do_not_matter():
    n, c = (v.astype(float) for v in counts(np.random.default_rng(0), 60, 0.5, 2.0))
    fit = tail_index(n, c)
    again = tail_index(np.r_[n[::-1], 0, np.nan, 5], np.r_[c[::-1], 0, 3, np.nan])
    assert again.alpha == fit.alpha
    assert again.log_likelihood_unsolvable == fit.log_likelihood_unsolvable


def test_counts_of_equal_rates_have_no_tail_and_no_error():
    """Less spread than the binomial's: alpha runs to its bound, and says so by an error of NaN."""
    fit = tail_index([10] * 6, [5, 5, 4, 6, 5, 5])
    assert fit.alpha > 1000
    assert np.isnan(fit.se_alpha)
    assert fit.alpha / (fit.alpha + fit.beta) == pytest.approx(0.5, abs=1e-3)
    assert fit.likelihood_ratio == pytest.approx(0, abs=1e-6)
    apart = tail_index([10] * 6, [0, 0, 10, 10, 0, 10])
    assert apart.alpha < 0.01
    assert apart.log_likelihood == pytest.approx(6 * np.log(0.5), abs=0.05)


@pytest.mark.parametrize(
    ("n", "c", "message"),
    [
        ([10, 10], [1, 11], "n_correct must not exceed n_samples"),
        ([10, 10], [1, 2, 3], r"must broadcast; found shapes \(2,\) and \(3,\)"),
        ([[10, 10]], [[1, 2]], "two vectors of one length"),
        ([10, np.nan, 0], [1, 2, 0], "at least two items with samples and one with two; 1 items have some, at most 10"),
        ([1, 1, 1], [1, 0, 0], "3 items have some, at most 1 each"),
        ([], [], "0 items have some, at most 0"),
        ([10, 20], [0, 0], "all samples of all 2 items are wrong"),
        ([10, 20], [10, 20], "all samples of all 2 items are right"),
    ],
)
def test_counts_without_a_distribution_are_refused(n, c, message):
    with pytest.raises(irsl.DataError, match=message):
        tail_index(n, c)
