"""Compute of a training run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from irsl.likelihoods.base import Array

FLOPS_PER_PARAMETER_AND_TOKEN = 6.0  # forward 2, backward 4: Kaplan et al. (2020), section 2.1


def training_flops(n_params: ArrayLike, n_tokens: ArrayLike) -> Array:
    """FLOPs of training a dense transformer: 6 N D.

    Parameters
    ----------
    n_params : array_like
        Non-embedding parameters N.
    n_tokens : array_like
        Tokens seen D; broadcasts with `n_params`.
    """
    return np.asarray(
        FLOPS_PER_PARAMETER_AND_TOKEN * np.asarray(n_params, dtype=np.float64) * np.asarray(n_tokens, dtype=np.float64)
    )
