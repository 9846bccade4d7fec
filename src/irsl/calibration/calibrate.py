"""Items from responses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from irsl._version import __version__
from irsl.calibration import engine
from irsl.calibration.bank import COLUMNS, ItemBank, Scale, names_hash
from irsl.calibration.clusters import MIN_CLUSTERS, design_effects
from irsl.calibration.item_prior import initial_prior, no_prior
from irsl.calibration.m_step import INTERCEPT_LIMIT, LOG_A_RANGE, Items
from irsl.calibration.misfit import misfit_variance, responses_of
from irsl.calibration.overdispersion import overdispersion_score
from irsl.calibration.patterns import Patterns, find_patterns
from irsl.calibration.population import EstimatedPopulation, NormalPopulation, Population
from irsl.calibration.uncertainty import Uncertainty, uncertainty
from irsl.errors import DataError, OptionError
from irsl.likelihoods import Beta, BetaBinomial, Binomial, Likelihood, LogitNormalBinomial, SufficientStatistics
from irsl.likelihoods.base import Array
from irsl.likelihoods.beta import reaches_ends
from irsl.likelihoods.statistics import dense
from irsl.threads import ours_alone, over_ranges

if TYPE_CHECKING:
    from irsl.responses import Responses
    from irsl.responses.matrix import ResponseMatrix

MODELS = ("1pl", "2pl", "3pl")
LIKELIHOODS = ("auto", "bernoulli", "binomial", "beta_binomial", "logit_normal_binomial", "beta")
POPULATIONS = ("auto", "normal", "estimated")
SCALES = ("benchmark", "joint")
ITEM_PRIORS = ("empirical", "none")
COUNT_LIKELIHOODS = ("binomial", "beta_binomial", "logit_normal_binomial")
LIKELIHOOD_OF_KIND = {"binary": "bernoulli", "counts": "binomial", "probability": "beta"}
INITIAL_PRECISION = 5.0
DEFAULT_RESOLUTION = 0.01  # docs/continuous.md
HASHED_CELLS = 2_000_000
RESOLUTION_CELLS = 3_000_000  # above, the influence of the resolution is not worked out
FLAG_PARTS, FLAG_CELLS = 8, 1_000_000  # of subjects added up by a thread, and of cells held at once
FALLING_Z = 3.0  # a covariance with ability that chance makes once in 700 items without discrimination

Progress = Callable[[str, int, float], None]


@dataclass(frozen=True)
class Calibration:
    """Items, the abilities of the calibration subjects, and how the fits went.

    Attributes
    ----------
    bank : ItemBank
    abilities : polars.DataFrame
        subject, scale, ability (posterior mean), se_ability (posterior sd and the items' own errors).
    fits : polars.DataFrame
        One row per scale: scale, benchmarks, n_subjects, n_effective_subjects (fewer where `cluster` found them alike),
        n_items, likelihood, precision, overdispersion, logit_sd (parameters of the likelihood), log_likelihood
        (marginal, without prior, nats), n_iterations, converged, message.
    population_errors : polars.DataFrame
        item, scale, intercept (d = -a b), and the standard errors of the population's scale, on which ability is
        N(0, 1) and everybody's common error counts: se_intercept, se_difficulty, se_discrimination. The bank's are
        relative to the calibration subjects.
    """

    bank: ItemBank
    abilities: pl.DataFrame
    fits: pl.DataFrame
    population_errors: pl.DataFrame

    def _only(self, column: str) -> Any:
        if self.fits.height != 1:
            raise OptionError(f"{column} is of one fit; this calibration has {self.fits.height}: see calibration.fits")
        return self.fits[column][0]

    @property
    def precision(self) -> float | None:
        """Return phi of the only fit; None without a Beta likelihood."""
        value = self._only("precision")
        return None if value is None else float(value)

    @property
    def log_likelihood(self) -> float:
        """Marginal log-likelihood of the only fit, without prior, in nats."""
        return float(self._only("log_likelihood"))

    @property
    def n_iterations(self) -> int:
        """Passes over the data of the only fit."""
        return int(self._only("n_iterations"))

    @property
    def converged(self) -> bool:
        """Whether the only fit converged."""
        return bool(self._only("converged"))

    def __repr__(self) -> str:
        done = int(self.fits["converged"].sum())
        return (
            f"Calibration of {len(self.bank)} items on {self.fits.height} scale(s), "
            f"{self.abilities['subject'].n_unique()} subjects, {done} of {self.fits.height} converged"
        )


def calibrate(
    responses: Responses,
    *,
    model: str = "2pl",
    likelihood: str = "auto",
    scale: str = "benchmark",
    item_prior: str = "empirical",
    population: str = "auto",
    cluster: str | None = None,
    resolution: float | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 500,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate items: difficulty, discrimination, their errors, and the abilities of the subjects.

    Parameters
    ----------
    responses : Responses
        One outcome per benchmark; `responses.select(outcome=...)` chooses among several.
    model : {"2pl", "1pl", "3pl"}
        1pl: one common discrimination; 2pl: one per item; 3pl: one per item over a floor fixed at the item's chance.
    likelihood : {"auto", "bernoulli", "binomial", "beta_binomial", "logit_normal_binomial", "beta"}
        auto: bernoulli for binary outcomes, beta for probabilities; for counts the binomial or, where they vary more
        than it allows, the likelier of the beta-binomial and the logit-normal binomial (no floors). The test's outcome
        is in `fits`' message.
    scale : {"benchmark", "joint"}
        One ability per benchmark, or one for all.
    item_prior : {"empirical", "none"}
        empirical: normal priors on log a and on d / a^k, d = -a b, with means, spreads and k estimated (k = 0:
        intercepts d are independent of discriminations, k = 1: difficulties b are); on the common log a of a 1PL
        N(0, 1), which only tables that say next to nothing of it notice. none: maximum likelihood.
    population : {"auto", "normal", "estimated"}
        Distribution of the calibration subjects' abilities. normal: one normal distribution; auto: one for each group
        of subjects who were given the same items, where such groups exist and responses did not decide them; estimated:
        a density of any shape, for subjects that form clusters.
    cluster : str, optional
        Column of `responses.subjects` (family, run, ...) whose values mark subjects that resemble each other; standard
        errors of items grow by the design effect.
    resolution : float, optional
        Smallest step between two probabilities that is believed: values within half of it of 0 or 1 enter by the
        probability of lying there. Default: .01 where some are exactly 0 or 1, else all values are exact. `fits`'
        message says how many are affected, and how far half the resolution would move the difficulties.
    tolerance : float
        Distance of the parameters from the maximum, in their standard errors, at which the fit stops.
    max_iterations : int
        Passes over the data per scale.
    progress : callable, optional
        Called as progress(scale, n_passes, objective).

    Returns
    -------
    Calibration
        Also where a fit did not converge: `fits` says so, with the last iterate kept.

    Raises
    ------
    DataError
        Several outcomes or conditions of a benchmark (the choices are named), aggregates, fewer than two subjects or
        three clusters, a likelihood for another kind of response.
    OptionError
        An unknown model, likelihood, scale, item_prior or population, or a column to cluster by that is not there or
        has no value; the supported ones are named.

    Source: Bock and Aitkin (1981) for marginal maximum likelihood; docs/mathematics.md for everything else.
    """
    for name, value, supported in (
        ("model", model, MODELS),
        ("likelihood", likelihood, LIKELIHOODS),
        ("scale", scale, SCALES),
        ("item_prior", item_prior, ITEM_PRIORS),
        ("population", population, POPULATIONS),
    ):
        if value not in supported:
            raise OptionError(f"{name} {value!r} is not supported; choose one of {list(supported)}")
    if cluster is not None and cluster not in responses.subjects.columns:
        raise OptionError(
            f"the subjects have no column {cluster!r} to cluster by; they have {responses.subjects.columns}"
        )
    benchmarks = responses.outcomes["benchmark"].unique(maintain_order=True).to_list()
    groups = [("joint", benchmarks)] if scale == "joint" else [(b, [b]) for b in benchmarks]
    options = _Options(
        model, likelihood, item_prior, population, resolution, engine.Settings(tolerance, max_iterations)
    )
    results = []
    for name, members in groups:
        report = None if progress is None else _named(progress, name)
        matrix = responses.to_matrix(benchmark=members)
        outcome = "+".join(
            responses.outcomes.filter(pl.col("benchmark").is_in(members))["outcome"].unique(maintain_order=True)
        )
        codes = None if cluster is None else _cluster_codes(responses.subjects, cluster)
        with ours_alone():
            results.append(_calibrate_scale(name, tuple(members), matrix, outcome, options, codes, report))
    return Calibration(
        ItemBank(pl.concat([r.items for r in results]), tuple(r.scale for r in results), __version__),
        pl.concat([r.abilities for r in results]),
        pl.concat([r.fit for r in results]),
        pl.concat([r.population_errors for r in results]),
    )


@dataclass(frozen=True)
class _Options:
    model: str
    likelihood: str
    item_prior: str
    population: str
    resolution: float | None
    settings: engine.Settings


@dataclass(frozen=True)
class _ScaleResult:
    items: pl.DataFrame
    scale: Scale
    abilities: pl.DataFrame
    fit: pl.DataFrame
    population_errors: pl.DataFrame


def _calibrate_scale(
    name: str,
    benchmarks: tuple[str, ...],
    matrix: ResponseMatrix,
    outcome_name: str,
    options: _Options,
    clusters: dict[str, int] | None,
    progress: engine.Progress | None,
) -> _ScaleResult:
    notes = []
    n_answers = _row_counts(matrix)
    if (n_answers == 0).any():
        notes.append(f"{int((n_answers == 0).sum())} subjects without a response on this scale left out")
        matrix = matrix.select_subjects(np.flatnonzero(n_answers > 0))
    if matrix.n_subjects < 2:
        raise DataError(f"scale {name!r}: calibration needs at least two subjects; found {matrix.n_subjects}")
    chosen = _likelihood(name, matrix, options)
    if options.model == "3pl" and options.likelihood == "logit_normal_binomial":
        raise OptionError("the likelihood 'logit_normal_binomial' takes no floors: use model '1pl' or '2pl'")
    if options.model == "3pl" and matrix.kind == "probability":
        raise OptionError("model '3pl' has a floor for right answers; probabilities have none: use '1pl' or '2pl'")
    common_slope = options.model == "1pl"
    patterns = find_patterns(matrix.values, matrix.trials)
    outcome, statistics, overdispersion = _fit(matrix, chosen, patterns, options, progress)
    notes += [note for note in (outcome.population.message, overdispersion) if note]
    if isinstance(outcome.items.likelihood, Beta) and outcome.items.likelihood.resolution is not None:
        notes.append(_resolution_note(matrix, statistics, outcome, options))
    codes = None if clusters is None else np.unique([clusters[str(s)] for s in matrix.subjects], return_inverse=True)[1]
    effect = None
    if codes is not None:
        n_clusters = int(codes.max()) + 1
        if n_clusters < MIN_CLUSTERS:
            raise DataError(f"scale {name!r}: clustering needs at least {MIN_CLUSTERS} clusters; found {n_clusters}")
        effect = design_effects(statistics, outcome, codes)
        notes.append(f"{n_clusters} clusters: variances of items {effect[1]:.2f} times those of independent subjects")
    errors = uncertainty(statistics, outcome, common_slope=common_slope, design_effect=effect)
    fitted = outcome.items.likelihood
    scale = Scale(
        scale=name,
        benchmarks=benchmarks,
        model=options.model,
        outcome=outcome_name,
        likelihood=fitted.name,
        precision=fitted.precision if isinstance(fitted, Beta) else None,
        trials=matrix.trials if isinstance(matrix.trials, int) else _median_trials(matrix),
        n_subjects=matrix.n_subjects,
        subjects_hash=names_hash(matrix.subjects),
        data_hash=_data_hash(matrix),
        misfit_variance=misfit_variance(statistics, outcome),
        overdispersion=fitted.overdispersion if isinstance(fitted, BetaBinomial) else None,
        logit_sd=fitted.logit_sd if isinstance(fitted, LogitNormalBinomial) else None,
        resolution=fitted.resolution if isinstance(fitted, Beta) else None,
    )
    anchored = _of_difficulty(errors.anchored, outcome.items)
    return _ScaleResult(
        _item_frame(name, matrix, statistics, outcome, anchored),
        scale,
        pl.DataFrame(
            {
                "subject": [str(s) for s in matrix.subjects],
                "scale": [name] * matrix.n_subjects,
                "ability": outcome.step.ability,
                "se_ability": errors.se_ability,
            }
        ),
        pl.DataFrame(
            {
                "scale": [name],
                "benchmarks": [list(benchmarks)],
                "n_subjects": [matrix.n_subjects],
                "n_effective_subjects": [None if effect is None else matrix.n_subjects / float(effect[1])],
                "n_items": [matrix.n_items],
                "likelihood": [scale.likelihood],
                "precision": [scale.precision],
                "overdispersion": [scale.overdispersion],
                "logit_sd": [scale.logit_sd],
                "log_likelihood": [outcome.log_likelihood],
                "n_iterations": [outcome.n_iterations],
                "converged": [outcome.converged],
                "message": ["; ".join([outcome.message, *notes])],
            },
            schema_overrides=dict.fromkeys(
                ("n_effective_subjects", "precision", "overdispersion", "logit_sd"), pl.Float64
            ),
        ),
        _population_frame(name, matrix, outcome.items, errors),
    )


def _fit(
    matrix: ResponseMatrix,
    likelihood: Likelihood,
    patterns: Patterns,
    options: _Options,
    progress: engine.Progress | None,
) -> tuple[engine.Outcome, SufficientStatistics, str]:
    """Fit the likelihood; for counts also ask whether they vary more than a binomial, and say what came of it."""
    common_slope = options.model == "1pl"
    population: Population = EstimatedPopulation.normal()
    if options.population != "estimated":
        population = NormalPopulation.of(patterns.group if options.population == "auto" else 0 * patterns.group)
    prior = no_prior(matrix.n_items)
    if options.item_prior == "empirical":
        prior = initial_prior(patterns.block, common_slope=common_slope)
    guessing = matrix.chance.copy() if options.model == "3pl" else np.zeros(matrix.n_items)

    def fit(chosen: Likelihood, start: engine.Outcome | None) -> tuple[engine.Outcome, SufficientStatistics]:
        statistics = chosen.sufficient_statistics(matrix)
        if start is None:
            items, first, people = _initial_items(matrix, guessing, chosen), prior, population
        else:
            items, first, people = replace(start.items, likelihood=chosen), start.prior, start.population
        outcome = engine.fit(
            statistics, items, first, people, common_slope=common_slope, settings=options.settings, progress=progress
        )
        return outcome, statistics

    several = matrix.kind == "counts" and (not isinstance(matrix.trials, int) or matrix.trials > 1)
    if not several or (options.likelihood == "binomial"):
        return (*fit(likelihood, None), "")
    plain, statistics = fit(Binomial("binomial"), None)
    n_parameters = matrix.n_subjects + matrix.n_items + (1 if common_slope else matrix.n_items)
    evidence = overdispersion_score(statistics, plain, n_parameters=n_parameters)
    if options.likelihood == "auto" and not evidence.found:
        return plain, statistics, evidence.message
    wanted: list[Likelihood] = [BetaBinomial(evidence.start), LogitNormalBinomial().at(evidence.logit_sd)]
    if options.likelihood != "auto":
        wanted = [own for own in wanted if own.name == options.likelihood]
    elif guessing.any():
        wanted = wanted[:1]
    wider = [fit(own, plain) for own in wanted]
    evidence = replace(
        evidence, gains={w[0].items.likelihood.name: w[0].log_likelihood - plain.log_likelihood for w in wider}
    )
    if options.likelihood == "auto" and not evidence.significant:
        return plain, statistics, evidence.message
    best = max(wider, key=lambda one: one[0].log_likelihood)
    return (*best, evidence.message)


def _named(progress: Progress, scale: str) -> engine.Progress:
    return lambda n_passes, objective: progress(scale, n_passes, objective)


def _likelihood(name: str, matrix: ResponseMatrix, options: _Options) -> Likelihood:
    kind = matrix.kind
    wanted = LIKELIHOOD_OF_KIND[kind] if options.likelihood == "auto" else options.likelihood
    fits = {"binary": ("bernoulli", "binomial"), "counts": COUNT_LIKELIHOODS, "probability": ("beta",)}[kind]
    if wanted not in fits:
        raise DataError(
            f"scale {name!r} holds {kind} responses, for which the likelihood is one of {list(fits)}; found {wanted!r}"
        )
    if wanted == "beta":
        resolution = options.resolution
        if resolution is None and reaches_ends(matrix):
            resolution = DEFAULT_RESOLUTION
        return Beta(INITIAL_PRECISION, resolution)
    return Binomial(wanted)


def _cluster_codes(subjects: pl.DataFrame, cluster: str) -> dict[str, int]:
    """Number of every subject's cluster; a subject whose value is missing is a cluster of its own."""
    if subjects[cluster].null_count() == subjects.height:
        raise OptionError(f"no subject has a value of {cluster!r} to cluster by")
    codes: dict[Any, int] = {}
    result = {}
    for i, (subject, value) in enumerate(subjects.select("subject", cluster).iter_rows()):
        key = ("alone", i) if value is None else ("cluster", value)
        result[str(subject)] = codes.setdefault(key, len(codes))
    return result


def _initial_items(matrix: ResponseMatrix, guessing: Array, likelihood: Likelihood) -> Items:
    """Intercepts from the items' means, slopes of 1."""
    n = _column_counts(matrix)
    mean = (np.nan_to_num(matrix.item_means()) * n + 0.5) / (n + 1.0)
    above = np.clip((mean - guessing) / (1.0 - guessing), 0.02, 0.98)
    log_a = np.zeros(mean.size)
    return Items(log_a, 1.2 * np.log(above / (1.0 - above)), guessing, likelihood)


def _column_counts(matrix: ResponseMatrix) -> Array:
    """(n_items,) number of subjects who answered."""
    if isinstance(matrix.trials, int):
        return np.full(matrix.n_items, float(matrix.n_subjects))
    total = np.zeros(matrix.n_items)
    for _, _, trials in matrix.blocks(max(1, 4_000_000 // matrix.n_items)):
        total += np.asarray((trials > 0).sum(axis=0)).ravel()
    return total


def _resolution_note(
    matrix: ResponseMatrix, statistics: SufficientStatistics, outcome: engine.Outcome, options: _Options
) -> str:
    """How many values are censored, and how far half the resolution would move the difficulties."""
    likelihood = outcome.items.likelihood
    assert isinstance(likelihood, Beta)
    assert likelihood.resolution is not None
    n_ends = sum(int(np.isinf(statistics.cells(rows)[0]).sum()) for rows in statistics.blocks())
    note = (
        f"{n_ends:,} of {matrix.observed:,} probabilities within {likelihood.resolution / 2:g} of 0 or 1 enter by the "
        f"probability of lying there (resolution {likelihood.resolution:g})"
    )
    if n_ends == 0 or statistics.shape[0] * statistics.shape[1] > RESOLUTION_CELLS:
        return note
    finer = replace(likelihood, resolution=likelihood.resolution / 2)
    other = engine.fit(
        finer.sufficient_statistics(matrix),
        replace(outcome.items, likelihood=finer),
        outcome.prior,
        outcome.population,
        common_slope=options.model == "1pl",
        settings=engine.Settings(0.05, 30),
    )
    moved = float(np.median(np.abs(other.items.difficulty - outcome.items.difficulty)))
    return (
        f"{note}; at {finer.resolution:g} the difficulties would move by {moved:.3f} (median), and the precision from "
        f"{likelihood.precision:.3g} to {other.items.likelihood.parameter:.3g}"
    )


def _row_counts(matrix: ResponseMatrix) -> Array:
    if isinstance(matrix.trials, int):
        return np.full(matrix.n_subjects, matrix.n_items)
    return np.asarray((matrix.trials > 0).sum(axis=1)).ravel()


def _median_trials(matrix: ResponseMatrix) -> int:
    if matrix.kind != "counts":
        return 1
    trials = matrix.trials
    cells = trials[trials > 0] if isinstance(trials, np.ndarray) else trials.data
    return int(np.median(cells))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _data_hash(matrix: ResponseMatrix) -> str:
    """SHA-256 over the responses and their trials, block by block, the same however they are stored."""
    stored_as = np.uint8 if matrix.kind == "binary" else np.float32
    rows = max(1, HASHED_CELLS // matrix.n_items)

    def digest(part: slice) -> bytes:
        own = hashlib.sha256()
        for cells in (matrix.values, matrix.trials):
            if not isinstance(cells, int):
                own.update(np.ascontiguousarray(dense(cells[part], stored_as)).data)
        return own.digest()

    return _digest(b"".join(over_ranges(digest, matrix.n_subjects, rows)))


def _of_difficulty(covariance: Array, items: Items) -> Array:
    """Covariance of (log a, b) from that of (log a, d), with b = -d / a: db = -b d log a - d d / a."""
    jacobian = np.zeros((items.n_items, 2, 2))
    jacobian[:, 0, 0] = 1.0
    jacobian[:, 1, 0] = -items.difficulty
    jacobian[:, 1, 1] = -np.exp(-items.log_a)
    return np.asarray(jacobian @ covariance @ jacobian.transpose(0, 2, 1))


def _population_frame(name: str, matrix: ResponseMatrix, items: Items, errors: Uncertainty) -> pl.DataFrame:
    of_difficulty = _of_difficulty(errors.population, items)
    return pl.DataFrame(
        {
            "item": [str(i) for i in matrix.items],
            "scale": [name] * items.n_items,
            "intercept": items.intercept,
            "se_intercept": np.sqrt(errors.population[:, 1, 1]),
            "se_difficulty": np.sqrt(of_difficulty[:, 1, 1]),
            "se_discrimination": np.exp(items.log_a) * np.sqrt(errors.population[:, 0, 0]),
        }
    ).with_columns(pl.col(pl.Float64).fill_nan(None))


def _means_and_falling(statistics: SufficientStatistics, ability: Array) -> tuple[Array, Array, Any]:
    """Who answered and their mean response, NaN without any, and whether responses fall with ability beyond chance."""
    n_items = statistics.shape[1]
    place = ability - ability.mean()

    def add(part: slice) -> Array:
        totals = np.zeros((5, n_items))
        for rows in statistics.blocks(max(1, FLAG_CELLS // n_items), within=part):
            y, seen, _ = responses_of(statistics, rows, np.float32)
            who = np.stack([np.ones(y.shape[0]), place[rows]]).astype(np.float32)
            n = who.sum(axis=1)[:, None] if seen is None else who @ seen.astype(np.float32)
            totals[[0, 4]] += n
            totals[[1, 3]] += who @ y
            totals[2] += np.einsum("ij,ij->j", y, y)
        return totals

    size = -(-statistics.shape[0] // FLAG_PARTS)
    count, total, square, covariance, centre = np.sum(over_ranges(add, statistics.shape[0], size), axis=0)
    mean: Array = np.divide(total, count, out=np.full(n_items, np.nan), where=count > 0)
    known = np.nan_to_num(mean)
    spread = np.maximum(square - count * known**2, 0.0)
    falling = covariance - known * centre < -FALLING_Z * np.sqrt(spread * (place**2).mean())
    return count, mean, falling


def _item_frame(
    name: str, matrix: ResponseMatrix, statistics: SufficientStatistics, outcome: engine.Outcome, covariance: Array
) -> pl.DataFrame:
    items = outcome.items
    a = np.exp(items.log_a)
    n, mean, falling = _means_and_falling(statistics, outcome.step.ability)
    conditions = {
        "no_response": n == 0,
        "nobody_solved": (n > 0) & (mean <= 0.0),
        "everybody_solved": (n > 0) & (mean >= 1.0),
        "falls_with_ability": falling,
        "no_standard_error": ~np.isfinite(covariance).all(axis=(1, 2)),
        "at_limit": (np.abs(items.intercept) >= INTERCEPT_LIMIT)
        | (items.log_a <= LOG_A_RANGE[0])
        | (items.log_a >= LOG_A_RANGE[1]),
    }
    named = [pl.when(pl.col(flag)).then(pl.lit(flag)) for flag in conditions]
    flags = pl.DataFrame(conditions).select(pl.concat_list(named).list.drop_nulls().alias("flags"))["flags"]
    frame = pl.DataFrame(
        {
            "item": [str(i) for i in matrix.items],
            "benchmark": [str(b) for b in matrix.benchmarks],
            "scale": [name] * a.size,
            "difficulty": items.difficulty,
            "discrimination": a,
            "guessing": items.guessing,
            "chance": matrix.chance,
            "se_difficulty": np.sqrt(covariance[:, 1, 1]),
            "se_discrimination": a * np.sqrt(covariance[:, 0, 0]),
            "covariance": covariance[:, 0, 1],
            "mean_response": mean,
            "n_subjects": n.astype(np.int64),
            "flags": flags,
        },
        schema=COLUMNS,
    )
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))
