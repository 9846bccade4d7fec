"""What subjects do beyond their item-response curves, estimated by predicting halves of the items from the others.

A subject's ability from one half of a benchmark predicts its mean response on the other half. The squared error in
excess of what the abilities' posterior and the responses' own noise explain is misfit: skills that the one dimension
does not hold. It falls with the number of items on both sides, so one number per scale is kept, sigma^2 with
excess = sigma^2 (1 / n_observed + 1 / n_predicted). docs/mathematics.md, section 5.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from irsl.calibration.engine import Outcome
from irsl.calibration.expectation import log_likelihood_at
from irsl.calibration.quadrature import integrate
from irsl.likelihoods import SufficientStatistics
from irsl.likelihoods.base import Array
from irsl.likelihoods.statistics import dense
from irsl.threads import over_ranges

N_SPLITS = 6
MIN_ITEMS = 8
MAX_CELLS = 1_000_000  # subjects beyond are left out, evenly
MIN_SUBJECTS = 32
BLOCK_CELLS = 300_000  # of which a dozen tables are held at once


def misfit_variance(statistics: SufficientStatistics, outcome: Outcome, *, seed: int = 0) -> float:
    """Estimate sigma^2 per item in squared response units; 0 when the curves explain all, or with too few items.

    Parameters
    ----------
    statistics : SufficientStatistics
    outcome : Outcome
    seed : int
        Of the random halves.
    """
    n_subjects, n_items = statistics.shape
    if n_items < MIN_ITEMS:
        return 0.0
    size = min(n_subjects, max(MIN_SUBJECTS, MAX_CELLS // n_items))
    subjects = np.unique(np.linspace(0, n_subjects - 1, size).astype(np.intp))
    rng = np.random.default_rng(seed)
    sources = []
    for _ in range(N_SPLITS):
        first = np.zeros(n_items, bool)
        first[rng.permutation(n_items)[: n_items // 2]] = True
        sources += [first, ~first]
    items, nodes = outcome.items, outcome.nodes
    functions = items.functions(nodes.points, statistics.levels)
    curves = items.likelihood.response_mean(items.eta(nodes.points), items.guessing[:, None])
    parts = over_ranges(
        lambda k: _excess(statistics, outcome, functions, curves, subjects, sources[k.start]), len(sources), 1
    )
    estimates, weights = zip(*parts, strict=True)
    total = float(np.sum(weights))
    return max(0.0, float(np.sum(estimates)) / total) if total > 0 else 0.0


def _excess(
    statistics: SufficientStatistics,
    outcome: Outcome,
    functions: tuple[Array, ...],
    curves: Array,
    subjects: NDArray[np.intp],
    source: NDArray[np.bool_],
) -> tuple[float, float]:
    """Sum over subjects of squared error minus its expectation, and of 1 / n_source + 1 / n_target.

    `functions` are those of every column of the statistics at the nodes, `curves` the items' mean responses.
    """
    items, nodes, levels = outcome.items, outcome.nodes, statistics.levels
    kept = (source if levels is None else source[levels.item]).astype(np.float64)
    error = scale = 0.0
    size = max(1, BLOCK_CELLS // items.n_items)
    for start in range(0, subjects.size, size):
        rows = subjects[start : start + size]
        of_source = tuple(_columns(t, kept) for t in statistics.components(rows))
        log_likelihood = log_likelihood_at(of_source, functions)
        before = outcome.step.ability[rows], outcome.step.se_ability[rows]
        expectation = integrate(nodes, log_likelihood, outcome.population.log_density(rows), before).expectation
        y, observed, trials = responses_of(statistics, rows)
        seen = np.ones(y.shape, bool) if observed is None else observed
        target = seen & ~source
        n_target, n_source = target.sum(axis=1), (seen & source).sum(axis=1)
        usable = (n_target > 0) & (n_source > 0)
        if not usable.any():
            continue
        y, target, expectation = y[usable], target[usable].astype(np.float64), expectation[usable]
        n_target, n_source = n_target[usable], n_source[usable]
        mean_curve = (target @ curves) / n_target[:, None]  # (n_subjects, R): each subject's own test curve
        predicted = (expectation * mean_curve).sum(axis=1)
        spread = np.maximum((expectation * mean_curve**2).sum(axis=1) - predicted**2, 0.0)
        n = trials if isinstance(trials, int) else np.maximum(trials[usable], 1.0)
        noise = np.einsum("ij,ij->i", items.likelihood.response_variance(expectation @ curves.T, n), target)
        residual = np.einsum("ij,ij->i", y, target) / n_target - predicted
        error += float((residual**2 - spread - noise / n_target**2).sum())
        scale += float((1.0 / n_source + 1.0 / n_target).sum())
    return error, scale


def _columns(component: Any, kept: Array) -> Any:
    """A component of the statistics with the columns that are not kept set to 0."""
    return component @ sparse.diags_array(kept) if sparse.issparse(component) else component * kept[None, :]


def responses_of(
    statistics: SufficientStatistics, rows: NDArray[np.intp] | slice, dtype: type[np.floating[Any]] = np.float64
) -> tuple[Any, NDArray[np.bool_] | None, Any]:
    """Responses in 0..1 of some subjects (0 where missing), where they are observed (None: all), and their trials."""
    values, trials = statistics.stored(rows)
    k = dense(values, dtype)
    if statistics.holds_logits:
        k = expit(k)
    if isinstance(trials, int):
        return k if trials == 1 else k / dtype(trials), None, trials
    n = dense(trials, dtype)
    seen = n > 0
    return np.divide(k, n, out=np.zeros_like(k), where=seen), seen, n
