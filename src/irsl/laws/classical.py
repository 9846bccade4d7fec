"""The classical law: accuracy as a sigmoid between chance and 1 in log compute.

On the logit scale z, accuracy = c + (1 - c) logistic(z), the sigmoid is the same line in log FLOPs that abilities get,
so both laws are fitted and forecast by one rule. A benchmark accuracy of k right in n is, to this law, a binomial count
of n equal items: its z is the posterior mode under a wide normal prior, which also gives accuracies at or below chance
a finite value with the large error that they deserve.
"""

from __future__ import annotations

import numpy as np

from irsl.likelihoods import Binomial
from irsl.likelihoods.base import Array, logistic_curve

PRIOR_SD = 3.0  # logits; wide: from .05 to .95 of the way between chance and 1 in one sd
MAX_STEPS = 200


def accuracy_logit(accuracy: Array, n_items: Array | int, chance: Array | float) -> tuple[Array, Array]:
    """Z of an accuracy, and its standard error.

    Parameters
    ----------
    accuracy : (n,) float64
        Mean response in 0..1.
    n_items : int or (n,)
        Responses that it is the mean of.
    chance : float or (n,)
        Lower asymptote c.

    Returns
    -------
    z, se : (n,) float64
    """
    accuracy = np.asarray(accuracy, dtype=np.float64)
    n = np.broadcast_to(np.asarray(n_items, dtype=np.float64), accuracy.shape)
    c = np.broadcast_to(np.asarray(chance, dtype=np.float64), accuracy.shape)
    z = np.zeros_like(accuracy)
    likelihood = Binomial()
    info, last, limit = np.ones_like(z), np.zeros_like(z), np.full_like(z, 0.5)
    for _ in range(MAX_STEPS):
        d_natural, mean, d_mean = likelihood.slopes(z, c)
        score = n * d_natural * (accuracy - mean) - z / PRIOR_SD**2
        info = n * d_natural * d_mean + 1.0 / PRIOR_SD**2
        step = np.clip(score / info, -limit, limit)
        limit = np.where(step * last < 0, limit / 2.0, limit)  # below chance full steps go to and fro for ever
        step = last = np.clip(step, -limit, limit)
        z = z + step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    return z, 1.0 / np.sqrt(info)


def accuracy_of_logit(z: Array, chance: float) -> Array:
    """C + (1 - c) logistic(z)."""
    return logistic_curve(np.asarray(z), chance)
