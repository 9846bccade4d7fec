"""Forecasts of the largest size from the smaller ones, by the item-response law and by what it must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from irsl.calibration import ItemBank
from irsl.calibration.short_form import item_information
from irsl.errors import DataError
from irsl.laws.classical import accuracy_logit, accuracy_of_logit
from irsl.laws.decisions import decision_accuracy
from irsl.laws.trend import Trend, fit_trends
from irsl.likelihoods.base import Array

N_DRAWS = 4000
N_BOOTSTRAP = 1000
METHODS = {
    "irsl": "item-response law",
    "classical": "classical law",
    "small": "ranking by the largest small size",
    "smallest": "ranking by the smallest size",
    "seed": "another seed of the largest size",
}


@dataclass(frozen=True)
class LawTables:
    """Tables of the laws.

    Attributes
    ----------
    points : final checkpoints: benchmark, recipe, size, seed, flops, ability (Warm's estimate), se_ability, accuracy
    trends : benchmark, recipe, intercept, slope and its error, centre (log10 FLOPs), tau
    forecasts : benchmark, recipe, method, flops, accuracy and its interval, observed; for the item-response law also
        ability and its interval, and the ability observed
    comparison : benchmark, method, error (mean absolute, in accuracy), coverage, width, decision_accuracy, its interval
    choice : benchmark ("all" is their mean), recipe, p_best, accuracy with interval, observed
    """

    points: pl.DataFrame
    trends: pl.DataFrame
    forecasts: pl.DataFrame
    comparison: pl.DataFrame
    choice: pl.DataFrame


def forecast_largest(points: pl.DataFrame, bank: ItemBank, *, target: str, level: float, seed: int) -> LawTables:
    """Fit both laws to the sizes below `target`, per benchmark, and forecast the target.

    Parameters
    ----------
    points : polars.DataFrame
        A row per final checkpoint and benchmark: recipe, size, seed, flops, ability, se_ability, accuracy, n_observed.
    bank : ItemBank
        Calibrated without the target size.
    target : str
        The size to forecast.
    level : float
        Of all intervals.
    seed : int
        Of the draws and the bootstrap.
    """
    rng = np.random.default_rng(seed)
    parts: list[dict[str, pl.DataFrame]] = []
    draws: dict[str, tuple[Array, Array]] = {}
    recipes: dict[str, tuple[str, ...]] = {}
    for benchmark in bank.benchmarks:
        rows = points.filter(
            (pl.col("benchmark") == benchmark) & pl.col("flops").is_not_null() & pl.col("ability").is_finite()
        )
        if not _lawful(rows, target):
            continue
        part, draws[benchmark], recipes[benchmark] = _one_benchmark(benchmark, rows, bank, target, level, rng)
        parts.append(part)
    if not parts:
        raise DataError(f"no recipe of any benchmark has three sizes below {target!r} and that size itself")
    joined = {name: pl.concat([p[name] for p in parts]) for name in parts[0]}
    predictions = joined.pop("predictions")
    if len(parts) > 1:
        joined["comparison"] = pl.concat(
            [_over_benchmarks(predictions, joined["comparison"], level, rng), joined["comparison"]]
        )
    choice = _choice(draws, joined["forecasts"], recipes, level)
    return LawTables(points=points, choice=choice, **{k: joined[k] for k in ("trends", "forecasts", "comparison")})


def _lawful(rows: pl.DataFrame, target: str) -> bool:
    """Whether some recipe has three sizes below the target and the target itself."""
    small = rows.filter(pl.col("size") != target).group_by("recipe").agg(pl.col("size").n_unique())
    enough = small.filter(pl.col("size") >= 3)["recipe"]
    return not rows.filter((pl.col("size") == target) & pl.col("recipe").is_in(enough.implode())).is_empty()


def _one_benchmark(
    benchmark: str, rows: pl.DataFrame, bank: ItemBank, target: str, level: float, rng: np.random.Generator
) -> tuple[dict[str, pl.DataFrame], tuple[Array, Array], tuple[str, ...]]:
    small = rows.filter(pl.col("size") != target)
    enough = small.group_by("recipe", maintain_order=True).agg(pl.col("size").n_unique()).filter(pl.col("size") >= 3)
    large = rows.filter((pl.col("size") == target) & pl.col("recipe").is_in(enough["recipe"].implode()))
    recipes = tuple(large["recipe"].unique(maintain_order=True))
    if len(recipes) < 1:
        raise DataError(f"benchmark {benchmark!r}: no recipe has three sizes below {target!r} and that size itself")
    small = small.filter(pl.col("recipe").is_in(list(recipes))).sort(
        pl.col("recipe").replace_strict({r: i for i, r in enumerate(recipes)}), "flops"
    )
    observed = large.group_by("recipe", maintain_order=True).agg(
        pl.col("accuracy", "ability", "flops").mean(),
        first=pl.col("accuracy").first(),
        last=pl.col("accuracy").last(),
    )
    truth = observed["accuracy"].to_numpy()
    flops = observed["flops"].to_numpy()
    names = small["recipe"].to_list()
    compute = small["flops"].to_numpy()

    items = bank.select(benchmark=benchmark)
    parameters, scale = items.parameters(), items.scale_of(benchmark)
    curve = _MeanCurve(items)
    accuracy = small["accuracy"].to_numpy()
    scatter = float(np.sqrt(np.mean((accuracy - curve(small["ability"].to_numpy())) ** 2)))
    trend = fit_trends(names, compute, small["ability"].to_numpy(), small["se_ability"].to_numpy())
    forecast = trend.forecast(flops)
    true_draws = forecast.draws(N_DRAWS, rng)
    information = item_information(parameters, scale.response_likelihood(), forecast.mean).sum(axis=0)
    noise = 1.0 / np.sqrt(1.0 + scale.trials * information)
    measured = true_draws + noise * rng.standard_normal(true_draws.shape)
    seen = np.clip(curve(measured) + scatter * rng.standard_normal(measured.shape), 0.0, 1.0)
    expected = curve(true_draws)
    ability_low, ability_high = forecast.interval(level, noise=noise**2)
    tails = [(1 - level) / 2, (1 + level) / 2]
    irsl = _frame(benchmark, "irsl", recipes, flops, expected.mean(axis=0), np.quantile(seen, tails, axis=0), truth)
    irsl = irsl.with_columns(
        ability=pl.Series(forecast.mean),
        ability_lower=pl.Series(ability_low),
        ability_upper=pl.Series(ability_high),
        ability_observed=pl.Series(observed["ability"]),
    )

    chance = _mean_chance(items)
    n_items = small["n_observed"].to_numpy() * scale.trials
    z, se = accuracy_logit(accuracy, n_items, chance)
    line = fit_trends(names, compute, z, se).forecast(flops)
    z_draws = line.draws(N_DRAWS, rng)
    p_draws = accuracy_of_logit(z_draws, chance)
    n_target = len(items) * scale.trials
    p_seen = rng.binomial(n_target, p_draws) / n_target
    classical = _frame(
        benchmark,
        "classical",
        recipes,
        flops,
        p_draws.mean(axis=0),
        np.quantile(p_seen, tails, axis=0),
        truth,
    )
    sizes = small.group_by("size").agg(pl.col("flops").median()).sort("flops")["size"].to_list()
    ranks = {
        "small": _at_size(small, sizes[-1], recipes),
        "smallest": _at_size(small, sizes[0], recipes),
    }
    truths = dict.fromkeys(("irsl", "classical", "small", "smallest"), truth)
    predictions = {
        "irsl": irsl["accuracy"].to_numpy(),
        "classical": classical["accuracy"].to_numpy(),
        **ranks,
    }
    comparison = [
        _compare(benchmark, method, frame, truth, predicted, level, rng)
        for method, predicted in predictions.items()
        for frame in [{"irsl": irsl, "classical": classical}.get(method)]
    ]
    if (large.group_by("recipe").len()["len"] > 1).all():
        first, last = observed["first"].to_numpy(), observed["last"].to_numpy()
        comparison.append(_compare(benchmark, "seed", None, first, last, level, rng))
        predictions["seed"] = last
        truths["seed"] = first
    tables = {
        "trends": _trend_frame(benchmark, trend),
        "forecasts": pl.concat([irsl, classical], how="diagonal"),
        "comparison": pl.DataFrame(comparison, infer_schema_length=None),
        "predictions": pl.concat(
            [
                pl.DataFrame(
                    {
                        "benchmark": [benchmark] * len(recipes),
                        "method": [method] * len(recipes),
                        "recipe": list(recipes),
                        "truth": truths[method],
                        "predicted": predicted,
                    }
                )
                for method, predicted in predictions.items()
            ]
        ),
    }
    return tables, (expected, seen), recipes


class _MeanCurve:
    """Mean of a benchmark's item-response curves, tabulated: abilities of any shape to accuracies."""

    def __init__(self, items: ItemBank) -> None:
        self.points = np.linspace(-12.0, 12.0, 2401)
        self.values = items.curves(self.points).mean(axis=0)

    def __call__(self, ability: Array) -> Array:
        return np.asarray(np.interp(ability, self.points, self.values))


def _mean_chance(items: ItemBank) -> float:
    """Mean chance of a benchmark's items, the classical law's floor."""
    return float(items.items["chance"].mean())  # type: ignore[arg-type]


def _at_size(small: pl.DataFrame, size: str, recipes: tuple[str, ...]) -> Array:
    means = dict(small.filter(pl.col("size") == size).group_by("recipe").agg(pl.col("accuracy").mean()).iter_rows())
    return np.array([means.get(r, np.nan) for r in recipes])


def _frame(
    benchmark: str,
    method: str,
    recipes: tuple[str, ...],
    flops: Array,
    mean: Array,
    bounds: Array,
    truth: Array,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "benchmark": [benchmark] * len(recipes),
            "recipe": list(recipes),
            "method": [method] * len(recipes),
            "flops": flops,
            "accuracy": mean,
            "accuracy_lower": bounds[0],
            "accuracy_upper": bounds[1],
            "observed": truth,
        }
    )


def _trend_frame(benchmark: str, trend: Trend) -> pl.DataFrame:
    n = len(trend.recipes)
    return pl.DataFrame(
        {
            "benchmark": [benchmark] * n,
            "recipe": list(trend.recipes),
            "intercept": trend.intercept,
            "slope": trend.slope,
            "se_intercept": np.sqrt(np.diag(trend.covariance)[:n]),
            "se_slope": np.sqrt(np.diag(trend.covariance)[n:]),
            "covariance": np.diag(trend.covariance[:n, n:]),
            "centre": [trend.centre] * n,
            "tau": [trend.tau] * n,
            "degrees": [trend.degrees] * n,
        }
    )


def _compare(
    benchmark: str,
    method: str,
    frame: pl.DataFrame | None,
    truth: Array,
    predicted: Array,
    level: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    known = np.isfinite(predicted)
    truth, predicted = truth[known], predicted[known]
    decided = decision_accuracy(truth, predicted)
    low, high = _bootstrap(truth, predicted, level, rng)
    row: dict[str, Any] = {
        "benchmark": benchmark,
        "method": method,
        "error": float(np.abs(truth - predicted).mean()),
        "coverage": None,
        "width": None,
        "decision_accuracy": decided,
        "decision_lower": low,
        "decision_upper": high,
        "n_recipes": int(known.sum()),
    }
    if frame is not None:
        inside = (frame["accuracy_lower"] <= frame["observed"]) & (frame["observed"] <= frame["accuracy_upper"])
        row["coverage"] = float(inside.mean())  # type: ignore[arg-type]
        row["width"] = float((frame["accuracy_upper"] - frame["accuracy_lower"]).mean())  # type: ignore[arg-type]
    return row


def _over_benchmarks(
    predictions: pl.DataFrame, comparison: pl.DataFrame, level: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Rows of the comparison for "all": means over benchmarks, decision accuracy with the recipes resampled."""
    rows = []
    for (method,), part in predictions.group_by("method", maintain_order=True):
        own = comparison.filter(pl.col("method") == method)
        tables = [
            (rows_["truth"].to_numpy(), rows_["predicted"].to_numpy())
            for _, rows_ in part.group_by("benchmark", maintain_order=True)
        ]
        same = {tuple(rows_["recipe"]) for _, rows_ in part.group_by("benchmark")}
        alike = len(same) == 1 and all(np.isfinite(p).all() for _, p in tables)
        low, high = _bootstrap_mean(tables, level, rng) if alike else (None, None)
        means = own.select(pl.col("error", "coverage", "width", "decision_accuracy").mean()).row(0, named=True)
        rows.append(
            {
                "benchmark": "all",
                "method": method,
                **means,
                "decision_lower": low,
                "decision_upper": high,
                "n_recipes": own["n_recipes"].min(),
            }
        )
    return pl.DataFrame(rows, schema=comparison.schema)


def _bootstrap(truth: Array, predicted: Array, level: float, rng: np.random.Generator) -> tuple[float, float]:
    return _bootstrap_mean([(truth, predicted)], level, rng)


def _bootstrap_mean(tables: list[tuple[Array, Array]], level: float, rng: np.random.Generator) -> tuple[float, float]:
    """Percentile interval of decision accuracy, averaged over tables of the same recipes, over resampled recipes.

    A recipe is never paired with itself.
    """
    size = tables[0][0].size
    if size < 3:
        return float("nan"), float("nan")
    i, j = np.triu_indices(size, 1)
    counts = rng.multinomial(size, np.full(size, 1.0 / size), size=N_BOOTSTRAP)
    pairs = counts[:, i] * counts[:, j]
    values = []
    for truth, predicted in tables:
        order = np.sign(truth[i] - truth[j])
        agreement = (1.0 + order * np.sign(predicted[i] - predicted[j])) / 2.0
        weight = pairs * (order != 0)
        total = weight.sum(axis=1)
        values.append(np.where(total > 0, (weight @ agreement) / np.maximum(total, 1), np.nan))
    low, high = np.nanquantile(np.mean(values, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _choice(
    draws: dict[str, tuple[Array, Array]],
    forecasts: pl.DataFrame,
    recipes: dict[str, tuple[str, ...]],
    level: float,
) -> pl.DataFrame:
    """Which recipe will be best, how surely, and what it will reach; "all" is the mean over benchmarks.

    Draws are pairs: of the expected accuracy, which decides who is best, and of the accuracy that would be observed,
    whose interval is shown beside what was.
    """
    tables = dict(draws)
    if len(set(recipes.values())) == 1 and len(draws) > 1:
        both = [np.mean([d[k] for d in draws.values()], axis=0) for k in (0, 1)]
        tables = {"all": (both[0], both[1]), **tables}
    frames = []
    for benchmark, (table, seen) in tables.items():
        rows = forecasts.filter(pl.col("method") == "irsl")
        if benchmark != "all":
            rows = rows.filter(pl.col("benchmark") == benchmark)
        truth = rows.group_by("recipe", maintain_order=True).agg(pl.col("observed").mean())
        best = np.bincount(table.argmax(axis=1), minlength=table.shape[1]) / table.shape[0]
        low, high = np.quantile(seen, [(1 - level) / 2, (1 + level) / 2], axis=0)
        frames.append(
            pl.DataFrame(
                {
                    "benchmark": [benchmark] * table.shape[1],
                    "recipe": truth["recipe"],
                    "p_best": best,
                    "accuracy": table.mean(axis=0),
                    "accuracy_lower": low,
                    "accuracy_upper": high,
                    "observed": truth["observed"],
                }
            ).sort("p_best", "accuracy", descending=True)
        )
    return pl.concat(frames)
