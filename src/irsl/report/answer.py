"""What the report's first lines say: the recipe to train, how surely, whether the forecast held, and who was nearer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binom, norm
from scipy.stats import t as student_t

SURE, LIKELY = 0.9, 0.6
RACE = 0.9
RARE = 0.05
NEAR = 0.2
TIE = 5e-4
MIN_RECIPES = 3
Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """The decision between recipes on one benchmark, or on "all".

    Attributes
    ----------
    benchmark : str
    rows : tuple of dict
        recipe, p_best, accuracy and its interval, observed, inside; the likeliest best first.
    race : tuple of dict
        The fewest of them that hold the best one with probability 0.9.
    best : dict or None
        The row with the highest accuracy observed; None where none was.
    cost : float or None
        Accuracy lost by the choice against the best in hindsight.
    inside : bool or None
        Whether the accuracy observed lies in the interval forecast.
    """

    benchmark: str
    rows: tuple[Row, ...]
    race: tuple[Row, ...]
    best: Row | None
    cost: float | None
    inside: bool | None

    @property
    def chosen(self) -> Row:
        """The recipe to train."""
        return self.rows[0]

    @property
    def certainty(self) -> str:
        """How sure the choice is, in a word: "sure", "likely" or "open"."""
        p = float(self.chosen["p_best"])
        return "sure" if p >= SURE else "likely" if p >= LIKELY else "open"

    @property
    def judged(self) -> int:
        """Recipes whose accuracy was observed."""
        return sum(row["inside"] is not None for row in self.rows)

    @property
    def held(self) -> int:
        """Recipes of these inside their interval."""
        return sum(row["inside"] is True for row in self.rows)

    def too_narrow(self, level: float) -> bool:
        """Tell whether so few recipes inside would be a rare accident (under 5 %) with intervals of that level."""
        return self.judged > 0 and float(binom.cdf(self.held, self.judged, level)) < RARE

    @property
    def low(self) -> float:
        """Left end of an axis that holds all rows."""
        return min(float(r[c]) for r in self.rows for c in ("accuracy_lower", "observed") if known(r[c]))

    @property
    def high(self) -> float:
        """Right end of that axis."""
        return max(float(r[c]) for r in self.rows for c in ("accuracy_upper", "observed") if known(r[c]))


def known(value: Any) -> bool:
    """Tell whether a cell holds a finite number."""
    return value is not None and math.isfinite(float(value))


def choices(choice: pl.DataFrame) -> dict[str, Choice]:
    """Decisions by benchmark, in the order of the table."""
    found = {}
    for (benchmark,), part in choice.group_by("benchmark", maintain_order=True):
        rows = part.sort("p_best", "accuracy", descending=True).to_dicts()
        for row in rows:
            row["inside"] = (
                row["accuracy_lower"] <= row["observed"] <= row["accuracy_upper"] if known(row["observed"]) else None
            )
        total = np.cumsum([float(r["p_best"]) for r in rows])
        n_race = int(np.searchsorted(total, RACE - 1e-12)) + 1
        seen = [r for r in rows if known(r["observed"])]
        best = max(seen, key=lambda r: float(r["observed"]), default=None)
        cost = float(best["observed"]) - float(rows[0]["observed"]) if best and known(rows[0]["observed"]) else None
        found[str(benchmark)] = Choice(str(benchmark), tuple(rows), tuple(rows[:n_race]), best, cost, rows[0]["inside"])
    return found


def near_chance(points: pl.DataFrame, items: pl.DataFrame, *, target: str | None) -> dict[str, tuple[int, int, str]]:
    """Benchmarks on which the largest size below the target hardly does better than guessing.

    A law that has seen no more than that cannot know when, or whether, the ability will come.

    Returns
    -------
    dict of benchmark to (recipes less than a fifth of the way from chance to 1, recipes, size)
        Only benchmarks where that is half of the recipes or more.
    """
    below = points.filter(pl.col("size").ne_missing(target) & pl.col("flops").is_not_null())
    if below.is_empty():
        return {}
    sizes = below.group_by("size").agg(pl.col("flops").median()).sort("flops", "size")
    last = str(sizes["size"][-1])
    chance = items.group_by("benchmark").agg(pl.col("chance").mean())
    table = (
        below.filter(pl.col("size") == last)
        .group_by("benchmark", "recipe", maintain_order=True)
        .agg(pl.col("accuracy").mean())
        .join(chance, on="benchmark", maintain_order="left")
        .group_by("benchmark", maintain_order=True)
        .agg(n=(pl.col("accuracy") < pl.col("chance") + NEAR * (1 - pl.col("chance"))).sum(), recipes=pl.len())
    )
    return {b: (n, k, last) for b, n, k in table.iter_rows() if n > 0 and 2 * n >= k}


@dataclass(frozen=True)
class Duel:
    """The item-response law against one other method, over benchmarks.

    Attributes
    ----------
    won, lost, even : int
        Benchmarks on which the item-response law was better, worse, equal.
    ours, theirs : float
        Means over those benchmarks.
    """

    won: int
    lost: int
    even: int
    ours: float
    theirs: float

    @property
    def n(self) -> int:
        """Benchmarks compared."""
        return self.won + self.lost + self.even


def duel(comparison: pl.DataFrame, other: str, quantity: str, *, smaller_is_better: bool) -> Duel | None:
    """Compare the item-response law with `other` in one column of the comparison; None where they never meet."""
    ours, theirs = (
        comparison.filter((pl.col("method") == m) & (pl.col("benchmark") != "all")).select("benchmark", quantity)
        for m in ("irsl", other)
    )
    both = ours.join(theirs, on="benchmark", suffix="_other").drop_nulls()
    a, b = (both[c].to_numpy().astype(np.float64) for c in (quantity, f"{quantity}_other"))
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    if a.size == 0:
        return None
    gain = b - a if smaller_is_better else a - b
    return Duel(
        int((gain > TIE).sum()),
        int((gain < -TIE).sum()),
        int((np.abs(gain) <= TIE).sum()),
        float(a.mean()),
        float(b.mean()),
    )


@dataclass(frozen=True)
class Gain:
    """How much smaller the item-response law's error is than the classical law's, with a t interval over recipes.

    Attributes
    ----------
    mean, lower, upper : float
        In accuracy; NaN bounds with fewer than three recipes.
    """

    mean: float
    lower: float
    upper: float

    @property
    def verdict(self) -> str:
        """Who was nearer beyond doubt: "ours", "theirs", or "open"."""
        return "ours" if self.lower > 0 else "theirs" if self.upper < 0 else "open"


def gain(forecasts: pl.DataFrame, *, level: float) -> Gain:
    """Mean over recipes of what the item-response law's error saves, each recipe's benchmarks averaged first."""
    error = (pl.col("accuracy") - pl.col("observed")).abs()
    by_method = {
        m: forecasts.filter(pl.col("method") == m).select("benchmark", "recipe", error=error)
        for m in ("irsl", "classical")
    }
    both = by_method["irsl"].join(by_method["classical"], on=["benchmark", "recipe"], suffix="_classical")
    saved = (
        both.group_by("recipe", maintain_order=True)
        .agg((pl.col("error_classical") - pl.col("error")).mean().alias("saved"))["saved"]
        .drop_nulls()
        .drop_nans()
        .to_numpy()
    )
    if saved.size < MIN_RECIPES:
        return Gain(float(saved.mean()) if saved.size else math.nan, math.nan, math.nan)
    half = student_t.ppf((1 + level) / 2, saved.size - 1) * saved.std(ddof=1) / math.sqrt(saved.size)
    return Gain(float(saved.mean()), float(saved.mean() - half), float(saved.mean() + half))


@dataclass(frozen=True)
class Ranking:
    """Subjects by mean accuracy over benchmarks, for reports without a law.

    Attributes
    ----------
    rows : tuple of dict
        subject, accuracy and its interval, ability and its interval (means over benchmarks), p_ahead (probability that
        its ability is above the next one's; None for the last), n_observed.
    n_benchmarks : int
    n_left_out : int
        Subjects that lack some benchmark and cannot be ranked with the others.
    """

    rows: tuple[Row, ...]
    n_benchmarks: int
    n_left_out: int


def ranking(abilities: pl.DataFrame, *, level: float) -> Ranking:
    """Rank the final checkpoint of every run by its mean accuracy; errors of benchmarks are taken as independent."""
    n_benchmarks = abilities["benchmark"].n_unique()
    finals = abilities.filter(pl.col("final").fill_null(True)) if "final" in abilities.columns else abilities
    half = (pl.col("accuracy_upper") - pl.col("accuracy_lower")) / 2
    table = (
        finals.group_by("subject", maintain_order=True)
        .agg(
            pl.col("accuracy", "ability").mean(),
            half=half.pow(2).sum().sqrt() / pl.len(),
            se_ability=pl.col("se_ability").pow(2).sum().sqrt() / pl.len(),
            n_observed=pl.col("n_observed").sum(),
            n=pl.len(),
        )
        .sort("accuracy", descending=True, nulls_last=True, maintain_order=True)
    )
    complete = table.filter(pl.col("n") == n_benchmarks)
    rows = complete.to_dicts()
    z = float(norm.ppf((1 + level) / 2))
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        row["accuracy_lower"] = max(row["accuracy"] - row["half"], 0.0)
        row["accuracy_upper"] = min(row["accuracy"] + row["half"], 1.0)
        row["ability_lower"] = row["ability"] - z * row["se_ability"]
        row["ability_upper"] = row["ability"] + z * row["se_ability"]
        row["p_ahead"] = None
        if following is not None:
            sd = math.hypot(row["se_ability"], following["se_ability"])
            if sd > 0 and math.isfinite(sd):
                row["p_ahead"] = float(norm.cdf((row["ability"] - following["ability"]) / sd))
    return Ranking(tuple(rows), n_benchmarks, table.height - complete.height)
