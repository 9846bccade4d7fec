"""Whether the number of samples of an item depends on what was sampled, as it does where sampling stops at a success.

The likelihood of counts is the same in either case, up to a constant, so laws fitted by likelihood stay right; shares
k / n and the unbiased estimator of pass@k are biased (Haldane, 1945).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from irsl.likelihoods.base import Array

CLEAR = 4.0  # standard errors
THINNINGS = 8


@dataclass(frozen=True)
class Stopping:
    """Rank correlation within subjects of the number of samples with the successes in equally many of them.

    Attributes
    ----------
    correlation : float
        Mean over subjects, weighted by items; 0 where every cell of a subject has as many samples.
    z : float
        The same in standard errors, were n and the outcome independent; too small rather than too large.
    """

    correlation: float
    z: float

    @property
    def found(self) -> bool:
        """Whether n clearly depends on the outcome."""
        return abs(self.z) > CLEAR

    @classmethod
    def none(cls) -> Stopping:
        """Return what a fixed number of samples gives."""
        return cls(0.0, 0.0)

    def note(self) -> str | None:
        """Say what follows, or None."""
        if not self.found:
            return None
        return (
            f"the number of samples depends on the outcome (rank correlation with successes in equally many "
            f"{self.correlation:.2f}): shares and the unbiased pass@k are biased there; the law uses the likelihood of "
            "the counts, which is not"
        )


def stopping_rule(n_samples: Array, n_correct: Array) -> Stopping:
    """Test whether n depends on the outcome, from (n_subjects, n_items) counts, 0 where nothing was sampled.

    Every cell is thinned, without replacement, to as many samples as the subject's least sampled item has: few samples
    of a rare success are more often all wrong, whatever decided their number.
    """
    rng = np.random.default_rng(0)
    total = expected = 0.0
    for n, k in zip(n_samples, n_correct, strict=True):
        asked = n > 0
        if asked.sum() < 3 or np.ptp(n[asked]) == 0:
            continue
        own, right, least = n[asked], k[asked].astype(np.int64), int(n[asked].min())
        thinned = rng.hypergeometric(right, own.astype(np.int64) - right, least, (THINNINGS, right.size))
        varied = [row for row in thinned if np.ptp(row) > 0]
        if not varied:
            continue
        place = rankdata(own)
        correlation = np.mean([np.corrcoef(place, rankdata(row))[0, 1] for row in varied])
        # under independence a rank correlation of m pairs has variance 1 / (m - 1)
        total += float(correlation) * (right.size - 1)
        expected += float(right.size - 1)
    if expected == 0.0:
        return Stopping.none()
    return Stopping(total / expected, total / float(np.sqrt(expected)))
