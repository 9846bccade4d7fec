"""The item-response law of repeated sampling: pass@k of every subject, beyond the samples that were bought.

pass@k of a benchmark is the mean over its items of 1 - (1 - p)^k. Items that were sampled enter by their counts, items
of the bank that were not by what the ability of the subject says of them; the rates' spread about the items' curves and
the share of items that a subject never solves are estimated with it (`rates.py`), from all subjects together where
there are several. docs/mathematics.md, section 7.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, log_expit, logsumexp
from scipy.stats import norm

from irsl.ability.measure import known_benchmarks
from irsl.calibration import calibrate
from irsl.calibration.bank import ItemBank, Scale
from irsl.errors import DataError, OptionError
from irsl.laws import rates
from irsl.laws.item_posterior import ItemPosterior, item_posterior
from irsl.laws.pass_at_k import dataset_pass_at_k, posterior_mean
from irsl.laws.rates import Cells, Curves, Evidence, Marginals
from irsl.laws.stopping import Stopping, stopping_rule
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import dense
from irsl.responses import Responses
from irsl.threads import ours_alone, over_ranges

ABILITY_SD = 2.0  # prior on the bank's scale; wide, because a new subject need not resemble those of the calibration
LOGIT_SD = 5.0  # prior of the typical logit where nothing is known of the items
MIN_SUBJECTS = 3  # with which items can be calibrated
PASSES = 500
SETTLED = 1e-6
DRAWS, BACKTEST_DRAWS = 200, 80
BELIEVED = 0.5
BACKTESTS, MIN_BACKTESTS = 16, 6  # subjects
MIN_HIDDEN = 5  # items
SMALLEST_VARIANCE = 1e-8
PRIOR_SHARE = 0.1  # of what is known of the atoms before a subject's own counts: that from before any data

Progress = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Rates:
    """What is known of the rates of one subject on the items of one scale.

    Attributes
    ----------
    cells : Cells
        On the items of the law, in their order.
    usual : (n_benchmarks, n_logits) float64
        Posterior density of the rate of an item of each benchmark, added over its items, without the precise cells.
    precise : (n_items,) bool
        Cells whose counts are so informative that nothing else matters.
    logit : (n_draws, n_items) float32
        Joint posterior draws of the rates' logits; -inf where an item is never solved.
    """

    cells: Cells
    usual: Array
    precise: NDArray[np.bool_]
    logit: NDArray[np.float32]

    @property
    def misfit(self) -> NDArray[np.float32]:
        """Draws, as `logit`, whose spread is what a backtest's factor is of."""
        return self.logit


@dataclass(frozen=True)
class ForecastRates(Rates):
    """The rates of a subject of which only the ability is forecast.

    Attributes
    ----------
    ability_known : (n_draws, n_items) float32
        Draws of the logits with the ability at its mean: what misfit adds does not grow with the forecast's error.
    """

    ability_known: NDArray[np.float32]

    @property
    def misfit(self) -> NDArray[np.float32]:
        """Draws with the ability at its mean."""
        return self.ability_known


@dataclass(frozen=True)
class SubjectRates(Rates):
    """The rates of a subject that was sampled, and what they depend on.

    Attributes
    ----------
    subject : str
    ability : (n_draws,) float64
        On the bank's scale; NaN in draws for which the bank's items play no part.
    share_unsolvable : (n_draws,) float64
        Of all the items a subject could meet.
    tail_index : (n_draws,) float64
        Exponent of the density of rates near 0, of the item in the middle; infinite in draws without a power law.
    bank_weight : float
        Posterior probability that the bank's difficulties help to predict the subject.
    horizon : float
        Largest k that the samples can say anything of: the number of the subject's own or, where its items are known
        from others, of the most sampled subject.
    """

    subject: str
    ability: Array
    share_unsolvable: Array
    tail_index: Array
    bank_weight: float
    horizon: float


@dataclass(frozen=True)
class SamplingLaw:
    """Laws of all subjects on one scale.

    Attributes
    ----------
    items : polars.DataFrame
        item, benchmark, and slope and intercept of its curve.
    curves : Curves
        Of the items, at their modes.
    level : float
        Of all intervals.
    laws : tuple of SubjectRates
    prior : (n_atoms,) float64
        Distribution over subjects of the rates' kind, spread and share that are never solved, with the bank's items,
        then without.
    stopping : Stopping
        Whether the numbers of samples depend on what was sampled.
    most_samples : float
        Of any subject that the prior was learned from.
    inflation : float, optional
        What `backtest` found on the law that this one was placed with.
    seed : int
    has_bank : bool
    open_items : ItemPosterior, optional
        What is open about the items, where they were calibrated on the subjects that the law learned from.
    """

    items: pl.DataFrame
    curves: Curves
    level: float
    laws: tuple[SubjectRates, ...]
    prior: Array
    stopping: Stopping
    most_samples: float = 0.0
    inflation: float | None = None
    seed: int = 0
    has_bank: bool = True
    open_items: ItemPosterior | None = None

    @cached_property
    def backtest(self) -> float:
        """Factor on the spread of what is predicted for items without samples, at least 1.

        Subjects differ from the items' curves on many items at a time; the factor is what intervals for items that were
        hidden from the law would have needed. 1 where fewer than six subjects can be predicted so.
        """
        return _backtest(self) if self.inflation is None else self.inflation

    @property
    def subjects(self) -> pl.DataFrame:
        """A row per subject: ability, share_unsolvable and tail_index with intervals, bank_weight, horizon, counts.

        Abilities are null where the bank's items are not believed to say anything of the subject.
        """
        tail = (1.0 - self.level) / 2.0
        rows = []
        for law in self.laws:
            row: dict[str, object] = {"subject": law.subject}
            for name, draws in (
                ("ability", law.ability[np.isfinite(law.ability)] if law.bank_weight > BELIEVED else np.empty(0)),
                ("share_unsolvable", law.share_unsolvable),
                ("tail_index", law.tail_index),
            ):
                row[name] = float(np.median(draws)) if draws.size else None
                low, high = np.quantile(draws, [tail, 1 - tail], method="nearest") if draws.size else (None, None)
                row |= {f"{name}_lower": low, f"{name}_upper": high}
            sampled = law.cells.n_samples > 0
            row |= {
                "p_power_law": float(np.isfinite(law.tail_index).mean()),
                "bank_weight": law.bank_weight,
                "n_items": sampled.size,
                "n_items_sampled": int(sampled.sum()),
                "n_samples": int(law.cells.n_samples.sum()),
                "horizon": law.horizon,
            }
            rows.append(row)
        return pl.DataFrame(rows)

    def curve(self, k: ArrayLike) -> pl.DataFrame:
        """pass@k of every subject on every benchmark.

        Parameters
        ----------
        k : (K,) whole numbers, at least 1

        Returns
        -------
        polars.DataFrame
            subject, benchmark, k, pass_at_k (posterior mean, null beyond the horizon), pass_at_k_lower,
            pass_at_k_upper, identified. Beyond the horizon nothing in the data tells an unsolvable item from a rare
            success: the answer is then the bound alone, from the lower end at the horizon to 1.
        """
        ks = _whole_numbers(k)
        frames = []
        for own in self.laws:
            for there in self._rows(own, ks, own.horizon):
                frames.append(there.select(pl.lit(own.subject).alias("subject"), pl.all()))
        return pl.concat(frames)

    def predict(self, ability: float, se: float, k: ArrayLike, *, benchmark: str | None = None) -> pl.DataFrame:
        """pass@k of a subject of which only the ability is known, as a law over compute forecasts it.

        Parameters
        ----------
        ability, se : float
            Mean and standard deviation of a normal distribution on the bank's scale.
        k : (K,) whole numbers
        benchmark : str, optional
            Default: all of the law's.

        Returns
        -------
        polars.DataFrame
            benchmark, k, pass_at_k, pass_at_k_lower, pass_at_k_upper.
        """
        if not self.has_bank:
            raise DataError("a law without an item bank has no ability to predict from")
        if not (np.isfinite(ability) and np.isfinite(se) and se >= 0):
            raise OptionError(f"ability must be finite and its error not negative; found {ability} and {se}")
        ks = _whole_numbers(k)
        n_items = self.items.height
        none = np.zeros(n_items)
        cells = Cells(none, none, self._curves_at(ability))
        rng = np.random.default_rng(self.seed)
        half = self.prior[: self.prior.size // 2]
        atoms = _systematic(half / half.sum(), DRAWS, rng)
        spread, share = np.unravel_index(rng.permutation(atoms), (rates.N_SPREADS, rates.SHARES.size))
        marginals, member = Marginals.of(cells), self._member()

        def drawn(se: float) -> tuple[Array, NDArray[np.float32]]:
            draws = _Draws(np.zeros(DRAWS, bool), spread, share, rng.normal(ability, se, DRAWS))
            return _drawn(cells, marginals, draws, member, rng)

        usual, logit = drawn(se)
        apart = rng.permutation(drawn(0.0)[1])  # of other kinds and spreads than the draw that it is added to
        rates_there = ForecastRates(cells, usual, np.zeros(n_items, bool), logit, apart)
        frames = [f for f in self._rows(rates_there, ks, np.inf) if benchmark in (None, f["benchmark"][0])]
        if not frames:
            raise DataError(f"the law has no benchmark {benchmark!r}; it has {self._benchmarks()}")
        return pl.concat(frames).drop("identified")

    def draws(self, k: ArrayLike, *, items: Sequence[str] | None = None) -> Array:
        """Joint posterior draws of pass@k over some of the law's items: (n_subjects, n_draws, K).

        Their quantiles are `curve`'s intervals; unlike there, k beyond the horizon is not refused.

        Parameters
        ----------
        k : (K,) whole numbers
        items : ids, optional
            Default: all.

        Raises
        ------
        DataError
            An item that the law does not have.
        """
        ks = _whole_numbers(k)
        place = {name: index for index, name in enumerate(self.items["item"])}
        wanted = list(place) if items is None else list(items)
        if unknown := [name for name in wanted if name not in place]:
            raise DataError(f"{len(unknown)} items are not in the law (first: {unknown[0]!r})")
        own = np.array([place[name] for name in wanted], dtype=np.intp)
        return np.stack([self._of_items(law, own, ks) for law in self.laws])

    def place(self, responses: Responses, *, progress: Progress | None = None) -> SamplingLaw:
        """Laws of other subjects on the same items, with what these subjects' rates are like as prior.

        Where these subjects lack samples of some items, up to 16 of the law's own are first predicted from the samples
        that these have, which takes seconds: see `backtest`.

        Parameters
        ----------
        responses : Responses
            Counts of samples, as for `sampling_law`.
        progress : callable, optional
            Called as progress(n_done, n_steps).

        Raises
        ------
        DataError
            Responses that are not counts or trials; no item in common, or a subject without any.

        Warns
        -----
        UserWarning
            Items that the law does not have were left out; the message counts them and names the first.
        """
        _require_counts(responses)
        unknown = responses.items.join(self.items, on="item", how="anti")["item"]
        counts = _counts(responses, self.items)
        if unknown.len():
            warnings.warn(
                f"{unknown.len()} items are not in the law and were left out (first: {unknown[0]!r})", stacklevel=2
            )
        law = self
        if (counts.n_samples == 0).any():
            law = replace(self, inflation=_backtest(self, counts.n_samples, progress))
        return _fitted(counts, law, progress)

    def _curves_at(self, ability: float) -> Curves:
        """Curves of the items with what is open about them at this ability."""
        return self.curves if self.open_items is None else self.open_items.at(self.curves, ability)

    def _benchmarks(self) -> list[str]:
        return self.items["benchmark"].unique(maintain_order=True).to_list()

    def _member(self) -> Array:
        """(n_benchmarks, n_items) whether an item belongs to a benchmark."""
        names = self.items["benchmark"].to_numpy()
        return np.asarray(np.array(self._benchmarks())[:, None] == names, dtype=np.float64)

    def _rows(self, own: Rates, k: Array, horizon: float) -> Iterable[pl.DataFrame]:
        """Rows of `curve` without the subject, a frame per benchmark."""
        tail = (1.0 - self.level) / 2.0
        member = self._member()
        at = np.minimum(k, horizon)
        fails = np.exp(log_expit(-rates.LOGITS)[:, None] * at)  # (n_logits, K)
        total = own.usual @ (1.0 - fails)
        if own.precise.any():
            n, c = own.cells.n_samples[own.precise], own.cells.n_correct[own.precise]
            total = total + member[:, own.precise] @ posterior_mean(n[:, None], c[:, None], at)
        size = member.sum(axis=1)
        known = k <= horizon
        for index, name in enumerate(self._benchmarks()):
            draws = self._of_items(own, np.flatnonzero(member[index]), at)
            low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0)
            mean = total[index] / size[index]
            yield pl.DataFrame(
                {
                    "benchmark": name,
                    "k": k,
                    "pass_at_k": np.where(known, mean, np.nan),
                    "pass_at_k_lower": np.minimum(low, mean),
                    "pass_at_k_upper": np.where(known, np.maximum(high, mean), 1.0),
                    "identified": known,
                }
            ).with_columns(pl.col("k").cast(pl.Int64), pl.col("pass_at_k").fill_nan(None))

    def _of_items(self, own: Rates, items: NDArray[np.intp], k: Array) -> Array:
        """(n_draws, K) draws of pass@k over some items, those without samples spread by the backtest's factor."""
        log_fail = log_expit(-own.logit[:, items].astype(np.float64))
        sampled = own.cells.n_samples[items] > 0
        total = np.zeros((log_fail.shape[0], k.size))
        if sampled.any():
            total += _solved(log_fail[:, sampled], k)
        if not sampled.all():
            drawn = _solved(log_fail[:, ~sampled], k)
            misfit = drawn
            if own.misfit is not own.logit:
                misfit = _solved(log_expit(-own.misfit[:, items[~sampled]].astype(np.float64)), k)
            # drawn apart from the forecast's error, misfit adds its variance; drawn with it, it is multiplied
            beyond = self.backtest - 1.0 if misfit is drawn else np.sqrt(self.backtest**2 - 1.0)
            total += np.clip(drawn + beyond * (misfit - misfit.mean(axis=0)), 0.0, (~sampled).sum())
        return total / sampled.size


def sampling_law(
    responses: Responses,
    bank: ItemBank | None = None,
    *,
    benchmark: str | Sequence[str] | None = None,
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
) -> SamplingLaw:
    """Fit the law of repeated sampling to counts of correct samples.

    Parameters
    ----------
    responses : Responses
        Counts, or binary trials, of one scale: one benchmark, or several that the bank has on one scale.
    bank : ItemBank, optional
        Difficulties and discriminations of the items; pass@k is then that of all its items, sampled or not. Left out,
        the items are calibrated on the responses, with `calibrate`'s defaults, where there are at least three subjects;
        with fewer nothing is known of the items but their counts. The items' own errors are taken into account where
        the bank was calibrated on these subjects, in this order; those of other banks are taken as exact.
    benchmark : str or list of str, optional
        As `responses.select`.
    level : float
        Of the intervals.
    seed : int
        Of the posterior draws that the intervals come from.
    progress : callable, optional
        Called as progress(n_subjects_done, n_subjects).

    Returns
    -------
    SamplingLaw

    Raises
    ------
    DataError
        Responses that are not counts or trials, several scales, no item in the bank or another outcome than the bank's,
        floors (guessing) in the bank.
    OptionError
        A level outside (0, 1).

    Warns
    -----
    UserWarning
        Items or benchmarks that the bank does not have were left out; the message counts them and names the first.
    """
    if not 0.0 < level < 1.0:
        raise OptionError(f"level must lie in (0, 1); found {level}")
    if benchmark is not None:
        responses = responses.select(benchmark=benchmark)
    _require_counts(responses)
    there = responses.outcomes["benchmark"].unique(maintain_order=True).to_list()
    n_subjects = responses.subjects.height
    if bank is None and len(there) > 1:
        raise DataError(f"a law is of one scale; choose a benchmark of {there}, or give a bank that joins them")
    if bank is None and n_subjects >= MIN_SUBJECTS:
        bank = calibrate(responses).bank
    scale = None
    if bank is None:
        matrix = responses.to_matrix()
        items = pl.DataFrame({"item": matrix.items.astype(str), "benchmark": matrix.benchmarks.astype(str)})
        items = items.with_columns(slope=pl.lit(1.0), intercept=pl.lit(0.0))
    else:
        scale, items = _curves_of(bank, known_benchmarks(responses, bank))
    slope, intercept = items["slope"].to_numpy(), items["intercept"].to_numpy()
    counts = _counts(responses, items)
    if bank is None or scale is None:
        law = SamplingLaw(
            items, Curves(slope, intercept), level, (), np.empty(0), Stopping.none(), seed=seed, has_bank=False
        )
        return _fitted(counts, law, progress)
    curves = Curves.of(slope, intercept, scale.response_likelihood())
    law = SamplingLaw(items, curves, level, (), np.empty(0), Stopping.none(), seed=seed)
    errors = bank.select(items=items["item"].to_list()).parameters().intercept_covariance()
    return _fitted(counts, law, progress, errors if scale.has_subjects(counts.subjects) else None)


def _solved(log_fail: Array, k: Array) -> Array:
    """(n_draws, K) items solved within k samples, from draws (n_draws, n_items) of the log of a failure's rate."""
    return np.stack([log_fail.shape[1] - np.exp(log_fail * x).sum(axis=1) for x in k], axis=1)


def _require_counts(responses: Responses) -> None:
    if unfit := sorted(set(responses.outcomes["kind"]) - {"binary", "counts"}):
        raise DataError(
            "a law of repeated sampling needs counts of correct samples (columns n_samples and n_correct) or single "
            f"right and wrong ones; found an outcome of kind {unfit[0]}: select another"
        )


def _curves_of(bank: ItemBank, known: list[str]) -> tuple[Scale, pl.DataFrame]:
    """The scale that these benchmarks are on, and its items with slope and intercept of their curves."""
    scales = {bank.scale_of(b).scale: bank.scale_of(b) for b in known}
    if len(scales) > 1:
        raise DataError(f"a law is of one scale; the bank has {known} on the scales {list(scales)}")
    scale = next(iter(scales.values()))
    part = bank.select(benchmark=[b for b in scale.benchmarks if b in bank.benchmarks])
    parameters = part.parameters()
    if parameters.guessing.any():
        raise DataError("a law of repeated sampling takes no floors: calibrate with model='2pl' or '1pl'")
    return scale, part.items.select(
        "item",
        "benchmark",
        slope=pl.Series(parameters.discrimination),
        intercept=pl.Series(-parameters.discrimination * parameters.difficulty),
    )


@dataclass(frozen=True)
class _Counts:
    subjects: list[str]
    n_samples: Array
    n_correct: Array


def _counts(responses: Responses, items: pl.DataFrame) -> _Counts:
    """(n_subjects, n_items) counts on the law's items; every subject must have some."""
    matrix = responses.to_matrix(items=items["item"].to_list())
    n = np.broadcast_to(dense(matrix.trials), (matrix.n_subjects, matrix.n_items))  # one number, where all are equal
    k = dense(matrix.values)
    empty = np.flatnonzero(n.sum(axis=1) == 0)
    if empty.size == matrix.n_subjects:
        raise DataError("no item of the responses is known to the law")
    if empty.size:
        raise DataError(
            f"{empty.size} subjects have no samples of the law's items (first: {matrix.subjects[empty[0]]!r})"
        )
    return _Counts([str(s) for s in matrix.subjects], n, k)


def _fitted(counts: _Counts, law: SamplingLaw, progress: Progress | None, errors: Array | None = None) -> SamplingLaw:
    """Weigh every subject's grids, learn from all subjects what rates are like, and draw.

    With the items' `errors` their posterior is worked out, from these subjects' counts.
    """
    subjects = [Cells(n, k, law.curves) for n, k in zip(counts.n_samples, counts.n_correct, strict=True)]
    opens = errors is not None or law.open_items is not None
    steps, n_steps = itertools.count(1), (3 if opens else 2) * len(subjects)

    def of_all(work: Callable[[int], T]) -> list[T]:
        """Work on every subject, on all cores."""

        def own(part: slice) -> T:
            result = work(part.start)
            if progress is not None:
                progress(next(steps), n_steps)
            return result

        return over_ranges(own, len(subjects), 1)

    def learned(found: list[_Weighed]) -> tuple[Array, Array]:
        if law.prior.size:
            return law.prior, np.broadcast_to(law.prior, (len(subjects), law.prior.size))
        return _shared(np.array([own.log_marginal for own in found]))

    with ours_alone():
        found = of_all(lambda i: _weighed(subjects[i], law.has_bank))
        prior, priors = learned(found)
        open_items = law.open_items
        if opens:
            half = prior[: prior.size // 2].reshape(rates.N_SPREADS, -1)
            of_bank = [own.evidence[0] for own in found]
            if errors is None:
                curves = [law._curves_at(evidence.typical_ability(half)) for evidence in of_bank]
            else:
                open_items, curves = item_posterior(subjects, [own.marginals for own in found], of_bank, half, errors)
            subjects = [replace(cells, curves=own) for cells, own in zip(subjects, curves, strict=True)]
            found = of_all(lambda i: found[i].with_bank(subjects[i]))
            prior, priors = learned(found)
        law = replace(
            law,
            prior=prior,
            open_items=open_items,
            stopping=stopping_rule(counts.n_samples, counts.n_correct),
            most_samples=max(law.most_samples, float(counts.n_samples.sum(axis=1).max())),
        )

        def placed(i: int) -> SubjectRates:
            log_weight = found[i].log_marginal + np.log(priors[i])
            rng = np.random.default_rng([law.seed, i])
            return _placed(counts.subjects[i], subjects[i], found[i], log_weight, law, rng)

        return replace(law, laws=tuple(of_all(placed)))


@dataclass(frozen=True)
class _Weighed:
    """Marginal likelihoods of one subject's counts, with the bank's items where there are any, then without."""

    marginals: Marginals
    evidence: tuple[Evidence, ...]

    @property
    def log_marginal(self) -> Array:
        """(n_atoms,) of every kind, spread and share."""
        return np.concatenate([e.log_marginal.ravel() for e in self.evidence])

    def with_bank(self, cells: Cells) -> _Weighed:
        """Return the same counts weighed again on other curves of the bank's items."""
        return replace(self, evidence=(rates.evidence(cells, self.marginals, 0.0, ABILITY_SD), self.evidence[-1]))


def _weighed(cells: Cells, has_bank: bool) -> _Weighed:
    marginals = Marginals.of(cells)
    with_bank = (rates.evidence(cells, marginals, 0.0, ABILITY_SD),) if has_bank else ()
    return _Weighed(marginals, (*with_bank, rates.evidence(cells.flat(), marginals, 0.0, LOGIT_SD)))


def _backtest(law: SamplingLaw, shown: Array | None = None, progress: Progress | None = None) -> float:
    """How much wider intervals of items without samples must be to hold as often as they say, at least 1.

    Up to `BACKTESTS` of the law's subjects are shown as many samples of every item as one of the subjects to be placed
    has, `shown` (n_placed, n_items), or a random half of their items where that is None. pass@k of their other items
    is predicted; errors count without what the hidden counts are themselves uncertain by. The factor is that of the
    subject beyond which a share 1 - level of as many subjects and one more would lie, as in conformal prediction.
    """
    rng = np.random.default_rng(law.seed)
    ratios: list[float] = []
    for turn, index in enumerate(rng.permutation(len(law.laws)) if law.has_bank else []):
        n, c = law.laws[index].cells.n_samples, law.laws[index].cells.n_correct
        wanted = n * (rng.permutation(n.size) % 2) if shown is None else shown[turn % len(shown)]
        m = np.minimum(wanted, n)
        hidden = np.flatnonzero((wanted == 0) & (n > 0))
        if hidden.size < MIN_HIDDEN or not m.any():
            continue
        got = rng.hypergeometric(c.astype(int), (n - c).astype(int), m.astype(int)).astype(np.float64)
        cells = replace(law.laws[index].cells, n_samples=m, n_correct=got)
        found = _weighed(cells, True)
        placed = _placed("", cells, found, found.log_marginal + np.log(law.prior), law, rng, n_draws=BACKTEST_DRAWS)
        k = np.unique(np.round([1.0, np.sqrt(n[hidden].min()), max(1.0, n[hidden].min() - 1.0)]))
        truth = dataset_pass_at_k(n[hidden], c[hidden], k)
        draws = 1.0 - np.exp(log_expit(-placed.logit[:, hidden].astype(np.float64))[:, :, None] * k).mean(axis=1)
        error = draws.mean(axis=0) - truth["pass_at_k"].to_numpy()
        noise = truth["se_samples"].fill_null(0.0).to_numpy()
        ratios.append(float(np.nanmean((error**2 - noise**2) / np.maximum(draws.var(axis=0), SMALLEST_VARIANCE))))
        if progress is not None:
            progress(len(ratios), BACKTESTS)
        if len(ratios) == BACKTESTS:
            break
    if len(ratios) < MIN_BACKTESTS:
        return 1.0
    enough = float(np.quantile(ratios, law.level, method="weibull"))
    return max(1.0, float(np.sqrt(max(enough, 0.0)) / norm.ppf((1.0 + law.level) / 2.0)))


def _shared(log_marginal: Array) -> tuple[Array, Array]:
    """Distribution of the atoms over subjects, by EM, every subject weighed by what the others say.

    Weighed by a distribution that it helped to find a subject would count twice; one subject alone has
    that from before any data, uniform but for a fifth of it on no unsolvable items.

    Returns
    -------
    shared : (n_atoms,) float64
        For subjects that are none of these.
    own : (n_subjects, n_atoms) float64
        For each of these.

    A share of both is the distribution before any data: few subjects have seen few of the atoms, and the likeliest
    distribution has nothing between them.
    """
    n_subjects, n_atoms = log_marginal.shape
    base = np.tile(rates.SHARE_PRIOR, n_atoms // rates.SHARE_PRIOR.size)
    base = base / base.sum()
    likelihood = np.exp(log_marginal - log_marginal.max(axis=1, keepdims=True))
    share = np.tile(base, (n_subjects, 1))
    own = share
    for _ in range(PASSES if n_subjects > 1 else 1):
        if n_subjects > 1:
            own = (1.0 - PRIOR_SHARE) * (share.sum(axis=0) - share) / (n_subjects - 1) + PRIOR_SHARE * base
        new = likelihood * own
        new /= new.sum(axis=1, keepdims=True)
        settled = np.abs(new - share).max() < SETTLED
        share = new
        if settled:
            break
    return (1.0 - PRIOR_SHARE) * share.mean(axis=0) + PRIOR_SHARE * base, own


@dataclass(frozen=True)
class _Draws:
    """Draws of what a subject's rates depend on; `flat` ones take nothing from the items."""

    flat: NDArray[np.bool_]
    spread: NDArray[np.intp]
    share: NDArray[np.intp]
    ability: Array


def _placed(
    subject: str,
    cells: Cells,
    found: _Weighed,
    log_weight: Array,
    law: SamplingLaw,
    rng: np.random.Generator,
    n_draws: int = DRAWS,
) -> SubjectRates:
    weight = np.exp(log_weight - logsumexp(log_weight))
    own = found.evidence
    shape = (len(own), rates.N_SPREADS, rates.SHARES.size)
    atoms = np.unravel_index(_systematic(weight, n_draws, rng), shape)
    which, spread, share = (np.asarray(part) for part in atoms)
    ability = np.empty(n_draws)
    for index, evidence in enumerate(own):
        rows = np.flatnonzero(which == index)
        at, u = evidence.ability[spread[rows]], rng.random((rows.size, 1))
        mass = np.exp(evidence.log_weight[spread[rows], share[rows]])
        place = (mass.cumsum(axis=1) / mass.sum(axis=1, keepdims=True) < u).sum(axis=1)
        step = at[:, 1] - at[:, 0]
        ability[rows] = at[np.arange(rows.size), place] + step * (rng.random(rows.size) - 0.5)
    flat = which == len(own) - 1
    draws = _Draws(flat, spread, share, ability)
    n, k = cells.n_samples, cells.n_correct
    precise = k * (1.0 - k / np.maximum(n, 1.0)) > rates.SHARP
    member = law._member()
    usual, logit = _drawn(cells, found.marginals, draws, member * ~precise, rng)
    if precise.any():
        p = rng.beta(k[precise] + 0.5, (n - k)[precise] + 0.5, (n_draws, int(precise.sum())))
        logit[:, precise] = np.log(p) - np.log1p(-p)
    bank_weight = float(weight.reshape(shape)[:-1].sum())
    alpha = rates.BETA_SPREADS[np.minimum(spread, rates.BETA_SPREADS.size - 1)]
    logit_mean = np.where(flat[:, None], ability[:, None], cells.curves.logit(ability[:, None]))
    tail_index = alpha * np.median(expit(logit_mean), axis=1)
    return SubjectRates(
        cells,
        usual,
        precise,
        logit,
        subject,
        np.where(flat, np.nan, ability),
        rates.SHARES[share],
        np.where(spread < rates.BETA_SPREADS.size, np.where(share > 0, np.inf, tail_index), np.inf),
        bank_weight,
        law.most_samples if bank_weight > BELIEVED else float(n.sum()),
    )


def _drawn(
    cells: Cells, marginals: Marginals, draws: _Draws, member: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.float32]]:
    """Posterior density of rates added over the items of every benchmark, and draws of every item's rate.

    Parameters
    ----------
    member : (n_benchmarks, n_items) float64
        How often an item counts.

    Returns
    -------
    usual : (n_benchmarks, n_logits)
    logit : (n_draws, n_items)
    """
    n_draws, n_items = draws.ability.size, cells.n_samples.size
    usual = np.zeros((member.shape[0], rates.LOGITS.size))
    logit = np.empty((n_draws, n_items), np.float32)
    flat = cells.flat()
    log_likelihood = rates.logit_likelihood(cells.n_samples, cells.n_correct)
    for index in range(n_draws):
        spread, ability = int(draws.spread[index]), float(draws.ability[index])
        share = float(rates.SHARES[draws.share[index]])
        own = flat if draws.flat[index] else rates.drawn_curves(cells, marginals, spread, share, ability, rng)
        weight = rates.weights(own, log_likelihood, spread, ability)
        never = np.zeros(n_items)
        if share > 0:
            never = rates.never_solved(own, marginals, spread, share, ability)
        usual += (member * (1.0 - never)) @ weight
        place = (weight.cumsum(axis=1) < rng.random((n_items, 1))).sum(axis=1)
        within = rates.STEP * (rng.random(n_items) - 0.5)
        logit[index] = rates.LOGITS[np.minimum(place, rates.LOGITS.size - 1)] + within
        logit[index, rng.random(n_items) < never] = -np.inf
    return usual / n_draws, logit


def _systematic(weight: Array, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """N draws from a discrete distribution, evenly spaced in its cumulative sum."""
    at = (np.arange(n) + rng.random()) / n
    drawn = np.searchsorted(weight.cumsum() / weight.sum(), at)
    return np.asarray(rng.permutation(np.minimum(drawn, weight.size - 1)), dtype=np.intp)


def _whole_numbers(k: ArrayLike) -> Array:
    values = np.atleast_1d(np.asarray(k, dtype=np.float64))
    bad = (values < 1) | (values != np.round(values))
    if values.ndim != 1 or bad.any():
        raise OptionError(
            f"k must be whole numbers of at least 1; found {values[bad][0] if bad.any() else values.shape}"
        )
    return values
