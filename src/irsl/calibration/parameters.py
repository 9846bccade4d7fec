"""The parameters of a set of items, and the curve's argument that they define."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from irsl.errors import DataError
from irsl.likelihoods.base import Array


@dataclass(frozen=True)
class ItemParameters:
    """Difficulty b, discrimination a > 0 and guessing c of n_items items: P = c + (1 - c) logistic(a (theta - b)).

    Attributes
    ----------
    difficulty, discrimination, guessing : (n_items,) float64
    covariance : (n_items, 2, 2) float64 or None
        Covariance of (log a, b) of each item, relative to the anchored scale; None: items taken as exact.

    Raises
    ------
    DataError
        Lengths differ, a value is not finite, a is not positive, or c is outside [0, 1); the first item is named.
    """

    difficulty: Array
    discrimination: Array
    guessing: Array
    covariance: Array | None = None

    def __post_init__(self) -> None:
        shapes = {x.shape for x in (self.difficulty, self.discrimination, self.guessing)}
        if len(shapes) != 1 or self.difficulty.ndim != 1:
            raise DataError(f"item parameters must be vectors of one length; found shapes {sorted(shapes)}")
        checks: tuple[tuple[str, NDArray[np.bool_]], ...] = (
            ("difficulty must be finite", np.isfinite(self.difficulty)),
            (
                "discrimination must be finite and positive",
                (self.discrimination > 0) & np.isfinite(self.discrimination),
            ),
            ("guessing must lie in [0, 1)", (self.guessing >= 0) & (self.guessing < 1)),
        )
        for expected, holds in checks:
            if not holds.all():
                raise DataError(f"{expected}; item number {int(np.argmin(holds))} (from 0) does not")

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.difficulty.size)

    def eta(self, ability: Array) -> Array:
        """A (theta - b): (n_items, n_abilities) for abilities (n_abilities,)."""
        return self.discrimination[:, None] * (np.asarray(ability)[None, :] - self.difficulty[:, None])

    def take(self, index: NDArray[np.intp]) -> ItemParameters:
        """Return the items at `index`, in that order."""
        return ItemParameters(
            self.difficulty[index],
            self.discrimination[index],
            self.guessing[index],
            None if self.covariance is None else self.covariance[index],
        )

    def intercept_covariance(self) -> Array | None:
        """Covariance of (log a, d) of each item, with d = -a b: dd = d d log a - a db."""
        if self.covariance is None:
            return None
        jacobian = np.zeros((self.n_items, 2, 2))
        jacobian[:, 0, 0] = 1.0
        jacobian[:, 1, 0] = -self.discrimination * self.difficulty
        jacobian[:, 1, 1] = -self.discrimination
        return np.asarray(jacobian @ self.covariance @ jacobian.transpose(0, 2, 1))
