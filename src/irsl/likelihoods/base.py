"""The contract of a likelihood, and the sufficient statistics of a response matrix under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Matrix = Any  # (n_subjects, n_items) ndarray, memory map or scipy.sparse.csr_array


@dataclass(frozen=True)
class SufficientStatistics:
    """T(y) and n of every cell of a response matrix, and what of the density does not depend on eta.

    Attributes
    ----------
    values : (n_subjects, n_items) ndarray, memory map or csr_array, float32
        T(y); 0 where missing.
    trials : int, or the same shape and storage as `values`
        n of every cell; an int says that every cell is observed with that many trials, 0 marks a missing cell.
    constant : float
        Sum over the observed cells of the part of h(y) that has no parameter, in nats.
    slope : float
        Sum over the observed cells of the factor of the likelihood's own parameter in h(y); 0 without one.
    """

    values: Matrix
    trials: Matrix | int
    constant: float
    slope: float = 0.0


class Likelihood(Protocol):
    """log f(y | eta) = T(y) A(eta) + n C(eta) + h(y), where the item-response curve is c + (1 - c) logistic(eta).

    Methods take `eta` of any shape and a guessing floor c that broadcasts with it, and return arrays of that shape. The
    identity C' = -A' E[T] / n makes `slopes` sufficient for score and information: with m = E[T] / n,
    d log f / d eta = A' (T - n m), and the Fisher information of a response about eta is n A' m'.
    """

    @property
    def name(self) -> str:
        """Name of the likelihood, as `calibrate` takes it."""

    @property
    def precision(self) -> float | None:
        """Precision phi, or None where the likelihood has none."""

    def sufficient_statistics(self, matrix: Any, *, resolution: float | None) -> SufficientStatistics:
        """T(y) and n of a `ResponseMatrix`."""

    def natural_and_base(self, eta: Array, guessing: Array | float) -> tuple[Array, Array]:
        """A(eta) and C(eta)."""

    def slopes(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """A', m and m', derivatives with respect to eta."""

    def natural_curvature(self, eta: Array, guessing: Array | float) -> Array:
        """A'', with which the observed information is n A' m' - A'' (T - n m)."""

    def curvature(self, eta: Array, guessing: Array | float) -> Array:
        """m'', which Warm's correction needs."""

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """Expected response per trial, in 0..1: the item-response curve."""

    def response_variance(self, mean: Array, trials: Array | int) -> Array:
        """Variance of the observed response (the proportion, for counts) around its curve."""

    def log_density(self, values: Array, trials: Array | int, eta: Array, guessing: Array | float) -> Array:
        """Log f(y | eta) evaluated directly: the slow version that tests and the engine's self-check use."""

    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Draw responses: successes of `trials` for counts, else the response itself."""


def dense(cells: Matrix) -> Array:
    """Return a block of cells as a float64 array, whatever its storage."""
    return np.asarray(cells.toarray() if hasattr(cells, "toarray") else cells, dtype=np.float64)


def logistic_curve(eta: Array, guessing: Array | float) -> Array:
    """Probability c + (1 - c) logistic(eta)."""
    return np.asarray(guessing + (1.0 - np.asarray(guessing)) * expit(eta), dtype=np.float64)


def logistic_slope(eta: Array, guessing: Array | float) -> Array:
    """D P / d eta of `logistic_curve`."""
    return np.asarray((1.0 - np.asarray(guessing)) * expit(eta) * expit(-eta), dtype=np.float64)
