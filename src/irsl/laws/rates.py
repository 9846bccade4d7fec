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

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, expit, log_expit, logit, logsumexp

from irsl.likelihoods import Likelihood
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
ETA = np.linspace(-40.0, 25.0, 651)


@dataclass(frozen=True)
class Curves:
    """Mean rates of items as functions of ability, with what is open about them: some shifts of every intercept.

    Attributes
    ----------
    slope, intercept : (n_items,) float64
        Of eta = slope theta + intercept.
    mean : (n,) float64 or None
        Logit of the mean rate at the eta of `ETA`; None: it is eta, the curve is logistic.
    shift, log_weight : (n_nodes, n_items) float64 or None
        Shifts of the intercept and their log probabilities; None: it is exact.
    """

    slope: Array
    intercept: Array
    mean: Array | None = None
    shift: Array | None = None
    log_weight: Array | None = None

    @classmethod
    def of(cls, slope: Array, intercept: Array, likelihood: Likelihood) -> Curves:
        """Exact curves of items that were calibrated with this likelihood."""
        mean = logit(likelihood.response_mean(ETA, 0.0))
        return cls(slope, intercept, None if np.allclose(mean, ETA, atol=1e-4) else mean)

    def logit(self, ability: Array | float) -> Array:
        """Logit of the mean rate without shifts: (..., n_items) for abilities (..., 1)."""
        return self.logit_at(self.slope * ability + self.intercept)

    def logit_at(self, eta: Array) -> Array:
        """Logit of the mean rate where slope theta + intercept is `eta`."""
        return eta if self.mean is None else np.interp(eta, ETA, self.mean)

    def take(self, items: NDArray[Any]) -> Curves:
        """Return those of some items."""
        shift, log_weight = (None if x is None else x[:, items] for x in (self.shift, self.log_weight))
        return Curves(self.slope[items], self.intercept[items], self.mean, shift, log_weight)

    def nodes(self) -> list[tuple[Curves, Array]]:
        """Exact curves for every shift, and the log probabilities of their items, (n_items,)."""
        if self.shift is None or self.log_weight is None:
            return [(self, np.zeros_like(self.slope))]
        return [
            (Curves(self.slope, self.intercept + shift, self.mean), weight)
            for shift, weight in zip(self.shift, self.log_weight, strict=True)
        ]


@dataclass(frozen=True)
class Cells:
    """Counts of one subject, and the curves of the items that they are on.

    Attributes
    ----------
    n_samples, n_correct : (n_items,) float64
        0 and 0 where an item was not sampled.
    curves : Curves
    """

    n_samples: Array
    n_correct: Array
    curves: Curves

    def flat(self) -> Cells:
        """Return the same counts on items of which nothing is known: the logit of the mean rate is ability itself."""
        ones = np.ones_like(self.n_samples)
        return Cells(self.n_samples, self.n_correct, Curves(ones, 0.0 * ones))


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

    def moments(self, spread: int, share: int) -> tuple[float, float]:
        """Mean and standard deviation of ability given these."""
        weight, ability = np.exp(self.log_weight[spread, share]), self.ability[spread]
        mean = float(weight @ ability / weight.sum())
        return mean, float(np.sqrt(weight @ (ability - mean) ** 2 / weight.sum()))

    def typical_ability(self, prior: Array) -> float:
        """Posterior mean of ability, with these prior probabilities of spreads and shares, (N_SPREADS, n_shares)."""
        log_weight = self.log_marginal + np.log(np.maximum(prior, SMALLEST))
        weight = np.exp(log_weight - log_weight.max())
        mean = (np.exp(self.log_weight) * self.ability[:, None, :]).sum(axis=2)
        return float((weight * mean).sum() / weight.sum())


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
    curves, pair = cells.curves.take(asked), marginals.pair[asked]
    zero = cells.n_correct[asked] == 0

    def log_joint(ability: Array, nodes: list[tuple[Curves, Array]]) -> Array:
        """(N_SPREADS, n_shares, T) at abilities (N_SPREADS, T)."""
        at = _averaged(marginals.table, pair, nodes, ability[:, :, None])
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
    value = log_joint(ability, Curves.nodes(replace(curves, shift=None)))
    for turn in range(PASSES):
        best = value.max(axis=1)  # over shares
        kept = best > best.max(axis=1, keepdims=True) - KEPT_NATS
        step = ability[:, 1] - ability[:, 0]
        low = np.take_along_axis(ability, kept.argmax(axis=1)[:, None], 1)[:, 0] - step
        last = kept.shape[1] - 1 - kept[:, ::-1].argmax(axis=1)
        high = np.take_along_axis(ability, last[:, None], 1)[:, 0] + step
        ability = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, FINE)
        # what is open about the items matters to the result, not to where it is looked for
        value = log_joint(ability, Curves.nodes(curves if turn == PASSES - 1 else replace(curves, shift=None)))
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
    eta = cells.curves.logit(ability)
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
    eta = cells.curves.logit(ability)
    log_marginal = interpolate(marginals.table[[spread]], marginals.pair, eta[None, None, :])[0, 0]
    return np.where(cells.n_correct > 0, 0.0, share / (share + (1.0 - share) * np.exp(log_marginal)))


def drawn_curves(
    cells: Cells, marginals: Marginals, spread: int, share: float, ability: float, rng: np.random.Generator
) -> Cells:
    """Return the cells with one shift drawn for every item from its posterior given the cell's counts."""
    nodes = cells.curves.nodes()
    if len(nodes) == 1:
        return cells
    log_weight = np.empty((len(nodes), cells.n_samples.size))
    for row, (curves, prior) in zip(log_weight, nodes, strict=True):
        solvable = interpolate(marginals.table[[spread]], marginals.pair, curves.logit(ability)[None, None])[0, 0]
        never = np.where((cells.n_correct == 0) & (share > 0), np.log(max(share, SMALLEST)), -np.inf)
        row[:] = prior + np.logaddexp(np.log1p(-share) + solvable, never)
    weight = np.exp(log_weight - log_weight.max(axis=0))
    chosen = (weight.cumsum(axis=0) < rng.random(weight.shape[1]) * weight.sum(axis=0)).sum(axis=0)
    shift = np.stack([curves.intercept for curves, _ in nodes])[
        np.minimum(chosen, len(nodes) - 1), np.arange(chosen.size)
    ]
    return replace(cells, curves=Curves(cells.curves.slope, shift, cells.curves.mean))


def _averaged(table: Array, pair: NDArray[np.intp], nodes: list[tuple[Curves, Array]], ability: Array) -> Array:
    """Log marginal likelihoods, (S, T, n_items) at abilities (S, T, 1), averaged over what is open about the items."""
    total = None
    for curves, log_weight in nodes:
        value = interpolate(table, pair, curves.logit(ability)) + log_weight
        total = value if total is None else np.logaddexp(total, value)
    assert total is not None
    return total


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


def interpolate(table: Array, pair: NDArray[np.intp], eta: Array) -> Array:
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
