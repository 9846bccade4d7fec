"""pass@k against exact fractions, subsets, sums over the binomial, and products in extended precision."""

from fractions import Fraction
from itertools import combinations
from math import comb, expm1, fsum, log1p

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

import irsl
from irsl.laws import pass_at_k as module
from irsl.laws.pass_at_k import bias_corrected, dataset_pass_at_k, pass_at_k, plug_in, posterior_mean


def exact(n, c, k):
    """A fraction, for k <= n."""
    return 1 - Fraction(comb(n - c, k), comb(n, k))


def slow(n, c, k):
    """Product over the smaller of c and k of 1 - (the other) / (n - i), its logarithms summed without rounding."""
    few, many = sorted((c, k))
    return -expm1(fsum(log1p(-many / (n - i)) for i in range(few)))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (10, 3, 1, 0.3),
        (10, 3, 2, 8 / 15),
        (10, 3, 5, 11 / 12),
        (10, 3, 8, 1.0),
        (10, 0, 5, 0.0),
        (100, 1, 10, 0.1),
        (2560, 1, 1000, 0.390625),
        (2560, 13, 100, 0.4050271515516),
        (200, 17, 10, 0.5974489015799),
        (50, 5, 10, 0.6894372179954),
    ],
)
def test_values(n, c, k, expected):
    """Reference value A1."""
    assert pass_at_k(n, c, k) == pytest.approx(expected, rel=0, abs=1e-12)


def test_beyond_n_there_is_no_estimate():
    """Reference value A1, defect B3: not 1 where nothing was right."""
    assert np.isnan(pass_at_k(2048, 0, 2049))
    np.testing.assert_array_equal(np.isnan(pass_at_k(3, [0, 1, 3], [[3], [4]])), [[False] * 3, [True] * 3])
    assert np.isnan(pass_at_k(0, 0, 1))


def test_all_small_cases_equal_fractions():
    n, c, k = np.array([(n, c, k) for n in range(1, 26) for c in range(n + 1) for k in range(1, n + 1)]).T
    values = pass_at_k(n, c, k)
    truth = np.array([float(exact(*map(int, case))) for case in zip(n, c, k, strict=True)])
    np.testing.assert_allclose(values, truth, rtol=1e-14, atol=0)
    assert (values[c == 0] == 0).all()
    assert not np.signbit(values[c == 0]).any()
    assert (values[k > n - c] == 1).all()


def test_cases_of_thousands_equal_fractions():
    rng = np.random.default_rng(0)
    n = rng.integers(50, 3000, 150)
    c, k = (np.minimum(n, np.exp(rng.uniform(0, np.log(n + 0.5))).astype(int)) for _ in range(2))
    truth = [float(exact(*map(int, case))) for case in zip(n, c, k, strict=True)]
    np.testing.assert_allclose(pass_at_k(n, c, k), truth, rtol=1e-14)


@pytest.mark.parametrize(
    ("n", "c", "k"),
    [
        (1_000_000, 1, 1),
        (1_000_000, 3, 250_000),
        (1_000_000, 1000, 700),
        (1_000_000, 999_000, 3),
        (1_000_000, 2, 999_998),
        (3_000_000, 1, 2_999_999),
        (3_000_000, 1, 7),
        (3_000_000, 20_000, 20),
        (3_000_000, 40, 30_000),
        (3_000_000, 2_999_999, 1),
        (3_000_000, 17, 2_999_000),
    ],
)
def test_millions_of_samples_keep_relative_accuracy(n, c, k):
    assert pass_at_k(n, c, k) == pytest.approx(slow(n, c, k), rel=1e-14, abs=0)


def test_it_is_the_share_of_subsets_with_a_right_one():
    samples = np.array([1, 0, 0, 1, 0, 0, 0, 1])
    for k in range(1, 9):
        share = np.mean([max(subset) for subset in combinations(samples, k)])
        assert pass_at_k(8, 3, k) == pytest.approx(share, rel=1e-14)


def test_of_one_sample_it_is_the_rate():
    for n in (1, 7, 2560, 3_000_000):
        c = np.unique(np.linspace(0, n, 50).astype(int))
        np.testing.assert_allclose(pass_at_k(n, c, 1), c / n, rtol=1e-14)


def test_it_rises_in_k_and_in_c():
    values = pass_at_k(2560, np.arange(0, 2561, 8)[:, None], np.arange(1, 2561))
    assert (np.diff(values, axis=1) >= -1e-15).all()
    assert (np.diff(values, axis=0) >= -1e-15).all()
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9])
def test_it_is_unbiased(p):
    """Summed over the binomial distribution of c."""
    n, k = 30, np.arange(1, 31)
    c = np.arange(n + 1)
    np.testing.assert_allclose(binom.pmf(c, n, p) @ pass_at_k(n, c[:, None], k), 1 - (1 - p) ** k, rtol=1e-12)


def test_arguments_broadcast_and_missing_counts_stay_missing():
    n, c = np.array([[10.0], [np.nan], [8.0]]), np.array([3.0, np.nan, 0.0, 8.0])
    values = pass_at_k(n, c[:, None, None], np.array([1, 2, 9]))
    assert values.shape == (4, 3, 3)
    for i, j, m in np.ndindex(values.shape):
        case = n[j, 0], c[i], (1, 2, 9)[m]
        known = not np.isnan(case[:2]).any() and case[2] <= case[0]
        expected = float(exact(*map(int, case))) if known else np.nan
        assert values[i, j, m] == pytest.approx(expected, rel=1e-14, nan_ok=True)
    assert pass_at_k(10, 3, 1).shape == ()
    assert pass_at_k([], [], 1).shape == (0,)


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    n = rng.integers(5, 40, (30, 1))
    c, k = rng.binomial(n, 0.2), np.arange(1, 40)
    whole = pass_at_k(n, c, k)
    monkeypatch.setattr(module, "BLOCK_CELLS", 100)
    np.testing.assert_array_equal(pass_at_k(n, c, k), whole)


FUNCTIONS = [pass_at_k, plug_in, bias_corrected, posterior_mean, dataset_pass_at_k]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (
            [5, 5, 5],
            [1, 6, 7],
            [1],
            r"must not exceed n_samples; found 6 of 5 samples \(number 1, from 0; the first of 2",
        ),
        ([5, -1], [1, 0], [1], r"n_samples must be whole and not negative; found -1 \(number 1"),
        ([5, np.inf], [1, 0], [1], "n_samples must be whole and not negative; found inf"),
        ([5, 5], [0.5, 1], [1], r"n_correct must be whole and not negative; found 0.5 \(number 0"),
        ([5, 5], [1, 1], [1, 0], r"k must be whole and at least 1; found 0 \(number 1"),
        ([5, 5], [1, 1], [2.5], "k must be whole and at least 1; found 2.5"),
        ([5, 5], [1, 1], [np.nan], "k must be whole and at least 1; found nan"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(function, n, c, k, message):
    with pytest.raises(irsl.DataError, match=message):
        function(n, c, k)


def test_the_place_in_a_table_and_of_a_single_number():
    with pytest.raises(irsl.DataError, match=r"found 9 of 4 samples \(number 1, 2, from 0; the first of 1\)"):
        pass_at_k([[10], [4]], [1, 2, 9], 1)
    with pytest.raises(irsl.DataError, match=r"must broadcast; found shapes \(2,\) and \(2,\) and \(3,\)"):
        pass_at_k([4, 5], [1, 2], [1, 2, 3])
    with pytest.raises(irsl.DataError, match=r"found 3 of 2 samples$"):
        pass_at_k(2, 3, 1)


def jackknife(n, c, k):
    """Variance of pass@k by leaving out every sample in turn."""
    left = [float(exact(n - 1, c - 1, k)) for _ in range(c)] + [float(exact(n - 1, c, k)) for _ in range(n - c)]
    return (n - 1) * np.var(left)


def test_a_dataset_is_a_mean_with_errors_over_items_and_over_samples():
    n, c, ks = [10, 12, 8, 9, 20], [3, 0, 8, 1, 12], [1, 3, 7, 8, 9]
    table = dataset_pass_at_k(n, c, ks)
    assert table.schema == {
        "k": pl.Int64, "pass_at_k": pl.Float64, "se_items": pl.Float64, "se_samples": pl.Float64, "n_items": pl.Int64,
    }  # fmt: skip
    assert table["k"].to_list() == ks
    assert table["n_items"].to_list() == [5] * 5
    for row in table.head(4).iter_rows(named=True):
        values = [float(exact(*pair, row["k"])) for pair in zip(n, c, strict=True)]
        assert row["pass_at_k"] == pytest.approx(np.mean(values), rel=1e-13)
        assert row["se_items"] == pytest.approx(np.std(values, ddof=1) / 5**0.5, rel=1e-12)
        if row["k"] < 8:
            variance = sum(jackknife(*pair, row["k"]) for pair in zip(n, c, strict=True))
            assert row["se_samples"] == pytest.approx(variance**0.5 / 5, rel=1e-12)
    assert table["se_samples"].to_list()[3:] == [None, None]
    assert table.row(4)[1:3] == (None, None)


def test_errors_of_one_sample_are_the_textbooks():
    """sqrt(sum p (1 - p) / (n - 1)) / J."""
    n, c = np.array([50, 60, 70]), np.array([5, 30, 69])
    p = c / n
    row = dataset_pass_at_k(n, c, [1]).row(0, named=True)
    assert row["se_samples"] == pytest.approx(np.sqrt((p * (1 - p) / (n - 1)).sum()) / 3, rel=1e-13)


def test_the_error_over_samples_is_that_of_repetitions():
    """2,000 datasets of the same 40 rates: the sd of their means, within 5 % (its own error is 1.6 %)."""
    rng = np.random.default_rng(0)
    rate, n, k = rng.beta(0.5, 2, 40), 100, 5
    c = rng.binomial(n, rate, (2000, 40))
    spread = pass_at_k(n, c, k).mean(axis=1).std()
    claimed = np.mean([dataset_pass_at_k(np.full(40, n), counts, [k])["se_samples"][0] ** 2 for counts in c[:200]])
    assert np.sqrt(claimed) == pytest.approx(spread, rel=0.05)


def test_datasets_at_the_limits():
    assert dataset_pass_at_k([4], [2], [1, 4, 5]).rows() == [
        (1, pytest.approx(0.5, rel=1e-14), None, pytest.approx((0.25 / 3) ** 0.5), 1),
        (4, 1.0, None, None, 1),
        (5, None, None, None, 1),
    ]
    assert dataset_pass_at_k([4, np.nan], [2, np.nan], [1]).row(0) == (1, None, None, None, 2)
    assert dataset_pass_at_k([4, 0], [2, 0], [1]).row(0) == (1, None, None, None, 2)
    assert dataset_pass_at_k([4, 4], [0, 4], [2]).row(0) == (2, 0.5, 0.5, 0.0, 2)
    assert dataset_pass_at_k([4, 4], [0, 4], []).shape == (0, 5)
    for bad in (([], [], [1]), ([4, 4], [1], [1]), ([[4]], [[1]], [1]), ([4], [1], 1)):
        with pytest.raises(irsl.DataError, match="a dataset needs a vector"):
            dataset_pass_at_k(*bad)


def test_the_plug_in():
    """n = 50, c = 5, k = 10: .6513 against .6894 unbiased (the reference system's defect B7)."""
    assert plug_in(50, 5, 10) == pytest.approx(1 - 0.9**10, rel=1e-14)
    np.testing.assert_array_equal(plug_in(5, [0, 5], [[1], [1000]]), [[0, 1], [0, 1]])
    assert plug_in(3_000_000, 1, 2) == pytest.approx(2 / 3e6 - 1 / 9e12, rel=1e-14)
    np.testing.assert_array_equal(plug_in([0, np.nan, 4], [0, 0, np.nan], 2), [np.nan] * 3)


def test_the_correction_removes_the_first_order_of_the_bias():
    """Bias summed over the binomial: of order 1/n for the plug-in, and low; of order 1/n^2 corrected."""
    p, k = 0.1, 6
    truth = 1 - (1 - p) ** k
    bias = {}
    for n in (100, 200):
        c = np.arange(n + 1)
        weight = binom.pmf(c, n, p)
        bias[n] = [weight @ f(n, c, k) - truth for f in (plug_in, bias_corrected)]
        assert bias[n][0] == pytest.approx(-k * (k - 1) / 2 * (1 - p) ** (k - 1) * p / n, rel=0.1)
    assert bias[100][0] / bias[200][0] == pytest.approx(2, rel=0.05)
    assert bias[100][1] / bias[200][1] == pytest.approx(4, rel=0.1)
    assert abs(bias[100][1]) < 0.1 * abs(bias[100][0])


def test_the_correction_at_the_limits():
    assert bias_corrected(50, 5, 10) == pytest.approx(plug_in(50, 5, 10) + 45 * 0.9**8 * 0.09 / 50, rel=1e-13)
    np.testing.assert_array_equal(bias_corrected(5, [0, 5], [[1], [9]]), [[0, 1], [0, 1]])
    assert bias_corrected(10, 1, 20) == 1
    np.testing.assert_array_equal(bias_corrected([0, np.nan], 0, 2), [np.nan] * 2)


@pytest.mark.parametrize(("n", "c", "k"), [(10, 3, 1), (10, 0, 7), (10, 10, 3), (40, 2, 500), (0, 0, 3)])
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 3.0)])
def test_the_posterior_mean_is_an_integral(n, c, k, alpha, beta):
    posterior = beta_distribution(alpha + c, beta + n - c)
    ends = posterior.ppf([0.0, 0.1, 0.5, 0.9, 1.0])
    pieces = [
        quad(lambda u: float(-np.expm1(k * np.log1p(-posterior.ppf(u)))), *posterior.cdf(ends[i : i + 2]), limit=200)[0]
        for i in range(4)
    ]
    assert posterior_mean(n, c, k, alpha=alpha, beta=beta) == pytest.approx(sum(pieces), rel=1e-6)


def test_the_posterior_mean_is_exact_with_a_uniform_prior():
    """alpha = beta = 1: product over i < k of (1 + n - c + i) / (2 + n + i), a fraction."""
    for n, c, k in ((0, 0, 1), (5, 2, 3), (30, 1, 200), (100, 100, 4)):
        wrong = Fraction(1)
        for i in range(k):
            wrong *= Fraction(1 + n - c + i, 2 + n + i)
        assert posterior_mean(n, c, k, alpha=1.0, beta=1.0) == pytest.approx(float(1 - wrong), rel=1e-13)


@pytest.mark.parametrize(("n", "c", "k"), [(3_000_000, 0, 5), (3_000_000, 9, 300_000), (10, 1, 1_000_000)])
def test_the_posterior_mean_of_millions_is_the_product(n, c, k):
    """Product over i < k of 1 - (alpha + c) / (alpha + beta + n + i)."""
    wrong = fsum(np.log1p(-(0.5 + c) / (1.0 + n + np.arange(k))))
    assert posterior_mean(n, c, k) == pytest.approx(-expm1(wrong), rel=2e-13)


def test_the_posterior_mean_at_the_limits():
    assert posterior_mean(0, 0, 1) == pytest.approx(0.5)
    assert np.isnan(posterior_mean(np.nan, 0, 1))
    large = posterior_mean(10_000_000, 3_000_000, np.array([1, 5]), alpha=1e-3, beta=1e-3)
    np.testing.assert_allclose(large, 1 - 0.7 ** np.array([1, 5]), rtol=1e-6)
    assert posterior_mean([[10], [20]], [0, 1, 2], 3).shape == (2, 3)
    for bad in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(irsl.DataError, match="alpha of a Beta prior must be positive"):
            posterior_mean(5, 1, 1, alpha=bad)
