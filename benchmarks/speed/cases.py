"""The cases: simulated responses whose truth is known."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PRECISION = 10.0
LOG_SLOPE_SD = 0.3
EDGE = 1e-6  # probabilities stay this far inside (0, 1)
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Case:
    """One table of responses and the model that made it.

    Attributes
    ----------
    likelihood : {"bernoulli", "beta"}
    model : {"1pl", "2pl"}
    n_subjects, n_items : int
    missing : float
        Share of cells left out at random.
    """

    likelihood: str
    model: str
    n_subjects: int
    n_items: int
    missing: float = 0.0

    @property
    def name(self) -> str:
        """Such as beta-1pl-826x4710."""
        end = f"-missing{100 * self.missing:.0f}" if self.missing else ""
        return f"{self.likelihood}-{self.model}-{self.n_subjects}x{self.n_items}{end}"

    @property
    def family(self) -> str:
        """What cases of different sizes have in common, in words."""
        end = f", {100 * self.missing:.0f} % missing" if self.missing else ""
        return f"{self.likelihood.capitalize()} {self.model.upper()}{end}"

    @property
    def size(self) -> str:
        """Subjects by items, in words."""
        return f"{self.n_subjects:,} x {self.n_items:,}"

    @property
    def n_cells(self) -> int:
        """Subjects times items."""
        return self.n_subjects * self.n_items


@dataclass(frozen=True)
class Truth:
    """What a case was drawn from, on the scale where the subjects have mean 0 and standard deviation 1."""

    ability: NDArray[np.float64]
    difficulty: NDArray[np.float64]
    discrimination: NDArray[np.float64]


def simulate(case: Case, path: Path) -> Truth:
    """Write the responses, block by block: uint8 where they are complete answers, otherwise float32 with NaN."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    ability, difficulty = rng.standard_normal(case.n_subjects), rng.standard_normal(case.n_items)
    slope = rng.lognormal(0.0, LOG_SLOPE_SD, case.n_items) if case.model == "2pl" else np.ones(case.n_items)
    whole_answers = case.likelihood == "bernoulli" and not case.missing
    shape = case.n_subjects, case.n_items
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8 if whole_answers else np.float32, shape=shape)
    step = max(1, BLOCK_CELLS // case.n_items)
    for start in range(0, case.n_subjects, step):
        rows = slice(start, start + step)
        p = 1.0 / (1.0 + np.exp(-slope * (ability[rows, None] - difficulty)))
        if case.likelihood == "beta":
            drawn = np.clip(rng.beta(PRECISION * p, PRECISION * (1.0 - p)), EDGE, 1.0 - EDGE)
        else:
            drawn = (rng.random(p.shape) < p).astype(np.float32)
        if case.missing:
            drawn[rng.random(p.shape) < case.missing] = np.nan
        values[rows] = drawn
    values.flush()
    mean, sd = ability.mean(), ability.std()
    return Truth((ability - mean) / sd, (difficulty - mean) / sd, slope * sd)
