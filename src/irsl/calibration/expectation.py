"""E step: one pass over the data gives every subject's posterior and all that the items need of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from irsl.calibration.m_step import Items
from irsl.calibration.population import Population
from irsl.calibration.quadrature import POINTS, Nodes, integrate, weights_on_windows
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import Buffers, Expected
from irsl.threads import over_ranges

PARTS = 8
SMALL_CELLS = 1_000_000
LINEAR_BLOCK_CELLS = 2_000_000  # of a block of subjects whose products have two columns: it should stay in a cache


@dataclass(frozen=True)
class ExpectationStep:
    """Result of one pass over the data.

    Attributes
    ----------
    expected : Expected
    ability, se_ability, log_marginal : (n_subjects,) float64
        Posterior mean and sd, and log of the integral of the likelihood without h(y), in nats.
    expectation : (n_subjects, R) float64
        Expected cardinal functions of every subject.
    shares : (n_knots,) float64 or None
        What an estimated population needs.
    """

    expected: Expected
    ability: Array
    se_ability: Array
    log_marginal: Array
    expectation: Array
    shares: Array | None


def log_likelihood_at(components: tuple[Any, ...], functions: tuple[Array, ...]) -> Array:
    """F of a block of subjects at some abilities, (n_rows, n_abilities), float64: the sum over s of T_s A_s."""
    total: Any = 0.0
    for t, table in zip(components, functions, strict=True):
        total = total + (t * table.sum(axis=0, dtype=np.float64) if isinstance(t, int) else product(t, table))
    return np.asarray(total, dtype=np.float64)


def expectation_step(
    statistics: SufficientStatistics,
    items: Items,
    nodes: Nodes,
    population: Population,
    dtype: Any,
    start: tuple[Array, Array] | None = None,
    covariance: Array | None = None,
) -> ExpectationStep:
    """Pass over the data, block by block.

    With the `covariance` of every item's (log a, d), (n_items, 2, 2), the log-likelihood is averaged over their errors.

    Where the items' function A is eta itself, the product with T needs two columns instead of R: sums of eta over items
    are linear in ability, and the M step then needs T^T E only through its products with 1 and theta.
    """
    points = nodes.points
    n_subjects, n_items = statistics.shape
    if covariance is None:
        tables = items.functions(points, statistics.levels)
    else:
        tables = items.averaged_functions(points, statistics.levels, covariance)
    functions = tuple(x.astype(dtype) for x in tables)
    linear = np.stack([np.ones(nodes.count), points]) if items.is_linear else None
    slope_and_intercept = np.stack([items.intercept, np.exp(items.log_a)], axis=1).astype(dtype)
    block_rows = None if linear is None else max(1, LINEAR_BLOCK_CELLS // n_items)
    shapes = [(table.shape[0], nodes.count) for table in functions]
    if statistics.is_complete and statistics.levels is None:
        shapes[1] = (1, nodes.count)
    if linear is not None:
        shapes[0] = (n_items, 2)
    ability, sd, log_marginal = (np.empty(n_subjects) for _ in range(3))
    expectation = np.empty((n_subjects, nodes.count))

    def work(part: slice) -> tuple[list[Array], Array | None]:
        """Pass over some of the subjects and add up what the items need of them."""
        totals, shares, buffers = [np.zeros(shape, dtype) for shape in shapes], None, Buffers()
        for rows in statistics.blocks(block_rows, within=part):
            components = statistics.components(rows, dtype, buffers)
            if linear is None:
                log_likelihood = log_likelihood_at(components, functions)
            else:
                log_likelihood = product(components[0], slope_and_intercept).astype(np.float64) @ linear
                log_likelihood += log_likelihood_at(components[1:], functions[1:])
            weight = population.log_density(np.arange(rows.start, rows.stop))
            window = None if start is None else (start[0][rows], start[1][rows])
            posterior = integrate(nodes, log_likelihood, weight, window)
            ability[rows], sd[rows], log_marginal[rows] = posterior.mean, posterior.sd, posterior.log_marginal
            expectation[rows] = posterior.expectation
            for s, t in enumerate(components):
                if isinstance(t, int):
                    totals[s] += t * posterior.expectation.sum(axis=0)
                elif s == 0 and linear is not None:
                    totals[s] += product(t.T, (posterior.expectation @ linear.T).astype(dtype))
                else:
                    totals[s] += product(t.T, posterior.expectation.astype(dtype))
            if population.needs_shares:
                more = population.shares(
                    *weights_on_windows(nodes, log_likelihood, weight, posterior.low, posterior.high, 2 * POINTS - 1)
                )
                shares = more if shares is None or more is None else shares + more
        return totals, shares

    # parts are many enough for all cores, and as many on every machine, so that sums agree to the last bit
    parts = over_ranges(work, n_subjects, -(-n_subjects // (PARTS if statistics.n_cells > SMALL_CELLS else 1)))
    totals: list[Any] = [
        np.sum(tables, axis=0, dtype=np.float64) for tables in zip(*(t for t, _ in parts), strict=True)
    ]
    shares = None
    for _, more in parts:
        shares = more if shares is None or more is None else shares + more
    if linear is not None:
        # any table with the same products with 1 and theta serves the M step, which asks for no others
        totals[0] = totals[0] @ np.linalg.solve(linear @ linear.T, linear)
    return ExpectationStep(Expected(tuple(totals), statistics.levels), ability, sd, log_marginal, expectation, shares)


def product(left: Any, right: Array) -> Array:
    """Left @ right for a dense or sparse left, in the precision of `right`."""
    if sparse.issparse(left):
        return np.asarray(left @ right)
    return np.asarray(left.astype(right.dtype, copy=False) @ right)
