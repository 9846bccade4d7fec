"""Single-sample success rates of one subject on many items: what the counts and the items say of them together.

The rate p of a cell is 0 with probability u (an item that this subject never solves), else it scatters about the curve
of the item, eta = a theta + d on the logit scale, in one of two ways:

    beta           p ~ Beta(m s, (1 - m) s), m = logistic(eta): a power law near 0, p^(m s - 1)
    logit_normal   logit p ~ N(eta sqrt(1 + .346 s^2), s^2), of which m is very nearly the mean: a thinner tail

Neither fits all benchmarks (docs/test_time.md), so the spread s, the share u, the kind and the ability theta are
averaged over a grid, weighted by the marginal likelihood of the counts. The likelihood of counts is the same whether n
was fixed beforehand or sampling stopped because of the outcome. Everything is summed on one grid of logits;
docs/mathematics.md, section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, expit, log_expit, logsumexp

from irsl.likelihoods.base import PROBIT, Array

STEP = 0.1
LOGITS = np.arange(-25.0, 15.0 + STEP / 2, STEP)  # rates from 1e-11 to 1 - 3e-7
SHARP = 1.0 / STEP**2  # information about a logit beyond which a cell's likelihood is narrower than the grid
BETA_SPREADS = np.geomspace(0.3, 3000.0, 20)
NORMAL_SPREADS = np.geomspace(0.1, 6.0, 20)
SHARES = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
SHARE_PRIOR = np.append(0.5, np.full(SHARES.size - 1, 0.5 / (SHARES.size - 1)))  # before any data
N_SPREADS = BETA_SPREADS.size + NORMAL_SPREADS.size
# the curves are of means over the scatter
STRETCH = np.append(np.ones(BETA_SPREADS.size), np.sqrt(1.0 + (PROBIT * NORMAL_SPREADS) ** 2))
COARSE, FINE, PASSES = 33, 17, 2  # abilities looked at: over the prior, then about the peak, so many times
KEPT_NATS = 14.0
SMALLEST = 1e-300


@dataclass(frozen=True)
class Cells:
    """Counts of one subject, and the curves of the items that they are on.

    Attributes
    ----------
    n_samples, n_correct : (n_items,) float64
        0 and 0 where an item was not sampled.
    slope, intercept : (n_items,) float64
        Of eta = slope theta + intercept.
    """

    n_samples: Array
    n_correct: Array
    slope: Array
    intercept: Array

    def flat(self) -> Cells:
        """Return the same counts on items of which nothing is known: eta is ability itself."""
        return Cells(self.n_samples, self.n_correct, np.ones_like(self.slope), np.zeros_like(self.slope))


@dataclass(frozen=True)
class Evidence:
    """Marginal likelihoods of one subject's counts.

    Attributes
    ----------
    log_marginal : (N_SPREADS, n_shares) float64
        Of every kind and spread (beta's, then logit_normal's) and share, ability integrated.
    log_weight : (N_SPREADS, n_shares, FINE) float64
        Of ability within each, summing to 1.
    ability : (N_SPREADS, FINE) float64
    """

    log_marginal: Array
    log_weight: Array
    ability: Array


@dataclass(frozen=True)
class Marginals:
    """Log marginal likelihoods of the distinct counts of one subject, where eta is known.

    Attributes
    ----------
    pair : (n_items,) intp
        Row of every item in the table.
    table : (N_SPREADS, n_pairs, n_logits) float64
    """

    pair: NDArray[np.intp]
    table: Array

    @classmethod
    def of(cls, cells: Cells) -> Marginals:
        """Work out the table of a subject's counts."""
        pairs, pair = np.unique(np.stack([cells.n_samples, cells.n_correct]), axis=1, return_inverse=True)
        return cls(pair.ravel(), log_marginal_table(pairs[0], pairs[1]))


def evidence(cells: Cells, marginals: Marginals, prior_mean: float, prior_sd: float) -> Evidence:
    """Marginal likelihoods with ability integrated against a normal prior.

    Items that were not sampled say nothing and cost nothing.
    """
    asked = cells.n_samples > 0
    slope, intercept, pair = cells.slope[asked], cells.intercept[asked], marginals.pair[asked]
    zero = cells.n_correct[asked] == 0

    def log_joint(ability: Array) -> Array:
        """(N_SPREADS, n_shares, T) at abilities (N_SPREADS, T)."""
        eta = STRETCH[:, None, None] * (slope * ability[:, :, None] + intercept)
        at = _interpolate(marginals.table, pair, eta)
        log_u, log_not_u = np.log(np.maximum(SHARES, SMALLEST)), np.log1p(-SHARES)
        total = at[:, :, ~zero].sum(axis=2)[:, None, :] + (~zero).sum() * log_not_u[:, None]
        never = np.logaddexp(at[:, None, :, zero] + log_not_u[:, None, None], log_u[:, None, None])
        return np.asarray(total + never.sum(axis=3) - 0.5 * ((ability[:, None, :] - prior_mean) / prior_sd) ** 2)

    reach = prior_sd * np.sqrt(2.0 * KEPT_NATS)
    ability = np.broadcast_to(np.linspace(prior_mean - reach, prior_mean + reach, COARSE), (N_SPREADS, COARSE))
    value = log_joint(ability)
    for _ in range(PASSES):
        best = value.max(axis=1)  # over shares
        kept = best > best.max(axis=1, keepdims=True) - KEPT_NATS
        step = ability[:, 1] - ability[:, 0]
        low = np.take_along_axis(ability, kept.argmax(axis=1)[:, None], 1)[:, 0] - step
        last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        high = np.take_along_axis(ability, last[:, None], 1)[:, 0] + step
        ability = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, FINE)
        value = log_joint(ability)
    step = ability[:, 1] - ability[:, 0]
    value += np.log(step)[:, None, None] - np.log(prior_sd * np.sqrt(2 * np.pi))
    log_marginal = logsumexp(value, axis=2)
    return Evidence(log_marginal, value - log_marginal[:, :, None], ability)


def log_marginal_table(n_samples: Array, n_correct: Array) -> Array:
    """(N_SPREADS, n_pairs, n_logits) log probability of k of n at every eta, without the binomial coefficient."""
    return np.concatenate([_log_beta(n_samples, n_correct), _log_normal(n_samples, n_correct)])


def _log_beta(n_samples: Array, n_correct: Array) -> Array:
    n, k, s = n_samples[:, None], n_correct[:, None], BETA_SPREADS[:, None, None]
    alpha, beta = expit(LOGITS) * s, expit(-LOGITS) * s
    return np.asarray(betaln(alpha + k, beta + n - k) - betaln(alpha, beta))


def _log_normal(n_samples: Array, n_correct: Array) -> Array:
    log_likelihood = _log_likelihood(n_samples, n_correct)
    top = log_likelihood.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.maximum(np.exp(log_likelihood - top) @ _normal_kernels(), SMALLEST)) + top)


def weights(cells: Cells, spread: int, ability: float) -> Array:
    """Posterior weights of every cell's rate on the grid of logits, (n_items, n_logits), where it is not 0 for ever."""
    eta = STRETCH[spread] * (cells.slope * ability + cells.intercept)
    value = _log_likelihood(cells.n_samples, cells.n_correct)
    if spread < BETA_SPREADS.size:
        s = BETA_SPREADS[spread]
        alpha, beta = np.maximum(expit(eta) * s, SMALLEST), np.maximum(expit(-eta) * s, SMALLEST)
        value = value + alpha[:, None] * log_expit(LOGITS) + beta[:, None] * log_expit(-LOGITS)
        n, k = _softened(cells.n_samples, cells.n_correct)
        # beyond the grid's ends the density falls like exp(alpha x) and exp(-beta x)
        value[:, 0] += np.log(0.5 + 1.0 / (STEP * (alpha + k)))
        value[:, -1] += np.log(0.5 + 1.0 / (STEP * (beta + n - k)))
    else:
        s = NORMAL_SPREADS[spread - BETA_SPREADS.size]
        value = value - 0.5 * ((LOGITS - np.clip(eta, LOGITS[0], LOGITS[-1])[:, None]) / s) ** 2
    value -= value.max(axis=1, keepdims=True)
    weight = np.exp(value)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def never_solved(cells: Cells, marginals: Marginals, spread: int, share: float, ability: float) -> Array:
    """(n_items,) posterior probability that the subject never solves an item."""
    eta = STRETCH[spread] * (cells.slope * ability + cells.intercept)
    log_marginal = _interpolate(marginals.table[[spread]], marginals.pair, eta[None, None, :])[0, 0]
    return np.where(cells.n_correct > 0, 0.0, share / (share + (1.0 - share) * np.exp(log_marginal)))


def _softened(n_samples: Array, n_correct: Array) -> tuple[Array, Array]:
    """Counts with their information about the logit bounded by what the grid resolves, the rate kept."""
    information = n_correct * (1.0 - n_correct / np.maximum(n_samples, 1.0))
    factor = np.minimum(1.0, SHARP / np.maximum(information, SHARP))
    return n_samples * factor, n_correct * factor


def _log_likelihood(n_samples: Array, n_correct: Array) -> Array:
    """(n_pairs, n_logits), without the binomial coefficient."""
    n, k = _softened(n_samples, n_correct)
    return np.asarray(k[:, None] * log_expit(LOGITS) + (n - k)[:, None] * log_expit(-LOGITS))


@cache
def _normal_kernels() -> Array:
    """(n_spreads, n_logits, n_logits) normal densities about every eta, each summing to 1."""
    distance = LOGITS[:, None] - LOGITS
    kernel = np.exp(-0.5 * (distance / NORMAL_SPREADS[:, None, None]) ** 2)
    return np.asarray(kernel / kernel.sum(axis=1, keepdims=True))


def _interpolate(table: Array, pair: NDArray[np.intp], eta: Array) -> Array:
    """Cubic (four-point Lagrange) interpolation of (S, n_pairs, n_logits) at eta (S, T, n_items): (S, T, n_items)."""
    place = np.clip((eta - LOGITS[0]) / STEP, 1.0, LOGITS.size - 3.0)
    left = place.astype(np.intp)
    left = np.minimum(left, LOGITS.size - 3)
    t = place - left
    spread = np.arange(table.shape[0])[:, None, None]
    y = [table[spread, pair, left + shift] for shift in (-1, 0, 1, 2)]
    return np.asarray(
        -t * (t - 1) * (t - 2) / 6 * y[0]
        + (t + 1) * (t - 1) * (t - 2) / 2 * y[1]
        - (t + 1) * t * (t - 2) / 2 * y[2]
        + (t + 1) * t * (t - 1) / 6 * y[3]
    )
