"""Choose items for many subjects at once from stored responses.

Every rule returns which items each subject was asked, (n_subjects, n_items) bool. A rule sees a response only after it
has asked for it; items without a stored response are never asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from irsl.calibration.parameters import ItemParameters
from irsl.calibration.short_form import item_information, short_form_items
from irsl.likelihoods import Likelihood
from irsl.likelihoods.base import Array

GRID = np.linspace(-5.0, 5.0, 201)  # spacing of .05, a third of the sd after 50 items or finer
Mask = NDArray[np.bool_]
Rule = Callable[[Any, Array, ItemParameters, Likelihood, int, np.random.Generator], Mask]


def by_information(
    values: Any, trials: Array, items: ItemParameters, likelihood: Likelihood, budget: int, rng: Any
) -> Mask:
    """The item with the most information at the present posterior mean under N(0, 1); ties go by bank order."""
    information = np.round(item_information(items, likelihood, GRID).T, 9)
    available = trials > 0
    asked = np.zeros(available.shape, bool)
    log_weight = np.tile(-0.5 * GRID**2, (available.shape[0], 1))
    rows = np.arange(available.shape[0])
    for _ in range(budget):
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        mean = (weight @ GRID) / weight.sum(axis=1)
        nearest = np.rint((mean - GRID[0]) / (GRID[1] - GRID[0])).astype(np.intp)
        score = np.where(available & ~asked, information[nearest], -np.inf)
        chosen = score.argmax(axis=1)
        open_ = np.isfinite(score[rows, chosen])
        if not open_.any():
            break
        asked[rows[open_], chosen[open_]] = True
        asked_now = chosen[open_]
        log_weight[open_] += likelihood.log_density(
            values[open_, asked_now, None],
            trials[open_, asked_now, None],
            items.take(asked_now).eta(GRID),
            items.guessing[asked_now, None],
        )
    return asked


def at_random(values: Any, trials: Array, items: ItemParameters, likelihood: Likelihood, budget: int, rng: Any) -> Mask:
    """Equally likely items, other ones for every subject."""
    order = np.where(trials > 0, rng.random(trials.shape), np.inf)
    return _first(order, budget)


def stratified(
    values: Any, trials: Array, items: ItemParameters, likelihood: Likelihood, budget: int, rng: Any
) -> Mask:
    """One random item from each of `budget` strata of difficulty, other ones for every subject."""
    position = np.empty(items.n_items)
    position[np.argsort(items.difficulty, kind="stable")] = np.arange(items.n_items)
    stratum = np.floor(position * budget / items.n_items)
    asked = np.zeros(trials.shape, bool)
    for s in range(budget):
        members = np.flatnonzero(stratum == s)
        if members.size:
            order = np.where(trials[:, members] > 0, rng.random((trials.shape[0], members.size)), np.inf)
            asked[:, members] = _first(order, 1)
    # a stratum without a stored response is made up for by any other item
    left = np.where((trials > 0) & ~asked, rng.random(trials.shape), np.inf)
    return np.asarray(asked | _first(left, budget - asked.sum(axis=1, keepdims=True)))


def by_short_form(
    values: Any, trials: Array, items: ItemParameters, likelihood: Likelihood, budget: int, rng: Any
) -> Mask:
    """The same best form for everybody."""
    form = short_form_items(
        items, likelihood, min(budget, items.n_items), trials=max(1, int(np.median(trials[trials > 0])))
    )
    asked = np.zeros(trials.shape, bool)
    asked[:, form] = trials[:, form] > 0
    return asked


RULES: dict[str, Rule] = {
    "information": by_information,
    "random": at_random,
    "stratified": stratified,
    "short_form": by_short_form,
}


def _first(order: Array, n: int | NDArray[np.intp]) -> Mask:
    """Return the n smallest finite entries of each row as a mask."""
    rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray((rank < n) & np.isfinite(order))
