"""Marginal maximum a posteriori by EM: the responses are touched by matrix products only.

E step: the items' functions A and C at R Chebyshev nodes give every subject's log-likelihood there by one product,
F = T(Y) A + n C; between the nodes it is the interpolating polynomial. M step: H = T(Y)^T E, with E the expected
cardinal functions, is all that the items need. The population is standardised in every iteration (parameter-expanded
EM, Liu, Rubin and Wu, 1998) and the sequence accelerated (SQUAREM, Varadhan and Roland, 2008), falling back to the
plain step when the objective falls. Derivations: docs/mathematics.md, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from irsl.calibration.item_prior import ItemPrior
from irsl.calibration.m_step import (
    INTERCEPT_LIMIT,
    LOG_A_RANGE,
    ExpectedStatistics,
    Items,
    update_items,
    update_precision,
)
from irsl.calibration.quadrature import AbilityGrid, Nodes
from irsl.likelihoods import Beta, SufficientStatistics
from irsl.likelihoods.base import Array

ABILITY_RANGE = 6.0  # nodes cover +- this many population standard deviations, wider when a posterior needs it
MAX_ABILITY_RANGE = 16.0
MIN_NODES, MAX_NODES = 24, 512
ITEM_TOLERANCE = 1e-3  # relative error of the steepest item's functions between the nodes
INTERPOLATION_TOLERANCE = 0.01  # nats per subject
BLOCK_ROWS = 1024
DOUBLE_PRECISION_CELLS = 50_000_000  # below this the products run in float64
CHECKED_SUBJECTS = 24
COARSEST_GRID = 0.6  # posterior sd over spacing at which a trapezoidal sum of a normal density is .2 % off
MAX_REFINEMENT = 256
DEGENERATE_SD = 1e-3

Progress = Callable[[int, float], None]


@dataclass(frozen=True)
class Settings:
    """When to stop: the largest change of a parameter in one iteration, in its standard errors, and the passes."""

    tolerance: float = 1e-4
    max_iterations: int = 500


@dataclass(frozen=True)
class Outcome:
    """What the engine found; complete whether or not it converged.

    Attributes
    ----------
    items : Items
    prior : ItemPrior
    ability, se_ability : (n_subjects,) float64
        Posterior mean and sd given the items.
    log_likelihood : float
        Marginal, of all responses, without the items' prior, in nats.
    n_iterations : int
    converged : bool
    message : str
    nodes : Nodes
    interpolation_error : float
        Largest error found in a sample of subjects' log-likelihoods within two posterior standard deviations, in nats.
    """

    items: Items
    prior: ItemPrior
    ability: Array
    se_ability: Array
    log_likelihood: float
    n_iterations: int
    converged: bool
    message: str
    nodes: Nodes
    interpolation_error: float


@dataclass(frozen=True)
class ExpectationStep:
    """Result of one pass over the data."""

    statistics: ExpectedStatistics
    ability: Array
    se_ability: Array
    log_marginal: Array


def blocks(statistics: SufficientStatistics, rows: int = BLOCK_ROWS) -> Iterator[tuple[slice, Any, Any]]:
    """Row blocks of T(Y) and n; n stays an int where it is one."""
    n_subjects = statistics.values.shape[0]
    for start in range(0, n_subjects, rows):
        part = slice(start, min(start + rows, n_subjects))
        trials = statistics.trials if isinstance(statistics.trials, int) else statistics.trials[part]
        yield part, statistics.values[part], trials


def log_likelihood_at(values: Any, trials: Any, natural: Array, base: Array) -> Array:
    """F of a block of subjects at some abilities, (n_rows, n_abilities), from A and C (n_items, n_abilities)."""
    total = _product(values, natural)
    if isinstance(trials, int):
        return np.asarray(total + trials * base.sum(axis=0))
    return total + _product(trials, base)


def expectation_step(
    statistics: SufficientStatistics, items: Items, grid: AbilityGrid, dtype: type[np.floating[Any]]
) -> ExpectationStep:
    """One pass over the data: posteriors of all subjects, and the expected statistics of all items."""
    nodes = grid.nodes
    natural, base = (x.astype(dtype) for x in items.natural_and_base(nodes.points))
    n_subjects, n_items = statistics.values.shape
    complete = isinstance(statistics.trials, int)
    values = np.zeros((n_items, nodes.count))
    trials = np.zeros((1 if complete else n_items, nodes.count))
    ability, sd, log_marginal = (np.empty(n_subjects) for _ in range(3))
    for rows, block, n in blocks(statistics):
        posterior = grid.posterior(log_likelihood_at(block, n, natural, base).astype(np.float64))
        ability[rows], sd[rows], log_marginal[rows] = posterior.mean, posterior.sd, posterior.log_marginal
        expectation = posterior.expectation.astype(dtype)
        values += _product(block.T, expectation)
        trials += n * posterior.expectation.sum(axis=0) if complete else _product(n.T, expectation)
    return ExpectationStep(ExpectedStatistics(values, trials), ability, sd, log_marginal)


def fit(
    statistics: SufficientStatistics,
    items: Items,
    prior: ItemPrior,
    *,
    common_slope: bool,
    settings: Settings,
    progress: Progress | None = None,
) -> Outcome:
    """Alternate E and M steps until the parameters stand still."""
    run = _Run(statistics, common_slope, settings, progress)
    return run.fit(_State(items, prior))


def resolve(statistics: SufficientStatistics, items: Items) -> tuple[AbilityGrid, ExpectationStep]:
    """Posteriors of all subjects given the items, and the grid on which they were found accurate."""
    run = _Run(statistics, False, Settings(), None)
    state = _State(items, ItemPrior(np.zeros(2), np.full(2, np.inf)))
    run.choose_nodes(state)
    step = run.expect(state)
    return run.grid, step


@dataclass(frozen=True)
class _State:
    """Everything that an iteration changes."""

    items: Items
    prior: ItemPrior

    def vector(self) -> Array:
        """All of it in one unconstrained vector."""
        finite = np.isfinite(self.prior.sd)
        phi = self.items.likelihood.precision
        return np.concatenate(
            [
                self.items.log_a,
                self.items.intercept,
                self.prior.mean[finite],
                np.log(self.prior.sd[finite]),
                [] if phi is None else [np.log(phi)],
            ]
        )

    @property
    def admissible(self) -> bool:
        """Whether all parameters lie where the M step keeps them."""
        low, high = LOG_A_RANGE
        a_within = (self.items.log_a >= low).all() and (self.items.log_a <= high).all()
        return bool(
            a_within and (np.abs(self.items.intercept) <= INTERCEPT_LIMIT).all() and np.isfinite(self.prior.mean).all()
        )

    def moved_to(self, x: Array) -> _State:
        """Return the state that `vector` would map to `x`."""
        n, finite = self.items.n_items, np.isfinite(self.prior.sd)
        k = int(finite.sum())
        mean, sd = self.prior.mean.copy(), self.prior.sd.copy()
        mean[finite], sd[finite] = x[2 * n : 2 * n + k], np.exp(x[2 * n + k : 2 * n + 2 * k])
        likelihood = self.items.likelihood
        if isinstance(likelihood, Beta):
            likelihood = replace(likelihood, precision=float(np.exp(x[-1])))
        items = replace(self.items, log_a=x[:n], intercept=x[n : 2 * n], likelihood=likelihood)
        return _State(items, ItemPrior(mean, sd))


class _Run:
    """One calibration: the data, the grid that fits them at present, and the count of passes."""

    def __init__(
        self,
        statistics: SufficientStatistics,
        common_slope: bool,
        settings: Settings,
        progress: Progress | None,
    ) -> None:
        self.statistics = statistics
        self.common_slope = common_slope
        self.settings = settings
        self.progress = progress
        n_subjects, n_items = statistics.values.shape
        small = n_subjects * n_items <= DOUBLE_PRECISION_CELLS
        self.dtype: type[np.floating[Any]] = np.float64 if small else np.float32
        self.max_trials = _column_maxima(statistics)
        self.range = ABILITY_RANGE
        self.refinement = 1
        self.n_nodes = MIN_NODES
        self.n_passes = 0
        self.interpolation_error = np.inf
        self.last: ExpectationStep | None = None

    def fit(self, state: _State) -> Outcome:
        """Cycles of two plain steps and one accelerated one."""
        self.choose_nodes(state)
        change, converged = np.inf, False
        while self.n_passes < self.settings.max_iterations:
            first, objective = self._iterate(state)
            change = self._change(state, first)
            if change < self.settings.tolerance:
                state, converged = first, True
                if self._accurate(state):
                    break
                converged = False
                continue
            second, objective_first = self._iterate(first)
            change = self._change(first, second)
            leap = _extrapolate(state, first, second)
            if not leap.admissible:
                state = second
                continue
            landed, objective_leap = self._iterate(leap)
            # an estimated prior makes the penalised likelihood no objective of the whole iteration, so a leap is
            # also good where it comes closer to standing still
            rose = objective_leap >= max(objective, objective_first)
            closer = _distance(leap, landed) <= _distance(state, first)
            state = landed if rose or closer else second
            self._accurate(state)
        return self._outcome(state, converged, change)

    def _iterate(self, state: _State) -> tuple[_State, float]:
        """One E and M step from `state`, and at `state` the log-likelihood penalised by the items' prior."""
        step = self.expect(state)
        self.n_passes += 1
        prior = state.prior
        nodes = self.grid.nodes
        items, variance = update_items(state.items, step.statistics, nodes, prior, common_slope=self.common_slope)
        penalty = float(prior.log_density(state.items.log_a, state.items.intercept).sum())
        objective = float(step.log_marginal.sum()) + self._constant(state) + penalty
        items = update_precision(items, step.statistics, nodes, self.statistics.slope)
        shift = float(step.ability.mean())
        self.sd = np.sqrt(variance)
        scale = float(np.sqrt((step.se_ability**2 + (step.ability - shift) ** 2).mean()))
        if scale < DEGENERATE_SD:
            shift, scale = 0.0, 1.0
        items = replace(
            items,
            log_a=np.clip(items.log_a + np.log(scale), *LOG_A_RANGE),
            intercept=np.clip(items.intercept + np.exp(items.log_a) * shift, -INTERCEPT_LIMIT, INTERCEPT_LIMIT),
        )
        prior = prior.update(items.log_a, items.intercept, variance)
        if self.progress is not None:
            self.progress(self.n_passes, objective)
        return _State(items, prior), objective

    def _change(self, old: _State, new: _State) -> float:
        """Largest change of log a and of the intercept in posterior standard deviations, and of log phi."""
        sd = self.sd[:, 0] if not self.common_slope else 1.0
        parts = [
            np.abs(new.items.log_a - old.items.log_a) / sd,
            np.abs(new.items.intercept - old.items.intercept) / self.sd[:, 1],
        ]
        phi, new_phi = old.items.likelihood.precision, new.items.likelihood.precision
        if phi is not None and new_phi is not None:
            parts.append(np.abs([np.log(new_phi / phi)]))
        return float(max(part.max() for part in parts))

    def expect(self, state: _State) -> ExpectationStep:
        """E step on a grid that resolves the narrowest posterior and holds the widest."""
        while True:
            self.n_nodes = max(self.n_nodes, self._nodes_for_slopes(state))
            spacing = self._spacing(state) / self.refinement
            self.grid = AbilityGrid.build(Nodes(-self.range, self.range, self.n_nodes), spacing)
            step = expectation_step(self.statistics, state.items, self.grid, self.dtype)
            if step.se_ability.min() < COARSEST_GRID * spacing and self.refinement < MAX_REFINEMENT:
                self.refinement *= 2  # a posterior narrower than its expected information says
                continue
            needed = float((np.abs(step.ability) + 5.0 * step.se_ability).max())
            if needed <= self.range or self.range >= MAX_ABILITY_RANGE:
                self.last = step
                return step
            self.n_nodes = int(np.ceil(self.n_nodes * min(needed + 1.0, MAX_ABILITY_RANGE) / self.range))
            self.range = min(needed + 1.0, MAX_ABILITY_RANGE)

    def _nodes_for_slopes(self, state: _State) -> int:
        """Nodes at which the steepest item converges: its functions have poles at b +- i pi / a (Trefethen, 2013)."""
        pole = np.pi / float(np.exp(state.items.log_a.max())) / self.range
        rate = np.log(pole + np.sqrt(pole**2 + 1.0))
        return min(MAX_NODES, int(np.ceil(-np.log(ITEM_TOLERANCE) / rate)))

    def _spacing(self, state: _State) -> float:
        """The posterior sd to expect at least: information of a subject who answered everything, at its peak."""
        items, points = state.items, np.linspace(-self.range, self.range, 121)
        peak = np.zeros(points.size)
        for start in range(0, items.n_items, 4096):
            part = items.take(np.arange(start, min(start + 4096, items.n_items)))
            d_natural, _, d_mean = items.likelihood.slopes(part.eta(points), part.guessing[:, None])
            weight = self.max_trials[start : start + 4096] * np.exp(2 * part.log_a)
            peak += (weight[:, None] * d_natural * d_mean).sum(axis=0)
        return float(min(0.25, 1.0 / np.sqrt(1.0 + peak.max())))

    def choose_nodes(self, state: _State) -> None:
        """Start with as many nodes as a slope of 1 needs; the self-check raises it when the items ask for more."""
        self.n_nodes = 32
        while not self._accurate(state) and self.n_nodes < MAX_NODES:
            pass

    def _accurate(self, state: _State) -> bool:
        """Compare a sample of subjects' polynomials with direct evaluation; more nodes when they differ too much."""
        step = self.expect(state) if self.last is None else self.last
        n = step.ability.size
        sample = np.unique(np.linspace(0, n - 1, min(n, CHECKED_SUBJECTS)).astype(np.intp))
        nodes = Nodes(-self.range, self.range, self.n_nodes)
        natural, base = state.items.natural_and_base(nodes.points)
        values, trials = _rows(self.statistics, sample)
        at_nodes = log_likelihood_at(values, trials, natural, base)
        offsets = np.linspace(-2.0, 2.0, 5)
        points = step.ability[sample, None] + step.se_ability[sample, None] * offsets
        exact_a, exact_c = state.items.natural_and_base(points.ravel())
        exact = log_likelihood_at(values, trials, exact_a, exact_c)
        pick = np.arange(points.size).reshape(points.shape)
        direct = exact[np.arange(sample.size)[:, None], pick]
        polynomial = np.einsum("sr,spr->sp", at_nodes, nodes.basis(points.ravel()).reshape(*points.shape, -1))
        error = polynomial - direct
        # a constant error of a subject moves no posterior and no item
        self.interpolation_error = float(np.abs(error - error.mean(axis=1, keepdims=True)).max())
        if self.interpolation_error <= INTERPOLATION_TOLERANCE or self.n_nodes >= MAX_NODES:
            return True
        self.n_nodes = min(MAX_NODES, int(np.ceil(1.4 * self.n_nodes)))
        return False

    def _constant(self, state: _State) -> float:
        phi = state.items.likelihood.precision
        return self.statistics.constant + (0.0 if phi is None else phi * self.statistics.slope)

    def _outcome(self, state: _State, converged: bool, change: float) -> Outcome:
        step = self.expect(state)
        message = f"converged: largest change {change:.1e} standard errors after {self.n_passes} passes"
        if not converged:
            message = f"not {message}; the last iterate is kept"
        if self.interpolation_error > INTERPOLATION_TOLERANCE:
            message += f"; interpolation error {self.interpolation_error:.3g} nats a subject"
        return Outcome(
            state.items,
            state.prior,
            step.ability,
            step.se_ability,
            float(step.log_marginal.sum() + self._constant(state)),
            self.n_passes,
            converged,
            message,
            self.grid.nodes,
            self.interpolation_error,
        )


def _product(left: Any, right: Array) -> Array:
    """Left @ right for a dense or sparse left, in the precision of `right`."""
    if sparse.issparse(left):
        return np.asarray((left @ right), dtype=np.float64)
    return np.asarray(np.asarray(left, dtype=right.dtype) @ right, dtype=np.float64)


def _rows(statistics: SufficientStatistics, index: NDArray[np.intp]) -> tuple[Any, Any]:
    trials = statistics.trials if isinstance(statistics.trials, int) else statistics.trials[index]
    return statistics.values[index], trials


def _column_maxima(statistics: SufficientStatistics) -> Array:
    """(n_items,) the largest n of each item."""
    n_items = statistics.values.shape[1]
    if isinstance(statistics.trials, int):
        return np.full(n_items, float(statistics.trials))
    largest = np.zeros(n_items)
    for _, _, n in blocks(statistics):
        peak = n.max(axis=0)
        peak = peak.toarray() if sparse.issparse(peak) else peak
        largest = np.maximum(largest, np.asarray(peak, dtype=np.float64).ravel())
    return largest


def _distance(old: _State, new: _State) -> float:
    return float(np.linalg.norm(new.vector() - old.vector()))


def _extrapolate(old: _State, first: _State, second: _State) -> _State:
    """SQUAREM's third scheme."""
    x0, x1, x2 = old.vector(), first.vector(), second.vector()
    r, v = x1 - x0, (x2 - x1) - (x1 - x0)
    length = float(np.linalg.norm(v))
    step = 1.0 if length == 0 else float(np.linalg.norm(r)) / length
    step = float(np.clip(step, 1.0, 64.0))
    return second.moved_to(x0 + 2 * step * r + step**2 * v)
