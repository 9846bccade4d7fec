"""Whether counts vary more than a binomial: a score test at the binomial fit, and the gains of wider likelihoods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    gains : dict of str to float
        Log-likelihood of the wider likelihoods that were fitted over the binomial's, in nats.
    """

    z: float
    start: float
    gains: Mapping[str, float] = field(default_factory=dict)

    @property
    def logit_sd(self) -> float:
        """`start` as a scatter of logits: p (1 - p) logit_sd^2 is about rho where p is a half."""
        return 2.0 * float(np.sqrt(self.start))

    @property
    def gain(self) -> float | None:
        """Of the best; None where nothing was fitted."""
        return max(self.gains.values(), default=None)

    @property
    def found(self) -> bool:
        """Whether a wider likelihood is worth a fit."""
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
        tested = ", ".join(f"{name} {2 * gain:.1f}" for name, gain in self.gains.items())
        return f"{verdict} (likelihood ratio: {tested}; p = {self.p_value:.2g})"


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
