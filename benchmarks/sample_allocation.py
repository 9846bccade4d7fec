"""Does adaptive allocation of samples measure pass@k better than as many on every item? On the rates of real subjects.

    IRSL_TEST_DATA=path/to/data python benchmarks/sample_allocation.py            (six minutes on one core)
    python benchmarks/sample_allocation.py --table                                 print what is stored

A replication takes one real subject and one rate for each item, correct / samples in its full counts, 0 among them.
Samples are drawn from these rates, so that pass@k is known exactly. Both strategies start with five samples of every
item and see the same stream of outcomes of an item. Uniform: as many on every item. Adaptive: rounds that end at a
geometric sequence of totals, the law fitted and `allocate_samples` asked anew in each. Both are judged by the law
fitted to all their counts: absolute error of the posterior mean, width and coverage of the 90 % interval.

"Alone": nothing is known but the subject's own counts. "With others": the law was fitted to the full counts of half of
the subjects, and the subject, one of the other half, is placed on it.

Results go to benchmarks/results/sample_allocation.json; finished replications are kept, and a later run goes on where
the file ends, unless the design or the code of the laws has changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import irsl
from irsl.files import replace_file
from irsl.ladder import load
from irsl.laws.sample_plan import allocate_samples
from irsl.laws.sampling import SamplingLaw, sampling_law
from irsl.responses import Responses

RESULTS = Path(__file__).parent / "results" / "sample_allocation.json"
START = 5
ROUNDS = 3  # up to each of the totals
LEVEL = 0.9
SUBJECT = "subject"
NUMBERS = re.compile(r"\[[^\[\]{}\"]+\]")  # a list of numbers, to stand on one line


@dataclass(frozen=True)
class Design:
    """One set of real counts, what is measured of it, and at which numbers of samples an item on average."""

    name: str
    data: str
    benchmark: str
    ks: tuple[int, ...]
    averages: tuple[int, ...] = (20, 50)
    with_others: bool = False


DESIGNS = (
    Design("MBPP+", "evalperf", "MBPP+", (10, 100)),
    Design("HumanEval+", "evalperf", "HumanEval+", (10, 100)),
    Design("ladder, arithmetic", "ladder", "arithmetic_sampled", (10, 100, 1000)),
    Design("ladder, patterns", "ladder", "patterns_sampled", (10, 100, 1000)),
    Design("Pythia, GSM8K", "pythia_sampling_gsm8k", "gsm8k_128", (10, 100, 1000), averages=(50, 500)),
    Design("HumanEval+, with others", "evalperf", "HumanEval+", (10, 100), with_others=True),
    Design("ladder, patterns, with others", "ladder", "patterns_sampled", (10, 100, 1000), with_others=True),
)


@dataclass(frozen=True)
class Counts:
    """(n_subjects, n_items) full counts, NaN where missing, of the subjects that ever solved anything."""

    items: list[str]
    n_samples: NDArray[np.float64]
    n_correct: NDArray[np.float64]

    def of(self, subjects: NDArray[np.intp]) -> Responses:
        """Full counts of some subjects on the items that all of them have."""
        n, k = self.n_samples[subjects], self.n_correct[subjects]
        return Responses.from_matrix(k, n_samples=np.nan_to_num(n).astype(np.int64), items=self.items, kind="counts")


def full_counts(design: Design, root: Path) -> Counts:
    if design.data == "ladder":
        matrix = load().select(outcome="exact_match", benchmark=design.benchmark).to_matrix()
        correct = np.asarray(matrix.values, dtype=np.float64)
        samples = np.broadcast_to(np.asarray(matrix.trials, dtype=np.float64), correct.shape)
        items = matrix.items.astype(str).tolist()
    else:
        table = pl.read_parquet(root / design.data / "responses.parquet").filter(benchmark=design.benchmark)
        wide = [
            table.pivot(on="item", index="model", values=v).sort("model").drop("model")
            for v in ("n_samples", "n_correct")
        ]
        items = wide[0].columns
        samples, correct = (frame.select(items).cast(pl.Float64).to_numpy() for frame in wide)
        samples, correct = (np.where(np.isfinite(x), x, np.nan) for x in (samples, correct))
    alive = np.nansum(correct, axis=1) > 0
    return Counts(items, samples[alive], correct[alive])


def replicate(
    design: Design, counts: Counts, others: SamplingLaw | None, candidates: NDArray[np.intp], number: int
) -> dict[str, float]:
    """Errors, widths and coverage of both strategies for one subject, at every k and average."""
    rng = np.random.default_rng([zlib.crc32(design.name.encode()), number])
    subject = candidates[number % candidates.size]
    there = ~np.isnan(counts.n_samples[subject])
    rate = counts.n_correct[subject][there] / counts.n_samples[subject][there]
    items = [item for item, known in zip(counts.items, there, strict=True) if known]
    streams = Streams(rate, rng)

    def fit(n: NDArray[np.int64]) -> SamplingLaw:
        responses = Responses.from_matrix(
            streams.correct(n)[None], n_samples=n[None], subjects=[SUBJECT], items=items, kind="counts"
        )
        return sampling_law(responses, level=LEVEL, seed=number) if others is None else others.place(responses)

    found: dict[str, float] = {}

    def judge(law: SamplingLaw, k: int, average: int, strategy: str) -> None:
        row = law.curve([k]).row(0, named=True)
        if not row["identified"]:
            return
        truth = float(-np.expm1(k * np.log1p(-np.minimum(rate, 1 - 1e-16))).mean())
        key = f"{k}: {average}: {strategy}"
        found[f"{key}: error"] = abs(row["pass_at_k"] - truth)
        found[f"{key}: bias"] = row["pass_at_k"] - truth
        found[f"{key}: width"] = row["pass_at_k_upper"] - row["pass_at_k_lower"]
        # 1e-9: both ends are 1 where nothing is uncertain
        found[f"{key}: inside"] = float(row["pass_at_k_lower"] - 1e-9 <= truth <= row["pass_at_k_upper"] + 1e-9)

    for average in design.averages:
        law = fit(np.full(rate.size, average))
        for k in design.ks:
            judge(law, k, average, "uniform")
    first = fit(np.full(rate.size, START))
    for k in design.ks:
        n, law = np.full(rate.size, START), first
        for average in design.averages:
            for total in np.geomspace(n.mean(), average, ROUNDS + 1)[1:]:
                budget = round(total * rate.size) - int(n.sum())
                plan = allocate_samples(law, subject=SUBJECT, k=k, budget=budget)
                placed = dict(zip(plan["item"], plan["n_more"], strict=True))
                n = n + np.array([placed[item] for item in items])
                law = fit(n)
            judge(law, k, average, "adaptive")
            found[f"{k}: {average}: adaptive: most on an item"] = float(n.max())
            found[f"{k}: {average}: adaptive: spent"] = float(n.mean())
    return found


class Streams:
    """The outcomes of each item's samples in their order, drawn as far as they are asked for."""

    def __init__(self, rate: NDArray[np.float64], rng: np.random.Generator) -> None:
        self.rate = rate
        self.rngs = rng.spawn(rate.size)
        self.sums = [np.zeros(1, np.int64) for _ in rate]

    def correct(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how many of the first n of each item are right."""
        for item, wanted in enumerate(n):
            have = self.sums[item]
            if wanted >= have.size:
                more = self.rngs[item].random(max(int(wanted), 2 * have.size)) < self.rate[item]
                self.sums[item] = np.concatenate([have, have[-1] + np.cumsum(more)])
        return np.array([sums[wanted] for sums, wanted in zip(self.sums, n, strict=True)], dtype=np.float64)


def extend(
    state: dict[str, Any],
    run: Callable[[int], dict[str, float]],
    *,
    replications: int,
    seconds: float,
    save: Callable[[], None],
) -> None:
    """Add replications until there are enough or the time is up."""
    started = time.perf_counter()
    while state["replications"] < replications and time.perf_counter() - started < seconds:
        before = time.perf_counter()
        for name, value in run(state["replications"]).items():
            state["values"].setdefault(name, []).append(float(f"{value:.5g}"))
        state["replications"] += 1
        state["seconds"] = round(state["seconds"] + time.perf_counter() - before, 1)
        save()


def code_digest() -> str:
    """What the results depend on: the source of the laws, comments and all."""
    package = Path(irsl.__file__).parent / "laws"
    names = ("rates.py", "sampling.py", "sample_plan.py")
    return hashlib.sha256(b"".join((package / name).read_bytes() for name in names)).hexdigest()[:12]


def save(stored: dict[str, Any]) -> None:
    """Write the results, whole or not at all."""
    ordered = {d.name: stored["designs"][d.name] for d in DESIGNS if d.name in stored["designs"]}
    for state in ordered.values():
        state["summary"] = summary(state)
    text = json.dumps({"designs": ordered}, indent=1, allow_nan=False)
    with replace_file(RESULTS) as temporary:
        temporary.write_text(NUMBERS.sub(lambda match: " ".join(match[0].split()), text) + "\n")


def summary(state: dict[str, Any]) -> list[dict[str, float | None]]:
    """Means over replications, with Monte Carlo errors, of every k and average."""
    values = {name: np.array(v) for name, v in state["values"].items()}
    rows = []
    for k, average in dict.fromkeys(tuple(name.split(": ")[:2]) for name in values):
        key = f"{k}: {average}"
        if f"{key}: uniform: error" not in values:
            continue
        row: dict[str, float | None] = {"k": int(k), "average": int(average)}
        for strategy in ("uniform", "adaptive"):
            for statistic in ("error", "bias", "width", "inside"):
                row |= _mean(f"{strategy} {statistic}", values[f"{key}: {strategy}: {statistic}"])
        row["n"] = values[f"{key}: uniform: error"].size
        row |= _mean("difference", values[f"{key}: adaptive: error"] - values[f"{key}: uniform: error"])
        row |= _mean("most on an item", values[f"{key}: adaptive: most on an item"])
        row |= _mean("spent", values[f"{key}: adaptive: spent"])
        rows.append(row)
    return rows


def _mean(name: str, x: NDArray[np.float64]) -> dict[str, float | None]:
    error = float(f"{x.std(ddof=1) / np.sqrt(x.size):.4g}") if x.size > 1 else None
    return {name: float(f"{x.mean():.5g}"), f"{name}, mc error": error}


def table(stored: dict[str, Any]) -> str:
    head = (
        "| data | k | samples an item | n | error, uniform | error, adaptive | adaptive - uniform | "
        "width, uniform | width, adaptive | inside, uniform | inside, adaptive |"
    )
    lines = [head, "|" + " --- |" * (head.count("|") - 1)]
    for name, state in stored["designs"].items():
        for row in summary(state):
            cells = [name, f"{row['k']}", f"{row['average']}", f"{row['n']}"]
            cells += [f"{row[f'{s} error']:.4f}" for s in ("uniform", "adaptive")]
            cells.append(f"{row['difference']:+.4f}" + _pm(row["difference, mc error"], 1.0, 4))
            cells += [f"{row[f'{s} width']:.3f}" for s in ("uniform", "adaptive")]
            cells += [
                f"{100 * row[f'{s} inside']:.0f}" + _pm(row[f"{s} inside, mc error"], 100.0, 0)
                for s in ("uniform", "adaptive")
            ]
            lines.append("| " + " | ".join(cells) + " |")
    if len({state["code"] for state in stored["designs"].values()}) > 1:
        lines.append("\nNot all with the same code of the laws: run again.")
    return "\n".join(lines)


def _pm(error: float | None, scale: float, digits: int) -> str:
    return "" if error is None else f" +- {scale * error:.{digits}f}"


def main() -> int:
    """Add replications to every design, save them, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--design", action="append", default=[], choices=[d.name for d in DESIGNS])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--seconds-per-design", type=float, default=45.0, help="stop a design after so long, this run")
    parser.add_argument("--again", action="store_true", help="forget the stored replications of the designs that run")
    parser.add_argument("--table", action="store_true", help="only print what is stored")
    arguments = parser.parse_args()
    stored = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"designs": {}}
    if arguments.table:
        print(table(stored))
        return 0
    root = os.environ.get("IRSL_TEST_DATA")
    if not root:
        print("set IRSL_TEST_DATA to the folder of data sets", file=sys.stderr)
        return 2
    code = code_digest()
    for design in [d for d in DESIGNS if not arguments.design or d.name in arguments.design]:
        fresh = {"definition": json.loads(json.dumps(asdict(design))), "code": code}
        state = stored["designs"].get(design.name, {})
        if arguments.again or any(state.get(key) != value for key, value in fresh.items()):
            state = {**fresh, "replications": 0, "seconds": 0.0, "values": {}}
        stored["designs"][design.name] = state
        counts = full_counts(design, Path(root))
        candidates = np.random.default_rng(0).permutation(len(counts.n_samples))
        others = None
        if design.with_others:
            known, candidates = candidates[::2], candidates[1::2]
            others = sampling_law(counts.of(known), level=LEVEL)
        extend(
            state,
            lambda number, c=counts, d=design, o=others, s=candidates: replicate(d, c, o, s, number),
            replications=arguments.replications,
            seconds=arguments.seconds_per_design,
            save=lambda: save(stored),
        )
        print(f"{design.name}: {state['replications']} replications, {state['seconds']:.0f} s", flush=True)
    print(table(stored))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
