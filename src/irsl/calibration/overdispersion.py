"""Whether counts vary more than a binomial: a score test at the binomial fit, and the gain of the beta-binomial one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, ndtr

from irsl.calibration.engine import Outcome
from irsl.likelihoods import SufficientStatistics

SUSPECT_Z = 2.0
SIGNIFICANCE = 0.01
BLOCK_CELLS = 1_000_000
START_LIMITS = (0.002, 0.5)


@dataclass(frozen=True)
class Overdispersion:
    """Evidence against the binomial.

    Attributes
    ----------
    z : float
        Score test of Dean (1992); standard normal where the binomial holds.
    start : float
        Estimate of rho by moments.
    gain : float or None
        Log-likelihood of the beta-binomial over the binomial's, in nats, where both were fitted.
    """

    z: float
    start: float
    gain: float | None = None

    @property
    def found(self) -> bool:
        """Whether the beta-binomial is worth a fit."""
        return self.z > SUSPECT_Z

    @property
    def p_value(self) -> float:
        """Of the likelihood ratio: half a chi-squared of one degree, rho = 0 being a boundary (Self, Liang, 1987)."""
        return 1.0 if self.gain is None or self.gain <= 0 else 0.5 * float(chdtrc(1, 2.0 * self.gain))

    @property
    def significant(self) -> bool:
        """Whether the likelihood ratio decides against the binomial."""
        return self.p_value < SIGNIFICANCE

    @property
    def message(self) -> str:
        """One line for the fit."""
        if self.gain is None:
            return f"counts vary no more than a binomial (score test z = {self.z:.1f}, p = {ndtr(-self.z):.2g})"
        verdict = "counts vary more than a binomial" if self.significant else "counts vary no more than a binomial"
        return f"{verdict} (likelihood ratio {2 * self.gain:.1f}, p = {self.p_value:.2g})"


def overdispersion_score(
    statistics: SufficientStatistics, outcome: Outcome, *, n_parameters: int = 0
) -> Overdispersion:
    """Score test for rho > 0 at a binomial fit, abilities at their posterior means, over cells of several trials.

    `n_parameters` were fitted to the same counts.
    """
    items, step = outcome.items, outcome.step
    a = np.exp(items.log_a)
    score = variance = pairs = trials = 0.0
    n_cells = 0
    for rows in statistics.blocks(max(1, BLOCK_CELLS // items.n_items)):
        k, n = statistics.cells(rows)
        eta = step.ability[rows, None] * a + items.intercept
        p = np.clip(items.likelihood.response_mean(eta, items.guessing), 1e-9, 1 - 1e-9)
        n = np.broadcast_to(np.asarray(n, dtype=np.float64), k.shape)
        several = n >= 2
        k, n, p = k[several], n[several], p[several]
        residual = (k - n * p) ** 2 - n * p * (1 - p) - (1 - 2 * p) * (k - n * p)
        n_cells += k.size
        score += float((residual / (p * (1 - p))).sum()) / 2.0
        # E of the residual's square under the binomial, over (p (1 - p))^2, is 2 n (n - 1)
        variance += float((n * (n - 1)).sum()) / 2.0
        pairs += float((n * (n - 1)).sum()) / 2.0
        trials += float(n.sum())
    # fitted abilities and items take up variance: that of one cell for each of them
    score += n_parameters / max(n_cells, 1) * trials / 2.0
    z = score / np.sqrt(variance) if variance > 0 else 0.0
    start = score / pairs if pairs > 0 else 0.0
    return Overdispersion(float(z), float(np.clip(start, *START_LIMITS)))
