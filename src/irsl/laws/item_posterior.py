"""What the samples of all subjects leave open about every item: a posterior of its slope and intercept on a grid.

Calibrated items are modes. From a score of subjects their curves have errors of some tenths of a logit, with a long
tail towards hard items, since counts of 0 bound them on one side only; rates far below one over the samples depend on
it. At the ability of a subject the posterior becomes three curves with probabilities. A subject's own counts must not
be used twice: its curves come from the counts of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

from irsl.laws import rates
from irsl.laws.rates import Cells, Curves, Evidence, Marginals
from irsl.likelihoods.base import Array

# places in standard errors of log slope, and of the intercept beside what it has in common with the slope
SLOPES, INTERCEPTS = (
    np.linspace(-2.4, 2.4, 7),
    np.concatenate([np.arange(-7.0, -3.0), np.arange(-3.0, 3.6, 0.4), [4.5]]),
)
CURVES = np.array([0.0, 0.25, 0.75, 1.0])  # shares of the probability that each of the three stands for
ABILITIES, ABILITY_WEIGHTS = np.array([-1.0, 0.0, 1.0]) * np.sqrt(3.0), np.array([1.0, 4.0, 1.0]) / 6.0
ATOMS, ATOMS_SHARE = 4, 0.8  # kinds, spreads and shares of rates that are looked at: the likeliest
PASSES = 100
LEAST_VARIANCE = 0.01


@dataclass(frozen=True)
class ItemPosterior:
    """Posterior probabilities of curves.

    Attributes
    ----------
    slope, intercept, log_weight : (n_places, n_items) float64
    """

    slope: Array
    intercept: Array
    log_weight: Array

    def at(self, curves: Curves, ability: float) -> Curves:
        """Exact curves with the shifts that stand for this posterior at an ability, and have its mean and variance."""
        gap = (self.slope - curves.slope) * ability + self.intercept - curves.intercept
        order = gap.argsort(axis=0)
        gap = np.take_along_axis(gap, order, 0)
        weight = np.exp(np.take_along_axis(self.log_weight, order, 0))
        mean = (weight * gap).sum(axis=0)
        sd = np.sqrt((weight * (gap - mean) ** 2).sum(axis=0))
        upper = weight.cumsum(axis=0)
        share = np.diff(CURVES)[:, None]
        inside = [
            np.clip(np.minimum(upper, high) - np.maximum(upper - weight, low), 0, None)
            for low, high in pairwise(CURVES)
        ]
        shift = np.stack([(part * gap).sum(axis=0) for part in inside]) / share
        shift -= (share * shift).sum(axis=0)
        own = np.sqrt((share * shift**2).sum(axis=0))
        shift = mean + shift * np.divide(sd, own, out=np.zeros_like(sd), where=own > 0)
        return replace(curves, shift=shift, log_weight=np.broadcast_to(np.log(share), shift.shape))


def item_posterior(
    subjects: Sequence[Cells], marginals: Sequence[Marginals], found: Sequence[Evidence], prior: Array, errors: Array
) -> tuple[ItemPosterior, list[Curves]]:
    """Posterior of the items from the counts of all subjects, and the curves of each from those of the others.

    Parameters
    ----------
    subjects : cells of every subject, on common exact curves
    marginals, found : of every subject
    prior : (N_SPREADS, n_shares) float64
        How rates scatter about the curves, and how many items are never solved.
    errors : (n_items, 2, 2) float64
        Covariance of log slope and intercept: where to look.
    """
    curves = subjects[0].curves
    slope, intercept = _places(curves, errors)
    order = np.argsort(-prior.ravel(), kind="stable")
    mass = prior.ravel()[order] / prior.sum()
    order = order[: min(ATOMS, int((mass.cumsum() < ATOMS_SHARE).sum()) + 1)]
    log_mass = np.log(prior.ravel()[order] / prior.ravel()[order].sum())
    own = np.full((len(subjects), *slope.shape), -np.inf)
    everybody = np.full(slope.shape, -np.inf)
    for atom, mass_of_atom in zip(order, log_mass, strict=True):
        spread, share = (int(x) for x in np.unravel_index(atom, prior.shape))
        each = [
            _log_likelihood(cells, tables, evidence, spread, share, slope, intercept)
            for cells, tables, evidence in zip(subjects, marginals, found, strict=True)
        ]
        log_posterior = _posterior(np.sum(each, axis=0), slope, intercept)
        np.logaddexp(everybody, log_posterior + mass_of_atom, out=everybody)
        for others, counts in zip(own, each, strict=True):
            part = log_posterior - counts
            # without these counts, each kind is as likely as before
            np.logaddexp(others, part - logsumexp(part, axis=0) + mass_of_atom, out=others)
    of_others = [
        ItemPosterior(slope, intercept, part).at(curves, evidence.typical_ability(prior))
        for part, evidence in zip(own, found, strict=True)
    ]
    return ItemPosterior(slope, intercept, everybody), of_others


def _places(curves: Curves, errors: Array) -> tuple[Array, Array]:
    """Slopes and intercepts looked at, (n_places, n_items)."""
    sd = np.sqrt(errors[:, 0, 0])
    common = np.divide(errors[:, 0, 1], errors[:, 0, 0], out=np.zeros_like(sd), where=sd > 0)
    rest = np.sqrt(np.maximum(errors[:, 1, 1] - common * errors[:, 0, 1], 0.0))
    first, second = (x.ravel()[:, None] for x in np.meshgrid(SLOPES, INTERCEPTS, indexing="ij"))
    return curves.slope * np.exp(first * sd), curves.intercept + first * sd * common + second * rest


def _log_likelihood(
    cells: Cells, marginals: Marginals, found: Evidence, spread: int, share: int, slope: Array, intercept: Array
) -> Array:
    """(n_places, n_items) log likelihood of the counts of one subject, its ability averaged over its posterior."""
    asked = np.flatnonzero(cells.n_samples > 0)
    places = Curves(slope[:, asked], intercept[:, asked], cells.curves.mean)
    zero, u = cells.n_correct[asked] == 0, rates.SHARES[share]
    mean, sd = found.moments(spread, share)
    total = np.full((slope.shape[0], asked.size), -np.inf)
    for step, weight in zip(ABILITIES, ABILITY_WEIGHTS, strict=True):
        eta = places.logit(mean + step * sd)
        value = rates.interpolate(marginals.table[[spread]], marginals.pair[asked], eta[None])[0]
        if u > 0:
            value = np.logaddexp(np.log1p(-u) + value, np.where(zero, np.log(u), -np.inf))
        np.logaddexp(total, value + np.log(weight), out=total)
    result = np.zeros_like(slope)
    result[:, asked] = total
    return result


def _posterior(log_likelihood: Array, slope: Array, intercept: Array) -> Array:
    """(n_places, n_items) log posterior; normal priors of log slopes and intercepts are estimated by EM."""
    log_slope = np.log(slope)
    # places are uneven along the intercept; what is common to all of an item drops out
    log_width = np.tile(np.log(np.gradient(INTERCEPTS)), SLOPES.size)[:, None]
    weight = np.full(slope.shape, 1.0 / slope.shape[0])
    for _ in range(PASSES):
        log_posterior = log_likelihood + log_width
        for x in (log_slope, intercept):
            mean = (weight * x).sum(axis=0).mean()
            variance = max(float((weight * (x - mean) ** 2).sum(axis=0).mean()), LEAST_VARIANCE)
            log_posterior = log_posterior - 0.5 * (x - mean) ** 2 / variance
        log_posterior -= logsumexp(log_posterior, axis=0)
        weight = np.exp(log_posterior)
    return np.asarray(log_posterior)
