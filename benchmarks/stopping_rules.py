"""Bias, error and coverage of pass@k where the number of samples depends on what was sampled.

    IRSL_TEST_DATA=path/to/data python benchmarks/stopping_rules.py            (a few minutes on one core)

A hundred times 150 items are drawn whose rates are logit-normal, and one subject is sampled under three rules; compared
with the pass@k of these very items are the mean of the items' shares in 1 - (1 - c/n)^k, the unbiased estimator
averaged over the items with n >= k, and `irsl.sampling_law` without a bank. Intervals of the first two are those of
more samples of the same items (delta method; jackknife of `dataset_pass_at_k`), as the law's are. Then what
`stopping_rule` says of four real data sets, and of n that was drawn without regard to the outcome; beside it what it
says of counts that are thinned to the fewest samples of the subject, of which shares are equally coarse everywhere.
Results go to benchmarks/results/stopping_rules.json, tables to the terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

import irsl
from irsl.laws.pass_at_k import dataset_pass_at_k, plug_in
from irsl.laws.stopping import stopping_rule
from results_file import write_results

Array = NDArray[np.float64]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "stopping_rules.json"
REPLICATIONS, N_ITEMS, SEED = 100, 150, 0
MEAN_LOGIT, SD_LOGIT = -6.0, 2.5  # a tenth of the items unsolved after the budget; of best_of_n's cells 17 %
BATCH, BUDGET = 60, 10_020  # as best_of_n has it
FIXED = 1_200
STAGES, ENOUGH = (120, 1_200, 10_200), 3  # an item with fewer successes than enough goes on to the next stage
K = np.array([1, 10, 100, 1000])
Z90 = float(norm.ppf(0.95))
INDEPENDENT = {"rates about .2 %": (-6.0, 2.5), "rates about .03 %": (-8.0, 2.0), "rates about 12 %": (-2.0, 2.0)}
N_SUBJECTS = 10  # of a data set whose n has nothing to do with the outcome
REAL = ("best_of_n", "pythia_sampling_gsm8k", "evalperf", "livecodebench")
METHODS = ("mean of shares", "unbiased where n >= k", "sampling law")

Counts = tuple[Array, Array]
Rule = Callable[[Array, np.random.Generator], Counts]


def main() -> None:
    root = os.environ.get("IRSL_TEST_DATA")
    if root is None:
        print("set IRSL_TEST_DATA to the folder of data sets", file=sys.stderr)
        raise SystemExit(2)
    started = time.perf_counter()
    result: dict[str, Any] = {"replications": REPLICATIONS, "n_items": N_ITEMS, "simulated": {}}
    for name, rule in RULES.items():
        replications = [replicate(rule, np.random.default_rng([SEED, number])) for number in range(REPLICATIONS)]
        result["simulated"][name] = summary(replications)
    result["independent"] = {name: independent(*logit) for name, logit in INDEPENDENT.items()}
    result["real"] = {name: real(Path(root) / name) for name in REAL}
    result["seconds"] = round(time.perf_counter() - started, 1)
    write_results(RESULTS, result)
    print(tables(result))


def fixed(rates: Array, rng: np.random.Generator) -> Counts:
    n = np.full(rates.size, float(FIXED))
    return n, rng.binomial(FIXED, rates).astype(float)


def until_success(rates: Array, rng: np.random.Generator) -> Counts:
    """Batches until one has a success, or the budget is spent."""
    n, c = np.zeros(rates.size), np.zeros(rates.size)
    while (going := (c == 0) & (n < BUDGET)).any():
        n[going] += BATCH
        c[going] = rng.binomial(BATCH, rates[going])
    return n, c


def staged(rates: Array, rng: np.random.Generator) -> Counts:
    """More samples of the items that have few successes."""
    n, c = np.zeros(rates.size), np.zeros(rates.size)
    for total in STAGES:
        going = c < ENOUGH
        c[going] += rng.binomial((total - n[going]).astype(int), rates[going])
        n[going] = total
    return n, c


RULES: dict[str, Rule] = {
    f"fixed, n = {FIXED}": fixed,
    f"until the first success, batches of {BATCH} up to {BUDGET}": until_success,
    f"in stages of {', '.join(map(str, STAGES))} until {ENOUGH} successes": staged,
}


def replicate(rule: Rule, rng: np.random.Generator) -> dict[str, Any]:
    """Truth, and estimate and interval of every method, (K,) each; and whether the rule was seen."""
    rates = expit(rng.normal(MEAN_LOGIT, SD_LOGIT, N_ITEMS))
    n, c = rule(rates, rng)
    truth = -np.expm1(np.log1p(-rates)[:, None] * K).mean(axis=0)
    law = irsl.sampling_law(irsl.Responses.from_matrix(c[None], n_samples=n[None], kind="counts"))
    curve = law.curve(K)
    return {
        "truth": truth,
        "mean of shares": shares(n, c),
        "unbiased where n >= k": unbiased(n, c),
        "sampling law": tuple(
            curve[name].to_numpy() for name in ("pass_at_k", "pass_at_k_lower", "pass_at_k_upper")
        ),
        "samples": n.sum(),
        "unsolved": (c == 0).mean(),
        "found": law.stopping.found,
        "used": (n[:, None] >= K).mean(axis=0),
    }  # fmt: skip


def shares(n: Array, c: Array) -> tuple[Array, Array, Array]:
    q = (c / n)[:, None]
    middle = plug_in(n[:, None], c[:, None], K).mean(axis=0)
    slope = K * (1.0 - q) ** (K - 1.0)
    se = np.sqrt((slope**2 * q * (1.0 - q) / n[:, None]).sum(axis=0)) / n.size
    return middle, middle - Z90 * se, middle + Z90 * se


def unbiased(n: Array, c: Array) -> tuple[Array, Array, Array]:
    rows = []
    for k in K:
        there = n >= k
        one = dataset_pass_at_k(n[there], c[there], [k]) if there.any() else None
        middle, se = (one["pass_at_k"][0], one["se_samples"][0]) if one is not None else (np.nan, np.nan)
        rows.append((middle, middle - Z90 * se, middle + Z90 * se))
    return tuple(np.array(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


def summary(replications: list[dict[str, Any]]) -> dict[str, Any]:
    truth = np.array([r["truth"] for r in replications])
    root = np.sqrt(len(replications))
    methods: dict[str, list[dict[str, float]]] = {}
    for method in METHODS:
        middle, low, high = (np.array([r[method][i] for r in replications]) for i in range(3))
        error, inside = middle - truth, (low <= truth) & (truth <= high)
        squares = error**2
        methods[method] = [
            {
                "k": int(k),
                "truth": truth[:, i].mean(),
                "bias": error[:, i].mean(),
                "bias_se": error[:, i].std(ddof=1) / root,
                "rmse": np.sqrt(squares[:, i].mean()),
                "rmse_se": squares[:, i].std(ddof=1) / root / (2.0 * np.sqrt(squares[:, i].mean())),
                "coverage": inside[:, i].mean(),
                "coverage_se": np.sqrt(inside[:, i].mean() * (1.0 - inside[:, i].mean())) / root,
                "width": (high - low)[:, i].mean(),
            }
            for i, k in enumerate(K)
        ]
    means = {name: float(np.mean([r[name] for r in replications])) for name in ("samples", "unsolved", "found")}
    return {**means, "share_of_items_used": np.mean([r["used"] for r in replications], axis=0).tolist(), **methods}


def independent(mean: float, sd: float) -> dict[str, Any]:
    """How often a rule is seen where n is log-uniform from a batch to the budget, whatever comes out."""
    rng = np.random.default_rng(SEED)
    z = []
    for _ in range(REPLICATIONS):
        rates = expit(rng.normal(mean, sd, (N_SUBJECTS, N_ITEMS)))
        n = np.round(np.exp(rng.uniform(np.log(BATCH), np.log(BUDGET), rates.shape)))
        c = rng.binomial(n.astype(int), rates).astype(float)
        z.append((stopping_rule(n, c), stopping_rule(n, thinned(n, c, rng))))
    return {
        name: {"z": np.mean([pair[i].z for pair in z]), "found": np.mean([pair[i].found for pair in z])}
        for i, name in enumerate(("all samples", "thinned"))
    }


def thinned(n: Array, c: Array, rng: np.random.Generator) -> Array:
    """Counts of as many samples of every item as the subject has of its least sampled, scaled to n: shares stay."""
    least = np.where(n > 0, n, np.inf).min(axis=1, keepdims=True)
    drawn = rng.hypergeometric(c.astype(int), (n - c).astype(int), np.where(n > 0, least, 0).astype(int))
    return np.asarray(drawn * (n / least))


def real(folder: Path) -> dict[str, dict[str, Any]]:
    """What `stopping_rule` says of every benchmark of a data set."""
    table = pl.read_parquet(folder / "responses.parquet").drop_nulls(["n_samples", "n_correct"])
    found = {}
    for (name,), part in table.partition_by("benchmark", as_dict=True).items():
        n, c = (
            part.pivot("item", index="model", values=column).drop("model").fill_null(0).to_numpy().astype(float)
            for column in ("n_samples", "n_correct")
        )
        stopping = stopping_rule(n, c)
        other = stopping_rule(n, thinned(n, c, np.random.default_rng(SEED)))
        found[str(name)] = {
            "n_subjects": n.shape[0],
            "n_subjects_with_several_n": int(sum(np.ptp(row[row > 0]) > 0 for row in n)),
            "samples_from": n[n > 0].min(),
            "samples_to": n.max(),
            "correlation": float(stopping.correlation),
            "z": float(stopping.z),
            "found": bool(stopping.found),
            "z_thinned": float(other.z),
            "found_thinned": bool(other.found),
        }
    return found


def tables(result: dict[str, Any]) -> str:
    lines = []
    for name, found in result["simulated"].items():
        lines += [
            f"\nSampling {name}: {found['samples']:.0f} samples, {100 * found['unsolved']:.0f} % of items unsolved,"
        ]
        lines[-1] += f" rule seen in {100 * found['found']:.0f} % of data sets\n"
        lines += [
            "| method | k | items used | true pass@k | bias | RMSE | coverage | width |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for method in METHODS:
            for row, used in zip(found[method], found["share_of_items_used"], strict=True):
                part = used if method == "unbiased where n >= k" else 1.0
                lines.append(
                    f"| {method} | {row['k']} | {100 * part:.0f} % | {row['truth']:.3f} | "
                    f"{row['bias']:+.4f} ± {row['bias_se']:.4f} | {row['rmse']:.4f} ± {row['rmse_se']:.4f} | "
                    f"{100 * row['coverage']:.0f} ± {100 * row['coverage_se']:.0f} % | {row['width']:.3f} |"
                )
    lines += ["\n| n whatever the outcome | mean z | found | mean z, thinned | found |", "|---|---|---|---|---|"]
    for name, found in result["independent"].items():
        cells = [f"{part['z']:+.1f} | {100 * part['found']:.0f} %" for part in found.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["\n| data | benchmark | subjects | of several n | n | correlation | z | found | z, thinned | found |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|"]
    for name, benchmarks in result["real"].items():
        for benchmark, row in benchmarks.items():
            span = f"{row['samples_from']:.0f} to {row['samples_to']:.0f}"
            lines.append(
                f"| {name} | {benchmark} | {row['n_subjects']} | {row['n_subjects_with_several_n']} | {span} | "
                f"{row['correlation']:+.2f} | "
                f"{row['z']:+.1f} | {'yes' if row['found'] else 'no'} | "
                f"{row['z_thinned']:+.1f} | {'yes' if row['found_thinned'] else 'no'} |"
            )
    return "\n".join([*lines, f"\n{result['seconds']} s"])


if __name__ == "__main__":
    main()
