"""Fisher information of items about ability."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from irsl.calibration.bank import ItemBank
from irsl.calibration.short_form import item_information
from irsl.errors import DataError, OptionError
from irsl.likelihoods import WITH_PARAMETER, Binomial, Likelihood
from irsl.likelihoods.base import Array


def information(
    ability: ArrayLike, bank: ItemBank, *, likelihood: str | Likelihood | None = None, trials: int = 1
) -> Array:
    """Fisher information of one response to each item about each ability.

    a^2 P'^2 / (P (1 - P)) for a Bernoulli trial with P' = dP / d eta, of which a binomial count of n holds n times as
    much; the exact sum over k for a beta-binomial or logit-normal count, at least a^2 P'^2 / Var(k / n);
    a^2 (phi mu (1 - mu))^2 (trigamma(mu phi) + trigamma((1 - mu) phi)) for a Beta response.

    Parameters
    ----------
    ability : (n_abilities,) float64
        In standard deviations of the calibration population.
    bank : ItemBank
    likelihood : {"bernoulli", "binomial", "beta_binomial", "logit_normal_binomial", "beta"} or Likelihood, optional
        Default: the one that each scale was calibrated with. Those with a parameter of their own take the scale's.
    trials : int
        Trials of a response, for counts.

    Returns
    -------
    (n_abilities, n_items) float64, in ability**-2

    Raises
    ------
    DataError
        An ability is not finite; the message gives the first index.
    OptionError
        An unknown likelihood.
    """
    theta = np.atleast_1d(np.asarray(ability, dtype=np.float64))
    if not np.isfinite(theta).all():
        raise DataError(f"abilities must be finite; number {int(np.argmin(np.isfinite(theta)))} (from 0) is not")
    result = np.empty((theta.size, len(bank)))
    for scale in bank.scales:
        index = np.flatnonzero((bank.items["scale"] == scale.scale).to_numpy())
        chosen = scale.response_likelihood()
        if isinstance(likelihood, str):
            if likelihood not in ("bernoulli", "binomial", *WITH_PARAMETER):
                raise OptionError(
                    f"likelihood {likelihood!r} is not supported; choose bernoulli, binomial, "
                    f"{', '.join(list(WITH_PARAMETER)[:-1])} or {list(WITH_PARAMETER)[-1]}"
                )
            own = WITH_PARAMETER.get(likelihood)
            if own is not None and not isinstance(chosen, own):
                raise OptionError(
                    f"scale {scale.scale!r} has no {own.parameter_name}; pass likelihood={own.__name__}(...)"
                )
            chosen = Binomial(likelihood) if own is None else chosen
        elif likelihood is not None:
            chosen = likelihood
        items = bank.select(items=bank.items["item"].gather(pl.Series(index)).to_list()).parameters()
        result[:, index] = item_information(items, chosen, theta, trials=trials).T
    return result
