"""Simulations with known rates: the published case, and coverage of the intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

import irsl
from irsl.laws.pass_at_k import plug_in

Array = NDArray[np.float64]

N_ITEMS, N_KNOWN, N_NEW, SAMPLES, NEW_SAMPLES = 30, 8, 4, 2560, 50
SMALLEST = 0.005


@dataclass(frozen=True)
class Design:
    """Rates of one subject or of several on common items.

    Attributes
    ----------
    name : str
    rates : {"logit-normal", "beta", "logit-t", "items"}
        items: difficulties N(2.5, 1.5), discriminations of log sd .3, and a scatter of sd 1 about the curves.
    share : float
        Of items with rate 0.
    n_subjects, n_items, n_samples : int
    """

    name: str
    rates: str
    share: float
    n_subjects: int = 1
    n_items: int = 100
    n_samples: int = 50


DESIGNS = tuple(
    Design(
        f"{rates}{f', {100 * share:.0f} % never solved' if share else ''}, {n_items} items", rates, share, 1, n_items
    )
    for rates in ("logit-normal", "beta", "logit-t", "two humps")
    for share in (0.0, 0.3)
    for n_items in (100, 30)
) + tuple(
    Design(f"20 subjects{f', {100 * share:.0f} % never solved' if share else ''}, 60 items", "items", share, 20, 60)
    for share in (0.0, 0.2)
)


def exact(p: Array, k: Array) -> Array:
    """(K,) pass@k of items with known rates (n_items,)."""
    return np.asarray(-np.expm1(np.log1p(-p)[:, None] * k).mean(axis=0))


def published(replication: int) -> list[dict[str, float]]:
    """The published simulated case: eight subjects with 2,560 samples, four new ones with 50."""
    rng = np.random.default_rng(replication)
    difficulty, ability = rng.normal(1.0, 2.0, N_ITEMS), rng.normal(0.0, 0.7, N_KNOWN + N_NEW)
    p = expit(ability[:, None] - difficulty)
    counts = rng.binomial(SAMPLES, p[:N_KNOWN]).astype(float)
    new = rng.binomial(NEW_SAMPLES, p[N_KNOWN:]).astype(float)
    law = irsl.sampling_law(irsl.Responses.from_matrix(counts, n_samples=np.full(counts.shape, float(SAMPLES))))
    placed = law.place(irsl.Responses.from_matrix(new, n_samples=np.full(new.shape, float(NEW_SAMPLES))))
    linear, logarithmic = (np.unique(np.round(f(1, SAMPLES, 64))) for f in (np.linspace, np.geomspace))
    result = []
    for i, name in enumerate(placed.subjects["subject"]):
        own, k = p[N_KNOWN + i], new[i]

        def minus_log_likelihood(theta: float, k: Array = k) -> float:
            return float(
                -(k * np.log(expit(theta - difficulty))).sum() - ((50 - k) * np.log(expit(difficulty - theta))).sum()
            )

        theta = minimize_scalar(minus_log_likelihood, bounds=(-6, 6), method="bounded").x
        row: dict[str, float] = {}
        for grid, at in (("linear", linear), ("logarithmic", logarithmic)):
            for which, items in (("", np.ones(N_ITEMS, bool)), (", filtered", own >= SMALLEST)):
                if not items.any():
                    continue
                truth = exact(own[items], at)
                curve = placed.curve(at)
                curve = curve.filter(curve["subject"] == name)
                fail = np.log1p(-expit(placed.laws[i].logit[:, items].astype(float)))
                ours = (1 - np.exp(fail[:, :, None] * at)).mean(axis=(0, 1))
                estimates = {
                    "irsl": ours if which else curve["pass_at_k"].to_numpy(),
                    "plug-in": plug_in(float(NEW_SAMPLES), k[items][:, None], at).mean(axis=0),
                    "items known": exact(expit(theta - difficulty[items]), at),
                }
                for method, value in estimates.items():
                    row[f"{method}, {grid}{which}"] = float(np.abs(value - truth).mean())
                if not which:
                    low, high = curve["pass_at_k_lower"].to_numpy(), curve["pass_at_k_upper"].to_numpy()
                    row[f"coverage, {grid}"] = float(((low <= truth) & (truth <= high)).mean())
        result.append(row)
    return result


def coverage(design: Design, replication: int) -> dict[str, Any]:
    """Fit the law to one draw; the error and coverage of pass@k from 1 to 40 times the samples of an item."""
    rng = np.random.default_rng([replication, *map(ord, design.name)])
    shape = (design.n_subjects, design.n_items)
    if design.rates == "items":
        a, b = rng.lognormal(0.0, 0.3, design.n_items), rng.normal(2.5, 1.5, design.n_items)
        p = expit(a * (rng.normal(size=(design.n_subjects, 1)) - b) + rng.normal(size=shape))
    elif design.rates == "beta":
        p = rng.beta(0.3, 3.0, shape)
    elif design.rates == "two humps":
        p = expit(np.where(rng.random(shape) < 0.5, -5.0, 0.0) + rng.normal(size=shape))
    else:
        p = expit(
            -3.0 + (2.0 * rng.normal(size=shape) if design.rates == "logit-normal" else 1.5 * rng.standard_t(3, shape))
        )
    p[rng.random(shape) < design.share] = 0.0
    counts = rng.binomial(design.n_samples, p).astype(float)
    kept = counts.sum(axis=1) > 0
    n = np.full(counts.shape, float(design.n_samples))
    law = irsl.sampling_law(irsl.Responses.from_matrix(counts, n_samples=n))
    k = np.array([1, 10, 50, 100, 500, 1000, 2000])
    truth = np.array([exact(own, k) for own in p])
    curve = law.curve(k)
    value, low, high = (
        curve[name].fill_null(np.nan).to_numpy().reshape(truth.shape)
        for name in ("pass_at_k", "pass_at_k_lower", "pass_at_k_upper")
    )
    crude = np.array([plug_in(float(design.n_samples), own[:, None], k).mean(axis=0) for own in counts])
    return {
        "k": k.tolist(),
        "inside": ((low <= truth) & (truth <= high))[kept].mean(axis=0).tolist(),
        "error": np.abs(value - truth)[kept].mean(axis=0).tolist(),
        "bias": (value - truth)[kept].mean(axis=0).tolist(),
        "plug-in": np.abs(crude - truth)[kept].mean(axis=0).tolist(),
        "width": (high - low)[kept].mean(axis=0).tolist(),
    }
