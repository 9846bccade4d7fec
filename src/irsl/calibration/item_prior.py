"""Empirical-Bayes prior on the items: (log a, d / a^exponent) of one scale's items are draws from normal distributions.

With few subjects the item parameters are the incidental ones; their prior is estimated with them. Its variances are
the mean squared deviation of the items under their own posteriors, which are integrated, not approximated at their
modes (`m_step.update_prior`), together with one pseudo-item at the scale's customary spread, which keeps a variance
from collapsing to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from irsl.likelihoods.base import Array

PSEUDO_ITEMS = 1.0  # at log a = 0 for the mean of log a; the mean of d is free, as the place of the scale is
CUSTOMARY_SD = np.array([0.5, 2.0])  # of log a and of d: the priors' usual scale (Baker and Kim, 2004, chapter 7)
# With items whose responses do not rise with ability, log a has a long tail towards zero that would widen the prior for
# all items; at this bound nine in ten discriminations lie within a factor of 3.2 of the typical one.
SD_LIMIT = np.array([0.7, np.inf])
COMMON_SLOPE_SD = 1.0  # of log a; only tables that say next to nothing of the slope notice
START_EXPONENT, EXPONENT_TOLERANCE = 0.5, 1e-4


@dataclass(frozen=True)
class ItemPrior:
    """Independent normal priors on log a and on the scaled intercept c = d / a^exponent.

    With exponent 0 intercepts are independent of discriminations, with exponent 1 difficulties b = -c are; which is
    nearer to a benchmark's items is estimated. Items that different groups of subjects saw differ in difficulty by
    design, so each block of items has its own mean of c; everything else is common.

    Attributes
    ----------
    mean_log_a : float
    mean_scaled : (n_blocks,) float64
    sd : (2,) float64
        Of log a and of c; an infinite sd is no prior.
    block : (n_items,) intp
    exponent : float
        From 0 to 1.
    common_slope : bool
        One log a for all items: its prior is fixed, an n-th of it in each of n items.
    """

    mean_log_a: float
    mean_scaled: Array
    sd: Array
    block: NDArray[np.intp]
    exponent: float = 0.0
    common_slope: bool = False

    @property
    def precision(self) -> Array:
        """(2,) inverse variances."""
        return np.asarray(self.sd**-2.0)

    @property
    def estimates_log_a(self) -> bool:
        """Whether the prior of log a is estimated."""
        return bool(np.isfinite(self.sd[0])) and not self.common_slope

    def take(self, index: NDArray[np.intp]) -> ItemPrior:
        """Return the prior of some items."""
        return replace(self, block=self.block[index])

    def scaled(self, log_a: Array, intercept: Array) -> Array:
        """C of items."""
        return intercept if self.exponent == 0.0 else intercept * np.exp(-self.exponent * log_a)

    def deviation(self, log_a: Array, intercept: Array) -> Array:
        """(n_items, 2) distances of log a and c from their means."""
        return np.stack([log_a - self.mean_log_a, self.scaled(log_a, intercept) - self.mean_scaled[self.block]], axis=1)

    def jacobian(self, log_a: Array, intercept: Array) -> Array:
        """(n_items, 2, 2) derivatives of (log a, c) in (log a, d)."""
        result = np.zeros((log_a.size, 2, 2))
        result[:, 0, 0] = 1.0
        result[:, 1, 0] = -self.exponent * self.scaled(log_a, intercept)
        result[:, 1, 1] = np.exp(-self.exponent * log_a)
        return result

    def log_density(self, log_a: Array, intercept: Array) -> Array:
        """(n_items,) log prior density of (log a, d); 0 for a part without prior."""
        total = -self.exponent * log_a  # of c against d
        for distance, sd in zip(self.deviation(log_a, intercept).T, self.sd, strict=True):
            if np.isfinite(sd):
                total += -0.5 * (distance / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)
        return np.asarray(total)

    def score(self, log_a: Array, intercept: Array) -> Array:
        """(n_items, 2) derivatives of `log_density` in (log a, d)."""
        pull = -self.precision * self.deviation(log_a, intercept)
        if self.exponent == 0.0:
            return np.asarray(pull)
        result = np.einsum("ni,nij->nj", pull, self.jacobian(log_a, intercept))
        result[:, 0] -= self.exponent
        return np.asarray(result)

    def information(self, log_a: Array, intercept: Array) -> Array:
        """(n_items, 2, 2) information about (log a, d), as if c were linear in them: never indefinite."""
        jacobian = self.jacobian(log_a, intercept)
        return np.asarray(np.einsum("nki,k,nkj->nij", jacobian, self.precision, jacobian))

    def with_exponent(self, log_a: Array, intercept: Array, weight: Array) -> ItemPrior:
        """Re-estimate the exponent from posteriors of items, given by weights (n_items, n_points) at points."""
        if not self.estimates_log_a or not np.isfinite(self.sd[1]):
            return self
        n, size = self.block.size, np.maximum(np.bincount(self.block, minlength=self.mean_scaled.size), 1)
        mean_log_a = float((weight * log_a).sum()) / n

        def loss(exponent: float) -> float:
            c = replace(self, exponent=exponent).scaled(log_a, intercept)
            mean = (weight * c).sum(axis=1)
            centre = (np.bincount(self.block, mean, minlength=size.size) / size)[self.block]
            square = float((weight * (c - centre[:, None]) ** 2).sum())
            pooled = (square + PSEUDO_ITEMS * CUSTOMARY_SD[1] ** 2) / (n + PSEUDO_ITEMS)
            return 0.5 * float(np.log(pooled)) + exponent * mean_log_a

        best = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": EXPONENT_TOLERANCE})
        return replace(self, exponent=float(best.x))

    def centred(self, log_a: Array, scaled: Array) -> ItemPrior:
        """Move the means to those of the items' posterior means; parts without prior stay as they are."""
        mean_log_a, mean_scaled = self.mean_log_a, self.mean_scaled
        if self.estimates_log_a:
            mean_log_a = float(log_a.sum() / (log_a.size + PSEUDO_ITEMS))
        if np.isfinite(self.sd[1]):
            size = np.bincount(self.block, minlength=mean_scaled.size)
            mean_scaled = np.bincount(self.block, scaled, minlength=mean_scaled.size) / np.maximum(size, 1)
        return replace(self, mean_log_a=mean_log_a, mean_scaled=mean_scaled)

    def spread(self, square: Array) -> ItemPrior:
        """Re-estimate the sds from the mean over items of E[distance^2], (2,)."""
        n, sd = self.block.size, self.sd.copy()
        for part, estimated in enumerate((self.estimates_log_a, np.isfinite(sd[1]))):
            if estimated:
                pooled = (square[part] * n + PSEUDO_ITEMS * CUSTOMARY_SD[part] ** 2) / (n + PSEUDO_ITEMS)
                sd[part] = min(float(np.sqrt(pooled)), SD_LIMIT[part])
        return replace(self, sd=sd)

    def moved(self, a: Array, shift: float, scale: float) -> ItemPrior:
        """Follow the items when ability becomes (theta - shift) / scale: a becomes a scale, d becomes d + a shift."""
        mean_log_a, mean_scaled, sd = self.mean_log_a, self.mean_scaled, self.sd
        if self.estimates_log_a:
            mean_log_a = mean_log_a + float(np.log(scale))
        if np.isfinite(sd[1]):
            smaller = scale**-self.exponent
            mean_scaled = smaller * (mean_scaled + float((a ** (1.0 - self.exponent)).mean()) * shift)
            sd = sd * np.array([1.0, smaller])
        return replace(self, mean_log_a=mean_log_a, mean_scaled=mean_scaled, sd=sd)


def no_prior(n_items: int) -> ItemPrior:
    """Return the prior of maximum likelihood: none."""
    return ItemPrior(0.0, np.zeros(1), np.full(2, np.inf), np.zeros(n_items, np.intp))


def initial_prior(block: NDArray[np.intp], *, common_slope: bool) -> ItemPrior:
    """Return the customary prior, to be re-estimated; that of a common slope stays."""
    sd = CUSTOMARY_SD.copy()
    if common_slope:
        sd[0] = COMMON_SLOPE_SD * np.sqrt(block.size)
    exponent = 0.0 if common_slope else START_EXPONENT
    return ItemPrior(0.0, np.zeros(int(block.max()) + 1), sd, block, exponent, common_slope)
