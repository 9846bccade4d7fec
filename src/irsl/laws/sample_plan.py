"""Where to spend the next samples of a subject, and how many would make its pass@k precise enough.

Both look ahead from the posterior draws of a law of repeated sampling (`sampling.py`). The value of an item is
v = 1 - (1 - p)^k. Were m more samples drawn of it, c of them right, the draws d of its rate would be weighted by
B_cd = Binomial(c; m, p_d), so that over all outcomes the variance of v falls on average by

    Var E[v | c] = sum_c (sum_d B_cd (v_d - v))^2 / (D sum_d B_cd),    v the mean over the D draws.

It is not concave in m: one more sample of an item with p about 1e-3 says nothing, a thousand may say much.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import gammaln, log_expit, ndtri

from irsl.errors import DataError, OptionError, listed, nearest
from irsl.laws.sampling import SamplingLaw, SubjectRates
from irsl.likelihoods.base import Array

N_POINTS = 512  # quantiles that stand for the marginal posterior of an item's rate
LOWEST = -700.0  # logit that stands for a rate of 0: exp does not underflow there
EVERY_OUTCOME = 16  # up to so many samples every number of right ones is an outcome of its own
SINGLE = 12  # beyond, so many at either end still are
SPACING = 0.75  # of the others, in standard deviations of the arcsine of the root of the share
MARGIN = 4.0  # in the same, beyond the rates that an item may have
MOST_OUTCOMES = 256
SETTLED_SD = 1e-4  # an item whose pass@k is known so well is asked no more
MOST_MORE = 1 << 17  # samples of an item that a plan looks ahead to


def allocate_samples(
    law: SamplingLaw, *, subject: str, k: int, budget: int, batch: int = 1, benchmark: str | None = None
) -> pl.DataFrame:
    """Numbers of further samples of each item that reduce the posterior variance of a subject's pass@k most.

    For every item the expected reduction is computed on a grid of m = 1, 2, 3, 4, 6, 8, 12, ... batches, and the budget
    is spent greedily by reduction per sample along the concave envelopes of these.

    The calculation is local. It takes items as independent, though they share what is not known of the subject
    (ability, spread of the rates, share never solved): a sample of one item also tells of the others, and the variance
    that all share falls too, neither of which is counted. Refit the law after a part of the budget and ask again, for
    instance in four rounds. The numbers of samples then depend on the outcomes; the law, which goes by the likelihood
    of the counts, stays right, shares and the unbiased pass@k of an item do not.

    Parameters
    ----------
    law : SamplingLaw
    subject : str
    k : int
        Whole, at least 1. Beyond the law's horizon the tail of the rates that is believed decides.
    budget : int
        Samples to spend over all items.
    batch : int
        Samples of an item come in multiples of it.
    benchmark : str, optional
        Whose items; needed where the law has several.

    Returns
    -------
    polars.DataFrame, a row per item in the law's order
        item, n_samples_so_far, n_correct_so_far, n_more, expected_reduction (of the variance of pass@k, the mean over
        the items). Items that are settled get none; where all are, budget is left.

    Raises
    ------
    DataError
        No such subject or benchmark in the law, or several benchmarks and none chosen.
    OptionError
        k, budget or batch is not a whole number of at least 1, or the budget is less than a batch.
    """
    for name, number in (("k", k), ("budget", budget), ("batch", batch)):
        _require_whole(name, number)
    if budget < batch:
        raise OptionError(f"a budget of {budget} buys no batch of {batch} samples")
    own = _chosen(law, subject, benchmark)
    steps = _steps(budget // batch) * batch
    gains = np.zeros((own.points.shape[0], steps.size))
    for group, points in enumerate(own.points):
        value = _pass_at_k(points, k)
        if value.std() > SETTLED_SD:
            gains[group, 1:] = [_reduction(points, value, int(m)) for m in steps[1:]]
    # what it is of the pooled draws is that of each item; a bigger sample never tells less
    gains = np.maximum.accumulate(gains, axis=1)
    n_more = _greedy(gains[own.group], steps, budget // batch * batch)
    reduction = np.zeros(n_more.size)
    for group, m in {(int(g), int(m)) for g, m in zip(own.group, n_more, strict=True) if m}:
        points = own.points[group]
        reduction[(own.group == group) & (n_more == m)] = _reduction(points, _pass_at_k(points, k), m)
    return pl.DataFrame(
        {
            "item": own.items,
            "n_samples_so_far": own.n_samples.astype(np.int64),
            "n_correct_so_far": own.n_correct.astype(np.int64),
            "n_more": n_more,
            "expected_reduction": reduction / n_more.size**2,
        }
    )


def samples_for_width(
    law: SamplingLaw, *, subject: str, k: int, width: float, level: float | None = None, benchmark: str | None = None
) -> pl.DataFrame:
    """Width that the interval of a subject's pass@k will have when every item gets n more samples.

    Outcomes of n more samples are simulated, rates from each joint posterior draw in turn, and the variance that they
    leave of every item's value is computed item by item. What the items share enters by one common factor with equal
    correlations, such that the variance of pass@k now is that of the joint draws; it is updated as that of a normal
    distribution whose values are observed with the precision that the outcomes add to each. The interval's width in
    standard deviations goes from what it is now to a normal distribution's, in the measure in which the standard
    deviation falls. Items are fixed: the interval is about these, and its width goes to 0 with n, slowly where k is far
    above the number of samples. In simulations the mean prediction is within a quarter of what a refit gives, but for
    widths below .01 that rest on the tails of the rates.

    Parameters
    ----------
    law : SamplingLaw
    subject : str
    k : int
        Whole, at least 1.
    width : float
        Wanted, in (0, 1).
    level : float, optional
        Of the interval; default that of the law.
    benchmark : str, optional
        Whose items; needed where the law has several.

    Returns
    -------
    polars.DataFrame, a row per n of a grid that doubles, from 0, which is now, to the first that is enough
        n_more, of every item; n_samples, of all items together; width, mean over the simulations, null where k would
        still lie beyond the law's horizon (now: from the lower end at the horizon to 1, as in the law's curve);
        p_enough, share of the simulations in which `width` is reached; n_needed, the smallest n, by interpolation in
        log n and the same in all rows: 0 where the width is reached now, null where none up to 131,072 reaches it.

    Raises
    ------
    DataError
        No such subject or benchmark in the law, or several benchmarks and none chosen.
    OptionError
        k is not a whole number of at least 1, or width or level lies outside (0, 1).
    """
    _require_whole("k", k)
    level = law.level if level is None else level
    for name, value in (("width", width), ("level", level)):
        if not 0.0 < value < 1.0:
            raise OptionError(f"{name} must lie in (0, 1); found {value}")
    own = _chosen(law, subject, benchmark)
    row = replace(law, laws=(own.rates,), level=level).curve([k]).filter(benchmark=own.benchmark).row(0, named=True)
    now = float(row["pass_at_k_upper"] - row["pass_at_k_lower"])
    rows: list[tuple[int, float | None, float]] = [(0, now, float(now <= width))]
    ahead = _Ahead.of(own, k, level)
    rng = np.random.default_rng(law.seed)
    n = 1
    while (rows[-1][1] is None or rows[-1][1] > width) and n <= MOST_MORE:
        if k <= own.horizon_after(n, law):
            simulated = ahead.widths(n, rng)
            rows.append((n, float(simulated.mean()), float((simulated <= width).mean())))
        else:
            rows.append((n, None, 0.0))
        n *= 2
    return pl.DataFrame(
        rows, schema={"n_more": pl.Int64, "width": pl.Float64, "p_enough": pl.Float64}, orient="row"
    ).select(
        "n_more",
        n_samples=pl.col("n_more") * len(own.items) + int(own.n_samples.sum()),
        width="width",
        p_enough="p_enough",
        n_needed=pl.lit(_needed(rows, width), pl.Int64),
    )


@dataclass(frozen=True)
class _Chosen:
    """One subject on the items of one benchmark.

    Attributes
    ----------
    logit : (n_draws, n_items) float64
        Joint draws; LOWEST for -inf.
    group : (n_items,) intp
        Items with one posterior: as many samples, as many right, the same curve.
    points : (n_groups, N_POINTS) float64
        Quantiles of the logit in each group, of all its items' draws together.
    """

    rates: SubjectRates
    benchmark: str
    items: list[str]
    n_samples: Array
    n_correct: Array
    logit: Array
    group: NDArray[np.intp]
    points: Array

    def horizon_after(self, n: int, law: SamplingLaw) -> float:
        """Largest k that the samples could say anything of after n more of every item."""
        total = float(self.rates.cells.n_samples.sum()) + n * len(self.items)
        learns_from_others = self.rates.horizon > self.rates.cells.n_samples.sum()
        return max(total, law.most_samples) if learns_from_others else total


def _chosen(law: SamplingLaw, subject: str, benchmark: str | None) -> _Chosen:
    names = [own.subject for own in law.laws]
    if subject not in names:
        raise DataError(f"the law has no subject {subject!r}{nearest(subject, names)}; it has {listed(names, 5)}")
    there = law.items["benchmark"].unique(maintain_order=True).to_list()
    if benchmark is None and len(there) > 1:
        raise DataError(f"the law has several benchmarks, choose one: {listed(there)}")
    benchmark = there[0] if benchmark is None else benchmark
    if benchmark not in there:
        raise DataError(f"the law has no benchmark {benchmark!r}{nearest(benchmark, there)}; it has {listed(there)}")
    own = law.laws[names.index(subject)]
    member = (law.items["benchmark"] == benchmark).to_numpy()
    cells = own.cells
    key = np.stack([cells.n_samples, cells.n_correct, cells.curves.slope, cells.curves.intercept])[:, member]
    _, group = np.unique(key, axis=1, return_inverse=True)
    group = np.asarray(group.ravel(), dtype=np.intp)
    logit = np.maximum(own.logit[:, member].astype(np.float64), LOWEST)
    points = np.stack([_quantiles(logit[:, group == g]) for g in range(group.max() + 1)])
    return _Chosen(
        own,
        benchmark,
        law.items.filter(member)["item"].to_list(),
        cells.n_samples[member],
        cells.n_correct[member],
        logit,
        group,
        points,
    )


def _quantiles(logit: Array) -> Array:
    """(N_POINTS,) quantiles, ascending; those of rates of 0 apart from the others."""
    solved = np.sort(logit[logit > LOWEST])
    points = np.full(N_POINTS, LOWEST)
    n_never = round(N_POINTS * (1.0 - solved.size / logit.size))
    if solved.size and n_never < N_POINTS:
        at = (np.arange(N_POINTS - n_never) + 0.5) / (N_POINTS - n_never)
        points[n_never:] = np.interp(at * solved.size - 0.5, np.arange(solved.size), solved)
    return points


def _pass_at_k(logit: Array, k: float) -> Array:
    return np.asarray(-np.expm1(k * log_expit(-logit)))


def _outcomes(points: Array, m: int) -> tuple[Array, Array]:
    """Outcomes of m samples, and their probability at every point.

    Where m is large an outcome is a range of numbers of right ones, so narrow that little is lost, and its likelihood
    that of its middle.

    Returns
    -------
    edges : (n_outcomes + 1,) float64
        Outcome i is edges[i] <= c < edges[i + 1].
    likelihood : (n_outcomes, n_points) float64
        Columns sum to 1.
    """
    log_p, log_q = log_expit(points), log_expit(-points)
    if m <= EVERY_OUTCOME:
        edges = np.arange(m + 2.0)
    else:
        sd = 0.5 / np.sqrt(m)  # of arcsin sqrt(c / m), at any p
        ends = np.arcsin(np.sqrt(np.exp(log_p[[0, -1]]))) + MARGIN * sd * np.array([-1.0, 1.0])
        low, high = np.clip(ends, 0.0, np.pi / 2)
        n_edges = min(MOST_OUTCOMES, int((high - low) / (SPACING * sd)) + 1) + 1
        edges = np.floor(m * np.sin(np.linspace(low, high, n_edges)) ** 2)
        edges[-1] += 1.0
        few = np.arange(SINGLE + 1.0)
        ends = np.concatenate([few, m + 1.0 - few])
        edges = np.union1d(edges, ends[(ends > edges[0]) & (ends < edges[-1])])
    middle = (edges[:-1] + edges[1:] - 1.0) / 2.0
    log_ways = np.log(np.diff(edges)) - gammaln(middle + 1.0) - gammaln(m - middle + 1.0)
    value = log_ways[:, None] + middle[:, None] * log_p + (m - middle)[:, None] * log_q
    value = np.exp(value - value.max(axis=0))
    return edges, value / value.sum(axis=0)


def _reduction(points: Array, value: Array, m: int) -> float:
    """Var E[v | c] after m more samples of an item."""
    likelihood = _outcomes(points, m)[1]
    mass = likelihood.sum(axis=1)
    moment = likelihood @ (value - value.mean())
    return float((moment[mass > 0] ** 2 / mass[mass > 0]).sum() / points.size)


def _steps(most: int) -> NDArray[np.int64]:
    """0, 1, 2, 3, 4, 6, 8, 12, ... up to `most`, which is the last."""
    doubling = 1 << np.arange(most.bit_length(), dtype=np.int64)
    steps = np.unique(np.concatenate([[0, most], doubling, 3 * doubling]))
    return np.asarray(steps[steps <= most])


def _greedy(gains: Array, steps: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
    """Numbers of samples, (n_items,), by reduction per sample.

    Parameters
    ----------
    gains : (n_items, n_steps) float64
        Reduction by so many samples; 0 at the first, which is none.
    steps : (n_steps,) int64
    budget : int
    """
    at = np.zeros(gains.shape[0], dtype=np.intp)
    left = budget
    while True:
        segments = [
            (-slope, item, end)
            for item in range(at.size)
            for slope, end in _envelope(gains[item], steps, int(at[item]), left)
        ]
        closed = set()  # a segment may only follow the one before it
        taken = False
        for _, item, end in sorted(segments):
            cost = int(steps[end] - steps[at[item]])
            if item in closed or cost > left:
                closed.add(item)
                continue
            at[item], left, taken = end, left - cost, True
        if not taken:
            break
    n_more = np.asarray(steps[at])
    further = np.minimum(at + 1, steps.size - 1)
    slope = np.take_along_axis(gains, further[:, None], 1)[:, 0] - np.take_along_axis(gains, at[:, None], 1)[:, 0]
    slope /= np.maximum(steps[further] - steps[at], 1)
    if slope.max() > 0.0:
        n_more[slope.argmax()] += left  # too little for any step that helps
    return n_more


def _envelope(gain: Array, steps: NDArray[np.int64], start: int, budget: int) -> list[tuple[float, int]]:
    """Segments of the concave envelope beyond `start`, as reduction per sample and the step where each ends."""
    last = int(np.searchsorted(steps, steps[start] + budget, side="right")) - 1
    found = []
    while start < last:
        slopes = (gain[start + 1 : last + 1] - gain[start]) / (steps[start + 1 : last + 1] - steps[start])
        best = int(slopes.argmax())
        if slopes[best] <= 0.0:
            break
        start += best + 1
        found.append((float(slopes[best]), start))
    return found


@dataclass(frozen=True)
class _Ahead:
    """Variances of the values now, and the correlation that their common factor gives them.

    Attributes
    ----------
    value : (n_groups, N_POINTS) float64
    variance : (n_items,) float64
    correlation : float
    sd : float
        Of pass@k, of the joint draws.
    shape, normal : float
        Width of the interval in these now, and of a normal distribution's.
    """

    own: _Chosen
    value: Array
    variance: Array
    correlation: float
    sd: float
    shape: float
    normal: float

    @classmethod
    def of(cls, own: _Chosen, k: int, level: float) -> _Ahead:
        value = _pass_at_k(own.points, k)
        variance = value.var(axis=1)[own.group]
        independent = variance.sum()
        shared = np.sqrt(variance).sum() ** 2 - independent
        draws = _pass_at_k(own.logit, k).mean(axis=1)
        sd = float(draws.std())
        total = (sd * variance.size) ** 2
        correlation = float(np.clip((total - independent) / shared, 0.0, 1.0)) if shared > 0 else 0.0
        normal = 2.0 * float(ndtri((1.0 + level) / 2.0))
        width = float(np.ptp(np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])))
        shape = width / sd if sd > 0 else normal
        return cls(own, value, variance, correlation, sd, shape, normal)

    def widths(self, n: int, rng: np.random.Generator) -> Array:
        """(n_draws,) widths after n more samples of every item, one outcome for each joint draw."""
        own = self.own
        right = rng.binomial(n, np.exp(log_expit(own.logit)))
        left = np.empty(right.shape)
        for group, points in enumerate(own.points):
            edges, likelihood = _outcomes(points, n)
            mass = np.maximum(likelihood.sum(axis=1), np.finfo(float).tiny)
            centred = self.value[group] - self.value[group].mean()
            after = likelihood @ centred**2 / mass - (likelihood @ centred / mass) ** 2
            columns = own.group == group
            place = np.searchsorted(edges, right[:, columns], side="right") - 1
            left[:, columns] = np.maximum(after, 0.0)[np.clip(place, 0, after.size - 1)]
        now = self._total(np.broadcast_to(self.variance, left.shape))
        share = np.sqrt(self._total(left) / np.where(now > 0, now, 1.0))
        shape = self.normal + (self.shape - self.normal) * np.minimum(share, 1.0)
        return np.asarray(self.sd * share * shape)

    def _total(self, left: Array) -> Array:
        """(n_draws,) variance of the sum of values with marginal variances `left`, were each updated by itself.

        v_j = s_j (sqrt(r) f + sqrt(1 - r) e_j); outcomes that leave s_j^2 / (1 + g_j) of s_j^2 observe v_j with
        precision g_j / s_j^2.
        """
        r, before = self.correlation, np.maximum(self.variance, np.finfo(float).tiny)
        if r == 0.0:
            return np.asarray(left.sum(axis=1))
        g = before / np.maximum(left, 1e-12 * before) - 1.0
        kept = 1.0 / (1.0 + g * (1.0 - r))  # of a value's distance from what the factor says
        own = ((1.0 - r) * before * kept).sum(axis=1)
        # a surprise can make a value less certain, but not what all values share
        precision = np.maximum(1.0 + (r * g * kept).sum(axis=1), 1.0)
        return np.asarray(own + r * (np.sqrt(before) * kept).sum(axis=1) ** 2 / precision)


def _needed(rows: list[tuple[int, float | None, float]], width: float) -> int | None:
    """Smallest n, interpolated in log n between the last two rows; None where the last does not reach the width."""
    last, reached, _ = rows[-1]
    if reached is None or reached > width:
        return None
    if last <= 1 or rows[-2][1] is None:
        return last
    before, wider, _ = rows[-2]
    assert wider is not None
    share = (wider - width) / (wider - reached)
    return int(np.ceil(before * (last / before) ** share - 1e-9))


def _require_whole(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 1 and value == np.floor(value)):
        raise OptionError(f"{name} must be a whole number of at least 1; found {value!r}")
