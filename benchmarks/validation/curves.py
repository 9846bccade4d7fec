"""What a calibration says about every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import irsl
from irsl.likelihoods import Likelihood
from validation.cells import P_RANGE, Array, Cells, Codes, codes

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


@dataclass(frozen=True)
class Curves:
    """Item parameters and scale, (n_items,), and abilities with errors, (n_subjects, n_items): on the item's scale."""

    difficulty: Array
    discrimination: Array
    guessing: Array
    covariance: Array
    ability: Array
    se_ability: Array
    scale: Codes
    likelihoods: list[Likelihood]

    def eta(self, ability: Array, subject: Codes, item: Codes) -> Array:
        """Of cells, from abilities like `ability`."""
        return self.discrimination[item] * (ability[subject, item] - self.difficulty[item])

    def expected(self, eta: Array, item: Codes) -> Array:
        """Mean response of cells, kept off 0 and 1."""
        floor = self.guessing[item]
        return np.clip(self.each(item, lambda own, at: own.response_mean(eta[at], floor[at])), *P_RANGE)

    def each(self, item: Codes, function: Callable[[Likelihood, Codes], Array]) -> Array:
        """Values of cells, by the likelihood of each item's scale and the cells' places."""
        result = np.empty(item.size)
        for scale, likelihood in enumerate(self.likelihoods):
            at = np.flatnonzero(self.scale[item] == scale)
            result[at] = function(likelihood, at)
        return result


def curves_of(calibration: irsl.Calibration, cells: Cells) -> Curves:
    order = cells.items.select("item")
    likelihoods = {scale.scale: scale.response_likelihood() for scale in calibration.bank.scales}
    items = order.join(calibration.bank.items, on="item", how="left", maintain_order="left")
    scales = calibration.fits["scale"].to_list()
    of_item = codes(items["scale"], scales)
    table = np.full((2, len(cells.subjects), len(scales)), np.nan)
    place = codes(calibration.abilities["subject"], cells.subjects), codes(calibration.abilities["scale"], scales)
    table[0][place] = calibration.abilities["ability"].to_numpy()
    table[1][place] = calibration.abilities["se_ability"].to_numpy()
    a = items["discrimination"].to_numpy()
    covariance = np.zeros((a.size, 3))  # variances of log a and b, and their covariance; 0 where unknown
    covariance[:, 0] = (items["se_discrimination"].fill_null(0.0).to_numpy() / a) ** 2
    covariance[:, 1] = items["se_difficulty"].fill_null(0.0).to_numpy() ** 2
    covariance[:, 2] = items["covariance"].fill_null(0.0).to_numpy()
    return Curves(
        items["difficulty"].to_numpy(),
        a,
        items["guessing"].to_numpy(),
        covariance,
        table[0][:, of_item],
        table[1][:, of_item],
        of_item,
        [likelihoods[name] for name in scales],
    )


def predict(curves: Curves, subject: Codes, item: Codes) -> Array:
    """Mean of the curve, eta being normal with the errors of theta and of the item; with a floor, of theta."""
    a, b, c = curves.discrimination[item], curves.difficulty[item], curves.guessing[item]
    gap = curves.ability[subject, item] - b
    v_log_a, v_b, cross = np.where(c > 0, 0.0, curves.covariance[item].T)
    variance = curves.se_ability[subject, item] ** 2 + v_b + gap**2 * v_log_a - 2.0 * gap * cross
    middle, spread = a * gap, a * np.sqrt(np.maximum(variance, 0.0))
    p = np.zeros(middle.size)
    for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
        p += weight * curves.expected(middle + spread * node, item)
    return p
