"""How the items' own errors reach an ability, by the delta method.

A maximum of the log-likelihood moves by d theta / d xi = (information between theta and xi) / (information of theta);
with the information i of one response about eta, that is a^2 i / I for b and -a^2 (theta - b) i / I for log a.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from irsl.calibration.parameters import ItemParameters
from irsl.likelihoods import Likelihood
from irsl.likelihoods.base import Array, dense

BLOCK_ROWS = 512


def item_error_variance(
    items: ItemParameters, likelihood: Likelihood, ability: Array, se_ability: Array, trials: Any
) -> Array:
    """Variance that the items' errors add to each subject's ability, (n_subjects,).

    Parameters
    ----------
    items : ItemParameters
        With covariance; without one, items are taken as exact and the variance is 0.
    likelihood : Likelihood
    ability, se_ability : (n_subjects,) float64
        The total information is 1 / se_ability^2, a prior included: what a prior holds, items cannot move.
    trials : int or (n_subjects, n_items) ndarray or csr_array
        n of every response, 0 where missing.
    """
    added = np.zeros(ability.size)
    if items.covariance is None:
        return added
    for start in range(0, ability.size, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        n = trials if isinstance(trials, int) else trials[rows]
        n = n if isinstance(n, int) else dense(n)
        eta = items.eta(ability[rows]).T
        d_natural, _, d_mean = likelihood.slopes(eta, items.guessing[None, :])
        weight = n * d_natural * d_mean * items.discrimination**2 * se_ability[rows, None] ** 2
        gap = ability[rows, None] - items.difficulty
        v = items.covariance
        added[rows] = (weight**2 * (v[:, 1, 1] - 2.0 * gap * v[:, 0, 1] + gap**2 * v[:, 0, 0])).sum(axis=1)
    return added
