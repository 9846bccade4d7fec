"""M step: items from the expected statistics at the nodes, by Newton's method, all items at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.item_prior import ItemPrior
from irsl.calibration.parameters import ItemParameters
from irsl.calibration.quadrature import Nodes
from irsl.likelihoods import Likelihood
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import Expected, Levels
from irsl.threads import over_ranges

MAX_STEP = np.array([0.5, 1.0])  # of log a and of the intercept in one step
MAX_HALVINGS = 8
SUFFICIENT_GAIN = 0.3
MAX_STEPS = 2
MAX_STEPS_WITH_FLOOR = 4
MAX_TURNS = 8
PARAMETER_STANDSTILL = 1e-4  # of the log of the likelihood's own parameter
PARAMETER_SHARE = 0.01  # of its first step in a pass, which is as good as standing still
STANDSTILL = 0.01  # of a posterior standard deviation: an item that moved less needs no further step
TRUSTED = 0.1  # of a posterior standard deviation: a Newton step that short is taken without a search
ROUNDING = 1e-12  # of an expected log-likelihood, relative
SAFE_SHARE = 0.05  # of the expected information, and of a determinant: below it the observed one is not trusted
LOG_A_RANGE = (-4.0, 3.0)  # reached by items that do not depend on ability, or jump with it
INTERCEPT_LIMIT = 25.0  # logits; reached only without a prior, by items that all or none solved
INTEGRATED_ITEMS = 512
NEAR_END = 1e-12  # of a curve to 0 or 1, where nothing is left to learn
INTEGRATION_POINTS = 5
LAPLACE_STEP = 0.02  # of a log parameter
CHUNK_CELLS = 120_000  # items x nodes worked on at once by a thread, so that tables stay in its cache

Index = NDArray[np.intp]
T = TypeVar("T")


@dataclass(frozen=True)
class Items:
    """Working parameters of n_items items, and the likelihood with its own parameter.

    The intercept d = -a b is the logit of the curve at ability 0, which the data always determine; b = -d / a runs away
    where a is near 0, along a ridge on which steps in (log a, b) creep.

    Attributes
    ----------
    log_a, intercept, guessing : (n_items,) float64
    likelihood : Likelihood
    """

    log_a: Array
    intercept: Array
    guessing: Array
    likelihood: Likelihood

    @classmethod
    def of(cls, parameters: ItemParameters, likelihood: Likelihood) -> Items:
        """Take calibrated parameters."""
        a = parameters.discrimination
        return cls(np.log(a), -a * parameters.difficulty, parameters.guessing, likelihood)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.log_a.size)

    @property
    def difficulty(self) -> Array:
        """(n_items,) b = -d / a."""
        return np.asarray(-self.intercept * np.exp(-self.log_a))

    @property
    def is_linear(self) -> bool:
        """Whether sums over items of T A are linear in ability."""
        return self.likelihood.is_linear(self.guessing)

    def eta(self, points: Array) -> Array:
        """(n_items, n_points)."""
        return np.exp(self.log_a)[:, None] * points[None, :] + self.intercept[:, None]

    def eta_variance(self, points: Array, covariance: Array) -> Array:
        """(n_items, n_points) variance of eta from errors of (log a, d) with these covariances, (n_items, 2, 2)."""
        slope = np.exp(self.log_a)[:, None] * points
        return np.asarray(
            slope**2 * covariance[:, 0, 0, None] + 2.0 * slope * covariance[:, 0, 1, None] + covariance[:, 1, 1, None]
        )

    def take(self, index: Index) -> Items:
        """Return some items."""
        return Items(self.log_a[index], self.intercept[index], self.guessing[index], self.likelihood)

    def put(self, index: Index, other: Items) -> Items:
        """Return these items with those at `index` replaced by `other`."""
        log_a, intercept = self.log_a.copy(), self.intercept.copy()
        log_a[index], intercept[index] = other.log_a, other.intercept
        return replace(self, log_a=log_a, intercept=intercept)

    def functions(self, points: Array, levels: Levels | None = None) -> tuple[Array, ...]:
        """A_s of every column of the statistics at the points, (n_columns, n_points) each."""
        if levels is not None:
            return self.likelihood.functions(self.eta(points), self.guessing[:, None], levels)
        parts = in_chunks(self.n_items, points.size, lambda index: self.take(index)._functions(points))
        return tuple(np.concatenate(tables) for tables in zip(*parts, strict=True))

    def averaged_functions(self, points: Array, levels: Levels | None, covariance: Array) -> tuple[Array, ...]:
        """The same, averaged over errors of (log a, d) with these covariances, (n_items, 2, 2).

        To second order a log-likelihood loses half the information about eta times the variance of eta.
        """
        functions = list(self.functions(points, levels))
        variance = self.eta_variance(points, covariance)
        eta, guessing = self.eta(points), self.guessing[:, None]
        if levels is None:
            functions[1] = functions[1] - 0.5 * variance * self.likelihood.information(1.0, eta, guessing)
        else:
            # what mean and variance tell of eta: a likelihood that is no exponential family has no such sum at hand
            own, likelihood = levels.item, self.likelihood
            mean = np.clip(likelihood.response_mean(eta, guessing), NEAR_END, 1.0 - NEAR_END)[own]
            spread = likelihood.response_variance(mean, levels.trials[:, None])
            information = likelihood.response_slope(eta, guessing)[own] ** 2 / spread
            functions[0] = functions[0] - 0.5 * variance[own] * information
        return tuple(functions)

    def _functions(self, points: Array) -> tuple[Array, ...]:
        return self.likelihood.functions(self.eta(points), self.guessing[:, None])


def in_chunks(n_items: int, n_points: int, work: Callable[[Index], T]) -> list[T]:
    """Work on ranges of items whose tables fit a cache, on all cores; results in the order of the items."""
    size = max(1, CHUNK_CELLS // max(1, n_points))
    return over_ranges(lambda part: work(np.arange(part.start, part.stop)), n_items, size)


def maximise(
    items: Items,
    expected: Expected,
    nodes: Nodes,
    prior: ItemPrior,
    *,
    slope: float,
    common_slope: bool,
    integrated: bool,
    few: bool,
) -> tuple[Items, Array]:
    """Raise items and the likelihood's own parameter in turn until the parameter stands still.

    Each leans on the other, so one turn a pass would take passes over the data to do what needs none (ECM: Meng and
    Rubin, 1993). `slope` is the statistics' own; otherwise as `update_items`, whose results these are.
    """
    enough = PARAMETER_STANDSTILL
    for _ in range(MAX_TURNS):
        items, covariance = update_items(
            items, expected, nodes, prior, common_slope=common_slope, integrated=integrated
        )
        before = items.likelihood.parameter
        items = replace(items, likelihood=update_parameter(items, expected, nodes, prior, slope, few=few))
        after = items.likelihood.parameter
        if before is None or after is None:
            break
        change = abs(float(np.log(after / before)))
        if change <= enough:
            break
        enough = max(enough, PARAMETER_SHARE * change)
    return items, covariance


def update_items(
    items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior, *, common_slope: bool, integrated: bool
) -> tuple[Items, Array]:
    """Raise the expected penalised log-likelihood of every item.

    A common slope is raised with the intercepts `integrated` out by Laplace's method, or at their modes.

    Returns
    -------
    items : Items
    covariance : (n_items, 2, 2) float64
        Posterior covariance of (log a, intercept) with the abilities' distribution taken as known; that of the
        intercept alone, its variance, where the slope is common.
    """
    if common_slope:
        return _update_common_slope(items, expected, nodes, prior, integrated=integrated)

    def work(index: Index) -> tuple[Items, Array]:
        return _update_own_slopes(items.take(index), expected.take(index), nodes, prior.take(index))

    parts = in_chunks(items.n_items, nodes.count, work)
    log_a, intercept = (np.concatenate([getattr(p[0], name) for p in parts]) for name in ("log_a", "intercept"))
    return replace(items, log_a=log_a, intercept=intercept), np.concatenate([p[1] for p in parts])


def update_prior(
    prior: ItemPrior, items: Items, covariance: Array, expected: Expected, nodes: Nodes, *, common_slope: bool
) -> ItemPrior:
    """Re-estimate the prior of the items: an EM step with every item's posterior integrated.

    With a dozen binary responses to an item its posterior is skewed, and a normal one about its mode makes the items'
    spread too small. Moments come from a Gauss-Hermite rule about the mode, over at most
    `INTEGRATED_ITEMS` items; the others get the mean difference between those and the normal approximation.
    """
    if not np.isfinite(prior.sd).any():
        return prior
    if items.guessing.any():
        # how far an item's curve lies under its floor nobody can tell; integrated, the spread would run away
        prior = prior.with_exponent(items.log_a[:, None], items.intercept[:, None], np.ones((items.n_items, 1)))
        prior = prior.centred(items.log_a, prior.scaled(items.log_a, items.intercept))
        square = prior.deviation(items.log_a, items.intercept) ** 2 + _prior_variance(prior, items, covariance)
        return prior.spread(square.mean(axis=0))
    n = items.n_items
    some = np.unique(np.linspace(0, n - 1, min(n, INTEGRATED_ITEMS)).astype(np.intp))
    part, own, its = items.take(some), expected.take(some), prior.take(some)
    z, w = np.polynomial.hermite_e.hermegauss(INTEGRATION_POINTS)
    _, info = _with_prior(part, own, nodes, its)
    if common_slope:
        z2, log_w = np.stack([np.zeros_like(z), z], axis=1), np.log(w)
        factor = np.zeros((some.size, 2, 2))
        factor[:, 1, 1] = np.sqrt(covariance[some, 1, 1])
    else:
        z2 = np.stack([x.ravel() for x in np.meshgrid(z, z, indexing="ij")], axis=1)
        log_w = np.log(np.outer(w, w)).ravel()
        inverse = np.linalg.inv(info)
        factor = np.asarray(np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2), dtype=np.float64)
    mode = np.stack([part.log_a, part.intercept], axis=1)
    place = mode[:, None, :] + z2 @ factor.transpose(0, 2, 1)  # (items, points, 2)
    place[:, :, 0] = np.clip(place[:, :, 0], *LOG_A_RANGE)
    log_weight = np.stack(
        [
            _penalised(replace(part, log_a=place[:, k, 0], intercept=place[:, k, 1]), own, nodes, its)
            for k in range(log_w.size)
        ],
        axis=1,
    )
    log_weight += log_w + 0.5 * (z2**2).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    log_a, intercept = place[:, :, 0], place[:, :, 1]
    prior = replace(prior, exponent=its.with_exponent(log_a, intercept, weight).exponent)
    its = prior.take(some)
    at_mode, scaled = prior.scaled(items.log_a, items.intercept), its.scaled(log_a, intercept)
    shift = (
        float(((weight * log_a).sum(axis=1) - part.log_a).mean()),
        float(((weight * scaled).sum(axis=1) - at_mode[some]).mean()),
    )
    prior = prior.centred(items.log_a + shift[0], at_mode + shift[1])
    its = prior.take(some)
    normal = prior.deviation(items.log_a, items.intercept) ** 2 + _prior_variance(prior, items, covariance)
    distance = np.stack([log_a - its.mean_log_a, scaled - its.mean_scaled[its.block][:, None]], axis=2)
    exact = (weight[:, :, None] * distance**2).sum(axis=1)
    square = normal.mean(axis=0) + (exact - normal[some]).mean(axis=0)
    return prior.spread(np.maximum(square, 1e-8))


def _prior_variance(prior: ItemPrior, items: Items, covariance: Array) -> Array:
    """(n_items, 2) variances of what the prior is of, by the delta method."""
    jacobian = prior.jacobian(items.log_a, items.intercept)
    return np.asarray(np.einsum("nij,njk,nik->ni", jacobian, covariance, jacobian))


def update_parameter(
    items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior, slope: float, *, few: bool
) -> Likelihood:
    """Take a step for the likelihood's own parameter; with `few` subjects and a prior, with the items integrated out.

    At the items' modes a dozen responses to an item seem less scattered than they are: the precision would come out a
    tenth too large. Integrated by Laplace, the objective loses half the log determinant of every item's information.
    """
    likelihood = items.likelihood
    if likelihood.parameter is None:
        return likelihood
    guessing, eta = items.guessing[:, None], items.eta(nodes.points)
    correction = 0.0
    if few and np.isfinite(prior.sd[1]):
        own = np.log(likelihood.parameter)

        def at(x: float) -> Items:
            return replace(items, likelihood=likelihood.at(float(np.exp(own + x))))

        correction = _laplace_slope(at, expected, nodes, prior)
    return likelihood.parameter_step(eta, guessing, expected, slope, correction)


def _laplace_slope(at: Callable[[float], Items], expected: Expected, nodes: Nodes, prior: ItemPrior) -> float:
    """What integrating the items out by Laplace's method adds to a score: minus half the slope of log determinants.

    `at` gives the items at a small distance from where the score is wanted.
    """
    low, high = (_log_determinants(at(x), expected, nodes, prior) for x in (-LAPLACE_STEP, LAPLACE_STEP))
    return -0.5 * float((high - low).sum()) / (2.0 * LAPLACE_STEP)


def _log_determinants(items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior) -> Array:
    """(n_items,) log determinant of the information of (log a, d) with the prior; of d where a has none."""
    _, info = step_information(items, expected, nodes, kind="expected")  # the other kind would jump
    info += prior.information(items.log_a, items.intercept)
    if prior.common_slope or not np.isfinite(prior.sd[0]):
        return np.asarray(np.log(np.maximum(info[:, 1, 1], 1e-300)))
    det = info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2
    return np.asarray(np.log(np.maximum(det, 1e-300)))


def step_information(items: Items, expected: Expected, nodes: Nodes, *, kind: str = "safe") -> tuple[Array, Array]:
    """Score (n_items, 2) and information (n_items, 2, 2) of (log a, d), without the prior.

    `kind` is "observed", "expected", or "safe": observed where that is safely positive definite, else expected.
    """
    points = nodes.points
    first, weight, observed_weight = items.likelihood.objective_slopes(
        items.eta(points), items.guessing[:, None], expected
    )
    a = np.exp(items.log_a)
    # d eta / d log a = a theta, d eta / d intercept = 1, d2 eta / d (log a)^2 = a theta
    powers = np.stack([np.ones(points.size), points, points**2], axis=1)
    score = (first @ powers[:, 1::-1]) * np.stack([a, np.ones(a.size)], axis=1)

    def table(w: Array) -> Array:
        result, sums = np.empty((items.n_items, 2, 2)), w @ powers
        result[:, 0, 0], result[:, 1, 1] = a**2 * sums[:, 2], sums[:, 0]
        result[:, 0, 1] = result[:, 1, 0] = a * sums[:, 1]
        return result

    observed = table(observed_weight)
    info = observed.copy() if weight is observed_weight else table(weight)
    observed[:, 0, 0] -= score[:, 0]
    if kind == "observed":
        return score, observed
    # the sums interpolate functions that are nowhere negative; what falls below is interpolation error
    info[:, 0, 0], info[:, 1, 1] = np.maximum(info[:, 0, 0], 0.0), np.maximum(info[:, 1, 1], 0.0)
    bound = np.sqrt(info[:, 0, 0] * info[:, 1, 1])
    info[:, 0, 1] = info[:, 1, 0] = np.clip(info[:, 0, 1], -bound, bound)
    if kind == "expected":
        return score, info
    enough = SAFE_SHARE * np.stack([info[:, 0, 0], info[:, 1, 1]])
    det = observed[:, 0, 0] * observed[:, 1, 1] - observed[:, 0, 1] ** 2
    trusted = (observed[:, 0, 0] > enough[0]) & (observed[:, 1, 1] > enough[1])
    trusted &= det > SAFE_SHARE * (info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2)
    return score, np.where(trusted[:, None, None], observed, info)


def _penalised(items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior) -> Array:
    """(n_items,) expected complete-data log-likelihood, without h(y), and the prior's."""
    value = items.likelihood.objective(items.eta(nodes.points), items.guessing[:, None], expected)
    return np.asarray(value.sum(axis=1) + prior.log_density(items.log_a, items.intercept))


def _with_prior(items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior) -> tuple[Array, Array]:
    score, info = step_information(items, expected, nodes)
    score += prior.score(items.log_a, items.intercept)
    info += prior.information(items.log_a, items.intercept)
    return score, info


def _update_own_slopes(items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior) -> tuple[Items, Array]:
    """Newton steps of every item from its own 2 x 2 system, until it stands still."""
    covariance, sd = np.empty((items.n_items, 2, 2)), np.empty((items.n_items, 2))
    moving = np.arange(items.n_items)
    part, own, its_prior = items, expected, prior
    # with a floor the likelihood is not concave: short steps can go to and fro for ever
    n_steps, trusted = (MAX_STEPS_WITH_FLOOR, 0.0) if items.guessing.any() else (MAX_STEPS, TRUSTED)
    for count in range(n_steps):
        score, info = _with_prior(part, own, nodes, its_prior)
        step = _item_step(part.log_a, score, info)
        if count == 0:
            covariance = _inverse(info)
            sd = np.sqrt(np.stack([covariance[:, 0, 0], covariance[:, 1, 1]], axis=1))
        length = (np.abs(step) / sd[moving]).max(axis=1)
        far = np.flatnonzero(length > trusted)
        moved = _moved(part, step)
        if far.size:
            some, some_own, some_prior = part.take(far), own.take(far), its_prior.take(far)
            value = _penalised(some, some_own, nodes, some_prior)
            searched, _ = _line_search(some, step[far], score[far], value, some_own, nodes, some_prior)
            moved = moved.put(far, searched)
        items = items.put(moving, moved)
        keep = np.flatnonzero(length > STANDSTILL)
        if keep.size == 0:
            break
        moving, part, own, its_prior = moving[keep], moved.take(keep), own.take(keep), its_prior.take(keep)
    return items, covariance


def _update_common_slope(
    items: Items, expected: Expected, nodes: Nodes, prior: ItemPrior, *, integrated: bool
) -> tuple[Items, Array]:
    """Newton steps of all intercepts and one common log a: an arrowhead system."""

    def over_chunks(function: Callable[[Items, Expected, ItemPrior], T]) -> list[T]:
        return in_chunks(items.n_items, nodes.count, lambda i: function(items.take(i), expected.take(i), prior.take(i)))

    covariance = np.zeros((items.n_items, 2, 2))
    value: Array | None = None
    pull = 0.0
    for count in range(MAX_STEPS):
        parts = over_chunks(lambda part, own, its: _with_prior(part, own, nodes, its))
        score, info = (np.concatenate(x) for x in zip(*parts, strict=True))
        d = np.maximum(info[:, 1, 1], 1e-10)
        ratio = info[:, 0, 1] / d
        schur = info[:, 0, 0].sum() - (ratio * info[:, 0, 1]).sum()
        if integrated and count == 0:  # hardly another after a step; the next pass has it anew

            def own_pull(i: Index, items: Items = items, ratio: Array = ratio) -> float:
                def along(rise: float) -> Items:
                    return _moved(items.take(i), np.stack([np.full(i.size, rise), -rise * ratio[i]], axis=1))

                return _laplace_slope(along, expected.take(i), nodes, prior.take(i))

            pull = sum(in_chunks(items.n_items, nodes.count, own_pull))
        slope_step = (score[:, 0].sum() + pull - (ratio * score[:, 1]).sum()) / max(schur, 1e-10)
        step = np.stack([np.full(d.size, slope_step), score[:, 1] / d - ratio * slope_step], axis=1)
        step = np.clip(step, -MAX_STEP, MAX_STEP)
        if count == 0:
            covariance[:, 1, 1] = 1.0 / d
        sd = np.sqrt(covariance[:, 1, 1])
        length = max(float((np.abs(step[:, 1]) / sd).max()), abs(slope_step) * np.sqrt(schur))
        if length <= TRUSTED:
            items, value = _moved(items, step), None
            if length <= STANDSTILL:
                break
            continue
        if value is None:
            value = np.concatenate(over_chunks(lambda part, own, its: _penalised(part, own, nodes, its)))
        for halving in range(MAX_HALVINGS):
            moved = _moved(items, 0.5**halving * step)
            new = np.concatenate(
                in_chunks(
                    items.n_items,
                    nodes.count,
                    lambda i, moved=moved: _penalised(moved.take(i), expected.take(i), nodes, prior.take(i)),  # type: ignore[misc]
                )
            )
            gain = float((new - value).sum())
            promised = 0.5**halving * float((score * step).sum())
            # the integrated part is small and smooth: its slope is taken as constant over a step
            gain, promised = (x + 0.5**halving * pull * float(step[0, 0]) for x in (gain, promised))
            if gain >= SUFFICIENT_GAIN * promised - ROUNDING * np.abs(value).sum():
                items, value = _mended(items, moved, value, new, expected, nodes, prior)
                break
    return items, covariance


def _mended(
    items: Items, moved: Items, value: Array, new: Array, expected: Expected, nodes: Nodes, prior: ItemPrior
) -> tuple[Items, Array]:
    """Give items that a joint step harmed a search of their own for the intercept, the common slope kept.

    All items together may gain while one of them steps to and fro across its maximum for ever.
    """
    worse = np.flatnonzero(new < value - ROUNDING * (1.0 + np.abs(value)))
    if worse.size == 0:
        return moved, new
    own, its = expected.take(worse), prior.take(worse)
    part = replace(moved.take(worse), intercept=items.intercept[worse])
    its_value = _penalised(part, own, nodes, its)
    for _ in range(MAX_STEPS):
        score, info = _with_prior(part, own, nodes, its)
        step = np.zeros_like(score)
        step[:, 1] = np.clip(score[:, 1] / np.maximum(info[:, 1, 1], 1e-10), -MAX_STEP[1], MAX_STEP[1])
        part, its_value = _line_search(part, step, score, its_value, own, nodes, its)
    new[worse] = its_value
    return moved.put(worse, part), new


def _item_step(log_a: Array, score: Array, info: Array) -> Array:
    """Newton step of every item from its own 2 x 2 system; of the intercept alone where log a would leave its range."""
    det = info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2
    det = np.maximum(det, 1e-10 * np.maximum(info[:, 0, 0] * info[:, 1, 1], 1e-10))
    step = np.stack(
        [
            (info[:, 1, 1] * score[:, 0] - info[:, 0, 1] * score[:, 1]) / det,
            (info[:, 0, 0] * score[:, 1] - info[:, 0, 1] * score[:, 0]) / det,
        ],
        axis=1,
    )
    low, high = LOG_A_RANGE
    held = ((log_a >= high) & (step[:, 0] > 0)) | ((log_a <= low) & (step[:, 0] < 0))
    step[held] = np.stack([np.zeros(held.sum()), score[held, 1] / np.maximum(info[held, 1, 1], 1e-10)], axis=1)
    # shortened as a whole: one part clipped alone would be no direction of ascent
    longest = np.abs(step / MAX_STEP).max(axis=1, keepdims=True)
    return np.asarray(step / np.maximum(longest, 1.0))


def _inverse(info: Array) -> Array:
    det = np.maximum(info[:, 0, 0] * info[:, 1, 1] - info[:, 0, 1] ** 2, 1e-12)
    return np.asarray(
        np.stack([info[:, 1, 1], -info[:, 0, 1], -info[:, 0, 1], info[:, 0, 0]]).T.reshape(-1, 2, 2)
        / det[:, None, None]
    )


def _moved(items: Items, step: Array) -> Items:
    return replace(
        items,
        log_a=np.clip(items.log_a + step[:, 0], *LOG_A_RANGE),
        intercept=np.clip(items.intercept + step[:, 1], -INTERCEPT_LIMIT, INTERCEPT_LIMIT),
    )


def _line_search(
    items: Items, step: Array, score: Array, value: Array, expected: Expected, nodes: Nodes, prior: ItemPrior
) -> tuple[Items, Array]:
    """Halve the step of every item until it brings three tenths of the gain that the slope promised (Armijo, 1966).

    An item that gains nothing stays where it is.
    """
    new_items, new_value = items, value.copy()
    open_ = np.arange(items.n_items)
    for halving in range(MAX_HALVINGS):
        whole = open_.size == items.n_items
        part, own, its = (
            (items, expected, prior) if whole else (items.take(open_), expected.take(open_), prior.take(open_))
        )
        moved = _moved(part, 0.5**halving * step[open_])
        gain = _penalised(moved, own, nodes, its) - value[open_]
        promised = score[open_, 0] * (moved.log_a - part.log_a) + score[open_, 1] * (moved.intercept - part.intercept)
        enough = gain >= SUFFICIENT_GAIN * promised - ROUNDING * (1.0 + np.abs(value[open_]))
        done = open_[enough]
        new_items = new_items.put(done, moved.take(np.flatnonzero(enough)))
        new_value[done] += gain[enough]
        open_ = open_[~enough]
        if open_.size == 0:
            break
    return new_items, new_value
