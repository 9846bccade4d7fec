"""Empirical-Bayes prior on the items: (log a, d) of one scale's items are draws from a normal distribution.

With few subjects the item parameters are the incidental ones; their prior is estimated with them. Its variances are
the mean squared deviation of the items under their own posteriors, which are integrated, not approximated at their
modes (`m_step.update_prior`), together with one pseudo-item at the scale's customary spread, which keeps a variance
from collapsing to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from irsl.likelihoods.base import Array

PSEUDO_ITEMS = 1.0  # at log a = 0 for the mean of log a; the mean of d is free, as the place of the scale is
CUSTOMARY_SD = np.array([0.5, 2.0])  # of log a and of d: the priors' usual scale (Baker and Kim, 2004, chapter 7)
# With items whose responses do not rise with ability, log a has a long tail towards zero that would widen the prior for
# all items; at this bound nine in ten discriminations lie within a factor of 3.2 of the typical one.
SD_LIMIT = np.array([0.7, np.inf])


@dataclass(frozen=True)
class ItemPrior:
    """Independent normal priors on log a and on the intercept d = -a b.

    Items that different groups of subjects saw differ in difficulty by design, so each block of items has its own mean
    of d; everything else is common.

    Attributes
    ----------
    mean_log_a : float
    mean_intercept : (n_blocks,) float64
    sd : (2,) float64
        Of log a and of d; an infinite sd is no prior.
    block : (n_items,) intp
    """

    mean_log_a: float
    mean_intercept: Array
    sd: Array
    block: NDArray[np.intp]

    @property
    def precision(self) -> Array:
        """(2,) inverse variances."""
        return np.asarray(self.sd**-2.0)

    def take(self, index: NDArray[np.intp]) -> ItemPrior:
        """Return the prior of some items."""
        return replace(self, block=self.block[index])

    def deviation(self, log_a: Array, intercept: Array) -> Array:
        """(n_items, 2) distances of log a and d from their means."""
        return np.stack([log_a - self.mean_log_a, intercept - self.mean_intercept[self.block]], axis=1)

    def log_density(self, log_a: Array, intercept: Array) -> Array:
        """(n_items,) log prior density; 0 for a part without prior."""
        total = np.zeros_like(intercept)
        for distance, sd in zip(self.deviation(log_a, intercept).T, self.sd, strict=True):
            if np.isfinite(sd):
                total += -0.5 * (distance / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        return total

    def centred(self, log_a: Array, intercept: Array) -> ItemPrior:
        """Move the means to those of the items' posterior means; parts without prior stay as they are."""
        mean_log_a, mean_intercept = self.mean_log_a, self.mean_intercept
        if np.isfinite(self.sd[0]):
            mean_log_a = float(log_a.sum() / (log_a.size + PSEUDO_ITEMS))
        if np.isfinite(self.sd[1]):
            size = np.bincount(self.block, minlength=mean_intercept.size)
            mean_intercept = np.bincount(self.block, intercept, minlength=mean_intercept.size) / np.maximum(size, 1)
        return replace(self, mean_log_a=mean_log_a, mean_intercept=mean_intercept)

    def spread(self, square: Array) -> ItemPrior:
        """Re-estimate the sds from the mean over items of E[distance^2], (2,)."""
        n, sd = self.block.size, self.sd.copy()
        for part in range(2):
            if np.isfinite(sd[part]):
                pooled = (square[part] * n + PSEUDO_ITEMS * CUSTOMARY_SD[part] ** 2) / (n + PSEUDO_ITEMS)
                sd[part] = min(float(np.sqrt(pooled)), SD_LIMIT[part])
        return replace(self, sd=sd)

    def moved(self, mean_a: float, shift: float, scale: float) -> ItemPrior:
        """Follow the items when ability becomes (theta - shift) / scale: a becomes a scale, d becomes d + a shift."""
        return replace(
            self,
            mean_log_a=self.mean_log_a + (float(np.log(scale)) if np.isfinite(self.sd[0]) else 0.0),
            mean_intercept=self.mean_intercept + (mean_a * shift if np.isfinite(self.sd[1]) else 0.0),
        )


def no_prior(n_items: int) -> ItemPrior:
    """Return the prior of maximum likelihood: none."""
    return ItemPrior(0.0, np.zeros(1), np.full(2, np.inf), np.zeros(n_items, np.intp))


def initial_prior(block: NDArray[np.intp], *, common_slope: bool) -> ItemPrior:
    """Return the customary prior, to be re-estimated; a common slope needs none."""
    sd = CUSTOMARY_SD.copy()
    if common_slope:
        sd[0] = np.inf
    return ItemPrior(0.0, np.zeros(int(block.max()) + 1), sd, block)
