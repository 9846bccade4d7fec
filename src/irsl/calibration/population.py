"""The population that the calibration subjects are drawn from: normal, normal in each of several groups, or any shape.

Its overall mean is 0 and its sd 1: every update is followed by a move of the scale, which the items follow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.quadrature import LogWeight
from irsl.likelihoods.base import Array

LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))
MIN_SD = 0.05
KNOT_SPACING = 0.4  # sd: a bump of the estimated density has an sd of .23
KNOT_RANGE = 6.0
PSEUDO_SUBJECTS = 2.0  # drawn from N(0, 1): they keep the density above zero everywhere


class Population(ABC):
    """A prior density of ability for every subject."""

    needs_shares: ClassVar[bool] = False  # whether `updated` needs more of the posteriors than their moments

    @abstractmethod
    def log_density(self, subjects: NDArray[np.intp]) -> LogWeight:
        """Log density for a block of the calibration subjects, as `integrate` takes it."""

    def precision(self, subjects: NDArray[np.intp]) -> Array:
        """Inverse variance of the prior of some subjects."""
        return np.ones(subjects.size)

    def shares(self, points: Array, weight: Array) -> Array | None:
        """What `updated` needs of some subjects' posteriors, given by weights (n, P) at points."""
        return None

    @abstractmethod
    def updated(self, ability: Array, sd: Array, shares: Array | None) -> Population:
        """Re-estimate from all subjects' posteriors (an EM step), before the scale is moved."""

    @abstractmethod
    def moved(self, shift: float, scale: float) -> Population:
        """Return the population of (theta - shift) / scale."""

    @property
    def message(self) -> str:
        """What a user should know of it; empty for one normal population."""
        return ""


@dataclass(frozen=True)
class NormalPopulation(Population):
    """N(mean_g, sd_g^2) for the subjects of group g; one group of mean 0 and sd 1 is the usual case.

    Attributes
    ----------
    group : (n_subjects,) intp
    mean, sd : (n_groups,) float64
    """

    group: NDArray[np.intp]
    mean: Array
    sd: Array

    @classmethod
    def of(cls, group: NDArray[np.intp]) -> NormalPopulation:
        """Start every group at N(0, 1)."""
        n = int(group.max()) + 1
        return cls(group, np.zeros(n), np.ones(n))

    def log_density(self, subjects: NDArray[np.intp]) -> LogWeight:
        """Normal log density."""
        mean, sd = self.mean[self.group[subjects]], self.sd[self.group[subjects]]

        def weight(points: Array, rows: NDArray[np.intp]) -> Array:
            m, s = mean[rows, None], sd[rows, None]
            return np.asarray(-0.5 * ((points - m) / s) ** 2 - np.log(s) - LOG_SQRT_2PI)

        return weight

    def precision(self, subjects: NDArray[np.intp]) -> Array:
        """Of each subject's group."""
        return np.asarray(self.sd[self.group[subjects]] ** -2.0)

    def updated(self, ability: Array, sd: Array, shares: Array | None) -> NormalPopulation:
        """Moments of every group's posteriors."""
        n = self.mean.size
        size = np.bincount(self.group, minlength=n)
        mean = np.bincount(self.group, ability, minlength=n) / size
        square = sd**2 + (ability - mean[self.group]) ** 2
        spread = np.sqrt(np.bincount(self.group, square, minlength=n) / size)
        return replace(self, mean=mean, sd=np.maximum(spread, MIN_SD))

    def moved(self, shift: float, scale: float) -> NormalPopulation:
        """Move means and widths."""
        return replace(self, mean=(self.mean - shift) / scale, sd=self.sd / scale)

    @property
    def message(self) -> str:
        """Number of groups."""
        n = self.mean.size
        return "" if n == 1 else f"{n} populations, one for each pattern of missing items"


@dataclass(frozen=True)
class EstimatedPopulation(Population):
    """A density of any shape: a mixture of cubic B-spline bumps at equally spaced knots, its weights estimated by EM.

    Source: the empirical histogram of Bock and Aitkin (1981), with smooth bumps in place of bars (Ghidey, Lesaffre and
    Eilers, 2004).

    Attributes
    ----------
    centre, spacing : float
        Middle and spacing of the knots; they move with the scale.
    weights : (n_knots,) float64
        Sum to 1.
    """

    centre: float
    spacing: float
    weights: Array

    needs_shares: ClassVar[bool] = True

    @classmethod
    def normal(cls) -> EstimatedPopulation:
        """Start at N(0, 1)."""
        half = int(np.ceil(KNOT_RANGE / KNOT_SPACING))
        knots = KNOT_SPACING * np.arange(-half, half + 1)
        weights = np.exp(-0.5 * knots**2)
        return cls(0.0, KNOT_SPACING, weights / weights.sum())

    @property
    def knots(self) -> Array:
        """(n_knots,) centres of the bumps."""
        half = self.weights.size // 2
        return np.asarray(self.centre + self.spacing * np.arange(-half, half + 1))

    def bumps(self, points: Array) -> Array:
        """Densities of the bumps, (..., n_knots) for points (...)."""
        return np.asarray(_cubic_bump((points[..., None] - self.knots) / self.spacing) / self.spacing)

    def density(self, points: Array) -> Array:
        """Density at points of any shape."""
        flat = np.asarray(points).ravel()
        position = (flat - self.knots[0]) / self.spacing
        first = np.floor(position).astype(np.intp) - 1
        total = np.zeros(flat.size)
        for offset in range(4):  # a cubic bump reaches over four intervals
            knot = first + offset
            inside = (knot >= 0) & (knot < self.weights.size)
            weight = np.where(inside, self.weights[np.clip(knot, 0, self.weights.size - 1)], 0.0)
            total += weight * _cubic_bump(position - knot)
        return np.asarray(total / self.spacing).reshape(np.shape(points))

    def log_density(self, subjects: NDArray[np.intp]) -> LogWeight:
        """Log of the mixture; far outside the knots it falls off as a normal does."""
        edge = self.knots[[1, -2]]

        def weight(points: Array, rows: NDArray[np.intp]) -> Array:
            within = np.clip(points, *edge)
            beyond = (points - within) / self.spacing
            return np.asarray(np.log(np.maximum(self.density(within), 1e-300)) - 5.0 * np.abs(beyond) - 0.5 * beyond**2)

        return weight

    def shares(self, points: Array, weight: Array) -> Array:
        """Expected number of the subjects that come from each bump, (n_knots,)."""
        share = self.bumps(points) * self.weights
        share /= np.maximum(share.sum(axis=-1, keepdims=True), 1e-300)
        return np.asarray(np.tensordot(weight, share, axes=2))

    def updated(self, ability: Array, sd: Array, shares: Array | None) -> EstimatedPopulation:
        """Weights in proportion to the shares, and a few subjects of a normal population."""
        assert shares is not None  # `shares` above returns no None
        total = shares + PSEUDO_SUBJECTS * np.exp(-0.5 * self.knots**2) / np.exp(-0.5 * self.knots**2).sum()
        return replace(self, weights=total / total.sum())

    def moved(self, shift: float, scale: float) -> EstimatedPopulation:
        """Move the knots."""
        return replace(self, centre=(self.centre - shift) / scale, spacing=self.spacing / scale)

    @property
    def message(self) -> str:
        """Skewness of the density."""
        knots, w = self.knots, self.weights
        mean = float(w @ knots)
        sd = float(np.sqrt(w @ (knots - mean) ** 2 + self.spacing**2 / 3))
        skewness = float(w @ ((knots - mean) / sd) ** 3)
        return f"estimated population of skewness {skewness:.2f}"


def _cubic_bump(u: Array) -> Array:
    """The cardinal cubic B-spline: a density of mean 0 and variance 1/3 on [-2, 2]."""
    u = np.abs(u)
    inner = 2.0 / 3.0 - u**2 + u**3 / 2.0
    outer = np.maximum(2.0 - u, 0.0) ** 3 / 6.0
    return np.asarray(np.where(u < 1.0, inner, outer))
