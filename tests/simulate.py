"""Simulated data with known truth, for tests of several rooms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit

from irsl.responses import Responses


@dataclass(frozen=True)
class Truth:
    ability: np.ndarray
    difficulty: np.ndarray
    discrimination: np.ndarray
    guessing: np.ndarray

    def anchored(self) -> Truth:
        """The same truth on the scale of the calibration subjects: mean 0 and sd 1."""
        mean, sd = self.ability.mean(), self.ability.std()
        return Truth((self.ability - mean) / sd, (self.difficulty - mean) / sd, self.discrimination * sd, self.guessing)

    def probability(self) -> np.ndarray:
        eta = self.discrimination * (self.ability[:, None] - self.difficulty)
        return self.guessing + (1 - self.guessing) * expit(eta)


def draw_truth(rng, n_subjects, n_items, *, log_a_sd=0.3, guessing=0.0, b_mean=0.2, b_sd=1.2) -> Truth:
    return Truth(
        rng.normal(size=n_subjects),
        rng.normal(b_mean, b_sd, size=n_items),
        rng.lognormal(0.0, log_a_sd, size=n_items),
        np.full(n_items, guessing),
    )


def ladder(
    *, n_recipes=6, n_sizes=5, n_checkpoints=4, n_items=60, benchmarks=("facts", "order"), seed=0, chance=0.25
) -> Responses:
    """A small pre-training ladder: abilities on a line in log FLOPs per recipe, with noise; one seed, four choices."""
    rng = np.random.default_rng(seed)
    sizes = [14_000 * 2**k for k in range(n_sizes)]
    subjects, abilities = [], {b: [] for b in benchmarks}
    level = {b: rng.normal(0, 0.4, n_recipes) for b in benchmarks}
    slope = {b: 1.2 + rng.normal(0, 0.15, n_recipes) for b in benchmarks}
    for r in range(n_recipes):
        for params in sizes:
            tokens = 2e6 * np.sqrt(params / 14_000)
            for c in range(n_checkpoints):
                share = 0.5 ** (n_checkpoints - 1 - c)
                flops = 6.0 * params * tokens * share
                run = f"recipe{r}-{params // 1000}k-s0"
                step = int(1000 * share)
                subjects.append(
                    dict(
                        subject=f"{run}@{step}", family="ladder", run=run, recipe=f"recipe{r}", seed=0,
 params=params, tokens=int(tokens * share), step=step, flops=flops,
                        loss=float(4 - 0.3 * np.log10(flops / 1e10)),
                    )
                )  # fmt: skip
                for b in benchmarks:
                    abilities[b].append(level[b][r] + slope[b][r] * (np.log10(flops) - 11.7) + rng.normal(0, 0.1))
    rows, items = [], []
    for b in benchmarks:
        truth = draw_truth(rng, len(subjects), n_items, guessing=chance)
        p = Truth(np.array(abilities[b]), truth.difficulty, truth.discrimination, truth.guessing).probability()
        y = rng.random(p.shape) < p
        names = [f"{b}:{j:03d}" for j in range(n_items)]
        items += [dict(item=n, benchmark=b, n_options=4, chance=chance, text=f"what is {n}?", gold=0) for n in names]
        for i, s in enumerate(subjects):
            rows += [
                dict(subject=s["subject"], item=n, benchmark=b, outcome="acc", response=float(v))
                for n, v in zip(names, y[i], strict=True)
            ]
    return Responses.from_frames(
        pl.DataFrame(rows), items=pl.DataFrame(items), subjects=pl.DataFrame(subjects), kind="binary"
    )
