"""The law of repeated sampling on real and simulated counts: docs/test_time.md, benchmarks/results/test_time.json.

    IRSL_TEST_DATA=... python benchmarks/test_time.py --processes 2            everything, about 45 minutes
    IRSL_TEST_DATA=... python benchmarks/test_time.py --only "ladder patterns" --repetitions 8
    python benchmarks/test_time.py --page                                      the page again, from what is stored

Finished parts are kept; `--again` forgets them. The tables of benchmarks/joint_law.py, stopping_rules.py and
sample_allocation.py are shown on the same page where those have run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from results_file import write_results
from testtime import page, real, simulated

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "test_time.json"
PUBLISHED_REPLICATIONS, COVERAGE_REPLICATIONS = 20, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="name of a part; may be repeated")
    parser.add_argument(
        "--repetitions", type=int, default=100, help="of a data set, over its folds; of transfers a quarter"
    )
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="forget what is stored")
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    stored: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() and not arguments.again else {}
    if not arguments.page:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the workers, which start afresh
        with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
            waiting = {}
            for name, work, arguments_of in _parts(arguments.repetitions):
                if name.rsplit(" #", 1)[0] in (arguments.only or [name.rsplit(" #", 1)[0]]) and name not in stored:
                    waiting[pool.submit(work, *arguments_of)] = name
            for done, future in enumerate(as_completed(waiting), 1):
                if future.exception() is not None:
                    pool.shutdown(cancel_futures=True)
                stored[waiting[future]] = future.result()
                write_results(RESULTS, stored)
                print(f"{done} of {len(waiting)}: {waiting[future]}", flush=True)
    write_results(RESULTS, stored)
    page.write(stored, ROOT)


def _parts(repetitions: int) -> list[tuple[str, Callable[..., Any], tuple[Any, ...]]]:
    """Every part with its function: folds of the real sets, and chunks of simulations."""
    parts: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
        (f"{study.name} #{fold}", page.folded, (study, fold, number // real.FOLDS))
        for studies, number in ((real.SETS, repetitions), (real.TRANSFERS, repetitions // 4))
        for study in studies
        for fold in range(real.FOLDS)
    ]
    simulations: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
        ("published case #0", page.published, (PUBLISHED_REPLICATIONS,))
    ]
    for design in simulated.DESIGNS:
        replications = COVERAGE_REPLICATIONS if design.n_subjects == 1 else COVERAGE_REPLICATIONS // 10
        simulations.append((f"{design.name} #0", page.covered, (design, replications)))
    return simulations + parts


if __name__ == "__main__":
    main()
