"""How far estimates are from the truth, and how far they have to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from speed.cases import PRECISION, Case, Truth

Array = NDArray[np.float64]
BLOCK_ROWS = 64


def judge(estimates: Path, truth: Truth, *, theoretical_error: float | None = None, **_: object) -> dict[str, Any]:
    """Errors of difficulty and of ability: as they are, standardised, and the slope on the truth.

    Standardised means that estimate and truth are both moved to mean 0 and standard deviation 1, for programs whose
    scale is another one. Estimates that are not finite are counted and left out. With the theoretical error,
    `n_abilities` is the number of abilities that differ by a tenth of it.
    """
    with np.load(estimates) as found:
        arrays = {name: found[name] for name in found.files}
    ability = arrays["ability"]
    facts = {"ability_not_finite": int((~np.isfinite(ability)).sum())}
    ability = arrays.get("ability_instead", ability)
    if theoretical_error is not None:
        tenths = _standardised(ability[np.isfinite(ability)]) / (theoretical_error / 10.0)
        facts["n_abilities"] = int(np.unique(tenths.round()).size)
    facts |= {f"ability_{name}": value for name, value in _errors(ability, truth.ability).items()}
    facts |= {f"difficulty_{name}": value for name, value in _errors(arrays["difficulty"], truth.difficulty).items()}
    facts["difficulty_not_finite"] = int((~np.isfinite(arrays["difficulty"])).sum())
    return facts


def _errors(estimate: Array, truth: Array) -> dict[str, float | None]:
    kept = np.isfinite(estimate)
    estimate, truth = estimate[kept], truth[kept]
    if kept.sum() < 3 or estimate.std() == 0.0:
        return {"rmse": None, "rmse_standardised": None, "slope": None}
    return {
        "rmse": _root_mean_square(estimate - truth),
        "rmse_standardised": _root_mean_square(_standardised(estimate) - _standardised(truth)),
        "slope": float(np.polyfit(truth, estimate, 1)[0]),
    }


def _root_mean_square(x: Array) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _standardised(x: Array) -> Array:
    return np.asarray((x - x.mean()) / x.std())


def theoretical_error(case: Case, truth: Truth) -> float:
    """Mean over subjects of 1 / sqrt(information about the true ability), the items known.

    Source: Birnbaum (1968) for answers; Ferrari and Cribari-Neto (2004), section 3, for the Beta likelihood.
    """
    errors = []
    for start in range(0, case.n_subjects, BLOCK_ROWS):
        ability = truth.ability[start : start + BLOCK_ROWS, None]
        p = 1.0 / (1.0 + np.exp(-truth.discrimination * (ability - truth.difficulty)))
        weight = p * (1.0 - p)
        if case.likelihood == "beta":
            curvature = polygamma(1, PRECISION * p) + polygamma(1, PRECISION * (1.0 - p))
            weight = (PRECISION * weight) ** 2 * curvature
        errors.append(1.0 / np.sqrt((1.0 - case.missing) * (truth.discrimination**2 * weight).sum(axis=1)))
    return float(np.concatenate(errors).mean())


def distinct_scores(path: Path) -> int:
    """Distinct sums of a table's rows, at most so many abilities can a Rasch model tell apart."""
    return int(np.unique(np.nansum(np.load(path, mmap_mode="r"), axis=1, dtype=np.float64)).size)
