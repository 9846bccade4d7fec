"""The data card of the packaged ladder: card_template.md filled with figures computed from the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import spearmanr

from ladder.analysis import Result, final_accuracy, pairs_ordered_differently
from ladder.config import KINDS, Configuration, Recipe
from ladder.items import BENCHMARKS, N_OPTIONS, SAMPLED_SUFFIX

TEMPLATE = Path(__file__).with_name("card_template.md")
NOTICES = Path(__file__).with_name("NOTICES.md")
OWN_KIND = {name: "text" if name == "order" else name for name in BENCHMARKS}
WHAT_IS_ASKED = {
    "facts": "an invented entity's relation, against values of the same relation; entities log-uniform in rank",
    "arithmetic": "sums, differences, products of one to three digits",
    "patterns": "copy, reverse, sort, continue or find the largest of 3 to 16 letters (training: up to 9)",
    "recall": "look up a key among 2 to 16 pairs (training: up to 6)",
    "agreement": "verb ending for the gender and number of the first noun, past up to 6 others",
    "order": "the last words of a held-out natural sentence in the right order",
}


class Accuracies:
    """Final accuracies by recipe, size, seed and benchmark."""

    def __init__(self, found: list[Result], items: pl.DataFrame) -> None:
        gold, benchmark = items["gold"].to_numpy(), items["benchmark"].to_numpy()
        self._values = {
            (run.recipe.name, run.size.name, run.seed, name): final_accuracy(result, gold, benchmark, name)
            for result in found
            for run in [result.run]
            for name in BENCHMARKS
        }

    def get(self, recipe: str, size: str, seed: int, benchmark: str) -> float:
        """NaN where the run does not exist."""
        return self._values.get((recipe, size, seed, benchmark), float("nan"))

    def mean(self, recipe: str, size: str, benchmark: str) -> float:
        """Mean over the seeds that exist."""
        wanted = (recipe, size, benchmark)
        return float(np.mean([value for (r, s, _, b), value in self._values.items() if (r, s, b) == wanted]))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; floats get two decimals."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return "-" if np.isnan(value) else f"{value:.2f}"
        return str(value)

    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def crossing_rows(
    accuracies: Accuracies, recipes: list[str], sizes: list[str], first_seed: int, second_seed: int
) -> list[list[object]]:
    """By benchmark: shares of pairs of recipes that a ranking orders unlike the largest size's first seed.

    Columns: benchmark; each smaller size; the largest size's second seed; the smallest size against the mean of the
    largest size's seeds.
    """
    rows: list[list[object]] = []
    largest = sizes[-1]
    for name in BENCHMARKS:

        def accuracy(size: str, seed: int, name: str = name) -> np.ndarray:
            return np.array([accuracies.get(recipe, size, seed, name) for recipe in recipes])

        truth, second = accuracy(largest, first_seed), accuracy(largest, second_seed)
        row: list[object] = [name]
        row += [pairs_ordered_differently(accuracy(size, first_seed), truth) for size in sizes[:-1]]
        both = np.isfinite(second)
        row.append(pairs_ordered_differently(second[both], truth[both]))
        mean = [accuracies.mean(recipe, largest, name) for recipe in recipes]
        row.append(pairs_ordered_differently(accuracy(sizes[0], first_seed), mean))
        rows.append(row)
    return rows


def data_card(
    found: list[Result],
    configuration: Configuration,
    items: pl.DataFrame,
    n_subjects: int,
    deviations: dict[str, float],
    n_checked: int,
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    found : list of Result
        The packed runs.
    items : DataFrame
        The four-choice items.
    n_subjects : int
        Packed checkpoints.
    deviations : dict of float
        By run with packed weights: largest difference between NumPy's and the stored log-likelihoods, in nats.
    n_checked : int
        Items on which that was measured.
    """
    accuracies = Accuracies(found, items)
    sizes = [size.name for size in configuration.sizes]
    trained = {result.run.recipe.name for result in found}
    recipes = [recipe for recipe in configuration.recipes if recipe.name in trained]
    names = [recipe.name for recipe in recipes]
    first_seed = configuration.queue[0].seed
    seeds = Counter(result.run.seed for result in found)
    further = {seed: count for seed, count in seeds.items() if seed != first_seed}
    second_seed = next(iter(further), first_seed + 1)
    largest, example = sizes[-1], names[0]
    summary = found[0].summary
    seconds = {
        "training": sum(result.summary["processor_seconds_training"] for result in found),
        "evaluation": sum(r.summary["seconds_evaluation"] + r.summary["seconds_sampling"] for r in found),
    }
    return TEMPLATE.read_text(encoding="utf-8").format(
        n_recipes=len(names),
        n_sizes=len(sizes),
        first_seed=first_seed,
        further_seeds="".join(f", and seed {s} of the largest sizes ({n} runs)" for s, n in further.items()),
        n_runs=len(found),
        n_subjects=n_subjects,
        second_seed_checkpoints=configuration.second_seed_checkpoints,
        n_items=f"{items.height:,}",
        n_benchmarks=len(BENCHMARKS),
        log_p_unit=summary["log_p_unit"],
        n_sampled=len(summary["n_correct"]),
        n_samples=summary["n_samples"],
        dates=" and ".join(sorted({result.summary["date"] for result in found})),
        cpus=" and ".join(sorted({result.summary["cpu"] for result in found})),
        torch=summary["torch"],
        sizes=_sizes(found, configuration),
        training_hours=f"{seconds['training'] / 3600:.2f}",
        evaluation_hours=f"{seconds['evaluation'] / 3600:.2f}",
        recipes=_recipes(recipes),
        benchmarks=table(
            ["benchmark", "items", "chance", "what is asked"],
            [[n, items.filter(pl.col("benchmark") == n).height, 1 / N_OPTIONS, WHAT_IS_ASKED[n]] for n in BENCHMARKS],
        ),
        largest=largest,
        by_recipe=table(
            ["recipe", *BENCHMARKS], [[n, *(accuracies.mean(n, largest, b) for b in BENCHMARKS)] for n in names]
        ),
        by_size=table(["size", *BENCHMARKS], _spreads(accuracies, names, sizes, first_seed)),
        example=example,
        by_size_of_one=table(
            ["size", *BENCHMARKS],
            [[s, *(accuracies.get(example, s, first_seed, b) for b in BENCHMARKS)] for s in sizes],
        ),
        seed_differences=_seed_differences(accuracies, names, sizes, first_seed, second_seed),
        sampled=_sampled(found, largest, first_seed),
        n_pairs=len(names) * (len(names) - 1) // 2,
        second_seed=second_seed,
        crossings=table(
            ["benchmark", *sizes[:-1], f"{largest} seed {second_seed}", f"{sizes[0]} against mean"],
            crossing_rows(accuracies, names, sizes, first_seed, second_seed),
        ),
        mixture=_mixture(accuracies, recipes, largest),
        **_resolution(found),
        weights=", ".join(deviations),
        deviation=f"{max(deviations.values(), default=0.0):.3f}",
        checked=n_checked,
        notices=NOTICES.read_text(encoding="utf-8").strip(),
    )


def _spreads(accuracies: Accuracies, recipes: list[str], sizes: list[str], seed: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for size in sizes:
        row: list[object] = [size]
        for name in BENCHMARKS:
            values = [accuracies.get(recipe, size, seed, name) for recipe in recipes]
            row.append(f"{np.mean(values):.2f} ({min(values):.2f} - {max(values):.2f})")
        rows.append(row)
    return rows


def _sizes(found: list[Result], configuration: Configuration) -> str:
    rows = []
    for size in configuration.sizes:
        runs = [result.summary for result in found if result.run.size == size]
        last = runs[0]["steps"][-1]
        rows.append(
            [
                size.name,
                f"{runs[0]['params']:,}",
                size.architecture.d_model,
                size.architecture.n_layers,
                size.architecture.n_heads,
                f"{last * runs[0]['tokens_per_step']:,}",
                f"{last * runs[0]['flops_per_step']:.1e}",
                f"{size.learning_rate:g}",
                len(runs),
                f"{np.mean([run['processor_seconds_training'] for run in runs]):.0f}",
                f"{np.mean([run['seconds_evaluation'] + run['seconds_sampling'] for run in runs]):.0f}",
            ]
        )
    header = ["size", "params", "d_model", "layers", "heads", "tokens", "FLOPs", "peak learning rate", "runs"]
    return table([*header, "training, core s a run", "evaluation, s a run"], rows)


def _recipes(recipes: list[Recipe]) -> str:
    rows = []
    for recipe in recipes:
        settings = recipe.settings
        first, last = recipe.settings_at(0), recipe.settings_at(1)
        hard, exponents = f"{settings.hard:g}", f"{settings.entity_exponent:g}, {settings.noun_exponent:g}"
        if recipe.easy_to_hard:
            hard = f"{first.hard:g} to {last.hard:g}"
            exponents = f"{first.entity_exponent:g} to {last.entity_exponent:g}"
        unique = f"{recipe.unique_tokens:,}" if recipe.unique_tokens else "all"
        shares = [recipe.mix[kind] for kind in KINDS]
        rows.append([recipe.name, *shares, hard, exponents, f"{settings.noise:g}", unique])
    return table(["recipe", *KINDS, "hard", "exponents", "noise", "unique"], rows)


def _seed_differences(accuracies: Accuracies, recipes: list[str], sizes: list[str], first: int, second: int) -> str:
    rows: list[list[object]] = []
    for size in sizes:
        row: list[object] = [size]
        for name in BENCHMARKS:
            pairs = [(accuracies.get(r, size, first, name), accuracies.get(r, size, second, name)) for r in recipes]
            differences = np.array([abs(x - y) for x, y in pairs])
            row.append(float(differences[np.isfinite(differences)].mean()) if np.isfinite(differences).any() else None)
        if None not in row:
            rows.append(row)
    return table(["size", *BENCHMARKS], rows) if rows else "No second seed yet."


def _sampled(found: list[Result], size: str, seed: int) -> str:
    rows = []
    columns = [name + SAMPLED_SUFFIX for name in ("facts", "arithmetic", "patterns", "recall")]
    for result in found:
        if result.run.size.name != size or result.run.seed != seed:
            continue
        row = [result.run.recipe.name]
        for column in columns:
            counts = [n for item, n in result.summary["n_correct"].items() if item.startswith(column + ":")]
            never = sum(n == 0 for n in counts)
            row.append(f"{np.mean(counts) / result.summary['n_samples']:.2f} ({never} of {len(counts)})")
        rows.append(row)
    return table(["recipe", *columns], rows)


def _mixture(accuracies: Accuracies, recipes: list[Recipe], largest: str) -> str:
    rows: list[list[object]] = []
    for name in BENCHMARKS:
        values = {recipe.name: accuracies.mean(recipe.name, largest, name) for recipe in recipes}
        shares = [recipe.mix[OWN_KIND[name]] for recipe in recipes]
        correlation = (
            float(spearmanr(shares, list(values.values())).statistic) if len(set(shares)) > 1 else float("nan")
        )
        equal = [values[recipe.name] for recipe in recipes if recipe.mix == recipes[0].mix]
        spread = f"{min(equal):.2f} - {max(equal):.2f} ({len(equal)} recipes)"
        rows.append([name, correlation, spread, max(values, key=lambda recipe: values[recipe])])
    return table(["benchmark", "rank correlation with own share", "range at equal shares", "best recipe"], rows)


def _resolution(found: list[Result]) -> dict[str, str]:
    rounding = [result.summary["rounding"] for result in found]
    cells = sum(entry["cells"] for entry in rounding)
    changed = sum(entry["acc_changed"] for entry in rounding)
    mean = sum(entry["mean_p_choices_change"] * entry["cells"] for entry in rounding) / cells
    return {
        "cells": f"{cells:,}",
        "acc_changed": f"{changed:,}",
        "acc_changed_share": f"{changed / cells:.2%}",
        "p_change": f"{max(entry['largest_p_choices_change_in_range'] for entry in rounding):.4f}",
        "p_change_mean": f"{mean:.5f}",
        "below_range": f"{sum(entry['values_below_range'] for entry in rounding):,}",
        "values": f"{N_OPTIONS * cells:,}",
        "p_change_all": f"{max(entry['largest_p_choices_change'] for entry in rounding):.4f}",
    }
