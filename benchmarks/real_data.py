"""How well item response models describe real language models: writes docs/validation.md and its pictures.

    IRSL_TEST_DATA=path/to/data python benchmarks/real_data.py [--again] [--sets NAME ...] [--processes N]

Every set is calibrated without a tenth of its cells, and again without three tenths of its subjects, and what was held
out is predicted, beside baselines that need no item response theory. Results go to benchmarks/results/real_data.json; a
set that is there already is not computed again unless asked. The data are not part of the project.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

import irsl
from validation.cells import Plan, load
from validation.fit import fit_report
from validation.held_out import held_out_cells, held_out_subjects
from validation.page import write_page

RESULTS = Path(__file__).parent / "results" / "real_data.json"
PLANS = (
    Plan("evalperf", "counts", cell_repeats=2, subject_splits=4, bootstraps=4),
    Plan("livecodebench", "counts", cell_repeats=1, subject_splits=2, bootstraps=2),
    Plan("open_llm_arc_mixtral", subject_splits=3, bootstraps=10, chance={"arc": 0.25}),
    Plan("open_llm_tiny", cell_repeats=1, subject_splits=1, bootstraps=2, chance={"arc": 0.25, "hellaswag": 0.25}),
    Plan("mmlu_pro", cell_repeats=2, subject_splits=3, bootstraps=4),
    Plan(
        "psn_irt",
        cell_repeats=2,
        subject_splits=4,
        bootstraps=3,
        chance={"ARC-C": 0.25, "HellaSwag": 0.25, "MMLU": 0.25, "GPQA Diamond": 0.25},
        items_per_benchmark=500,
    ),
    Plan("alpaca_eval", "probability", cell_repeats=2, subject_splits=4, bootstraps=5, resolution=1e-6),
)


def validate(root: Path, plan: Plan) -> dict[str, Any]:
    start = time.perf_counter()
    rng = np.random.default_rng(zlib.crc32(plan.name.encode()))
    cells = load(root, plan, rng)
    seconds = {}
    result: dict[str, Any] = {
        "kind": plan.kind,
        "n_subjects": len(cells.subjects),
        "n_items": cells.items.height,
        "n_benchmarks": len(cells.benchmarks),
        "n_cells": cells.subject.size,
        "mean_response": float(cells.response.mean()),
        "median_trials": float(np.median(cells.trials)),
        "items_per_benchmark": plan.items_per_benchmark,
        "n_repeats": plan.cell_repeats,
        "n_splits": plan.subject_splits,
        "version": irsl.__version__,
    }
    for name, work in (("cells", held_out_cells), ("subjects", held_out_subjects), ("fit", fit_report)):
        before = time.perf_counter()
        result[name] = work(cells, rng)
        seconds[name] = round(time.perf_counter() - before, 1)
    return result | {"seconds": seconds | {"all": round(time.perf_counter() - start, 1)}}


def rounded(results: Any) -> Any:
    """Return results with floats of six digits."""
    return json.loads(json.dumps(results), parse_float=lambda text: float(f"{float(text):.6g}"))


def main() -> int:
    """Compute what is missing, save it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--again", action="store_true", help="compute sets anew that are in the results")
    parser.add_argument("--sets", nargs="+", choices=[p.name for p in PLANS], default=[p.name for p in PLANS])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    todo = [p for p in PLANS if p.name in arguments.sets and (arguments.again or p.name not in results)]
    root = os.environ.get("IRSL_TEST_DATA")
    if todo and not root:
        print("set IRSL_TEST_DATA to the folder of data sets", file=sys.stderr)
        return 2
    failed = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        work = {pool.submit(validate, Path(root or ""), plan): plan for plan in reversed(todo)}
        for future in as_completed(work):
            name = work[future].name
            if (error := future.exception()) is not None:
                print(f"{name} failed: {error!r}", file=sys.stderr, flush=True)
                failed = 1
                continue
            results[name] = future.result()
            ordered = {p.name: results[p.name] for p in PLANS if p.name in results}
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            RESULTS.write_text(json.dumps(rounded(ordered), indent=1) + "\n")
            print(name, results[name]["seconds"], flush=True)
    write_page({p.name: results[p.name] for p in PLANS if p.name in results})
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
