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
LINEAR_PIECE_CELLS = 2_000_000  # of subjects whose products have two columns


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


def log_likelihood_at(
    components: tuple[Any, ...], functions: tuple[Array, ...], sums: tuple[Array, ...] | None = None
) -> Array:
    """F of a block of subjects at some abilities, (n_rows, n_abilities), float64: the sum over s of T_s A_s.

    `sums` are the functions' own over the columns, where they are known already: what a component that is the same in
    every cell needs.
    """
    total: Any = 0.0
    for s, (t, table) in enumerate(zip(components, functions, strict=True)):
        if isinstance(t, int):
            total = total + t * (column_sum(table) if sums is None else sums[s])
        else:
            total = total + product(t, table)
    return np.asarray(total, dtype=np.float64)


def column_sum(table: Array) -> Array:
    """(n_abilities,) float64 sum over the columns of the statistics."""
    return np.asarray(table.sum(axis=0, dtype=np.float64))


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
    sums = tuple(column_sum(table) for table in functions)
    linear = np.stack([np.ones(nodes.count), points]) if items.is_linear else None
    slope_and_intercept = np.stack([items.intercept, np.exp(items.log_a)], axis=1).astype(dtype)
    piece_rows = max(1, LINEAR_PIECE_CELLS // n_items)
    shapes = [(table.shape[0], nodes.count) for table in functions]
    if statistics.is_complete and statistics.levels is None:
        shapes[1] = (1, nodes.count)
    if linear is not None:
        shapes[0] = (n_items, 2)
    ability, sd, log_marginal = (np.empty(n_subjects) for _ in range(3))
    expectation = np.empty((n_subjects, nodes.count))

    def log_likelihood_of(components: tuple[Any, ...]) -> Array:
        if linear is None:
            return log_likelihood_at(components, functions, sums)
        result: Array = product(components[0], slope_and_intercept).astype(np.float64) @ linear
        return result + log_likelihood_at(components[1:], functions[1:], sums[1:])

    def add(totals: list[Array], components: tuple[Any, ...], expectation: Array) -> None:
        for s, t in enumerate(components):
            if isinstance(t, int):
                totals[s] += t * expectation.sum(axis=0)
            elif s == 0 and linear is not None:
                totals[s] += product(t.T, (expectation @ linear.T).astype(dtype))
            else:
                totals[s] += product(t.T, expectation.astype(dtype))

    def work(part: slice) -> tuple[list[Array], Array | None]:
        """Pass over some of the subjects and add up what the items need of them."""
        totals, shares, buffers = [np.zeros(shape, dtype) for shape in shapes], None, Buffers()
        # products of two columns want pieces that stay in a cache, and cost less than to integrate piece by piece
        for rows in [part] if linear is not None else statistics.blocks(within=part):
            pieces = [rows] if linear is None else list(statistics.blocks(piece_rows, within=rows))
            log_likelihood, components = np.empty((rows.stop - rows.start, nodes.count)), None
            for piece in pieces:
                components = statistics.components(piece, dtype, buffers)
                log_likelihood[piece.start - rows.start : piece.stop - rows.start] = log_likelihood_of(components)
            weight = population.log_density(np.arange(rows.start, rows.stop))
            window = None if start is None else (start[0][rows], start[1][rows])
            posterior = integrate(nodes, log_likelihood, weight, window)
            ability[rows], sd[rows], log_marginal[rows] = posterior.mean, posterior.sd, posterior.log_marginal
            expectation[rows] = posterior.expectation
            for piece in pieces:
                if components is None or len(pieces) > 1:
                    components = statistics.components(piece, dtype, buffers)
                add(totals, components, expectation[piece])
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
    left = left.astype(right.dtype, copy=False)
    if right.shape[1] == 2:  # two products with vectors are much the faster
        return np.stack([left @ column for column in np.ascontiguousarray(right.T)], axis=1)
    return np.asarray(left @ right)
