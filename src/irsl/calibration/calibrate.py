"""Items from responses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from irsl._version import __version__
from irsl.calibration import engine
from irsl.calibration.bank import COLUMNS, ItemBank, Scale
from irsl.calibration.item_prior import initial_prior, no_prior
from irsl.calibration.m_step import INTERCEPT_LIMIT, LOG_A_RANGE, Items
from irsl.calibration.misfit import misfit_variance
from irsl.calibration.parameters import ItemParameters
from irsl.calibration.propagation import item_error_variance
from irsl.calibration.uncertainty import item_covariances
from irsl.errors import DataError, OptionError
from irsl.likelihoods import Beta, Binomial, Likelihood, SufficientStatistics
from irsl.likelihoods.base import Array, dense

if TYPE_CHECKING:
    from irsl.responses import Responses
    from irsl.responses.matrix import ResponseMatrix

MODELS = ("1pl", "2pl", "3pl")
LIKELIHOODS = ("auto", "bernoulli", "binomial", "beta")
SCALES = ("benchmark", "joint")
ITEM_PRIORS = ("empirical", "none")
LIKELIHOOD_OF_KIND = {"binary": "bernoulli", "counts": "binomial", "probability": "beta"}
INITIAL_PRECISION = 5.0
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
        One row per scale: scale, benchmarks, n_subjects, n_items, likelihood, precision, overdispersion,
        log_likelihood (marginal, without prior, nats), n_iterations, converged, message.
    """

    bank: ItemBank
    abilities: pl.DataFrame
    fits: pl.DataFrame

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
    resolution: float | None = None,
    tolerance: float = 1e-4,
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
    likelihood : {"auto", "bernoulli", "binomial", "beta"}
        auto: bernoulli for binary outcomes, binomial for counts, beta for probabilities.
    scale : {"benchmark", "joint"}
        One ability per benchmark, or one for all.
    item_prior : {"empirical", "none"}
        Normal prior on log a and on the intercept -a b with mean and spread estimated, or maximum likelihood.
    resolution : float, optional
        Smallest step between two probabilities; exact 0 and 1 are then moved half a step inside, and counted in
        `fits`' message. Without it they are an error under the Beta likelihood.
    tolerance : float
        Largest change of a parameter in one iteration, in its standard errors, at which the fit stops.
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
        Several outcomes or conditions of a benchmark (the choices are named), aggregates, fewer than two subjects.
    OptionError
        An unknown model, likelihood, scale or item_prior; the supported ones are named.

    Source: Bock and Aitkin (1981) for marginal maximum likelihood; docs/mathematics.md for everything else.
    """
    for name, value, supported in (
        ("model", model, MODELS),
        ("likelihood", likelihood, LIKELIHOODS),
        ("scale", scale, SCALES),
        ("item_prior", item_prior, ITEM_PRIORS),
    ):
        if value not in supported:
            raise OptionError(f"{name} {value!r} is not supported; choose one of {list(supported)}")
    benchmarks = responses.outcomes["benchmark"].unique(maintain_order=True).to_list()
    groups = [("joint", benchmarks)] if scale == "joint" else [(b, [b]) for b in benchmarks]
    settings = engine.Settings(tolerance, max_iterations)
    results = []
    for name, members in groups:
        report = None if progress is None else _named(progress, name)
        matrix = responses.to_matrix(benchmark=members)
        outcome = "+".join(
            responses.outcomes.filter(pl.col("benchmark").is_in(members))["outcome"].unique(maintain_order=True)
        )
        results.append(
            _calibrate_scale(
                name,
                tuple(members),
                matrix,
                outcome_name=outcome,
                model=model,
                likelihood=likelihood,
                item_prior=item_prior,
                resolution=resolution,
                settings=settings,
                progress=report,
            )
        )
    return Calibration(
        ItemBank(pl.concat([r.items for r in results]), tuple(r.scale for r in results), __version__),
        pl.concat([r.abilities for r in results]),
        pl.concat([r.fit for r in results]),
    )


@dataclass(frozen=True)
class _ScaleResult:
    items: pl.DataFrame
    scale: Scale
    abilities: pl.DataFrame
    fit: pl.DataFrame


def _calibrate_scale(
    name: str,
    benchmarks: tuple[str, ...],
    matrix: ResponseMatrix,
    *,
    outcome_name: str,
    model: str,
    likelihood: str,
    item_prior: str,
    resolution: float | None,
    settings: engine.Settings,
    progress: engine.Progress | None,
) -> _ScaleResult:
    notes = []
    n_answers = _row_counts(matrix)
    if (n_answers == 0).any():
        notes.append(f"{int((n_answers == 0).sum())} subjects without a response on this scale left out")
        matrix = matrix.select_subjects(np.flatnonzero(n_answers > 0))
    if matrix.n_subjects < 2:
        raise DataError(f"scale {name!r}: calibration needs at least two subjects; found {matrix.n_subjects}")
    chosen = _likelihood(name, matrix.kind, likelihood)
    if model == "3pl" and chosen.precision is not None:
        raise OptionError("model '3pl' has a floor for right answers; probabilities have none: use '1pl' or '2pl'")
    statistics = chosen.sufficient_statistics(matrix, resolution=resolution)
    guessing = matrix.chance.copy() if model == "3pl" else np.zeros(matrix.n_items)
    common_slope = model == "1pl"
    prior = no_prior() if item_prior == "none" else initial_prior(common_slope=common_slope)
    observed = matrix.responses()
    items = _initial_items(observed, guessing, chosen)
    outcome = engine.fit(statistics, items, prior, common_slope=common_slope, settings=settings, progress=progress)
    if resolution is not None and matrix.kind == "probability":
        squeezed = int(np.nansum((observed < resolution / 2) | (observed > 1 - resolution / 2)))
        notes.append(f"{squeezed} probabilities moved inside by half the resolution {resolution:g}")
    grid, step = engine.resolve(statistics, outcome.items)
    covariance = item_covariances(
        statistics, outcome.items, outcome.prior, grid, step.statistics, common_slope=common_slope
    )
    trials = matrix.trials if isinstance(matrix.trials, int) else _median_trials(matrix)
    scale = Scale(
        scale=name,
        benchmarks=benchmarks,
        model=model,
        outcome=outcome_name,
        likelihood=LIKELIHOOD_OF_KIND[matrix.kind] if likelihood == "auto" else likelihood,
        precision=outcome.items.likelihood.precision,
        trials=trials,
        n_subjects=matrix.n_subjects,
        subjects_hash=_digest("\n".join(map(str, matrix.subjects)).encode()),
        data_hash=_data_hash(statistics),
        misfit_variance=misfit_variance(statistics, observed, outcome.items, grid),
    )
    return _ScaleResult(
        _item_frame(name, matrix, observed, outcome.items, outcome.ability, covariance),
        scale,
        pl.DataFrame(
            {
                "subject": [str(s) for s in matrix.subjects],
                "scale": [name] * matrix.n_subjects,
                "ability": outcome.ability,
                "se_ability": _with_item_errors(outcome, covariance, matrix),
            }
        ),
        pl.DataFrame(
            {
                "scale": [name],
                "benchmarks": [list(benchmarks)],
                "n_subjects": [matrix.n_subjects],
                "n_items": [matrix.n_items],
                "likelihood": [scale.likelihood],
                "precision": [scale.precision],
                "overdispersion": [None],
                "log_likelihood": [outcome.log_likelihood],
                "n_iterations": [outcome.n_iterations],
                "converged": [outcome.converged],
                "message": ["; ".join([outcome.message, *notes])],
            },
            schema_overrides={"precision": pl.Float64, "overdispersion": pl.Float64},
        ),
    )


def _named(progress: Progress, scale: str) -> engine.Progress:
    return lambda n_passes, objective: progress(scale, n_passes, objective)


def _likelihood(name: str, kind: str, likelihood: str) -> Likelihood:
    wanted = LIKELIHOOD_OF_KIND[kind] if likelihood == "auto" else likelihood
    fits = {"binary": ("bernoulli", "binomial"), "counts": ("binomial",), "probability": ("beta",)}[kind]
    if wanted not in fits:
        raise DataError(
            f"scale {name!r} holds {kind} responses, for which the likelihood is one of {list(fits)}; found {wanted!r}"
        )
    return Beta(INITIAL_PRECISION) if wanted == "beta" else Binomial(wanted)


def _initial_items(observed: Array, guessing: Array, likelihood: Likelihood) -> Items:
    """Intercepts from the items' means, slopes of 1."""
    seen = np.isfinite(observed)
    n = seen.sum(axis=0)
    mean = (np.where(seen, observed, 0.0).sum(axis=0) + 0.5) / (n + 1.0)
    above = np.clip((mean - guessing) / (1.0 - guessing), 0.02, 0.98)
    log_a = np.zeros(mean.size)
    return Items(log_a, 1.2 * np.log(above / (1.0 - above)), guessing, likelihood)


def _row_counts(matrix: ResponseMatrix) -> Array:
    if isinstance(matrix.trials, int):
        return np.full(matrix.n_subjects, matrix.n_items)
    return np.asarray((matrix.trials > 0).sum(axis=1)).ravel()


def _median_trials(matrix: ResponseMatrix) -> int:
    trials = matrix.trials
    cells = trials[trials > 0] if isinstance(trials, np.ndarray) else trials.data
    return int(np.median(cells))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _data_hash(statistics: SufficientStatistics) -> str:
    digest = hashlib.sha256()
    for _, values, trials in engine.blocks(statistics):
        for part in (values, trials):
            digest.update(np.ascontiguousarray(dense(part), dtype=np.float32).tobytes())
    return digest.hexdigest()


def _with_item_errors(outcome: engine.Outcome, covariance: Array, matrix: ResponseMatrix) -> Array:
    """Posterior sd of ability with the items' own errors added by the delta method."""
    items = outcome.items
    parameters = ItemParameters(
        items.difficulty, np.exp(items.log_a), items.guessing, np.where(np.isfinite(covariance), covariance, 0.0)
    )
    added = item_error_variance(parameters, items.likelihood, outcome.ability, outcome.se_ability, matrix.trials)
    return np.sqrt(outcome.se_ability**2 + added)


def _item_frame(
    name: str, matrix: ResponseMatrix, observed: Array, items: Items, ability: Array, covariance: Array
) -> pl.DataFrame:
    a = np.exp(items.log_a)
    seen = np.isfinite(observed)
    n = seen.sum(axis=0)
    total = np.where(seen, observed, 0.0).sum(axis=0)
    mean = np.divide(total, n, out=np.full(n.size, np.nan), where=n > 0)
    centred, place = np.where(seen, observed - mean, 0.0), ability - ability.mean()
    chance_sd = np.sqrt((centred**2).sum(axis=0) * (place**2).mean())
    falling = centred.T @ place < -FALLING_Z * chance_sd
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
    flags = [[flag for flag, holds in conditions.items() if holds[j]] for j in range(n.size)]
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
            "n_subjects": n,
            "flags": flags,
        },
        schema=COLUMNS,
    )
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))
