"""Marginal maximum a posteriori by EM: the responses are touched by matrix products only.

E step (`expectation.py`): the items' functions at R Chebyshev nodes give every subject's log-likelihood there by one
product per component, F = sum_s T_s(Y) A_s; between the nodes it is the interpolating polynomial. M step (`m_step.py`):
H_s = T_s(Y)^T E, with E the expected cardinal functions, is all that the items need. The population is standardised in
every iteration (parameter-expanded EM, Liu, Rubin and Wu, 1998) and the sequence accelerated (SQUAREM, Varadhan and
Roland, 2008), falling back to the plain step when the objective falls. Derivations: docs/mathematics.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irsl.calibration.expectation import ExpectationStep, expectation_step, log_likelihood_at
from irsl.calibration.item_prior import ItemPrior, no_prior
from irsl.calibration.m_step import INTERCEPT_LIMIT, LOG_A_RANGE, Items, maximise, update_prior
from irsl.calibration.population import NormalPopulation, Population
from irsl.calibration.quadrature import HALF_WIDTH, Nodes
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array

ABILITY_RANGE = 6.0  # the nodes' first interval; it follows the posteriors afterwards
MAX_ABILITY_RANGE = 16.0
MARGIN = 0.5  # of an interval, beyond the widest posterior's window
MIN_NODES, MAX_NODES = 16, 768
TYPICAL_TOLERANCE, STEEPEST_TOLERANCE = 1e-6, 1e-3  # relative error of items' functions between the nodes
TYPICAL_SHARE = 0.98  # of the items, from the flattest
INTERPOLATION_TOLERANCE = 0.01  # nats per subject
ROUGH_TOLERANCE, ROUGH_INTERPOLATION = 1e-3, 4.0  # the first two of these, far from the maximum of a large table
ROUGH_CHANGE = 1.0  # standard errors that a step moves the items at most when that ends
DOUBLE_PRECISION_CELLS = 50_000_000  # below this the products run in float64
CHECKED_CELLS = 300_000  # items x abilities of the self-check
LOG_PARAMETER_SCALE = 0.1  # change of a log parameter that counts as one standard error
LEAP_RATE = 0.2  # of convergence, above which an extrapolation is worth a pass
FIRST_RATE = 0.1  # the least that is believed from two changes
SLOWEST = 0.99  # rate of convergence beyond which no estimate of it is believed
QUIET, QUIET_STEPS = 5.0, 8  # so many accelerated steps below so many tolerances also end a fit that creeps
EDGE = 0.01  # of the interval
DEGENERATE_SD = 1e-3
FEW_SUBJECTS = 300  # up to here what items share, and abilities, are estimated with the items integrated

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Settings:
    """When to stop: the distance to the fixed point in standard errors of the parameters, and the passes."""

    tolerance: float = 1e-3
    max_iterations: int = 500


@dataclass(frozen=True)
class Outcome:
    """What the engine found; complete whether or not it converged.

    Attributes
    ----------
    items : Items
    prior : ItemPrior
    population : Population
    step : ExpectationStep
        Posteriors and expected statistics at these items.
    nodes : Nodes
    log_likelihood : float
        Marginal, of all responses, without the items' prior, in nats.
    n_iterations : int
        Passes over the data.
    converged : bool
    message : str
    interpolation_error : float
        Largest error found in a sample of subjects' log-likelihoods within two posterior standard deviations, in nats.
    """

    items: Items
    prior: ItemPrior
    population: Population
    step: ExpectationStep
    nodes: Nodes
    log_likelihood: float
    n_iterations: int
    converged: bool
    message: str
    interpolation_error: float


def fit(
    statistics: SufficientStatistics,
    items: Items,
    prior: ItemPrior,
    population: Population,
    *,
    common_slope: bool,
    settings: Settings,
    progress: Progress | None = None,
) -> Outcome:
    """Alternate E and M steps until the parameters stand still."""
    return _Run(statistics, common_slope, settings, progress).fit(_State(items, prior, population))


def resolve(statistics: SufficientStatistics, items: Items, prior_sd: float) -> tuple[Nodes, ExpectationStep]:
    """Posteriors of new subjects under N(0, prior_sd^2) given the items, and the nodes at which they were accurate."""
    run = _Run(statistics, False, Settings(), None)
    one = NormalPopulation(np.zeros(statistics.shape[0], np.intp), np.zeros(1), np.array([prior_sd]))
    state = _State(items, no_prior(items.n_items), one)
    run.ensure_accuracy(state)
    step = run.expect(state)
    return run.nodes, step


@dataclass(frozen=True)
class _State:
    """Everything that an iteration changes."""

    items: Items
    prior: ItemPrior
    population: Population

    def vector(self) -> Array:
        """What is extrapolated, in one unconstrained vector: items, their prior, and the likelihood's parameter."""
        finite = np.isfinite(self.prior.sd)
        own = self.items.likelihood.parameter
        return np.concatenate(
            [
                self.items.log_a,
                self.items.intercept,
                [self.prior.mean_log_a],
                self.prior.mean_scaled,
                [self.prior.exponent],
                np.log(self.prior.sd[finite]),
                [] if own is None else [np.log(own)],
            ]
        )

    @property
    def admissible(self) -> bool:
        """Whether all parameters lie where the M step keeps them."""
        low, high = LOG_A_RANGE
        a_within = (self.items.log_a >= low).all() and (self.items.log_a <= high).all()
        return bool(
            a_within
            and (np.abs(self.items.intercept) <= INTERCEPT_LIMIT).all()
            and np.isfinite(self.prior.mean_scaled).all()
        )

    def moved_to(self, x: Array) -> _State:
        """Return the state that `vector` would map to `x`."""
        finite, sd = np.isfinite(self.prior.sd), self.prior.sd.copy()
        n, n_blocks, k = self.items.n_items, self.prior.mean_scaled.size, int(finite.sum())
        log_a, intercept, (mean_log_a,), mean_scaled, (exponent,), log_sd = np.split(
            x[: 2 * n + 2 + n_blocks + k], np.cumsum([n, n, 1, n_blocks, 1])
        )
        sd[finite] = np.exp(log_sd)
        prior = replace(
            self.prior,
            mean_log_a=float(mean_log_a),
            mean_scaled=mean_scaled,
            sd=sd,
            exponent=float(np.clip(exponent, 0.0, 1.0)),
        )
        likelihood = self.items.likelihood
        if likelihood.parameter is not None:
            likelihood = likelihood.at(float(np.exp(x[-1])))
        items = replace(self.items, log_a=log_a, intercept=intercept, likelihood=likelihood)
        return _State(items, prior, self.population)


class _Run:
    """One calibration: the data, the nodes that fit them at present, and the count of passes."""

    def __init__(
        self, statistics: SufficientStatistics, common_slope: bool, settings: Settings, progress: Progress | None
    ) -> None:
        self.statistics = statistics
        self.common_slope = common_slope
        self.settings = settings
        self.progress = progress
        self.few = statistics.shape[0] <= FEW_SUBJECTS
        n_subjects, n_items = statistics.shape
        small = n_subjects * n_items <= DOUBLE_PRECISION_CELLS
        self.dtype: Any = np.float64 if small else np.float32
        self.interval = (-ABILITY_RANGE, ABILITY_RANGE)
        self.nodes = Nodes(*self.interval, MIN_NODES)
        self.refinement = 1.0
        self.rough = False
        self.n_passes = 0
        self.interpolation_error = np.inf
        self.start: tuple[Array, Array] | None = None
        self.covariance: Array | None = None  # of every item's (log a, d), where the E step takes it into account
        self.last: tuple[_State, ExpectationStep] | None = None

    def fit(self, state: _State) -> Outcome:
        """Cycles of two plain steps and one accelerated one."""
        self.rough = self.dtype == np.float32
        self.ensure_accuracy(state)
        distance, converged = np.inf, False
        plain: list[tuple[_State, float]] = []  # states and objectives of the plain steps since the last leap
        changes: list[float] = []
        quiet = 0
        while self.n_passes < self.settings.max_iterations:
            new, objective = self._iterate(state)
            plain.append((state, objective))
            changes.append(self._change(state, new))
            state = new
            if self.rough and changes[-1] < ROUGH_CHANGE:
                self.rough, self.refinement, plain, changes = False, 1.0, [], changes[-1:]
            if len(changes) < 2:
                continue
            distance, rate = _remaining(changes)
            quiet = quiet + 1 if changes[-1] < QUIET * self.settings.tolerance else 0
            if quiet >= QUIET_STEPS:
                distance = min(distance, changes[-1])
            if not self.rough and (distance < self.settings.tolerance or quiet >= QUIET_STEPS):
                if self.ensure_accuracy(state):
                    converged = True
                    break
                plain, changes = [], []
            elif rate > LEAP_RATE and len(plain) >= 2:
                state = self._leap(plain[-2:], state)
                plain, changes = [], []
        if not converged:
            self.rough = False
            self.ensure_accuracy(state)
        return self._outcome(state, converged, distance)

    def _leap(self, plain: list[tuple[_State, float]], second: _State) -> _State:
        """Extrapolate two plain steps and take one from there; the second plain step where that brought nothing."""
        (start, objective), (first, objective_first) = plain
        leap = _extrapolate(start, first, second)
        if not leap.admissible:
            return second
        landed, objective_leap = self._iterate(leap)
        # an estimated prior makes the penalised likelihood no objective of the whole iteration, so a leap is also good
        # where it comes closer to standing still
        rose = objective_leap >= max(objective, objective_first)
        closer = _length(leap, landed) <= _length(start, first)
        return landed if rose or closer else second

    def expect(self, state: _State) -> ExpectationStep:
        """E step at nodes that hold the widest posterior, taken once for every state."""
        if self.last is not None and self.last[0] is state:
            return self.last[1]
        while True:
            self.nodes = Nodes(*self.interval, self._node_count(state.items))
            step = self._pass(state, self.covariance)
            low, high = (
                float((step.ability - 5.0 * step.se_ability).min()),
                float((step.ability + 5.0 * step.se_ability).max()),
            )
            # a narrow posterior beyond the interval shows as one at its end, and says nothing of how far beyond
            edge = EDGE * (self.interval[1] - self.interval[0])
            if step.ability.min() < self.interval[0] + edge:
                low = self.interval[0] - ABILITY_RANGE / 2
            if step.ability.max() > self.interval[1] - edge:
                high = self.interval[1] + ABILITY_RANGE / 2
            outside = (low < self.interval[0] > -MAX_ABILITY_RANGE) or (high > self.interval[1] < MAX_ABILITY_RANGE)
            self.start = (step.ability, step.se_ability)
            if not outside:
                break
            self._set_interval(min(low, self.interval[0]), max(high, self.interval[1]))
        self.last = (state, step)
        return step

    def _pass(self, state: _State, covariance: Array | None) -> ExpectationStep:
        return expectation_step(
            self.statistics, state.items, self.nodes, state.population, self.dtype, self.start, covariance
        )

    def _follow(self, ability: Array, se_ability: Array) -> None:
        """Let the interval of the next pass fit these posteriors, where it is too short for them or much too long."""
        spread = (HALF_WIDTH - 1.0) * se_ability
        low, high = float((ability - spread).min()), float((ability + spread).max())
        too_short = low < self.interval[0] or high > self.interval[1]
        if too_short or high - low + 4 * MARGIN < self.interval[1] - self.interval[0]:
            self._set_interval(low, high)

    def _set_interval(self, low: float, high: float) -> None:
        self.interval = (max(low - MARGIN, -MAX_ABILITY_RANGE), min(high + MARGIN, MAX_ABILITY_RANGE))

    def _node_count(self, items: Items) -> int:
        """Nodes at which the items' functions converge: they have poles at b +- i pi / a (Trefethen, 2013)."""
        half = (self.interval[1] - self.interval[0]) / 2

        def needed(log_a: float, tolerance: float) -> float:
            pole = np.pi / float(np.exp(log_a)) / half
            return float(-np.log(tolerance) / np.log(pole + np.sqrt(pole**2 + 1.0)))

        tolerance = ROUGH_TOLERANCE if self.rough else TYPICAL_TOLERANCE
        typical = needed(float(np.quantile(items.log_a, TYPICAL_SHARE)), tolerance)
        steepest = needed(float(items.log_a.max()), STEEPEST_TOLERANCE)
        count = np.clip(np.ceil(self.refinement * max(typical, steepest)), MIN_NODES, MAX_NODES)
        return int(-(-count // 8) * 8)  # products are fastest with whole vectors of columns

    def ensure_accuracy(self, state: _State) -> bool:
        """Add nodes until a sample of subjects' polynomials agrees with direct evaluation; say if none were needed."""
        first, enough = True, ROUGH_INTERPOLATION if self.rough else INTERPOLATION_TOLERANCE
        while True:
            step, nodes = self.expect(state), self.nodes
            self.interpolation_error = self._error(state, step, nodes)
            if self.interpolation_error <= enough or nodes.count >= MAX_NODES:
                return first
            first = False
            self.refinement *= 1.3
            self.last = None

    def _error(self, state: _State, step: ExpectationStep, nodes: Nodes) -> float:
        """Largest error of a sample of subjects' log-likelihoods about their posteriors, up to a constant of each."""
        levels = self.statistics.levels
        n_columns = self.statistics.shape[1] if levels is None else levels.item.size
        offsets = np.linspace(-2.0, 2.0, 7)
        n = step.ability.size
        size = min(n, max(8, CHECKED_CELLS // (offsets.size * n_columns)))
        sample = np.unique(np.append(np.linspace(0, n - 1, size).astype(np.intp), np.argsort(step.ability)[[0, -1]]))
        components = self.statistics.components(sample)
        at_nodes = log_likelihood_at(components, state.items.functions(nodes.points, levels))
        points = step.ability[sample, None] + step.se_ability[sample, None] * offsets
        exact = log_likelihood_at(components, state.items.functions(points.ravel(), levels))
        pick = np.arange(points.size).reshape(points.shape)
        direct = exact[np.arange(sample.size)[:, None], pick]
        polynomial = (nodes.basis(points) @ at_nodes[:, :, None])[..., 0]
        error = polynomial - direct
        # a constant error of a subject moves no posterior and no item
        return float(np.abs(error - error.mean(axis=1, keepdims=True)).max())

    def _iterate(self, state: _State) -> tuple[_State, float]:
        """One E and M step from `state`, and at `state` the log-likelihood penalised by the items' prior."""
        step = self.expect(state)
        nodes = self.nodes
        self.n_passes += 1
        prior = state.prior
        penalty = float(prior.log_density(state.items.log_a, state.items.intercept).sum())
        objective = float(step.log_marginal.sum()) + self._constant(state) + penalty
        # how far a curve lies under its floor nobody can tell: items with floors stay at their modes
        integrated = bool(self.few and np.isfinite(prior.sd[1]) and not state.items.guessing.any())
        items, covariance = maximise(
            state.items,
            step.expected,
            nodes,
            prior,
            slope=self.statistics.slope,
            common_slope=self.common_slope,
            integrated=integrated,
            few=self.few,
        )
        self.sd = np.sqrt(np.stack([covariance[:, 0, 0], covariance[:, 1, 1]], axis=1))
        if integrated:
            self.covariance = covariance
        hyper = update_prior(prior, items, covariance, step.expected, nodes, common_slope=self.common_slope)
        population = state.population.updated(step.ability, step.se_ability, step.shares)
        shift = float(step.ability.mean())
        scale = float(np.sqrt((step.se_ability**2 + (step.ability - shift) ** 2).mean()))
        if scale < DEGENERATE_SD:
            shift, scale = 0.0, 1.0
        prior = hyper.moved(np.exp(items.log_a), shift, scale)
        items = replace(
            items,
            log_a=np.clip(items.log_a + np.log(scale), *LOG_A_RANGE),
            intercept=np.clip(items.intercept + np.exp(items.log_a) * shift, -INTERCEPT_LIMIT, INTERCEPT_LIMIT),
        )
        self.start = ((step.ability - shift) / scale, step.se_ability / scale)
        self._follow(*self.start)
        if self.progress is not None:
            self.progress(self.n_passes, objective)
        return _State(items, prior, population.moved(shift, scale)), objective

    def _change(self, old: _State, new: _State) -> float:
        """Largest change of log a and of the intercept in posterior standard deviations, and of the log parameter."""
        sd = self.sd[:, 0] if not self.common_slope else LOG_PARAMETER_SCALE
        parts = [
            np.abs(new.items.log_a - old.items.log_a) / sd,
            np.abs(new.items.intercept - old.items.intercept) / self.sd[:, 1],
        ]
        own, new_own = old.items.likelihood.parameter, new.items.likelihood.parameter
        if own is not None and new_own is not None:
            parts.append(np.abs([np.log(new_own / own)]) / LOG_PARAMETER_SCALE)
        return float(max(part.max() for part in parts))

    def _constant(self, state: _State) -> float:
        return self.statistics.constant + self.statistics.slope * (state.items.likelihood.parameter or 0.0)

    def _outcome(self, state: _State, converged: bool, distance: float) -> Outcome:
        step = self.expect(state)
        nodes = self.nodes
        log_marginal = step.log_marginal if self.covariance is None else self._pass(state, None).log_marginal
        message = f"converged: {distance:.1e} standard errors from the maximum after {self.n_passes} passes"
        if not converged:
            message = f"not {message}; the last iterate is kept"
        if self.interpolation_error > INTERPOLATION_TOLERANCE:
            message += f"; interpolation error {self.interpolation_error:.3g} nats a subject"
        return Outcome(
            state.items,
            state.prior,
            state.population,
            step,
            nodes,
            float(log_marginal.sum() + self._constant(state)),
            self.n_passes,
            converged,
            message,
            self.interpolation_error,
        )


def _remaining(changes: list[float]) -> tuple[float, float]:
    """Distance to the fixed point after two or more steps of a sequence that converges linearly, and its rate.

    The first ratio is that of the errors which vanish fastest, and is not believed beyond `FIRST_RATE`.
    """
    change, next_change = changes[-2:]
    rate = min(next_change / change, SLOWEST) if change > 0 else 0.0
    cautious = max(rate, FIRST_RATE) if len(changes) == 2 else rate
    return next_change * cautious / (1.0 - cautious), rate


def _length(old: _State, new: _State) -> float:
    return float(np.linalg.norm(new.vector() - old.vector()))


def _extrapolate(old: _State, first: _State, second: _State) -> _State:
    """SQUAREM's third scheme; the population is the last one."""
    x0, x1, x2 = old.vector(), first.vector(), second.vector()
    r, v = x1 - x0, (x2 - x1) - (x1 - x0)
    length = float(np.linalg.norm(v))
    step = 1.0 if length == 0 else float(np.linalg.norm(r)) / length
    step = float(np.clip(step, 1.0, 64.0))
    return second.moved_to(x0 + 2 * step * r + step**2 * v)
