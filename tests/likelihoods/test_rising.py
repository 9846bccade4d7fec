"""Rising factorials against running sums in extended precision, and against SciPy's gamma functions."""

import numpy as np
import pytest
from scipy.special import digamma, gammaln, polygamma

from irsl.likelihoods.rising import FIRST, log_rising, rising_slopes

SHAPES = np.geomspace(1e-6, 1e7, 27)[:, None]


def every(counts):
    """Every shape with every count, as items and levels."""
    counts = np.asarray(counts, dtype=float)
    return np.repeat(np.arange(SHAPES.size), counts.size), np.tile(counts, SHAPES.size)


def test_no_digits_are_lost_up_to_ten_thousand_factors():
    counts = np.unique(np.append(np.arange(2 * FIRST), np.geomspace(20, 10_000, 30).round().astype(int)))
    item, count = every(counts)
    factors = SHAPES.astype(np.longdouble) + np.arange(10_000)

    def expected(terms):
        sums = np.concatenate([np.zeros((SHAPES.size, 1)), np.cumsum(terms, axis=1)], axis=1)
        return sums[:, counts].astype(float).ravel()

    first, second = rising_slopes(SHAPES, item, count)
    np.testing.assert_allclose(log_rising(SHAPES, item, count)[:, 0], expected(np.log(factors)), rtol=1e-13, atol=2e-12)
    np.testing.assert_allclose(first[:, 0], expected(1 / factors), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(second[:, 0], expected(-1 / factors**2), rtol=1e-7, atol=1e-22)


@pytest.mark.parametrize("counts", [[0, 1, 7, 8, 9, 10, 11, 100], [1e4, 1e5, 3e6, 1e7]])
def test_scipys_differences_of_gamma_functions(counts):
    item, count = every(counts)
    s = SHAPES[item, 0]
    first, second = rising_slopes(SHAPES, item, count)

    def close(ours, function, atol):
        scale = np.maximum(np.abs(function(s)), np.abs(function(s + count)))  # of what SciPy's rounding is relative to
        assert (np.abs(ours[:, 0] - (function(s + count) - function(s))) <= 1e-14 * scale + atol).all()

    close(log_rising(SHAPES, item, count), gammaln, 2e-12)
    close(first, digamma, 2e-12)
    close(second, lambda x: polygamma(1, x), 2e-12)


def test_every_point_of_an_item_and_blocks_of_levels():
    rng = np.random.default_rng(0)
    shape, item = rng.gamma(2.0, size=(50, 30)), np.repeat(np.arange(50), 40)
    count = rng.integers(0, 3000, item.size).astype(float)
    together = log_rising(shape, item, count), *rising_slopes(shape, item, count)
    for j in range(30):
        part = shape[:, [j]]
        alone = log_rising(part, item, count), *rising_slopes(part, item, count)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[:, [j]], b, rtol=1e-14)
