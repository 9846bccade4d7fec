"""Where a calibration does not fit its own data, beside simulated data that it fits by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import irsl
from validation.cells import Array, Cells
from validation.curves import curves_of

FIT_RANGE = (0.7, 1.3)
NEAR_DUPLICATE, MIN_COMMON = 0.5, 110  # correlation of two subjects' residuals, and over how many items at least


def residual_table(calibration: irsl.Calibration, cells: Cells) -> tuple[Array, Array]:
    """Squared residuals over their variance, and the variance: (n_subjects, n_items), NaN where there is no cell."""
    curves = curves_of(calibration, cells)
    s, i = cells.subject, cells.item
    p = curves.expected(curves.eta(curves.ability, s, i), i)
    variance = curves.each(i, lambda own, at: own.response_variance(p[at], cells.trials[at]))
    return cells.dense((cells.response - p) / np.sqrt(variance)), cells.dense(variance)


def simulate(calibration: irsl.Calibration, cells: Cells, rng: np.random.Generator) -> Cells:
    """Responses of the fitted model in the same cells, abilities drawn from their posteriors."""
    curves = curves_of(calibration, cells)
    s, i = cells.subject, cells.item
    drawn = np.full(curves.ability.shape, np.nan)
    for b in range(len(cells.benchmarks)):
        columns = cells.benchmark == b
        first = int(np.argmax(columns))
        joint = calibration.fits.height == 1 and b > 0
        theta = (
            drawn[:, 0] if joint else rng.normal(curves.ability[:, first], np.nan_to_num(curves.se_ability[:, first]))
        )
        drawn[:, columns] = theta[:, None]
    eta, floor, n = curves.eta(drawn, s, i), curves.guessing[i], cells.trials.astype(np.int64)
    y = curves.each(i, lambda own, at: own.sample(eta[at], floor[at], trials=n[at], rng=rng))
    return cells.answering(y / cells.trials)


def fit_statistics(calibration: irsl.Calibration, cells: Cells) -> dict[str, Any]:
    z, variance = residual_table(calibration, cells)
    seen = np.isfinite(z)
    n = seen.sum(axis=0)
    outfit = np.nansum(z**2, axis=0) / np.maximum(n, 1)
    infit = np.nansum(z**2 * variance, axis=0) / np.maximum(np.nansum(variance, axis=0), 1e-300)
    z = np.where(seen, z, 0.0)
    first = []
    for scale in calibration.fits["scale"]:
        inside = np.ones(n.size, bool) if scale == "joint" else cells.benchmark == cells.benchmarks.index(scale)
        squared = np.linalg.svd(z[:, inside], compute_uv=False) ** 2
        first.append(float(squared[0] / squared.sum()))
    return {
        "infit_outside": outside(infit),
        "outfit_outside": outside(outfit),
        "falling": float(calibration.bank.items["flags"].list.contains("falls_with_ability").mean()),
        "first_eigenvalue": first,
        **neighbours(z, seen, cells.family),
    }


def outside(values: Array) -> float:
    return float(((values < FIT_RANGE[0]) | (values > FIT_RANGE[1])).mean())


def neighbours(z: Array, seen: NDArray[np.bool_], family: list[str | None]) -> dict[str, float]:
    """Correlations of subjects' residuals over their common items: within families, between, and near-duplicates."""
    z, m = z.astype(np.float32), seen.astype(np.float32)
    norms = (z**2) @ m.T
    r = (z @ z.T) / np.sqrt(np.maximum(norms * norms.T, 1e-12))
    together = (m @ m.T) >= MIN_COMMON
    np.fill_diagonal(together, False)
    upper = np.triu(together, 1)
    closest = np.where(together, r, -1.0).max(axis=1)
    code = {name: k for k, name in enumerate(sorted({f for f in family if f}))}
    group = np.array([code.get(f, -1) if f else -1 for f in family])
    known = (group[:, None] >= 0) & (group[None, :] >= 0) & upper
    same = group[:, None] == group[None, :]
    return {
        "within_family": float(r[known & same].mean()) if (known & same).any() else None,
        "between_families": float(r[known & ~same].mean()) if (known & ~same).any() else None,
        "pairs_within": int((known & same).sum()),
        "near_duplicates": float((closest > NEAR_DUPLICATE).mean()),
    }


def fit_report(cells: Cells, rng: np.random.Generator) -> dict[str, Any]:
    reports = {}
    for scale in ["benchmark"] + ["joint"] * (len(cells.benchmarks) > 1):
        calibration = cells.calibrate(model="2pl", scale=scale)
        fits = calibration.fits
        found = fit_statistics(calibration, cells)
        drawn = []
        for _ in range(cells.plan.bootstraps):
            simulated = simulate(calibration, cells, rng)
            drawn.append(fit_statistics(simulated.calibrate(model="2pl", scale=scale), simulated))
        expected = {
            key: float(np.mean([d[key] for d in drawn]))
            for key, value in found.items()
            if isinstance(value, float) and key != "pairs_within"
        }
        eigenvalues = np.array([d["first_eigenvalue"] for d in drawn])
        ratio = np.array(found["first_eigenvalue"]) / eigenvalues.mean(axis=0)
        flags = calibration.bank.items["flags"]
        reports[scale] = {
            "found": found,
            "expected": expected,
            "eigenvalue": float(np.median(found["first_eigenvalue"])),
            "eigenvalue_expected": float(np.median(eigenvalues.mean(axis=0))),
            "eigenvalue_ratio": [float(ratio.min()), float(np.median(ratio)), float(ratio.max())],
            "beyond_bootstrap": int((np.array(found["first_eigenvalue"]) > eigenvalues.max(axis=0)).sum()),
            "n_scales": fits.height,
            "n_bootstraps": cells.plan.bootstraps,
            "flags": {f: float(flags.list.contains(f).mean()) for f in sorted(set(flags.explode().drop_nulls()))},
            "flagged": float((flags.list.len() > 0).mean()),
            "likelihood": sorted(set(fits["likelihood"])),
            "overdispersion": mean_of(fits["overdispersion"]),
            "logit_sd": mean_of(fits["logit_sd"]),
            "precision": mean_of(fits["precision"]),
            "converged": int(fits["converged"].sum()),
            **reliability(calibration, cells),
        }
    return reports


def mean_of(values: pl.Series) -> float | None:
    values = values.cast(pl.Float64).drop_nulls()
    return float(values.mean()) if values.len() else None  # type: ignore[arg-type]


def reliability(calibration: irsl.Calibration, cells: Cells) -> dict[str, Any]:
    """Marginal, per scale: variance of abilities over that plus their mean squared error; odd-even, per benchmark.

    Also, per benchmark, how abilities correlate with observed means: what the ability is an ability of.
    """
    marginal = (
        calibration.abilities.group_by("scale", maintain_order=True)
        .agg(v=pl.col("ability").var(ddof=0), e=(pl.col("se_ability") ** 2).mean())
        .select(pl.col("v") / (pl.col("v") + pl.col("e")))["v"]
    )
    y, halves = cells.dense(cells.response), []
    for b in range(len(cells.benchmarks)):
        part = y[:, cells.benchmark == b]
        part = part[np.isfinite(part).mean(axis=1) > 0.9]
        r = np.corrcoef(np.nanmean(part[:, ::2], axis=1), np.nanmean(part[:, 1::2], axis=1))[0, 1]
        halves.append(2.0 * r / (1.0 + r))
    observed = pl.DataFrame(
        [
            (s, b, float(np.nanmean(y[i, cells.benchmark == k])))
            for i, s in enumerate(cells.subjects)
            for k, b in enumerate(cells.benchmarks)
            if np.isfinite(y[i, cells.benchmark == k]).mean() > 0.9
        ],
        schema=["subject", "benchmark", "mean"],
        orient="row",
    )
    placed = calibration.fits.select("scale", benchmark="benchmarks").explode("benchmark")
    pairs = observed.join(placed, on="benchmark").join(calibration.abilities, on=["subject", "scale"])
    agreement = pairs.group_by("benchmark").agg(r=pl.corr("ability", "mean", method="spearman"))["r"]
    return {
        "agreement": [float(agreement.min()), float(agreement.median()), float(agreement.max())],
        "reliability": [float(marginal.min()), float(marginal.median()), float(marginal.max())],
        "split_half": [float(np.min(halves)), float(np.median(halves)), float(np.max(halves))],
    }
