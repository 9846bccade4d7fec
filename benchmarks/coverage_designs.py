"""Designs of the coverage study: what is drawn, what of it is seen, and what one replication measures.

Every replication draws subjects and items anew, moves the truth to the anchored scale (mean ability 0, sd 1) and
compares it with `irsl.calibrate` on the responses.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import digamma, expit, logit, polygamma
from scipy.stats import norm

import irsl
from irsl.errors import DataError, OptionError
from irsl.likelihoods import BetaBinomial, Binomial, Likelihood, LogitNormalBinomial

Array = NDArray[np.float64]

Z90 = float(norm.ppf(0.95))
MEAN_DIFFICULTY = 0.2
SD_LOG_A = 0.3
N_SAMPLES = 50
BETA_PRECISION = 10.0
FAMILY_SIZE = 10
# the mean of logistic(N(x, v)) is nearly logistic(x / sqrt(1 + PROBIT^2 v)), off by at most .011:
# Zeger, Liang and Albert (1988)
PROBIT = 16.0 * np.sqrt(3.0) / (15.0 * np.pi)
FAMILY_SD = 0.7  # of what a family's members have in common on one item, in logits
ROUTING_ITEMS = 10
# Probabilities are stored in float32, so that logits above 16.6 are cut; at the difficulties' usual spread of 1.2 this
# happens to 3 cells in 1,000, enough to bias a thousand subjects' items, hence a smaller spread for them.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
LARGEST_PROBABILITY = float(np.nextafter(np.float32(1.0), np.float32(0.0)))
DIFFICULTY_SD = {"binary": 1.2, "counts": 1.5, "probability": 0.6}
CLIPPED_AT = 1e-6
KNOWN_ABILITIES_UP_TO = 42  # subjects, for the fit that is told the abilities
THIRDS = ("easy", "middle", "hard")


@dataclass(frozen=True)
class Design:
    """What is drawn and how it is calibrated.

    Attributes
    ----------
    name, group : str
    n_subjects, n_items : int
    kind : {"binary", "counts", "probability"}
    model : {"1pl", "2pl"}
        Of the truth and of the calibration.
    seen : {"all", "70 %", "two blocks", "three blocks", "routed"}
    abilities : {"normal", "bimodal", "skewed"}
    difficulty_sd : float
    independent : {"difficulty", "intercept"}
        Which of b and d = -a b is drawn independently of a.
    likelihood : Likelihood
        Of counts.
    clipped : bool
        Probabilities are moved 1e-6 away from 0 and 1, as published studies do.
    families : bool
        Subjects are near-duplicates in families of ten.
    options : dict
        What `irsl.calibrate` is told beside the model.
    """

    name: str
    group: str
    n_subjects: int
    n_items: int
    kind: str = "binary"
    model: str = "2pl"
    seen: str = "all"
    abilities: str = "normal"
    difficulty_sd: float = 1.2
    independent: str = "difficulty"
    likelihood: Likelihood = field(default_factory=Binomial)
    clipped: bool = False
    families: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draw:
    """Abilities and items on the anchored scale, the responses (NaN: not seen) and where the scale was drawn."""

    theta: Array
    a: Array
    b: Array
    responses: Array
    mean: float
    sd: float


def designs() -> list[Design]:
    """All designs, in the order of the report."""
    result = []
    for n_subjects, n_items in ((12, 120), (42, 1000), (1000, 40), (1000, 5000)):
        for kind in ("binary", "counts", "probability"):
            for model in ("1pl", "2pl") if (n_subjects, kind) == (12, "binary") else ("2pl",):
                for seen in ("all", "70 %"):
                    name = f"{n_subjects} x {n_items} {kind} {model}, {seen} seen"
                    sd = DIFFICULTY_SD[kind]
                    result.append(Design(name, "sizes", n_subjects, n_items, kind, model, seen, difficulty_sd=sd))
    for seen in ("all", "70 %"):
        name = f"42 x 1000 binary 2pl, intercepts independent, {seen} seen"
        result.append(Design(name, "sizes", 42, 1000, seen=seen, independent="intercept"))
    for clipped in (False, True):
        name = "1000 x 40 probability 2pl, difficulties of sd 1.2" + (", clipped at 1e-6" if clipped else "")
        result.append(Design(name, "probabilities", 1000, 40, "probability", clipped=clipped))
    for seen in ("two blocks", "three blocks"):
        for n_subjects, n_items in ((1000, 40), (42, 1000), (12, 120)):
            for model in ("1pl", "2pl"):
                name = f"{n_subjects} x {n_items} {model}, {seen}"
                result.append(Design(name, "blocks", n_subjects, n_items, model=model, seen=seen))
        for model in ("1pl", "2pl"):  # what the groups that calibrate finds are for
            name = f"1000 x 40 {model}, {seen}, population normal"
            options = {"population": "normal"}
            result.append(Design(name, "blocks", 1000, 40, model=model, seen=seen, options=options))
    result += [
        Design(f"1000 x 40 {model}, routed by responses", "blocks", 1000, 40, model=model, seen="routed")
        for model in ("1pl", "2pl")
    ]
    for abilities in ("bimodal", "skewed"):
        for options in ({}, {"population": "estimated"}):
            name = f"1000 x 40, {abilities} abilities" + (", population estimated" if options else "")
            result.append(Design(name, "abilities", 1000, 40, abilities=abilities, options=options))
    for kind, own in (("beta-binomial", BetaBinomial(0.05)), ("logit-normal", LogitNormalBinomial(1.0))):
        for n_subjects, n_items in ((42, 300), (12, 120)):
            name, sd = f"{n_subjects} x {n_items}, {kind} counts", DIFFICULTY_SD["counts"]
            result.append(Design(name, "counts", n_subjects, n_items, "counts", likelihood=own, difficulty_sd=sd))
    for model in ("1pl", "2pl"):
        result.append(Design(f"12 x 60 counts {model}, difficulties of sd 1.2", "counts", 12, 60, "counts", model))
    for options in ({}, {"cluster": "family"}):
        name = "200 x 100, families of ten" + (", cluster='family'" if options else "")
        result.append(Design(name, "families", 200, 100, families=True, options=options))
    return result


def replicate(design: Design, replication: int) -> dict[str, float] | str:
    """Draw, calibrate and score once.

    Returns
    -------
    dict or str
        Means over the items or subjects of one draw, by "parameter: statistic"; or what the library says where it
        refuses the data or does not know an option.
    """
    stream = design.name.partition(",")[0] if design.options else design.name
    rng = np.random.default_rng((zlib.crc32(stream.encode()), replication))
    draw = draw_responses(design, rng)
    try:
        calibration = irsl.calibrate(_responses(design, draw.responses), model=design.model, **design.options)
    except (DataError, OptionError, TypeError) as error:
        if isinstance(error, TypeError) and not design.options:
            raise
        return str(error)
    items = calibration.bank.items.sort(pl.col("item").str.strip_prefix("item-").cast(pl.Int64))
    abilities = calibration.abilities.sort(pl.col("subject").str.strip_prefix("subject-").cast(pl.Int64))
    place = _third(draw.b)
    log_a_error = np.log(_column(items, "discrimination")) - np.log(draw.a)
    se_log_a = _column(items, "se_discrimination") / _column(items, "discrimination")
    if design.model == "1pl":  # one slope, said of every item
        log_a_error, se_log_a = log_a_error[:1], se_log_a[:1]
    result = {
        **_scores("difficulty", _column(items, "difficulty") - draw.b, _column(items, "se_difficulty"), place),
        **_scores("log discrimination", log_a_error, se_log_a, place[: log_a_error.size]),
        **_scores(
            "ability",
            _column(abilities, "ability") - draw.theta,
            _column(abilities, "se_ability"),
            _third(draw.theta),
        ),
        "converged": float(calibration.converged),
    }
    if design.n_subjects <= KNOWN_ABILITIES_UP_TO and design.independent == "difficulty":
        b, se = difficulty_with_abilities_known(design, draw)
        result |= _scores("difficulty, abilities known", b - draw.b, se, place)
    return result


def draw_responses(design: Design, rng: np.random.Generator) -> Draw:
    """One draw of subjects, items, responses and of what is seen."""
    theta = _draw_abilities(design, rng)
    b = rng.normal(MEAN_DIFFICULTY, design.difficulty_sd, design.n_items)
    a = rng.lognormal(0.0, SD_LOG_A, design.n_items) if design.model == "2pl" else np.ones(design.n_items)
    if design.independent == "intercept":
        b = b / a
    eta = a * (theta[:, None] - b)
    if design.families:
        n_families = design.n_subjects // FAMILY_SIZE
        eta += np.repeat(rng.normal(0.0, FAMILY_SD, (n_families, design.n_items)), FAMILY_SIZE, axis=0)
        a = a / np.sqrt(1.0 + (PROBIT * FAMILY_SD) ** 2)  # of the curve averaged over families
    responses = _draw_answers(design, eta, rng)
    responses[~_seen(design, theta, b, responses, rng)] = np.nan
    mean, sd = float(theta.mean()), float(theta.std())
    return Draw((theta - mean) / sd, a * sd, (b - mean) / sd, responses, mean, sd)


def difficulty_with_abilities_known(design: Design, draw: Draw, n_steps: int = 40) -> tuple[Array, Array]:
    """Difficulties that maximise each item's posterior under the true abilities and the true prior, and their se.

    What is left of bias here is shrinkage towards the prior, which no calibration of so few subjects avoids.
    """
    seen = np.isfinite(draw.responses)
    y = np.where(seen, draw.responses, 0.5)
    n = seen * (float(N_SAMPLES) if design.kind == "counts" else 1.0)
    prior_mean = np.array([np.log(draw.sd), (MEAN_DIFFICULTY - draw.mean) / draw.sd])
    prior_precision = np.array([SD_LOG_A**-2, (design.difficulty_sd / draw.sd) ** -2])
    x = np.tile(prior_mean, (design.n_items, 1))
    for _ in range(n_steps):
        a = np.exp(x[:, 0])
        eta = a * (draw.theta[:, None] - x[:, 1])
        if design.kind == "probability":
            p = expit(eta)
            scale = BETA_PRECISION * p * (1.0 - p)
            shapes = BETA_PRECISION * p, BETA_PRECISION * (1.0 - p)
            residual = seen * scale * (logit(y) - digamma(shapes[0]) + digamma(shapes[1]))
            curvature = seen * scale**2 * (polygamma(1, shapes[0]) + polygamma(1, shapes[1]))
        else:
            k = np.where(seen, y, 0.0)
            residual = design.likelihood.score(k, n, eta, 0.0)
            curvature = design.likelihood.information(n, eta, 0.0)
        slopes = np.stack([eta, np.broadcast_to(-a, eta.shape)], axis=2)
        score = np.einsum("ij,ijk->jk", residual, slopes) - prior_precision * (x - prior_mean)
        information = np.einsum("ij,ijk,ijl->jkl", curvature, slopes, slopes) + np.diag(prior_precision)
        if design.model == "1pl":
            score[:, 0], information[:, 0, 1], information[:, 1, 0] = 0.0, 0.0, 0.0
        x += np.clip(np.linalg.solve(information, score[:, :, None])[:, :, 0], -0.5, 0.5)
    return x[:, 1], np.sqrt(np.linalg.inv(information)[:, 1, 1])


def _draw_abilities(design: Design, rng: np.random.Generator) -> Array:
    if design.abilities == "bimodal":
        return rng.choice([-0.9, 0.9], design.n_subjects) + rng.normal(0.0, np.sqrt(1 - 0.9**2), design.n_subjects)
    if design.abilities == "skewed":
        return (rng.gamma(2.0, size=design.n_subjects) - 2.0) / np.sqrt(2.0)
    return rng.normal(size=design.n_subjects)


def _draw_answers(design: Design, eta: Array, rng: np.random.Generator) -> Array:
    p = expit(eta)
    if design.kind == "binary":
        return rng.binomial(1, p).astype(np.float64)
    if design.kind == "probability":
        y = rng.beta(BETA_PRECISION * p, BETA_PRECISION * (1.0 - p))
        low, high = (CLIPPED_AT, 1.0 - CLIPPED_AT) if design.clipped else (SMALLEST_PROBABILITY, LARGEST_PROBABILITY)
        return np.clip(y, low, high)
    return design.likelihood.sample(eta, 0.0, trials=N_SAMPLES, rng=rng)


def _seen(design: Design, theta: Array, b: Array, responses: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
    place = np.argsort(np.argsort(b)) / b.size  # of an item among all by difficulty, in [0, 1)
    if design.seen == "70 %":
        return rng.random(responses.shape) < 0.7
    if design.seen == "two blocks":
        return (theta >= np.median(theta))[:, None] | (place < 0.5)
    if design.seen == "three blocks":  # quarters 1 and 2, 2 and 3, 3 and 4
        group = _third(theta)[:, None]
        quarter = np.floor(4 * place)
        return (quarter >= group) & (quarter <= group + 1)
    if design.seen == "routed":
        routing = np.arange(b.size) < ROUTING_ITEMS
        score = responses[:, routing].sum(axis=1)
        hard = b > np.median(b[~routing])
        return routing | (hard == (score > np.median(score))[:, None])
    return np.ones(responses.shape, dtype=bool)


def _responses(design: Design, y: Array) -> irsl.Responses:
    n_samples = N_SAMPLES if design.kind == "counts" else None
    subjects = None
    if design.families:
        names = [f"subject-{i}" for i in range(design.n_subjects)]
        families = [f"family-{i // FAMILY_SIZE}" for i in range(design.n_subjects)]
        subjects = pl.DataFrame({"subject": names, "family": families})
    return irsl.Responses.from_matrix(y, subjects=subjects, n_samples=n_samples, kind=design.kind)


def _column(frame: pl.DataFrame, name: str) -> Array:
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _third(values: Array) -> NDArray[np.intp]:
    return 3 * np.argsort(np.argsort(values)) // values.size


def _scores(parameter: str, error: Array, se: Array, place: NDArray[np.intp]) -> dict[str, float]:
    """Means over one draw; of those with a standard error, where one is needed."""
    stated = np.isfinite(se) & (se > 0)
    inside = np.abs(error) < Z90 * se
    result = {
        "bias": error.mean(),
        "square": (error**2).mean(),
        "se": se[stated].mean() if stated.any() else np.nan,
        "inside": inside[stated].mean() if stated.any() else np.nan,
        "without interval": 1.0 - stated.mean(),
    }
    for third, name in enumerate(THIRDS if error.size >= len(THIRDS) else ()):
        here = place == third
        result[f"bias {name}"] = error[here].mean()
        result[f"inside {name}"] = inside[here & stated].mean() if (here & stated).any() else np.nan
    return {f"{parameter}: {name}": float(value) for name, value in result.items()}
