"""The joint law over training compute and number of samples: ability grows with log FLOPs, pass@k follows from ability.

Abilities theta of one scale, as a sampling law found them, lie about a line per group (a size, a recipe, a training
step) in bent log compute, pooled over groups by `fit_trends`:

    x = D (1 - (C / C_g)^-b) / ((C_0 / C_g)^-b - 1),    b = 0: x = log10(C / C_g),

where C_g is the group's largest C, C_0 / C_g the smallest ratio of any group and D = -log10 of that. b = 0 is a line
in log FLOPs; with b > 0 ability approaches a ceiling as a power of compute. Trends are averaged over b, each weighed
by the profile likelihood of its residuals, so that forecasts carry the doubt how far growth goes on.
docs/mathematics.md, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.stats import norm
from scipy.stats import t as student_t

from irsl.errors import DataError, OptionError
from irsl.laws.sampling import BELIEVED, SamplingLaw
from irsl.laws.trend import Trend, fit_trends
from irsl.likelihoods.base import Array

BENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
ALL = "all"  # the group of subjects that were given none
DRAWS = 4000  # for the probability that an option is best
NEAREST = 1e-12  # that a pass@k comes to 0 and 1


@dataclass(frozen=True)
class BentTrend:
    """Lines of all groups in bent log compute, averaged over the bend.

    Attributes
    ----------
    largest : dict of str to float
        Largest FLOPs of every group.
    smallest_ratio : float
        Smallest FLOPs over the largest of the same group.
    trends : tuple of Trend
        For every one of BENDS.
    weights : (len(BENDS),) float64
        Posterior probability of every bend, summing to 1.
    """

    largest: dict[str, float]
    smallest_ratio: float
    trends: tuple[Trend, ...]
    weights: Array

    @property
    def bend(self) -> float:
        """Mean of b: 0 for growth with log FLOPs."""
        return float(self.weights @ np.array(BENDS))

    def forecast(self, group: str, flops: float) -> tuple[float, float]:
        """Mean and standard deviation of the value of a group at some FLOPs, as a normal distribution.

        The standard deviation is that of the normal distribution whose 90 % interval is the t distribution's.

        Raises
        ------
        DataError
            A group that the trend does not have; FLOPs that are not positive.
        """
        if group not in self.largest:
            raise DataError(f"the trend has no group {group!r}; it has {list(self.largest)}")
        if not 0.0 < flops < np.inf:
            raise DataError(f"FLOPs must be positive and finite; found {flops}")
        mean, variance = np.empty(len(BENDS)), np.empty(len(BENDS))
        for index, (bend, trend) in enumerate(zip(BENDS, self.trends, strict=True)):
            at = trend.forecast(10.0 ** bent(flops / self.largest[group], bend, self.smallest_ratio))
            own = at.recipes.index(group)
            mean[index], variance[index] = at.mean[own], at.covariance[own, own]
        middle = self.weights @ mean
        total = self.weights @ (variance + (mean - middle) ** 2)
        tails = student_t.ppf(0.95, self.trends[0].degrees) / norm.ppf(0.95)
        return float(middle), float(tails * np.sqrt(total))


def fit_bent_trends(group: Sequence[str], flops: Array, value: Array, se: Array) -> BentTrend:
    """Fit lines in bent log compute to values with standard errors; arguments and errors as of `fit_trends`."""
    flops, value, se = (np.asarray(v, dtype=np.float64) for v in (flops, value, se))
    if not (np.isfinite(flops) & (flops > 0)).all():
        raise DataError(f"FLOPs must be positive and finite; found {flops[~(np.isfinite(flops) & (flops > 0))][0]}")
    names = np.array(group)
    largest = {name: float(flops[names == name].max()) for name in dict.fromkeys(group)}
    ratio = flops / np.array([largest[name] for name in group])
    smallest = float(ratio.min())
    if smallest == 1.0:
        raise DataError("a law over compute needs several FLOPs in a group; every group has one")
    trends = tuple(fit_trends(group, 10.0 ** bent(ratio, bend, smallest), value, se) for bend in BENDS)
    # the residuals' quadratic form is about its degrees of freedom at every bend; what differs is the determinant
    log_weight = np.array([-0.5 * np.log(t.tau**2 + se**2).sum() * t.degrees / value.size for t in trends])
    weight = np.exp(log_weight - log_weight.max())
    return BentTrend(largest, smallest, trends, weight / weight.sum())


def bent(ratio: ArrayLike, bend: float, smallest: float) -> Array:
    """Compute x of a ratio C / C_g, 0 where that is 1 and log10 of `smallest` where it is that."""
    log_ratio = np.log(np.asarray(ratio, dtype=np.float64))
    if bend == 0.0:
        return np.asarray(log_ratio / np.log(10.0))
    return np.asarray(np.expm1(-bend * log_ratio) / np.expm1(-bend * np.log(smallest)) * np.log10(smallest))


@dataclass(frozen=True)
class JointLaw:
    """pass@k at any training compute and number of samples.

    Attributes
    ----------
    law : SamplingLaw
    trend : BentTrend
        Of abilities.
    left_out : tuple of str
        Subjects of whose ability the sampling law says nothing: the items' difficulties do not help to predict them,
        as where next to nothing was solved. They are not zeros of the trend; it is about the compute at which ability
        can be seen. Subjects with no success whom the bank does describe take part with their wide errors.
    """

    law: SamplingLaw
    trend: BentTrend
    left_out: tuple[str, ...]

    def forecast(
        self, flops: ArrayLike, k: ArrayLike, group: str | None = None, *, benchmark: str | None = None
    ) -> pl.DataFrame:
        """pass@k of a subject of a group trained with so many FLOPs, measured or not.

        Parameters
        ----------
        flops : (n,) float64
        k : (K,) whole numbers, at least 1
        group : str, optional
            Not needed where the law has only one.
        benchmark : str, optional
            Default: all of the law's.

        Returns
        -------
        polars.DataFrame
            group, flops, benchmark, k, pass_at_k, pass_at_k_lower, pass_at_k_upper.

        Raises
        ------
        DataError
            A group or benchmark that the law does not have; FLOPs that are not positive.
        """
        if group is None:
            if len(self.trend.largest) > 1:
                raise DataError(f"say which group to forecast; the law has {list(self.trend.largest)}")
            group = next(iter(self.trend.largest))
        frames = []
        for compute in np.atleast_1d(np.asarray(flops, dtype=np.float64)):
            mean, sd = self.trend.forecast(group, float(compute))
            there = self.law.predict(mean, sd, k, benchmark=benchmark)
            frames.append(there.select(pl.lit(group).alias("group"), pl.lit(float(compute)).alias("flops"), pl.all()))
        return pl.concat(frames)

    def trade(
        self,
        cost: Mapping[str, float],
        budget: ArrayLike,
        *,
        flops: Mapping[str, float] | None = None,
        groups: Mapping[str, str] | None = None,
        benchmark: str | None = None,
    ) -> pl.DataFrame:
        """pass@k of every option at equal cost: a large model once, or a small one k times.

        Parameters
        ----------
        cost : mapping of str to float
            Of one sample of every option, in any unit: 2 N times the tokens of an answer, in FLOPs.
        budget : (n,) float64
            Costs to compare at; k is the number of samples that they buy.
        flops : mapping of str to float, optional
            Training FLOPs of the options to be forecast. An option that is not in it is a subject of the sampling law
            and enters as measured.
        groups : mapping of str to str, optional
            Group of every option in `flops`, where the law has several.
        benchmark : str, optional
            Not needed where the law has only one.

        Returns
        -------
        polars.DataFrame, a row per budget and option that it buys at least one sample of
            budget, option, k, pass_at_k, pass_at_k_lower, pass_at_k_upper; p_best, the probability that no other option
            has a higher pass@k at this budget; best, whether its pass_at_k is the highest. Null beyond the sampling
            law's horizon of a measured option, which then takes no part. The errors of options are taken as
            independent, and normal on the scale of log(-log pass@k); what they share would only make choices surer.

        Raises
        ------
        OptionError
            A cost or budget that is not positive.
        DataError
            An option that is neither in `flops` nor a subject of the law; several benchmarks to choose from.
        """
        money = np.unique(np.asarray(budget, dtype=np.float64))
        if not (money.size and money.min() > 0 and min(cost.values(), default=0.0) > 0):
            raise OptionError("costs and budgets must be positive, and there must be some")
        there = self.law.items["benchmark"].unique(maintain_order=True).to_list()
        if benchmark is None and len(there) > 1:
            raise DataError(f"say which benchmark to trade on; the law has {there}")
        flops, groups, benchmark = flops or {}, groups or {}, benchmark or there[0]
        measured = {own.subject: own for own in self.law.laws}
        frames = []
        for option, price in cost.items():
            k = np.floor(money / price * (1.0 + 1e-12))  # a budget of k prices buys k
            bought = pl.DataFrame({"budget": money, "k": k.astype(np.int64)}).filter(pl.col("k") >= 1)
            if bought.is_empty():
                continue
            ks = bought["k"].unique(maintain_order=True).to_numpy()
            if option in flops:
                curve = self.forecast(flops[option], ks, groups.get(option), benchmark=benchmark)
            elif option in measured:
                curve = replace(self.law, laws=(measured[option],)).curve(ks).filter(pl.col("benchmark") == benchmark)
            else:
                raise DataError(f"option {option!r} has no FLOPs to be forecast from and is no subject of the law")
            curve = curve.select("k", "pass_at_k", "pass_at_k_lower", "pass_at_k_upper")
            frames.append(
                bought.join(curve, on="k").select("budget", pl.lit(option).alias("option"), pl.exclude("budget"))
            )
        if not frames:
            raise DataError("no budget buys a sample of any option")
        rng = np.random.default_rng(self.law.seed)
        table = pl.concat(frames).sort("budget", maintain_order=True)
        return pl.concat([_with_best(part, self.law.level, rng) for part in table.partition_by("budget")])


def joint_law(law: SamplingLaw, flops: Mapping[str, float], *, groups: Mapping[str, str] | None = None) -> JointLaw:
    """Fit abilities against training compute.

    Parameters
    ----------
    law : SamplingLaw
        With an item bank; its `prior` should come from subjects like those to be forecast, so leave out checkpoints
        that have learned nothing yet.
    flops : mapping of str to float
        Training FLOPs of the subjects that take part.
    groups : mapping of str to str, optional
        The line that each of them is on: its size, recipe, or training step. Left out, all are on one.

    Raises
    ------
    DataError
        A law without a bank; a subject that the law does not have or that has no group; fewer than three FLOPs in a
        group.
    """
    if not law.has_bank:
        raise DataError("a law without an item bank has no abilities to fit; give sampling_law a bank")
    measured = {own.subject: own for own in law.laws}
    for what, names in (("law", measured), ("groups", groups if groups is not None else flops)):
        missing = [subject for subject in flops if subject not in names]
        if missing:
            raise DataError(f"{len(missing)} subjects with FLOPs are not in the {what} (first: {missing[0]!r})")
    known = [subject for subject in flops if measured[subject].bank_weight > BELIEVED]
    if not known:
        raise DataError("the sampling law says nothing of any subject's ability")
    ability = [measured[subject].ability for subject in known]
    trend = fit_bent_trends(
        [groups[subject] if groups is not None else ALL for subject in known],
        np.array([flops[subject] for subject in known]),
        np.array([np.nanmean(draws) for draws in ability]),
        np.array([np.nanstd(draws) for draws in ability]),
    )
    return JointLaw(law, trend, tuple(subject for subject in flops if subject not in known))


def _with_best(options: pl.DataFrame, level: float, rng: np.random.Generator) -> pl.DataFrame:
    """Options of one budget with the probability that each is best; see `JointLaw.trade`."""
    known = options["pass_at_k"].is_not_null().to_numpy()
    low, high = (
        np.log(-np.log(np.clip(options[name].to_numpy()[known], NEAREST, 1.0 - NEAREST)))
        for name in ("pass_at_k_lower", "pass_at_k_upper")
    )
    sd = (low - high) / (2.0 * norm.ppf((1.0 + level) / 2.0))
    least = rng.normal((low + high) / 2.0, sd, (DRAWS, low.size)).argmin(axis=1)
    p_best = np.full(known.size, np.nan)
    p_best[known] = np.bincount(least, minlength=low.size) / DRAWS
    best = pl.col("pass_at_k") == pl.col("pass_at_k").max()
    return options.with_columns(p_best=pl.Series(p_best).fill_nan(None), best=best)
