"""How the items' own errors reach an ability, by the delta method.

A maximum of the log-likelihood moves by d theta / d xi = (information between theta and xi) / (information of theta);
with the information i of one response about eta, that is a i / I for d and a^2 theta i / I for log a.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irsl.calibration.expectation import product
from irsl.calibration.m_step import Items
from irsl.calibration.quadrature import Nodes
from irsl.likelihoods import ExponentialForm
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import dense

BLOCK_CELLS = 2_000_000


def item_error_variance(
    items: Items, covariance: Array | None, nodes: Nodes, ability: Array, se_ability: Array, trials: Any
) -> Array:
    """Variance that the items' errors add to each subject's ability, (n_subjects,).

    Parameters
    ----------
    items : Items
    covariance : (n_items, 2, 2) float64 or None
        Of (log a, d); None: items are taken as exact and the variance is 0.
    nodes : Nodes
        At which sums over items are known as functions of ability.
    ability, se_ability : (n_subjects,) float64
        The total information is 1 / se_ability^2, a prior included: what a prior holds, items cannot move.
    trials : int or (n_subjects, n_items) ndarray or csr_array
        n of every response, 0 where missing.
    """
    if covariance is None:
        return np.zeros(ability.size)
    v = np.where(np.isfinite(covariance), covariance, 0.0)
    if not isinstance(items.likelihood, ExponentialForm):
        return se_ability**4 * _cell_by_cell(items, v, ability, trials)
    a = np.exp(items.log_a)[:, None]
    spread = items.eta_variance(nodes.points, v)
    table = items.likelihood.information(1, items.eta(nodes.points), items.guessing[:, None]) ** 2 * a**2 * spread
    basis = nodes.basis(np.clip(ability, nodes.low, nodes.high))
    if isinstance(trials, int):
        total = basis @ (trials**2 * table.sum(axis=0))
    else:
        total = np.empty(ability.size)
        rows = max(1, BLOCK_CELLS // items.n_items)
        for start in range(0, ability.size, rows):
            part = slice(start, start + rows)
            n = trials[part]
            squared = n.multiply(n).tocsr() if hasattr(n, "multiply") else np.square(n, dtype=table.dtype)
            total[part] = (basis[part] * product(squared, table)).sum(axis=1)
    return np.asarray(se_ability**4 * np.maximum(total, 0.0))


def _cell_by_cell(items: Items, v: Array, ability: Array, trials: Any) -> Array:
    total = np.empty(ability.size)
    rows = max(1, BLOCK_CELLS // items.n_items)
    for start in range(0, ability.size, rows):
        part = slice(start, start + rows)
        n = trials if isinstance(trials, int) else dense(trials[part]).T
        eta = items.eta(ability[part])
        information = items.likelihood.information(n, eta, items.guessing[:, None])
        weight = information**2 * np.exp(2 * items.log_a)[:, None]
        total[part] = (weight * items.eta_variance(ability[part], v)).sum(axis=0)
    return total
