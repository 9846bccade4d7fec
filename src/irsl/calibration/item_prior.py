"""Empirical-Bayes prior on the items: (log a, d) of one scale's items are draws from a normal distribution.

With few subjects the item parameters are the incidental ones; their prior is estimated with them. Its variances are
the mean squared deviation of the items under their own posteriors, which are integrated, not approximated at their
modes (`m_step.update_prior`), together with one pseudo-item at the scale's customary spread, which keeps a variance
from collapsing to zero.
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

    def estimated(self, mean: Array, square: Array, n_items: int) -> ItemPrior:
        """Re-estimate from the mean of the items' posterior means, and from their mean squared distance to `mean`.

        Parameters
        ----------
        mean, square : (2,) float64
            Means over items of E[value] and of E[(value - mean)^2], for log a and for d.
        n_items : int
        """
        new_mean, sd = self.mean.copy(), self.sd.copy()
        for part in range(2):
            if np.isfinite(sd[part]):
                new_mean[part] = mean[part]
                pooled = (square[part] * n_items + PSEUDO_ITEMS * CUSTOMARY_SD[part] ** 2) / (n_items + PSEUDO_ITEMS)
                sd[part] = min(float(np.sqrt(pooled)), SD_LIMIT[part])
        return ItemPrior(new_mean, sd)

    def moved(self, mean_a: float, shift: float, scale: float) -> ItemPrior:
        """Follow the items when ability becomes (theta - shift) / scale: a becomes a scale, d becomes d + a shift."""
        mean = self.mean.copy()
        if np.isfinite(self.sd[0]):
            mean[0] += np.log(scale)
        if np.isfinite(self.sd[1]):
            mean[1] += mean_a * shift
        return ItemPrior(mean, self.sd)


def no_prior() -> ItemPrior:
    """Return the prior of maximum likelihood: none."""
    return ItemPrior(np.zeros(2), np.full(2, np.inf))


def initial_prior(*, common_slope: bool) -> ItemPrior:
    """Return the customary prior, to be re-estimated; a common slope needs none."""
    sd = CUSTOMARY_SD.copy()
    if common_slope:
        sd[0] = np.inf
    return ItemPrior(np.zeros(2), sd)
