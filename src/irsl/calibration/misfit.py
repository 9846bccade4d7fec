"""What subjects do beyond their item-response curves, estimated by predicting halves of the items from the others.

A subject's ability from one half of a benchmark predicts its mean response on the other half. The squared error in
excess of what the abilities' posterior and the responses' own noise explain is misfit: skills that the one dimension
does not hold. It falls with the number of items on both sides, so one number per scale is kept, sigma^2 with
excess = sigma^2 (1 / n_observed + 1 / n_predicted). docs/mathematics.md, section 5.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.engine import blocks, log_likelihood_at
from irsl.calibration.m_step import Items
from irsl.calibration.quadrature import AbilityGrid
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array, dense

N_SPLITS = 6
MIN_ITEMS = 8


def misfit_variance(
    statistics: SufficientStatistics, responses: Array, items: Items, grid: AbilityGrid, *, seed: int = 0
) -> float:
    """Estimate sigma^2 per item in squared response units; 0 when the curves explain all, or with too few items.

    Parameters
    ----------
    statistics : SufficientStatistics
    responses : (n_subjects, n_items) float64
        Observed responses in 0..1 (the proportion, for counts), NaN where missing.
    items : Items
    grid : AbilityGrid
    seed : int
        Of the random halves.
    """
    n_items = items.n_items
    if n_items < MIN_ITEMS:
        return 0.0
    rng = np.random.default_rng(seed)
    estimates, weights = [], []
    for _ in range(N_SPLITS):
        first = np.zeros(n_items, bool)
        first[rng.permutation(n_items)[: n_items // 2]] = True
        for source in (first, ~first):
            excess, scale = _excess(statistics, responses, items, grid, source)
            estimates.append(excess)
            weights.append(scale)
    total = float(np.sum(weights))
    return max(0.0, float(np.sum(estimates)) / total) if total > 0 else 0.0


def _excess(
    statistics: SufficientStatistics,
    responses: Array,
    items: Items,
    grid: AbilityGrid,
    source: NDArray[np.bool_],
) -> tuple[float, float]:
    """Sum over subjects of squared error minus its expectation, and of 1 / n_source + 1 / n_target."""
    natural, base = items.natural_and_base(grid.nodes.points)
    natural, base = natural * source[:, None], base * source[:, None]
    curves = items.likelihood.response_mean(items.eta(grid.nodes.points), items.guessing[:, None])
    error = scale = 0.0
    for rows, block, n in blocks(statistics, 256):
        expectation = grid.posterior(log_likelihood_at(block, n, natural, base)).expectation
        y = responses[rows]
        seen = np.isfinite(y)
        target = seen & ~source
        n_target, n_source = target.sum(axis=1), (seen & source).sum(axis=1)
        usable = (n_target > 0) & (n_source > 0)
        if not usable.any():
            continue
        y, target, expectation = np.where(seen, y, 0.0)[usable], target[usable], expectation[usable]
        n_target, n_source = n_target[usable], n_source[usable]
        mean_curve = (target @ curves) / n_target[:, None]  # (n_subjects, R): each subject's own test curve
        predicted = (expectation * mean_curve).sum(axis=1)
        spread = np.maximum((expectation * mean_curve**2).sum(axis=1) - predicted**2, 0.0)
        trials = n if isinstance(n, int) else np.maximum(dense(n)[usable], 1.0)
        noise = (items.likelihood.response_variance(expectation @ curves.T, trials) * target).sum(axis=1)
        residual = (y * target).sum(axis=1) / n_target - predicted
        error += float((residual**2 - spread - noise / n_target**2).sum())
        scale += float((1.0 / n_source + 1.0 / n_target).sum())
    return error, scale
