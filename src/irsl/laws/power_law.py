"""The classical law of repeated sampling, pass@k = exp(-a k^-b), and what its exponent comes from.

For a dataset whose items are solved at rates p, pass@k is E[1 - (1 - p)^k]. Where the density of p falls like
p^(alpha - 1) towards 0, 1 - pass@k, and so -log pass@k, goes as k^-alpha for large k: each item fails exponentially in
k, and only the items with the smallest rates are left to make a power of it. The law is therefore a statement about
the tail of the rates, and about large k. It breaks where a class of items cannot be solved at all (pass@k levels off
below 1), where the tail is thin (rates bounded away from 0: pass@k reaches 1 exponentially), and for small k, where the
bulk of the rates counts. `fit_power_law` fits the curve; `tail_index` estimates alpha from the counts themselves.

Source: Brown et al. (2024), Large Language Monkeys, for the law; Schaeffer et al. (2025), How Do Large Language Monkeys
Get Their Power (Laws)?, for the tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, minimize
from scipy.special import betaln, digamma, expit, gammaln, logit, polygamma

from irsl.errors import DataError
from irsl.laws.pass_at_k import checked_counts
from irsl.likelihoods.base import Array

MIN_POINTS = 3
LOG_BOUNDS = (-12.0, 12.0)  # of log alpha and log beta: beyond, no data tell one from the other
LOGIT_BOUNDS = (-20.0, 20.0)  # of the share that cannot be solved
STARTS = (0.1, 1.0)  # alpha + beta of the first guesses: most of the rates near 0 and 1, and spread out
SHARE_STARTS = (0.1, 0.9)  # of the items without a right sample


@dataclass(frozen=True)
class PowerLaw:
    """pass@k = exp(-a k^-b).

    Attributes
    ----------
    a : float
        -log pass@1.
    b : float
        Exponent; positive where pass@k rises.
    se_log_a, se_b : float
        Standard errors from the scatter of the points about the law. Values of pass@k at several k that come from the
        same samples err together, which the scatter does not show: these errors are then too small.
    """

    a: float
    b: float
    se_log_a: float
    se_b: float

    def at(self, k: ArrayLike) -> Array:
        """pass@k of the law at any k > 0."""
        return np.asarray(np.exp(-self.a * np.asarray(k, dtype=np.float64) ** -self.b))


def fit_power_law(k: ArrayLike, pass_at_k: ArrayLike, *, weights: ArrayLike | None = None) -> PowerLaw:
    """Fit pass@k = exp(-a k^-b) by least squares of log(-log pass@k) = log a - b log k.

    A pass@k of 0, 1 or NaN has no such logarithm and is left out.

    Parameters
    ----------
    k : (n,) array_like
        Positive.
    pass_at_k : (n,) array_like
        In 0..1; NaN where missing.
    weights : (n,) array_like, optional
        Inverse variances of `pass_at_k`, up to a common factor; 0 leaves a point out. By the delta method a point then
        counts with weight (P log P)^2, P its pass@k, because d log(-log P) / dP = 1 / (P log P). Without them all
        points count alike on the log-log scale.

    Raises
    ------
    DataError
        Lengths differ, a k is not positive, a pass@k lies outside 0..1, a weight is negative or not finite, or fewer
        than three points (or a single k) can be used.

    Source: Brown et al. (2024) for the law; least squares on this scale is ours.
    """
    ks, p = np.asarray(k, dtype=np.float64), np.asarray(pass_at_k, dtype=np.float64)
    w = np.ones_like(p) if weights is None else np.asarray(weights, dtype=np.float64)
    if ks.ndim != 1 or not ks.shape == p.shape == w.shape:
        raise DataError(
            f"k, pass_at_k and weights must be vectors of one length; found {ks.shape}, {p.shape}, {w.shape}"
        )
    for name, values, good in (
        ("k must be positive and finite", ks, np.isfinite(ks) & (ks > 0)),
        ("pass_at_k must lie in 0..1", p, np.isnan(p) | ((p >= 0) & (p <= 1))),
        ("weights must be finite and not negative", w, np.isfinite(w) & (w >= 0)),
    ):
        if not good.all():
            first = int(np.argmin(good))
            raise DataError(
                f"{name}; found {values[first]:.15g} (number {first}, from 0; the first of {(~good).sum()})"
            )
    used = (p > 0) & (p < 1) & (w > 0)
    n_distinct = np.unique(ks[used]).size
    if used.sum() < MIN_POINTS or n_distinct < 2:
        raise DataError(
            f"a power law needs at least {MIN_POINTS} points with 0 < pass@k < 1 and a weight, at 2 values of k or "
            f"more; {int(used.sum())} of {p.size} points are such, at {n_distinct} values of k"
        )
    x, y = np.log(ks[used]), np.log(-np.log(p[used]))
    w = w[used] if weights is None else w[used] * (p[used] * np.log(p[used])) ** 2
    w = w / w.sum()
    centre, mean = w @ x, w @ y
    spread = w @ (x - centre) ** 2
    slope = w @ ((x - centre) * y) / spread
    variance = w @ (y - mean - slope * (x - centre)) ** 2 / (x.size - 2)
    return PowerLaw(
        a=float(np.exp(mean - slope * centre)),
        b=float(-slope),
        se_log_a=float(np.sqrt(variance * (1.0 + centre**2 / spread))),
        se_b=float(np.sqrt(variance / spread)),
    )


@dataclass(frozen=True)
class TailIndex:
    """Beta(alpha, beta) distribution of the items' rates, and the same beside items that cannot be solved at all.

    Attributes
    ----------
    alpha : float
        Exponent of the density's tail at 0, and of the power law for large k where that tail is right.
    se_alpha : float
        From the observed information with beta estimated too; NaN where the likelihood has no maximum inside the bounds
        (counts no more spread than equal rates would give, or hardly a tail to speak of).
    beta : float
    log_likelihood : float
    share_unsolvable : float
        Share of items of rate 0 in the second distribution.
    alpha_solvable, beta_solvable : float
        Of the other items there.
    log_likelihood_unsolvable : float
        Of the second distribution; never below the first, which is its case of share 0.
    """

    alpha: float
    se_alpha: float
    beta: float
    log_likelihood: float
    share_unsolvable: float
    alpha_solvable: float
    beta_solvable: float
    log_likelihood_unsolvable: float

    @property
    def likelihood_ratio(self) -> float:
        """Twice the gain in log-likelihood by the unsolvable items.

        A share of 0 lies on the boundary, so that without such items the statistic is 0 half of the time and
        chi-squared of one degree otherwise: it is significant at 5 % above 2.71. Source: Self and Liang (1987), case 5.
        """
        return 2.0 * (self.log_likelihood_unsolvable - self.log_likelihood)


def tail_index(n_samples: ArrayLike, n_correct: ArrayLike) -> TailIndex:
    """Maximum likelihood of a Beta distribution of single-sample rates, from counts: c ~ beta-binomial(n, alpha, beta).

    pass@k of Beta(alpha, beta) rates is 1 - B(alpha, beta + k) / B(alpha, beta), which for large k is
    1 - Gamma(alpha + beta) / Gamma(beta) k^-alpha, so that alpha is the exponent b that the power law then has. This
    holds only where the density of rates falls like p^(alpha - 1) all the way to 0. Counts of n samples say little of
    rates far below 1 / n: how the rates are distributed there is the Beta's assumption. A class of unsolvable items and
    a heavy tail both show as items with no right sample; the likelihood ratio against the second fit tells them apart
    only so far as n is large enough for the tail's items to be solved now and then. A class of unsolvable items that is
    left out pulls alpha down.

    Parameters
    ----------
    n_samples, n_correct : (n_items,) array_like
        Samples and right ones of each item; n may differ. Items with NaN or no samples are left out.

    Raises
    ------
    DataError
        A count is impossible, fewer than two items have samples, none has two, or all samples of all items are right,
        or wrong: then no distribution is the most likely.

    Source: Schaeffer et al. (2025) for the tail; Skellam (1948) for the beta-binomial distribution.
    """
    n, c = checked_counts(n_samples, n_correct)
    if n.ndim != 1 or n.shape != c.shape:
        raise DataError(f"counts must be two vectors of one length; found shapes {n.shape} and {c.shape}")
    there = ~np.isnan(n) & ~np.isnan(c) & (n > 0)
    n, c = n[there], c[there]
    if n.size < 2 or n.max() < 2:
        raise DataError(
            f"a distribution of rates needs at least two items with samples and one with two; {n.size} items have "
            f"some, at most {int(n.max(initial=0))} each"
        )
    if c.sum() == 0 or (c == n).all():
        raise DataError(
            f"all samples of all {n.size} items are {'wrong' if c.sum() == 0 else 'right'}: no rate is likeliest"
        )
    pairs, items = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    model = _Rates(pairs[0], pairs[1], items.astype(np.float64))
    rate = float(np.clip(c.sum() / n.sum(), 1e-4, 1.0 - 1e-4))
    starts = [np.log([total * rate, total * (1.0 - rate)]) for total in STARTS]
    plain = _best(model, starts, [LOG_BOUNDS] * 2)
    none_right = float((c == 0).mean())
    shares = [logit(np.clip(share * none_right, 1e-4, 0.99)) for share in SHARE_STARTS]
    mixed_starts = [np.append(start, share) for start in (plain.x, *starts) for share in shares]
    mixed = _best(model, mixed_starts, [*[LOG_BOUNDS] * 2, LOGIT_BOUNDS])
    alpha, beta = np.exp(plain.x)
    better = mixed.fun < plain.fun  # otherwise the share runs to its bound at 0
    return TailIndex(
        alpha=float(alpha),
        se_alpha=model.se_alpha(plain.x),
        beta=float(beta),
        log_likelihood=float(-plain.fun),
        share_unsolvable=float(expit(mixed.x[2])) if better else 0.0,
        alpha_solvable=float(np.exp(mixed.x[0])) if better else float(alpha),
        beta_solvable=float(np.exp(mixed.x[1])) if better else float(beta),
        log_likelihood_unsolvable=float(-mixed.fun) if better else float(-plain.fun),
    )


@dataclass(frozen=True)
class _Rates:
    """Distinct pairs of counts, and how many items have each."""

    n: Array
    c: Array
    items: Array

    def minus_log_likelihood(self, x: Array) -> tuple[float, Array]:
        """At x = log alpha, log beta and, where it has a third, the logit of the unsolvable share; and its gradient."""
        alpha, beta = np.exp(x[:2])
        n, c = self.n, self.c
        choose = gammaln(n + 1.0) - gammaln(c + 1.0) - gammaln(n - c + 1.0)
        log = choose + betaln(c + alpha, n - c + beta) - betaln(alpha, beta)
        both = digamma(alpha + beta) - digamma(n + alpha + beta)
        d_alpha = alpha * (digamma(c + alpha) - digamma(alpha) + both)
        d_beta = beta * (digamma(n - c + beta) - digamma(beta) + both)
        if x.size == 2:
            return -float(self.items @ log), -np.array([self.items @ d_alpha, self.items @ d_beta])
        share = expit(x[2])
        log_solvable = log - np.logaddexp(0.0, x[2])
        log_both = np.where(c == 0, np.logaddexp(log_solvable, -np.logaddexp(0.0, -x[2])), log_solvable)
        solvable = self.items * np.exp(log_solvable - log_both)  # items expected to be of the Beta
        d_share = self.items.sum() * (1.0 - share) - solvable.sum()
        return -float(self.items @ log_both), -np.array([solvable @ d_alpha, solvable @ d_beta, d_share])

    def se_alpha(self, x: Array) -> float:
        """From the observed information about alpha and beta; NaN at the bounds and where it is not definite."""
        alpha, beta = np.exp(x)
        both = polygamma(1, alpha + beta) - polygamma(1, self.n + alpha + beta)
        information = np.array(
            [
                [polygamma(1, alpha) - polygamma(1, self.c + alpha) - both, -both],
                [-both, polygamma(1, beta) - polygamma(1, self.n - self.c + beta) - both],
            ]
        )
        ((aa, ab), (_, bb)) = information @ self.items
        determinant = aa * bb - ab**2
        inside = np.all((x > LOG_BOUNDS[0]) & (x < LOG_BOUNDS[1]))
        return float(np.sqrt(bb / determinant)) if inside and aa > 0 and determinant > 0 else float("nan")


def _best(model: _Rates, starts: list[Array], bounds: list[tuple[float, float]]) -> OptimizeResult:
    """The likeliest of the maxima found from the starts."""
    found = [
        minimize(
            model.minus_log_likelihood,
            np.clip(start, *np.transpose(bounds)),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"ftol": 1e-13, "gtol": 1e-8 * model.items.sum(), "maxiter": 500},
        )
        for start in starts
    ]
    return min(found, key=lambda result: result.fun)
