"""Empirical-Bayes prior on the items: (log a, b) of one scale's items are draws from a normal distribution.

With few subjects the item parameters are the incidental ones; their prior is estimated with them. Its variances are
the mean squared deviation of the items plus their own posterior variance (an EM step with a Laplace approximation),
together with one pseudo-item at the scale's customary spread, which keeps a variance from collapsing to zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from irsl.likelihoods.base import Array

PSEUDO_ITEMS = 1.0
CUSTOMARY_SD = np.array([0.5, 2.0])  # of log a and of b: the priors' usual scale (Baker and Kim, 2004, chapter 7)


@dataclass(frozen=True)
class ItemPrior:
    """Independent normal priors on log a and on b.

    Attributes
    ----------
    mean, sd : (2,) float64
        Of log a and of b; an infinite sd is no prior.
    """

    mean: Array
    sd: Array

    @property
    def precision(self) -> Array:
        """(2,) inverse variances."""
        return np.asarray(self.sd**-2.0)

    def log_density(self, log_a: Array, b: Array) -> Array:
        """(n_items,) log prior density; 0 for a part without prior."""
        total = np.zeros_like(b)
        for value, mean, sd in zip((log_a, b), self.mean, self.sd, strict=True):
            if np.isfinite(sd):
                total += -0.5 * ((value - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        return total

    def update(self, log_a: Array, b: Array, variance: Array) -> ItemPrior:
        """Re-estimate from the items' modes and posterior variances (n_items, 2); parts without prior stay without."""
        mean, sd = self.mean.copy(), self.sd.copy()
        for part, value in enumerate((log_a, b)):
            if np.isfinite(sd[part]):
                mean[part] = value.mean()
                spread = ((value - mean[part]) ** 2 + variance[:, part]).sum()
                sd[part] = np.sqrt((spread + PSEUDO_ITEMS * CUSTOMARY_SD[part] ** 2) / (value.size + PSEUDO_ITEMS))
        return ItemPrior(mean, sd)

    def rescaled(self, shift: float, scale: float) -> ItemPrior:
        """Return the same prior after theta has become (theta - shift) / scale."""
        return ItemPrior(
            np.array([self.mean[0] + np.log(scale), (self.mean[1] - shift) / scale]),
            np.array([self.sd[0], self.sd[1] / scale]),
        )


def no_prior() -> ItemPrior:
    """Return the prior of maximum likelihood: none."""
    return ItemPrior(np.zeros(2), np.full(2, np.inf))


def initial_prior(*, common_slope: bool) -> ItemPrior:
    """Return the customary prior, to be re-estimated; a common slope needs none."""
    sd = CUSTOMARY_SD.copy()
    if common_slope:
        sd[0] = np.inf
    return ItemPrior(np.zeros(2), sd)
