"""The contract of a likelihood, and the exponential form that most of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from irsl.likelihoods.statistics import Expected, Levels, SufficientStatistics

Array = NDArray[np.float64]


class Likelihood(ABC):
    """log f(y | eta) = sum_s T_s(y) A_s(eta) + h(y), where the item-response curve is c + (1 - c) logistic(eta).

    Methods take `eta` of any shape and a guessing floor c that broadcasts with it, and return arrays of that shape. A
    response is given by its T(y) (successes k of a count, the logit of a probability) and its number of trials n, 0
    where it is missing.
    """

    name: str
    parameter_name: ClassVar[str | None] = None

    @property
    def parameter(self) -> float | None:
        """The likelihood's own parameter (a precision, an overdispersion or a scatter), or None."""
        return None if self.parameter_name is None else float(getattr(self, self.parameter_name))

    def at(self, parameter: float) -> Likelihood:
        """Return the same likelihood at another value of its own parameter."""
        raise TypeError(f"the {self.name} likelihood has no parameter of its own")

    def is_linear(self, guessing: Array) -> bool:
        """Whether A is eta itself, so that sums over items are linear in ability."""
        return False

    @abstractmethod
    def sufficient_statistics(self, matrix: Any) -> SufficientStatistics:
        """What the engine needs of a `ResponseMatrix`, whose arrays are read block by block and never changed."""

    @abstractmethod
    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """A_s(eta) for every component s of the statistics, (n_columns, n_points) each."""

    @abstractmethod
    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """Sum over s of H_s A_s(eta), (n_items, n_points): the expected log-likelihood, node by node."""

    @abstractmethod
    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """Derivative of `objective` in eta, its expected information, and its observed information."""

    def parameter_step(
        self, eta: Array, guessing: Array | float, expected: Expected, slope: float, correction: float
    ) -> Likelihood:
        """Take a step for the log of the likelihood's own parameter; return it as it is where it has none.

        `slope` is the statistics' own; `correction` is added to the objective's derivative in the log of the parameter.
        """
        return self

    @abstractmethod
    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """D log f / d eta of responses; 0 where `trials` is 0."""

    @abstractmethod
    def information(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Fisher information about eta of a response of so many trials."""

    @abstractmethod
    def information_bias(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """J = E[l' l'' + l'^3] about eta of a response: Warm (1989) adds J / (2 I) to the score."""

    def response_mean(self, eta: Array, guessing: Array | float) -> Array:
        """Expected response per trial, in 0..1: the item-response curve."""
        return logistic_curve(eta, guessing)

    def response_slope(self, eta: Array, guessing: Array | float) -> Array:
        """Derivative of `response_mean` in eta."""
        return logistic_slope(eta, guessing)

    @abstractmethod
    def response_variance(self, mean: Array, trials: Any) -> Array:
        """Variance of the observed response (the proportion, for counts) around its curve."""

    @abstractmethod
    def log_density(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """Log f of responses given as T and n, evaluated directly: what tests and the engine's self-check use."""

    @abstractmethod
    def sample(self, eta: Array, guessing: Array | float, *, trials: int, rng: np.random.Generator) -> Array:
        """Draw responses: successes of `trials` for counts, else the response itself."""


class ExponentialForm(Likelihood):
    """log f = T A(eta) + n C(eta) + h, one T per response.

    The identity C' = -A' E[T] / n makes `slopes` sufficient for score and information: with m = E[T] / n,
    d log f / d eta = A' (T - n m), and the information of a response is n A' m'.
    """

    @abstractmethod
    def natural_and_base(self, eta: Array, guessing: Array | float) -> tuple[Array, Array]:
        """A(eta) and C(eta)."""

    @abstractmethod
    def slopes(self, eta: Array, guessing: Array | float) -> tuple[Array, Array, Array]:
        """A', m and m', derivatives with respect to eta."""

    @abstractmethod
    def natural_curvature(self, eta: Array, guessing: Array | float) -> Array:
        """A'', with which the observed information is n A' m' - A'' (T - n m)."""

    @abstractmethod
    def curvature(self, eta: Array, guessing: Array | float) -> Array:
        """M'', which Warm's correction needs."""

    def functions(self, eta: Array, guessing: Array | float, levels: Levels | None = None) -> tuple[Array, ...]:
        """A and C."""
        return self.natural_and_base(eta, guessing)

    def objective(self, eta: Array, guessing: Array | float, expected: Expected) -> Array:
        """H A + n C."""
        natural, base = self.natural_and_base(eta, guessing)
        values, trials = expected.components[:2]
        return values * natural + trials * base

    def objective_slopes(self, eta: Array, guessing: Array | float, expected: Expected) -> tuple[Array, Array, Array]:
        """A' (H - n m), n A' m' and n A' m' - A'' (H - n m)."""
        values, trials = expected.components[:2]
        d_natural, mean, d_mean = self.slopes(eta, guessing)
        residual = values - trials * mean
        information = trials * d_natural * d_mean
        return d_natural * residual, information, information - self.natural_curvature(eta, guessing) * residual

    def score(self, values: Array, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """A' (T - n m)."""
        d_natural, mean, _ = self.slopes(eta, guessing)
        return np.asarray(d_natural * (values - trials * mean))

    def information(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """N A' m'."""
        d_natural, _, d_mean = self.slopes(eta, guessing)
        return np.asarray(trials * d_natural * d_mean)

    def information_bias(self, trials: Any, eta: Array, guessing: Array | float) -> Array:
        """N A' m''."""
        d_natural, _, _ = self.slopes(eta, guessing)
        return np.asarray(trials * d_natural * self.curvature(eta, guessing))


def logistic(eta: Array) -> Array:
    """1 / (1 + exp(-eta)), to the last digits in the lower tail too; several times as fast as SciPy's `expit`."""
    with np.errstate(over="ignore"):  # where the result is 0
        result = np.asarray(np.exp(np.negative(eta)))
    result += 1.0
    np.divide(1.0, result, out=result)
    return result


def softplus(eta: Array) -> Array:
    """Log(1 + exp(eta)), stable in both tails; several times as fast as NumPy's `logaddexp`."""
    result = np.asarray(np.abs(eta))
    for function in (np.negative, np.exp, np.log1p):
        function(result, out=result)
    result += np.maximum(eta, 0.0)
    return result


def logistic_curve(eta: Array, guessing: Array | float) -> Array:
    """Probability c + (1 - c) logistic(eta)."""
    return np.asarray(guessing + (1.0 - np.asarray(guessing)) * logistic(eta), dtype=np.float64)


def logistic_slope(eta: Array, guessing: Array | float) -> Array:
    """D P / d eta of `logistic_curve`."""
    return np.asarray((1.0 - np.asarray(guessing)) * logistic(eta) * logistic(-eta), dtype=np.float64)
