"""Single-sample success rates of one subject on many items: what the counts and the items say of them together.

The rate p of a cell is 0 with probability u (an item that this subject never solves), else it scatters about the curve
of the item, logistic(eta), eta = a theta + d, which is its mean, in one of several ways:

    beta     p ~ Beta(m s, (1 - m) s), m = logistic(eta): a power law near 0, p^(m s - 1)
    normal   logit p normal about a centre, with the same or different scales below and above it: thinner tails
    t        logit p as Student's t with 3 degrees of freedom: a narrow middle and heavy tails

None fits all benchmarks (docs/test_time.md), so the spread s, the share u, the kind and the ability theta are averaged
over a grid, weighted by the marginal likelihood of the counts. The likelihood of counts is the same whether n was fixed
beforehand or sampling stopped because of the outcome. Everything is summed on one grid of logits; docs/mathematics.md,
section 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, expit, log_expit, logit, logsumexp

from irsl.likelihoods.base import Array

STEP = 0.1
LOGITS = np.arange(-25.0, 15.0 + STEP / 2, STEP)  # rates from 1e-11 to 1 - 3e-7
SHARP = 1.0 / STEP**2  # information about a logit beyond which a cell's likelihood is narrower than the grid
BETA_SPREADS = np.geomspace(0.3, 3000.0, 16)
# skew r, so that scales below and above the centre are s / sqrt(r) and s sqrt(r), and degrees of freedom
SHAPES = ((0.4, np.inf), (1.0, np.inf), (2.5, np.inf), (1.0, 3.0))
LOGIT_SPREADS = np.array([(s, *shape) for shape in SHAPES for s in np.geomspace(0.1, 6.0, 16)])
SHARES = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
SHARE_PRIOR = np.append(0.2, np.full(SHARES.size - 1, 0.8 / (SHARES.size - 1)))  # before any data
N_SPREADS = BETA_SPREADS.size + len(LOGIT_SPREADS)
COARSE, FINE, PASSES = 33, 17, 2  # abilities looked at: over the prior, then about the peak, so many times
KEPT_NATS = 14.0
PRODUCTS = 100  # factors of at least the smallest share, multiplied before a logarithm is taken
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
        Of every kind and spread (the Betas, then LOGIT_SPREADS) and share, ability integrated.
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
        eta = slope * ability[:, :, None] + intercept
        at = _interpolate(marginals.table, pair, eta)
        solved = at[:, :, ~zero].sum(axis=2)
        value = np.empty((ability.shape[0], SHARES.size, ability.shape[1]))
        value[:, 0] = solved + at[:, :, zero].sum(axis=2)
        rate = np.exp(at[:, :, zero])  # never above 1, and of the coefficient of 0 in n nothing is left out
        for index, u in enumerate(SHARES[1:], 1):
            value[:, index] = solved + (~zero).sum() * np.log1p(-u)
            for start in range(0, rate.shape[2], PRODUCTS):
                value[:, index] += np.log((u + (1.0 - u) * rate[:, :, start : start + PRODUCTS]).prod(axis=2))
        return np.asarray(value - 0.5 * ((ability[:, None, :] - prior_mean) / prior_sd) ** 2)

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
    log_likelihood = logit_likelihood(n_samples, n_correct)
    top = log_likelihood.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.maximum(np.exp(log_likelihood - top) @ _kernels()[1], SMALLEST)) + top)


def weights(cells: Cells, log_likelihood: Array, spread: int, ability: float) -> NDArray[np.float32]:
    """Posterior weights of every cell's rate on the grid of logits, (n_items, n_logits), where it is not 0 for ever.

    `log_likelihood` is `logit_likelihood` of the cells' counts.
    """
    eta = cells.slope * ability + cells.intercept
    value = log_likelihood
    if spread < BETA_SPREADS.size:
        s = BETA_SPREADS[spread]
        alpha, beta = np.maximum(expit(eta) * s, SMALLEST), np.maximum(expit(-eta) * s, SMALLEST)
        value = value + alpha[:, None] * log_expit(LOGITS) + beta[:, None] * log_expit(-LOGITS)
        n, k = _softened(cells.n_samples, cells.n_correct)
        # beyond the grid's ends the density falls like exp(alpha x) and exp(-beta x)
        value[:, 0] += np.log(0.5 + 1.0 / (STEP * (alpha + k)))
        value[:, -1] += np.log(0.5 + 1.0 / (STEP * (beta + n - k)))
    else:
        own = spread - BETA_SPREADS.size
        value = value + _log_density(LOGITS - np.interp(eta, LOGITS, _kernels()[0][own])[:, None], *LOGIT_SPREADS[own])
    value -= value.max(axis=1, keepdims=True)
    weight = np.exp(value.astype(np.float32))
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray(weight)


def never_solved(cells: Cells, marginals: Marginals, spread: int, share: float, ability: float) -> Array:
    """(n_items,) posterior probability that the subject never solves an item."""
    eta = cells.slope * ability + cells.intercept
    log_marginal = _interpolate(marginals.table[[spread]], marginals.pair, eta[None, None, :])[0, 0]
    return np.where(cells.n_correct > 0, 0.0, share / (share + (1.0 - share) * np.exp(log_marginal)))


def _softened(n_samples: Array, n_correct: Array) -> tuple[Array, Array]:
    """Counts with their information about the logit bounded by what the grid resolves, the rate kept."""
    information = n_correct * (1.0 - n_correct / np.maximum(n_samples, 1.0))
    factor = np.minimum(1.0, SHARP / np.maximum(information, SHARP))
    return n_samples * factor, n_correct * factor


def logit_likelihood(n_samples: Array, n_correct: Array) -> Array:
    """(n_pairs, n_logits) log probability of k of n at every logit of the rate, without the binomial coefficient."""
    n, k = _softened(n_samples, n_correct)
    return np.asarray(k[:, None] * log_expit(LOGITS) + (n - k)[:, None] * log_expit(-LOGITS))


def _log_density(distance: Array, spread: float, skew: float, degrees: float) -> Array:
    """Log density of a normal or t with different scales below and above its centre, without its constant."""
    squared = (distance / (spread * np.where(distance < 0, skew**-0.5, skew**0.5))) ** 2
    return np.asarray(-0.5 * squared if np.isinf(degrees) else -0.5 * (degrees + 1.0) * np.log1p(squared / degrees))


@cache
def _kernels() -> tuple[Array, Array]:
    """Centres (n, n_logits) at which the mean rate is logistic(eta), and densities there (n, n_logits, n_logits)."""
    centres, kernels = [], []
    for own in LOGIT_SPREADS:
        kernel = np.exp(_log_density(LOGITS[:, None] - LOGITS, *own))
        mean = expit(LOGITS) @ (kernel / kernel.sum(axis=0))
        centre = np.interp(LOGITS, logit(mean), LOGITS)
        kernel = np.exp(_log_density(LOGITS[:, None] - centre, *own))
        centres.append(centre)
        kernels.append(kernel / kernel.sum(axis=0))
    return np.array(centres), np.array(kernels)


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
