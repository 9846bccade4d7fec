"""What a calibration says about every cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

import irsl
from validation.cells import P_RANGE, Array, Cells, Codes, codes

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


@dataclass(frozen=True)
class Curves:
    """Item parameters, (n_items,), and abilities with errors, (n_subjects, n_items): each on the item's scale.

    `precision` (of a Beta likelihood) and `overdispersion` (of a beta-binomial one) are 0 under any other.
    """

    difficulty: Array
    discrimination: Array
    guessing: Array
    covariance: Array
    ability: Array
    se_ability: Array
    precision: Array
    overdispersion: Array


def curves_of(calibration: irsl.Calibration, cells: Cells) -> Curves:
    order = cells.items.select("item")
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
        of_likelihood(calibration.fits, "beta", "precision")[of_item],
        of_likelihood(calibration.fits, "beta_binomial", "overdispersion")[of_item],
    )


def of_likelihood(fits: pl.DataFrame, likelihood: str, column: str) -> Array:
    """Return a parameter of each scale's likelihood, 0 where the scale has another."""
    return fits.select(pl.when(pl.col("likelihood") == likelihood).then(column).fill_null(0.0))[column].to_numpy()


def predict(curves: Curves, subject: Codes, item: Codes) -> Array:
    """P = c + (1 - c) E logistic(eta), eta normal with the errors of theta and of the item; with a floor, of theta."""
    a, b, c = curves.discrimination[item], curves.difficulty[item], curves.guessing[item]
    gap = curves.ability[subject, item] - b
    v_log_a, v_b, cross = np.where(c > 0, 0.0, curves.covariance[item].T)
    variance = curves.se_ability[subject, item] ** 2 + v_b + gap**2 * v_log_a - 2.0 * gap * cross
    middle, spread = a * gap, a * np.sqrt(np.maximum(variance, 0.0))
    p = np.zeros(middle.size)
    for node, weight in zip(NODES, WEIGHTS / WEIGHTS.sum(), strict=True):
        p += weight * expit(middle + spread * node)
    return np.clip(c + (1.0 - c) * p, *P_RANGE)
