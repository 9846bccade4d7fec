"""Empirical-Bayes prior on the items: (log a, d) of one scale's items are draws from a normal distribution.

With few subjects the item parameters are the incidental ones; their prior is estimated with them. Its variances are
the mean squared deviation of the items plus their own posterior variance (an EM step with a Laplace approximation),
together with one pseudo-item at the scale's customary spread, which keeps a variance from collapsing to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irsl.likelihoods.base import Array

PSEUDO_ITEMS = 1.0  # at log a = 0 for the mean of log a; the mean of d is free, as the place of the scale is
CUSTOMARY_SD = np.array([0.5, 2.0])  # of log a and of d: the priors' usual scale (Baker and Kim, 2004, chapter 7)
# With items whose responses do not rise with ability, log a has a long tail towards zero that would widen the prior for
# all items; at this bound nine in ten discriminations lie within a factor of 3.2 of the typical one.
SD_LIMIT = np.array([0.7, np.inf])


@dataclass(frozen=True)
class ItemPrior:
    """Independent normal priors on log a and on the intercept d = -a b.

    Attributes
    ----------
    mean, sd : (2,) float64
        Of log a and of d; an infinite sd is no prior.
    """

    mean: Array
    sd: Array

    @property
    def precision(self) -> Array:
        """(2,) inverse variances."""
        return np.asarray(self.sd**-2.0)

    def log_density(self, log_a: Array, intercept: Array) -> Array:
        """(n_items,) log prior density; 0 for a part without prior."""
        total = np.zeros_like(intercept)
        for value, mean, sd in zip((log_a, intercept), self.mean, self.sd, strict=True):
            if np.isfinite(sd):
                total += -0.5 * ((value - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        return total

    def update(self, log_a: Array, intercept: Array, variance: Array) -> ItemPrior:
        """Re-estimate from the items' modes and posterior variances (n_items, 2); parts without prior stay without."""
        mean, sd = self.mean.copy(), self.sd.copy()
        for part, value in enumerate((log_a, intercept)):
            if np.isfinite(sd[part]):
                mean[part] = value.sum() / (value.size + PSEUDO_ITEMS) if part == 0 else value.mean()
                spread = ((value - mean[part]) ** 2 + variance[:, part]).sum()
                pooled = (spread + PSEUDO_ITEMS * CUSTOMARY_SD[part] ** 2) / (value.size + PSEUDO_ITEMS)
                sd[part] = min(float(np.sqrt(pooled)), SD_LIMIT[part])
        return ItemPrior(mean, sd)


def no_prior() -> ItemPrior:
    """Return the prior of maximum likelihood: none."""
    return ItemPrior(np.zeros(2), np.full(2, np.inf))


def initial_prior(*, common_slope: bool) -> ItemPrior:
    """Return the customary prior, to be re-estimated; a common slope needs none."""
    sd = CUSTOMARY_SD.copy()
    if common_slope:
        sd[0] = np.inf
    return ItemPrior(np.zeros(2), sd)
