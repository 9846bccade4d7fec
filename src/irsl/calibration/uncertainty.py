"""Standard errors of items: observed information of the marginal likelihood, by Louis's identity.

Information of the complete data minus the variance, under each subject's posterior, of an item's score (Louis, 1982):
so the abilities' uncertainty is in it. Items' blocks are taken one by one; what they share is the place of the scale,
which the anchor of the bank removes (docs/mathematics.md, section 4).
"""

from __future__ import annotations

import numpy as np

from irsl.calibration.engine import blocks, log_likelihood_at
from irsl.calibration.item_prior import ItemPrior
from irsl.calibration.m_step import ExpectedStatistics, Items, information
from irsl.calibration.quadrature import AbilityGrid
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array, dense

BLOCK_ROWS = 256


def item_covariances(
    statistics: SufficientStatistics,
    items: Items,
    prior: ItemPrior,
    grid: AbilityGrid,
    expected: ExpectedStatistics,
    *,
    common_slope: bool,
) -> Array:
    """Covariance of (log a, b) of every item, (n_items, 2, 2); NaN where the responses carry no information.

    With a common slope every item carries the variance of the one log a, and b's own variance given it plus what the
    slope adds.
    """
    _, complete = information(items, expected, grid.nodes)
    observed = complete - _score_variance(statistics, items, grid)
    observed[:, [0, 1], [0, 1]] += prior.precision
    if common_slope:
        return _of_difficulty(_common_slope_covariance(observed), items)
    det = observed[:, 0, 0] * observed[:, 1, 1] - observed[:, 0, 1] ** 2
    good = (det > 0) & (observed[:, 0, 0] > 0)
    covariance = np.full_like(observed, np.nan)
    covariance[good] = np.linalg.inv(observed[good])
    return _of_difficulty(covariance, items)


def _of_difficulty(covariance: Array, items: Items) -> Array:
    """Covariance of (log a, b) from that of (log a, d), with b = -d / a: db = -b d log a - d d / a."""
    n = items.n_items
    jacobian = np.zeros((n, 2, 2))
    jacobian[:, 0, 0] = 1.0
    jacobian[:, 1, 0] = -items.difficulty
    jacobian[:, 1, 1] = -np.exp(-items.log_a)
    return np.asarray(jacobian @ covariance @ jacobian.transpose(0, 2, 1))


def _score_variance(statistics: SufficientStatistics, items: Items, grid: AbilityGrid) -> Array:
    """Sum over subjects of the posterior covariance of the complete-data score of (log a, d), (n_items, 2, 2)."""
    points = grid.nodes.points
    natural, base = items.natural_and_base(points)
    d_natural, mean, _ = items.likelihood.slopes(items.eta(points), items.guessing[:, None])
    a = np.exp(items.log_a)
    directions = (a[:, None] * points[None, :], np.ones_like(mean))
    n_items = items.n_items
    # E[s s'] needs T^2, T n and n^2 against the posterior; E[s] E[s]' needs each cell's expected score
    squares = [np.zeros((n_items, points.size)) for _ in range(3)]
    outer = np.zeros((n_items, 2, 2))
    for _, block, n in blocks(statistics, BLOCK_ROWS):
        log_likelihood = log_likelihood_at(block, n, natural, base)
        expectation = grid.posterior(log_likelihood).expectation
        t = dense(block)
        trials = np.full(t.shape, float(n)) if isinstance(n, int) else dense(n)
        for total, product in zip(squares, (t * t, t * trials, trials * trials), strict=True):
            total += product.T @ expectation
        scores = [
            t * (expectation @ (d * d_natural).T) - trials * (expectation @ (d * d_natural * mean).T)
            for d in directions
        ]
        for i in range(2):
            for j in range(2):
                outer[:, i, j] += (scores[i] * scores[j]).sum(axis=0)
    squared = d_natural**2 * (squares[0] - 2.0 * mean * squares[1] + mean**2 * squares[2])
    second = np.empty((n_items, 2, 2))
    for i in range(2):
        for j in range(2):
            second[:, i, j] = (squared * directions[i] * directions[j]).sum(axis=1)
    return second - outer


def _common_slope_covariance(observed: Array) -> Array:
    d = observed[:, 1, 1]
    good = d > 0
    ratio = np.where(good, observed[:, 0, 1] / np.where(good, d, 1.0), 0.0)
    schur = observed[:, 0, 0].sum() - (ratio * observed[:, 0, 1]).sum()
    covariance = np.full_like(observed, np.nan)
    variance = 1.0 / schur if schur > 0 else np.nan
    covariance[good, 0, 0] = variance
    covariance[good, 0, 1] = covariance[good, 1, 0] = -ratio[good] * variance
    covariance[good, 1, 1] = 1.0 / d[good] + ratio[good] ** 2 * variance
    return covariance
