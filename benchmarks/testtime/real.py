"""Real counts, sub-sampled: what a few samples on some items say of pass@k on all of them.

Subjects are split into four folds. The bank and the law of rates come from the other folds' full counts; then a subject
of the fold is drawn, some of its items and at most 50 of its samples on each (half of them where there are fewer than
100), without replacement, and pass@k of all items is estimated and compared with the unbiased estimate from its full
counts. Nothing is filtered.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import irsl
from irsl.errors import DataError
from irsl.laws.pass_at_k import bias_corrected, dataset_pass_at_k, pass_at_k, plug_in, posterior_mean
from irsl.laws.power_law import fit_power_law

Array = NDArray[np.float64]

FOLDS = 4
BOUGHT = 50
MIN_SAMPLES = 4  # of a subject that is sub-sampled, on every item
LARGEST_K = 10_000
N_K = 25
Z90 = 1.645
SOLVED = 0.005  # single-sample rate below which published comparisons drop an item, by the truth
METHODS = ("plug-in", "bias-corrected", "unbiased and power law", "posterior mean", "irsl, no bank", "irsl")


@dataclass(frozen=True)
class Table:
    """Counts of one data set.

    Attributes
    ----------
    name : str
    n_samples, n_correct : (n_subjects, n_items) float64
    benchmark : (n_items,) object
    """

    name: str
    n_samples: Array
    n_correct: Array
    benchmark: NDArray[Any]


@dataclass(frozen=True)
class Study:
    """A data set, and which items of a new subject are sampled.

    Attributes
    ----------
    name : str
    folder : str
        Of the test data, or "ladder".
    benchmarks : tuple of str
    seen : {"half", "30 items", "easier half", "first benchmark"}
        What is sampled; pass@k is that of all items, of the harder half, or of the second benchmark.
    """

    name: str
    folder: str
    benchmarks: tuple[str, ...]
    seen: str = "half"


SETS = (
    Study("evalperf MBPP+", "evalperf", ("MBPP+",)),
    Study("evalperf HumanEval+", "evalperf", ("HumanEval+",)),
    Study("livecodebench generation", "livecodebench", ("codegeneration",)),
    Study("livecodebench execution, reasoned", "livecodebench", ("codeexecution_cot",)),
    Study("Terminal-Bench", "agents_swebench_terminal", ("terminal_bench_1_0",)),
    Study("Pythia on GSM8K", "pythia_sampling_gsm8k", ("gsm8k_128",)),
    Study("ladder facts", "ladder", ("facts_sampled",)),
    Study("ladder patterns", "ladder", ("patterns_sampled",)),
    Study("ladder recall", "ladder", ("recall_sampled",)),
    Study("ladder arithmetic", "ladder", ("arithmetic_sampled",)),
)
TRANSFERS = (
    Study("evalperf MBPP+, 30 items", "evalperf", ("MBPP+",), "30 items"),
    Study("livecodebench execution, 30 items", "livecodebench", ("codeexecution_cot",), "30 items"),
    Study("Pythia on GSM8K, 30 items", "pythia_sampling_gsm8k", ("gsm8k_128",), "30 items"),
    Study("ladder patterns, 30 items", "ladder", ("patterns_sampled",), "30 items"),
    Study("evalperf MBPP+, easier half", "evalperf", ("MBPP+",), "easier half"),
    Study("livecodebench generation, easier half", "livecodebench", ("codegeneration",), "easier half"),
    Study("Terminal-Bench, easier half", "agents_swebench_terminal", ("terminal_bench_1_0",), "easier half"),
    Study("Pythia on GSM8K, easier half", "pythia_sampling_gsm8k", ("gsm8k_128",), "easier half"),
    Study("ladder patterns, easier half", "ladder", ("patterns_sampled",), "easier half"),
    Study("evalperf, HumanEval+ to MBPP+", "evalperf", ("HumanEval+", "MBPP+"), "first benchmark"),
    Study(
        "livecodebench, execution to reasoned execution",
        "livecodebench",
        ("codeexecution", "codeexecution_cot"),
        "first benchmark",
    ),
    Study("ladder, facts to recall", "ladder", ("facts_sampled", "recall_sampled"), "first benchmark"),
)


def load(study: Study) -> Table:
    """Read the counts; cells without a number of samples are missing."""
    if study.folder == "ladder":
        responses = irsl.ladder.load().select(outcome="exact_match", benchmark=list(study.benchmarks)).responses
    else:
        folder = os.environ.get("IRSL_TEST_DATA")
        if not folder:
            raise SystemExit("set IRSL_TEST_DATA to the folder of the real data sets")
        responses = pl.read_parquet(Path(folder) / study.folder / "responses.parquet").rename({"model": "subject"})
        responses = responses.filter(pl.col("benchmark").is_in(study.benchmarks) & pl.col("n_samples").is_not_null())
    order = {b: i for i, b in enumerate(study.benchmarks)}
    responses = responses.with_columns(place=pl.col("benchmark").replace_strict(order)).sort(
        "place", maintain_order=True
    )
    key = pl.concat_str("benchmark", "item", separator=" ")
    items = responses.with_columns(key=key).select("key", "benchmark").unique("key", maintain_order=True)
    subjects = responses["subject"].unique(maintain_order=True).to_list()
    row = responses["subject"].replace_strict({s: i for i, s in enumerate(subjects)}, return_dtype=pl.Int64)
    column = (
        responses.select(key)
        .to_series()
        .replace_strict({k: i for i, k in enumerate(items["key"])}, return_dtype=pl.Int64)
    )
    n, c = np.zeros((len(subjects), items.height)), np.zeros((len(subjects), items.height))
    n[row.to_numpy(), column.to_numpy()] = responses["n_samples"].to_numpy()
    c[row.to_numpy(), column.to_numpy()] = responses["n_correct"].to_numpy()
    whole = np.array([(n[:, items["benchmark"].to_numpy() == b] > 0).any(axis=1) for b in study.benchmarks]).all(axis=0)
    return Table(study.name, n[whole], c[whole], items["benchmark"].to_numpy())


def responses_of(table: Table, n: Array, c: Array, prefix: str) -> irsl.Responses:
    """Counts as responses, items of two benchmarks kept apart by name."""
    rows, columns = np.nonzero(n > 0)
    return irsl.Responses.from_frames(
        pl.DataFrame(
            {
                "subject": [f"{prefix}{r}" for r in rows],
                "item": [f"item {k}" for k in columns],
                "benchmark": table.benchmark[columns].astype(str),
                "n_samples": n[rows, columns].astype(np.int64),
                "n_correct": c[rows, columns].astype(np.int64),
            }
        ),
        kind="counts",
    )


def run_fold(study: Study, fold: int, repetitions: int) -> list[dict[str, Any]]:
    """Calibrate on the other folds, then sub-sample subjects of this one."""
    table = load(study)
    n, c = table.n_samples, table.n_correct
    rng = np.random.default_rng([fold, len(study.name), *map(ord, study.name)])
    order = np.random.default_rng(0).permutation(n.shape[0])
    test, train = order[fold::FOLDS], np.setdiff1d(order, order[fold::FOLDS])
    least = np.where(n > 0, n, np.inf).min(axis=1)
    test = test[least[test] >= MIN_SAMPLES]
    known = responses_of(table, n[train], c[train], "known ")
    bank = irsl.calibrate(known, scale="joint").bank if study.seen == "first benchmark" else None
    law = irsl.sampling_law(known, bank)
    column = {item: j for j, item in enumerate(law.items["item"])}
    place = np.array([column.get(f"item {j}", -1) for j in range(n.shape[1])])
    shares = np.where(n[train] > 0, c[train] / np.maximum(n[train], 1), 0.0)
    ease = shares.sum(axis=0) / np.maximum((n[train] > 0).sum(axis=0), 1)
    results = []
    for _ in range(repetitions):
        i = int(rng.choice(test))
        asked = np.flatnonzero((n[i] > 0) & (place >= 0))
        if study.seen == "easier half":
            ranked = asked[np.argsort(-ease[asked], kind="stable")]
            sampled, target = ranked[: asked.size // 2], ranked[asked.size // 2 :]
        elif study.seen == "first benchmark":
            first = table.benchmark[asked] == study.benchmarks[0]
            sampled, target = asked[first], asked[~first]
        else:
            size = 30 if study.seen == "30 items" else asked.size // 2
            sampled, target = rng.permutation(asked)[:size], asked
        results.append(_one(table, law, place, i, sampled, target, rng))
    return results


def _one(
    table: Table,
    law: irsl.SamplingLaw,
    place: NDArray[np.intp],
    i: int,
    sampled: NDArray[np.intp],
    target: NDArray[np.intp],
    rng: np.random.Generator,
) -> dict[str, Any]:
    n, c = table.n_samples[i], table.n_correct[i]
    largest = min(float(n[target].min()), LARGEST_K)
    k = np.unique(np.round(np.geomspace(1, largest, N_K)))
    exact = pass_at_k(n[target][:, None], c[target][:, None], k)
    truth = exact.mean(axis=0)
    m = np.minimum(BOUGHT, np.floor(n[sampled] / 2))
    got = rng.hypergeometric(c[sampled].astype(int), (n - c)[sampled].astype(int), m.astype(int)).astype(float)
    estimates: dict[str, Array] = {
        "plug-in": plug_in(m[:, None], got[:, None], k).mean(axis=0),
        "bias-corrected": bias_corrected(m[:, None], got[:, None], k).mean(axis=0),
        "posterior mean": posterior_mean(m[:, None], got[:, None], k).mean(axis=0),
    }
    bought = np.arange(1.0, m.min() + 1)
    unbiased = pass_at_k(m[:, None], got[:, None], bought).mean(axis=0)
    try:
        beyond = fit_power_law(bought, unbiased).at(k)
    except DataError:
        beyond = np.full(k.size, unbiased[-1])
    estimates["unbiased and power law"] = np.where(k <= m.min(), np.interp(k, bought, unbiased), beyond)
    started = time.perf_counter()
    own, counts = np.zeros_like(n), np.zeros_like(n)
    own[sampled], counts[sampled] = m, got
    placed = law.place(responses_of(table, own[None], counts[None], "new "))
    benchmark = str(table.benchmark[target[0]])
    whole = target.size == (table.benchmark == benchmark).sum() == (law.items["benchmark"] == benchmark).sum()
    names = law.items["item"].to_numpy()[place[target]]
    draws = placed.draws(k, items=names)[0]
    curve = placed.curve(k).filter(pl.col("benchmark") == benchmark)
    estimates["irsl"] = curve["pass_at_k"].fill_null(np.nan).to_numpy() if whole else draws.mean(axis=0)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    # the truth is itself an estimate, from the full counts
    noise = Z90 * dataset_pass_at_k(n[target], c[target], k)["se_samples"].fill_null(0.0).fill_nan(0.0).to_numpy()
    middle = draws.mean(axis=0)
    low, high = middle - np.hypot(middle - low, noise), middle + np.hypot(high - middle, noise)
    seconds = time.perf_counter() - started
    alone = responses_of(table, own[None], counts[None], "new ")
    alone = alone.select(benchmark=str(table.benchmark[sampled[0]]))
    estimates["irsl, no bank"] = irsl.sampling_law(alone).curve(k)["pass_at_k"].fill_null(np.nan).to_numpy()
    solved = c[target] / n[target] >= SOLVED
    kept = dict.fromkeys(("plug-in", "irsl"), np.nan)
    inside_sample = np.isin(sampled, target[solved])
    far = k > 10 if largest > 20 else k > m.min()
    if solved.any() and inside_sample.any():
        true = exact[solved].mean(axis=0)
        crude = plug_in(m[inside_sample][:, None], got[inside_sample][:, None], k).mean(axis=0)
        ours = placed.draws(k, items=names[solved])[0].mean(axis=0)
        kept = {"plug-in": np.abs(crude - true)[far].mean(), "irsl": np.abs(ours - true)[far].mean()}
    positive = truth > 0
    return {
        "k": k.tolist(),
        "far": far.tolist(),
        "truth": truth.tolist(),
        "error": {name: (value - truth).tolist() for name, value in estimates.items()},
        "log error": {
            name: np.where(positive, np.abs(np.log(np.maximum(value, 1e-6) / np.maximum(truth, 1e-6))), np.nan).tolist()
            for name, value in estimates.items()
        },
        "inside": ((low <= truth) & (truth <= high)).tolist(),
        "filtered": kept,
        "n bought": float(m.min()),
        "seconds": seconds,
    }
