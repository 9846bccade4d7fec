"""Standard errors of items and abilities, from the joint information of all items, abilities integrated.

The marginal information of all items' parameters xi = (log a_j, d_j) is that of the complete data, a block D_j per
item, minus the covariance of the score under every subject's posterior (Louis, 1982). A subject's covariance ties all
items that it answered together, but has few directions: with a narrow posterior just one, v_i g_i g_i' with
g_i = d2 log f / d xi d theta, the arrowhead of the joint information of abilities and items. So the information is
D - U U', inverted by Woodbury's identity. Means of the items' prior are integrated out: one more direction each.

Two scales (docs/mathematics.md, section 4). On the population's, ability is N(0, 1) and everybody's common error is in
every standard error; on the anchored one the calibration subjects themselves have mean 0 and sd 1, which removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from irsl.calibration.engine import Outcome
from irsl.calibration.expectation import log_likelihood_at
from irsl.calibration.item_prior import PSEUDO_ITEMS, ItemPrior
from irsl.calibration.m_step import Items, in_chunks, step_information
from irsl.calibration.population import NormalPopulation
from irsl.calibration.propagation import item_error_variance
from irsl.calibration.quadrature import integrate, weights_on_windows
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import Expected

EXACT_ITEMS = 300  # up to here the covariance of the scores is integrated; above, posteriors are narrow
EXACT_WORK = 5e10  # multiplications of the integrated covariance
EXACT_SCORES = 5e7
SUBJECT_WORK = 2e9  # items x subjects^2, above which directions are taken at the nodes, not subject by subject
SUBJECT_SCORES = 2e7
QUADRATURE = 25
INDEFINITE = 1e-5
SMALLEST = 1e-9  # eigenvalue of I - U' D^-1 U
SMALLEST_SHARE = 0.05  # of a posterior variance that anchoring may leave
TIGHT = 1e7  # precision of a common slope's deviations, in multiples of the information


@dataclass(frozen=True)
class Uncertainty:
    """Covariances of (log a, d) of every item on both scales, and standard errors of the calibration's abilities.

    Attributes
    ----------
    anchored, population : (n_items, 2, 2) float64
        NaN where the responses carry no information.
    se_ability : (n_subjects,) float64
        Relative to the anchor, the items' errors included.
    """

    anchored: Array
    population: Array
    se_ability: Array


@dataclass(frozen=True)
class _Directions:
    """U of the information D - U U', and how abilities follow the items: d theta_i = h_i' d xi.

    Attributes
    ----------
    tied : (2 n_items, K) float64
    follow : (2 n_items, n_subjects) float64, or None
        The h_i; None where there are too many subjects for one direction each.
    centre, width : (2 n_items,) float64
        d of the subjects' mean and of their sd.
    observed : bool
        Whether they are of the observed information.
    """

    tied: Array
    follow: Array | None
    centre: Array
    width: Array
    observed: bool


def uncertainty(
    statistics: SufficientStatistics, outcome: Outcome, *, common_slope: bool, design_effect: Array | None = None
) -> Uncertainty:
    """Invert the joint information."""
    items, step, nodes = outcome.items, outcome.step, outcome.nodes
    n_subjects, n_items = statistics.shape
    effect = np.ones(2) if design_effect is None else design_effect
    work = n_subjects * QUADRATURE * 4.0 * n_items**2
    if n_items <= EXACT_ITEMS and work <= EXACT_WORK and n_subjects * QUADRATURE * n_items <= EXACT_SCORES:
        parts = in_chunks(
            n_items,
            nodes.count,
            lambda i: step_information(items.take(i), step.expected.take(i), nodes, kind="observed")[1],
        )
        exact = np.concatenate(parts), _integrated(statistics, outcome)
        result = _invert(statistics, outcome, *exact, common_slope=common_slope, design_effect=effect)
        if result is not None:
            return result
    if n_subjects * n_items <= SUBJECT_SCORES and n_items * n_subjects**2 <= SUBJECT_WORK:
        blocks, directions = _by_subject(statistics, outcome)
    else:
        blocks, directions = _at_nodes(statistics, outcome)
    result = _invert(statistics, outcome, blocks, directions, common_slope=common_slope, design_effect=effect)
    assert result is not None  # the expected information is never indefinite
    return result


def _integrated(statistics: SufficientStatistics, outcome: Outcome) -> _Directions:
    """The covariance of all scores under every subject's posterior, integrated and added up."""
    items, nodes, step, population = outcome.items, outcome.nodes, outcome.step, outcome.population
    n_subjects, n_items = statistics.shape
    functions = items.functions(nodes.points, statistics.levels)
    total = np.zeros((2 * n_items, 2 * n_items))
    follow = np.empty((2 * n_items, n_subjects))
    groups = None
    if isinstance(population, NormalPopulation) and population.mean.size > 1:
        groups = _Groups(population, n_items)
    for rows in statistics.blocks(max(1, 2_000_000 // (QUADRATURE * n_items))):
        log_likelihood = log_likelihood_at(statistics.components(rows), functions)
        weight = population.log_density(np.arange(rows.start, rows.stop))
        posterior = integrate(nodes, log_likelihood, weight, (step.ability[rows], step.se_ability[rows]))
        points, w = weights_on_windows(nodes, log_likelihood, weight, posterior.low, posterior.high, QUADRATURE)
        t, n = statistics.cells(rows)
        slope = np.exp(items.log_a) * points[:, :, None]
        n = n if isinstance(n, int) else n[:, None, :]
        first = items.likelihood.score(t[:, None, :], n, slope + items.intercept, items.guessing)
        score = np.stack([first * slope, first], axis=-1).reshape(points.shape[0], QUADRATURE, -1)
        score -= (w[:, :, None] * score).sum(axis=1, keepdims=True)
        place = points - (w * points).sum(axis=1, keepdims=True)
        follow[:, rows] = ((w * place)[:, :, None] * score).sum(axis=1).T
        if groups is not None:
            groups.add(rows, points, w, place, score)
        score *= np.sqrt(w)[:, :, None]
        flat = score.reshape(-1, 2 * n_items)
        total += flat.T @ flat
    size, axes = np.linalg.eigh(total)
    tied = axes * np.sqrt(np.maximum(size, 0.0))
    if groups is not None:
        more, along = groups.eliminated()
        tied, follow = np.concatenate([tied, more], axis=1), follow + along
    return _Directions(tied, follow, follow.mean(axis=1), (follow * step.ability).mean(axis=1), True)


class _Groups:
    """Means and log sds of several groups of subjects, estimated with the items: what not knowing them adds.

    The scale is where all subjects together have mean 0 and sd 1, so that one group has nothing to estimate.
    """

    def __init__(self, population: NormalPopulation, n_items: int) -> None:
        n = population.mean.size
        self.population = population
        self.information = np.zeros((n, 2, 2))
        self.cross = np.zeros((n, 2, 2 * n_items))  # covariance of their scores with the items'
        self.follow = np.empty((population.group.size, 2))  # of theirs with the ability

    def add(self, rows: slice, points: Array, w: Array, place: Array, score: Array) -> None:
        """Add some subjects: points and weights (n, Q), theta - E theta, and centred item scores (n, Q, 2 n_items)."""
        group, sd = self.population.group[rows], self.population.sd
        u = (points - self.population.mean[group][:, None]) / sd[group][:, None]
        own = np.stack([u / sd[group][:, None], u**2 - 1.0], axis=2)
        square = (w * u**2).sum(axis=1)
        own -= (w[:, :, None] * own).sum(axis=1, keepdims=True)
        weighted = (w[:, :, None] * own).transpose(0, 2, 1)
        self.follow[rows] = (weighted @ place[:, :, None])[:, :, 0]
        np.add.at(self.cross, group, weighted @ score)
        missing = weighted @ own
        complete = np.zeros_like(missing)
        complete[:, 0, 0], complete[:, 1, 1] = sd[group] ** -2.0, 2.0 * square
        np.add.at(self.information, group, complete - missing)

    def eliminated(self) -> tuple[Array, Array]:
        """Directions for the items' information, (2 n_items, 2 n_groups), and what is added to how abilities follow."""
        n, mean, sd = self.population.mean.size, self.population.mean, self.population.sd
        information = np.zeros((2 * n, 2 * n))
        for g in range(n):
            information[2 * g : 2 * g + 2, 2 * g : 2 * g + 2] = self.information[g]
        share = np.bincount(self.population.group, minlength=n) / self.population.group.size
        # d of the mean of all subjects, and of their mean square
        scale = np.zeros((2, n, 2))
        scale[0, :, 0], scale[1, :, 0], scale[1, :, 1] = share, 2.0 * share * mean, 2.0 * share * sd**2
        fixed = scale.reshape(2, 2 * n)
        trace = float(np.trace(information))
        size, axes = np.linalg.eigh(information + TIGHT * trace * fixed.T @ fixed)
        root = axes / np.sqrt(np.maximum(size, SMALLEST * trace))
        half = self.cross.reshape(2 * n, -1).T @ root
        own = np.zeros((self.follow.shape[0], n, 2))
        own[np.arange(own.shape[0]), self.population.group] = self.follow
        return half, half @ root.T @ own.reshape(-1, 2 * n).T


def _by_subject(statistics: SufficientStatistics, outcome: Outcome) -> tuple[Array, _Directions]:
    """Blocks D_j, and one direction a subject, from the expected information at the posterior means.

    Abilities and items then have a joint information that is a sum of squares over the responses, so D - U U' is never
    indefinite.
    """
    items, step = outcome.items, outcome.step
    n_subjects, n_items = statistics.shape
    a = np.exp(items.log_a)
    follow = np.empty((n_items, 2, n_subjects))
    blocks = np.zeros((n_items, 2, 2))
    variance = np.empty(n_subjects)
    for rows in statistics.blocks(max(1, 1_000_000 // n_items)):
        _, n = statistics.cells(rows)
        theta = step.ability[rows]
        slope = theta[:, None] * a
        information = items.likelihood.information(n, slope + items.intercept, items.guessing)
        variance[rows] = 1.0 / (outcome.population.precision(np.arange(rows.start, rows.stop)) + information @ a**2)
        pull = -(variance[rows, None] * a * information).T
        follow[:, 1, rows] = pull
        follow[:, 0, rows] = pull * slope.T
        blocks[:, 1, 1] += information.sum(axis=0)
        blocks[:, 0, 1] += (information * slope).sum(axis=0)
        blocks[:, 0, 0] += (information * (slope**2 + variance[rows, None] * a**2)).sum(axis=0)  # E[theta^2]
    blocks[:, 1, 0] = blocks[:, 0, 1]
    flat = follow.reshape(2 * n_items, n_subjects)
    centre, width = flat.mean(axis=1), (flat * step.ability).mean(axis=1)
    return blocks, _Directions(flat / np.sqrt(variance), flat, centre, width, False)


def _at_nodes(statistics: SufficientStatistics, outcome: Outcome) -> tuple[Array, _Directions]:
    """As `_by_subject`, with everything as functions of ability at the nodes, and missing cells by their share."""
    items, step, nodes = outcome.items, outcome.step, outcome.nodes
    n_subjects = statistics.shape[0]
    points = nodes.points
    n, share = _trials_and_share(statistics, step.expected)
    a = np.exp(items.log_a)
    information = share * items.likelihood.information(n, items.eta(points).T, items.guessing)
    slope = points[:, None] * a
    count = step.expectation.sum(axis=0)
    blocks = np.empty((items.n_items, 2, 2))
    blocks[:, 1, 1] = count @ information
    blocks[:, 0, 1] = blocks[:, 1, 0] = count @ (information * slope)
    blocks[:, 0, 0] = count @ (information * slope**2)
    prior = outcome.population.precision(np.arange(n_subjects))
    variance = 1.0 / (prior + np.maximum(step.expectation @ (information @ a**2), 0.0))
    table = -np.stack([information * a * slope, information * a], axis=-1).reshape(points.size, -1).T
    gram = (step.expectation * variance[:, None]).T @ step.expectation
    size, axes = np.linalg.eigh((gram + gram.T) / 2)
    centre = table @ (variance @ step.expectation) / n_subjects
    width = table @ ((variance * step.ability) @ step.expectation) / n_subjects
    return blocks, _Directions(table @ (axes * np.sqrt(np.maximum(size, 0.0))), None, centre, width, False)


def _trials_and_share(statistics: SufficientStatistics, expected: Expected) -> tuple[Any, Any]:
    """Trials of a response to every item, and the share of the subjects who gave one; their mean where that will do."""
    if isinstance(statistics.trials, int):
        return statistics.trials, 1.0
    if expected.levels is None:  # an exponential form, whose information is proportional to n
        return expected.components[1].sum(axis=1) / statistics.shape[0], 1.0
    count = expected.components[0].sum(axis=1, keepdims=True)
    answers, trials = (expected.levels.total(x)[:, 0] for x in (count, count * expected.levels.trials[:, None]))
    return np.round(trials / np.maximum(answers, 1e-9)), answers / statistics.shape[0]


def _invert(
    statistics: SufficientStatistics,
    outcome: Outcome,
    blocks: Array,
    directions: _Directions,
    *,
    common_slope: bool,
    design_effect: Array,
) -> Uncertainty | None:
    """Covariances from the blocks and directions; None where the observed information is not positive definite.

    That happens where items with floors or at bounds are no maximum of the likelihood in all directions together.
    """
    items, step = outcome.items, outcome.step
    n_items = items.n_items
    precision, tied = _prior_precision(blocks, items, outcome.prior, common_slope=common_slope)
    whole = blocks + precision
    det = whole[:, 0, 0] * whole[:, 1, 1] - whole[:, 0, 1] ** 2
    good = (det > 0) & (whole[:, 0, 0] > 0) & np.isfinite(det)
    whole[~good] = np.eye(2)
    own = np.linalg.inv(whole)
    u = np.concatenate([directions.tied, tied], axis=1)
    u[np.repeat(~good, 2)] = 0.0

    def own_times(x: Array) -> Array:
        return np.asarray((own @ x.reshape(n_items, 2, -1)).reshape(2 * n_items, -1))

    spread = own_times(u)
    size, axes = np.linalg.eigh(np.eye(u.shape[1]) - u.T @ spread)
    if directions.observed and size[0] < INDEFINITE:
        return None
    root = spread @ (axes / np.sqrt(np.maximum(size, SMALLEST)))
    by_item = root.reshape(n_items, 2, -1)
    population = own + by_item @ by_item.transpose(0, 2, 1)

    def covariance_times(x: Array) -> Array:
        return np.asarray(own_times(x) + root @ (root.T @ x))

    moves = np.stack([directions.width, directions.centre], axis=1)  # of log sd and of the mean, against items
    moves[np.repeat(~good, 2)] = 0.0
    cross = covariance_times(moves)
    common = moves.T @ cross
    theta, variance, n = step.ability, step.se_ability**2, step.ability.size
    for i, left in enumerate((theta, np.ones(n))):
        for j, right in enumerate((theta, np.ones(n))):
            common[i, j] += float((variance * left * right).sum()) / n**2
    # log a grows with the subjects' sd, d by a times their mean
    lift = np.zeros((n_items, 2, 2))
    lift[:, 0, 0], lift[:, 1, 1] = 1.0, np.exp(items.log_a)
    shared = cross.reshape(n_items, 2, 2) @ lift
    anchored = population + shared + shared.transpose(0, 2, 1) + lift @ common @ lift
    of_prior = outcome.prior.information(items.log_a, items.intercept)
    population, anchored = (_inflated(x, of_prior, design_effect) for x in (population, anchored))
    population[~good], anchored[~good] = np.nan, np.nan
    if directions.follow is None:
        added = item_error_variance(items, anchored, outcome.nodes, theta, step.se_ability, statistics.trials)
        total = variance + added
    else:
        follow = np.where(np.repeat(good, 2)[:, None], directions.follow, 0.0)
        place = np.stack([theta, np.ones(n)])
        along = follow.T @ cross
        total = variance * (1.0 - 2.0 * (1.0 + theta**2) / n) + (follow * covariance_times(follow)).sum(axis=0)
        total += np.einsum("in,ij,jn->n", place, common, place) - 2.0 * (along * place.T).sum(axis=1)
    return Uncertainty(anchored, population, np.sqrt(np.maximum(total, SMALLEST_SHARE * variance)))


def _prior_precision(blocks: Array, items: Items, prior: ItemPrior, *, common_slope: bool) -> tuple[Array, Array]:
    """Information (n_items, 2, 2) of the prior about (log a, d), and the directions in which its means are free.

    A common slope is a prior of no width about a mean that has a prior of its own.
    """
    n_items = blocks.shape[0]
    precision = prior.precision
    members = n_items + PSEUDO_ITEMS
    if common_slope:
        precision[0] = TIGHT * float(np.abs(blocks[:, 0, 0]).mean())
        members = n_items * (1.0 + prior.precision[0] / precision[0])
    size = np.bincount(prior.block)
    jacobian = prior.jacobian(items.log_a, items.intercept)
    information = np.einsum("nki,k,nkj->nij", jacobian, precision, jacobian)
    tied = np.zeros((n_items, 2, 1 + size.size))
    tied[:, 0, 0] = np.sqrt(precision[0] / members)
    tied[np.arange(n_items), :, 1 + prior.block] = jacobian[:, 1] * np.sqrt(precision[1] / size[prior.block])[:, None]
    return information, tied.reshape(2 * n_items, -1)


def _inflated(covariance: Array, of_prior: Array, design_effect: Array) -> Array:
    """Covariance when the responses count for less: V (deff (V^-1 - P) + P) V, with P the prior's information."""
    if (design_effect == 1.0).all():
        return covariance
    root = np.sqrt(np.maximum(design_effect, 1.0))
    inverse = np.linalg.inv(covariance)
    data = inverse - of_prior
    meat = data * np.outer(root, root) + (inverse - data)
    return np.asarray(covariance @ meat @ covariance)
