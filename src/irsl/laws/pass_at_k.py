"""pass@k: the probability that at least one of k samples solves an item, from c successes in n samples.

Four estimates of 1 - (1 - p)^k for an item's unknown rate p. `pass_at_k` is the unbiased one and the one to report; it
exists for k <= n only. `plug_in`, `bias_corrected` and `posterior_mean` also go beyond n, at the price of a bias that
their docstrings state. `dataset_pass_at_k` averages the unbiased one over items, with two standard errors.

The unbiased estimate and the posterior mean are both 1 minus a ratio of four gamma functions,

    G(z + k) G(z + c) / (G(z + c + k) G(z)),

whose logarithms cancel almost entirely: at n = 3e6 their plain sum keeps 7 digits at best. With Stirling's
log G(x) = (x - 1/2) log x - x + log(2 pi) / 2 + r(x) and a = z + c + k the logarithm of the ratio is exactly

    k log(1 - c/a) + c log(1 - k/a) + (z - 1/2) log(1 + c k / (a z)) + r(z + k) + r(z + c) - r(a) - r(z).

The first two terms are at most -c k / a each and the third, without its 1/2, lies between 0 and c k / a, so that no
more than a factor of three is lost to cancellation, for any n, c and k.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from irsl.errors import DataError
from irsl.likelihoods.base import Array

BLOCK_CELLS = 1 << 16  # cells worked on at once: half a megabyte an array, so that they stay in the cache
STIRLING_FROM = 10  # from here on the series below is exact to 3e-17
# B_2m / (2 m (2 m - 1)), m = 1...7: Abramowitz and Stegun (1964), 6.1.40
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def pass_at_k(n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike) -> Array:
    """Unbiased estimate of the probability that at least one of k samples is right: 1 - C(n - c, k) / C(n, k).

    It is the share of the subsets of k of the n samples that hold a right one. The relative error is a few
    1e-15 at any n, also where the value is tiny.

    Parameters
    ----------
    n_samples : array_like
        Samples n drawn of each item; NaN where missing.
    n_correct : array_like
        Right ones c among them; NaN where missing.
    k : array_like
        Whole, at least 1. All three broadcast: counts of (n_curves, 1) and k of (K,) give (n_curves, K).

    Returns
    -------
    float64 in 0..1, of the broadcast shape
        NaN where k > n (there is no unbiased estimate beyond n) and where a count is missing; 0 where c = 0; 1 where
        n - c < k <= n.

    Raises
    ------
    DataError
        Shapes do not broadcast, a count is negative or not whole, c > n, or k is below 1 or not whole; the first is
        named.

    Source: Chen et al. (2021), Evaluating Large Language Models Trained on Code, equation 1.
    """
    n, c, k = _checked(n_samples, n_correct, k)
    return np.asarray(0.0 - np.expm1(_log_all_wrong(n, c, k)))


def dataset_pass_at_k(n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike) -> pl.DataFrame:
    """Mean of the unbiased pass@k over the items of a dataset, and its two standard errors.

    The errors answer different questions and are not to be added. `se_items` is about the mean over all items that the
    dataset could have had: sd over items / sqrt(J), which already contains what the samples add. `se_samples` is about
    these very items had more samples been drawn: the root of the sum over items of the jackknife variance

        (n - 1)/n [c (g(n-1, c-1) - m)^2 + (n - c) (g(n-1, c) - m)^2] = (n - 1) c (n - c) / n^2 D^2,
        D = g(n-1, c) - g(n-1, c-1) = k / (n - k) C(n-1-c, k-1) / C(n-1, k-1),

    over J^2, where g is pass@k and m = g(n, c), which is the mean of the n leave-one-out values. For k = 1 it is
    p (1 - p) / (n - 1). It is too large on average, little for k well below n and much for k near n, and it is 0, too
    small, for an item with none or all right.

    Parameters
    ----------
    n_samples, n_correct : (n_items,) array_like
        n and c of each item; n may differ. A missing item (NaN) makes all means null: leave it out first.
    k : (K,) array_like
        Whole, at least 1.

    Returns
    -------
    polars.DataFrame, a row per k
        k; pass_at_k, the mean, null where some item has n < k, for it would be a mean over other items; se_items, null
        also for a single item; se_samples, null also where some item has n = k; n_items, J.

    Raises
    ------
    DataError
        As `pass_at_k`; or the counts are not two vectors of one length of at least one item, or k is not a vector.

    Source: Chen et al. (2021), equation 1; Miller (2024), Adding Error Bars to Evals, for se_items; Efron
    and Stein (1981), The Jackknife Estimate of Variance, for se_samples and the sign of its bias.
    """
    (n, c), ks = checked_counts(n_samples, n_correct), _checked_k(k)
    if n.ndim != 1 or n.shape != c.shape or n.size == 0 or ks.ndim != 1:
        raise DataError(
            "a dataset needs a vector of samples and one of right ones, of one length, and a vector of k; found shapes "
            f"{n.shape}, {c.shape} and {ks.shape}"
        )
    n_items = n.size
    mean, se_items, se_samples = (np.full(ks.size, np.nan) for _ in range(3))
    weight = (n - 1.0) * c * (n - c) / np.maximum(n, 1.0) ** 2  # 0 where all are right or none
    there = np.flatnonzero(ks <= n.min())  # none where a count is missing
    n_each = max(1, BLOCK_CELLS // n_items)
    for block in (there[start : start + n_each] for start in range(0, there.size, n_each)):
        drawn = ks[block, None]
        value = 0.0 - np.expm1(_log_all_wrong(n, c, drawn))
        mean[block] = value.mean(axis=1)
        if n_items > 1:
            se_items[block] = value.std(axis=1, ddof=1) / np.sqrt(n_items)
        below = block[ks[block] < n.min()]
        drawn = ks[below, None]
        difference = drawn / (n - drawn) * np.exp(_log_all_wrong(n - 1.0, np.minimum(c, n - 1.0), drawn - 1.0))
        se_samples[below] = np.sqrt(difference**2 @ weight) / n_items
    columns = {"k": ks.astype(np.int64), "pass_at_k": mean, "se_items": se_items, "se_samples": se_samples}
    return pl.DataFrame(columns).with_columns(pl.exclude("k").fill_nan(None), n_items=pl.lit(n_items, pl.Int64))


def plug_in(n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike) -> Array:
    """Pass@k with the observed rate in the place of the true one: 1 - (1 - c/n)^k.

    Biased low, for 1 - (1 - p)^k is concave in p: by about k (k - 1) p (1 - p)^(k - 1) / (2 n), and by everything where
    c = 0 though p > 0. It exists for every k.

    Parameters
    ----------
    n_samples, n_correct, k : array_like
        As for `pass_at_k`.

    Returns
    -------
    float64 in 0..1, of the broadcast shape; NaN where n is 0 or a count is missing

    Raises
    ------
    DataError
        As `pass_at_k`.
    """
    n, c, k = _checked(n_samples, n_correct, k)
    return np.asarray(0.0 - np.expm1(k * _log_of_rest(c, n - c, _or_nan(n))))


def bias_corrected(n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike) -> Array:
    """Plug-in pass@k with its bias removed to the first order in 1/n, clipped to 0..1.

    With h(p) = 1 - (1 - p)^k and q = c/n, E h(q) = h(p) + h''(p) Var(q) / 2 + ..., where h'' = -k (k - 1) (1 - p)^(k-2)
    and Var(q) = p (1 - p) / n. The second term is negative, so that its estimate is added:

        h(q) + k (k - 1) / 2 (1 - q)^(k - 2) q (1 - q) / n.

    It fails where k^2 p is not small against n: the terms left out are then as large as the one added, and the value
    can exceed 1 before it is clipped. It adds nothing where c = 0, where the bias is worst. For k <= n `pass_at_k` has
    no bias at all.

    Parameters
    ----------
    n_samples, n_correct, k : array_like
        As for `pass_at_k`.

    Returns
    -------
    float64 in 0..1, of the broadcast shape; NaN where n is 0 or a count is missing

    Raises
    ------
    DataError
        As `pass_at_k`.

    Source: the second-order delta method, as derived above.
    """
    n, c, k = _checked(n_samples, n_correct, k)
    rate = c / _or_nan(n)
    all_wrong = np.power(1.0 - rate, k - 1.0)
    correction = 0.5 * k * (k - 1.0) * all_wrong * rate / _or_nan(n)
    return np.asarray(np.clip(plug_in(n, c, k) + correction, 0.0, 1.0))


def posterior_mean(
    n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike, *, alpha: float = 0.5, beta: float = 0.5
) -> Array:
    """Posterior mean of 1 - (1 - p)^k where p has a Beta(alpha, beta) prior.

    The posterior is Beta(alpha + c, beta + n - c), so E (1 - p)^k = B(alpha + c, beta + n - c + k) / B(alpha + c,
    beta + n - c). For k far above n the value is the prior's work: it tends to 1 as k^-(alpha + c), also where nothing
    was ever right. n = 0 gives the pass@k of the prior itself.

    Parameters
    ----------
    n_samples, n_correct, k : array_like
        As for `pass_at_k`; k may exceed n.
    alpha, beta : float
        Of the prior, positive; the defaults are Jeffreys'.

    Returns
    -------
    float64 in 0..1, of the broadcast shape; NaN where a count is missing

    Raises
    ------
    DataError
        As `pass_at_k`; or alpha or beta is not positive and finite.

    Source: the Beta's normalising constant; Jeffreys (1961), section 3.10, for the prior.
    """
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 < value < np.inf:
            raise DataError(f"{name} of a Beta prior must be positive and finite; found {value}")
    n, c, k = _checked(n_samples, n_correct, k)
    right, wrong = alpha + c, beta + (n - c)
    return np.asarray(0.0 - np.expm1(_log_gamma_ratio(right, k, right + wrong + k, wrong + k, right + wrong, wrong)))


def checked_counts(n_samples: ArrayLike, n_correct: ArrayLike) -> tuple[Array, Array]:
    """Samples and right ones as float64, refused where they cannot be counts; NaN is missing and stays.

    Parameters
    ----------
    n_samples, n_correct : array_like
        They broadcast.

    Raises
    ------
    DataError
        Shapes do not broadcast, a count is negative or not whole, or c > n; the first is named.
    """
    n, c = (np.asarray(v, dtype=np.float64) for v in (n_samples, n_correct))
    _broadcast_shape(n, c)
    for name, counts in (("n_samples", n), ("n_correct", c)):
        bad = ~np.isnan(counts) & ~(np.isfinite(counts) & (counts >= 0) & (counts == np.floor(counts)))
        if bad.any():
            index, place = _place(bad)
            raise DataError(f"{name} must be whole and not negative; found {counts[index]:.15g}{place}")
    bad = np.asarray(c > n)
    if bad.any():
        index, place = _place(bad)
        right, of = (np.broadcast_to(v, bad.shape)[index] for v in (c, n))
        raise DataError(f"n_correct must not exceed n_samples; found {right:.15g} of {of:.15g} samples{place}")
    return n, c


def _checked(n_samples: ArrayLike, n_correct: ArrayLike, k: ArrayLike) -> tuple[Array, Array, Array]:
    n, c = checked_counts(n_samples, n_correct)
    ks = _checked_k(k)
    _broadcast_shape(n, c, ks)
    return n, c, ks


def _checked_k(k: ArrayLike) -> Array:
    ks = np.asarray(k, dtype=np.float64)
    bad = ~(np.isfinite(ks) & (ks >= 1) & (ks == np.floor(ks)))
    if bad.any():
        index, place = _place(bad)
        raise DataError(f"k must be whole and at least 1; found {ks[index]:.15g}{place}")
    return ks


def _broadcast_shape(*arrays: Array) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*(x.shape for x in arrays))
    except ValueError:
        shapes = " and ".join(str(x.shape) for x in arrays)
        raise DataError(f"n_samples, n_correct and k must broadcast; found shapes {shapes}") from None


def _place(bad: NDArray[np.bool_]) -> tuple[tuple[int, ...], str]:
    """Index of the first that is bad, and a clause that says it and how many there are."""
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    number = ", ".join(str(i) for i in index)
    return index, f" (number {number}, from 0; the first of {int(bad.sum())})" if index else ""


def _or_nan(n: Array) -> Array:
    """Counts to divide by: NaN for 0."""
    return np.where(n > 0, n, np.nan)


def _log_all_wrong(n: Array, c: Array, k: Array) -> Array:
    """Log of C(n - c, k) / C(n, k): -inf where n - c < k <= n, NaN where k > n or a count is missing.

    Block by block along the first axis, each with its terms on arrays as small as broadcasting leaves them.
    """
    shape = np.broadcast_shapes(n.shape, c.shape, k.shape)
    parts = [np.reshape(x, (1,) * (max(len(shape), 1) - x.ndim) + x.shape) for x in (n, c, k)]
    log = np.empty(shape or (1,))
    n_rows = max(1, BLOCK_CELLS // max(1, log[:1].size))
    for start in range(0, len(log), n_rows):
        rows = slice(start, start + n_rows)
        _fill_log_all_wrong(log[rows], *(x[rows] if x.shape[0] > 1 else x for x in parts))
    return log.reshape(shape)


def _fill_log_all_wrong(log: Array, n: Array, c: Array, k: Array) -> None:
    if n.size and (n == n.flat[0]).all():
        # Most datasets have one n: the terms without c are then of the size of k.
        n = n.reshape(-1)[:1].reshape((1,) * n.ndim)
    missing = np.isnan(n) | np.isnan(c)
    total, right = np.where(np.isnan(n), 0.0, n), np.where(missing, 0.0, c)
    drawn = np.minimum(k, total)
    wrong = total - right
    left = wrong - drawn + 1.0  # so that C(n - c, k) is 0 where `left` is not positive
    log[...] = _log_gamma_ratio(right, drawn, total + 1.0, wrong + 1.0, total - drawn + 1.0, np.maximum(left, 1.0))
    np.copyto(log, -np.inf, where=left < 1.0)
    np.copyto(log, np.nan, where=(k > total) | missing)


def _log_gamma_ratio(c: Array, k: Array, a: Array, a_less_c: Array, a_less_k: Array, z: Array) -> Array:
    """Log of G(a - c) G(a - k) / (G(a) G(z)), z = a - c - k > 0: the module's docstring.

    The differences are arguments because callers know them without rounding.
    """
    log = np.asarray(c * k / (a * z))
    np.log1p(log, out=log)
    log *= z - 0.5
    log += k * _log_of_rest(c, a_less_c, a)
    log += c * _log_of_rest(k, a_less_k, a)
    log += _stirling_rest(a_less_c) - _stirling_rest(a)  # in pairs, so that c = 0 gives 0 exactly
    log += _stirling_rest(a_less_k) - _stirling_rest(z)
    return log


def _log_of_rest(part: Array, rest: Array, whole: Array) -> Array:
    """Log of 1 - part / whole, exact at both ends; -inf where nothing is left."""
    share = part / whole
    with np.errstate(divide="ignore"):
        return np.where(share < 0.5, np.log1p(-share), np.log(rest / whole))


def _stirling_rest(z: Array) -> Array:
    """R(z) = log G(z) - (z - 1/2) log z + z - log(2 pi) / 2.

    Below `STIRLING_FROM` by r(z) = r(z + 1) + (z + 1/2) log(1 + 1/z) - 1, which is G(z + 1) = z G(z).
    """
    small = z < STIRLING_FROM
    low = z[small]
    inverse = np.array(z)
    inverse[small] += STIRLING_FROM
    np.divide(1.0, inverse, out=inverse)
    square = inverse * inverse
    rest = np.full_like(square, STIRLING[-1])
    for coefficient in STIRLING[-2::-1]:
        rest *= square
        rest += coefficient
    rest *= inverse
    if low.size:
        rest[small] += sum((low + i + 0.5) * np.log1p(1.0 / (low + i)) - 1.0 for i in range(STIRLING_FROM))
    return rest
