"""Speed and memory of calibration, ours beside other Python programs: writes docs/performance.md.

python benchmarks/performance.py
python benchmarks/performance.py --quick

Every program runs in a process of its own, the others in environments that are made on first use. Results are kept in
benchmarks/results/performance.json, so that an interrupted run goes on where it was. Needs Linux.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from speed import page
from speed.accuracy import distinct_scores, judge, theoretical_error
from speed.cases import Case, Truth, simulate
from speed.plan import QUICK_COMPARED, QUICK_SIZES, SIZES, Found, Plan, finished
from speed.results import Results, key_of, unit_key
from speed.run import NOT_INSTALLED, OTHERS, OURS, Program, run, run_script

REPOSITORY = Path(__file__).parent.parent
MAX_RUNS, ENOUGH_SECONDS = 3, 20.0
OUR_LIMIT = 3600.0
MAX_JUDGED_CELLS = 10_000_000  # the theoretical error is worked out up to here


@dataclass
class Bench:
    """Runs what is not yet among the results."""

    results: Results
    environments: Path
    scratch: Path
    limit: float
    again: bool

    def unit(self, n_subjects: int, n_items: int) -> None:
        """Time the units of a shape."""
        key = unit_key(n_subjects, n_items)
        if self._wanted(key, 0.0):
            print(f"units of {n_subjects:,} x {n_items:,}", flush=True)
            shape = [str(n_subjects), str(n_items)]
            self.results.add(key, run_script(Path(sys.executable), "unit.py", shape, limit=OUR_LIMIT))

    def case(self, case: Case, runs: list[tuple[Program, tuple[str, ...]]]) -> None:
        """Let programs calibrate one table, and judge what they found."""
        wanted = [r for r in runs if self._wanted(key_of(r[0], case, r[1]), self._limit(r[0]))]
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            truth = self._simulate(case, folder)
            about_case = _about(case, truth, folder / "responses.npy")
            for program, flags in wanted:
                facts = self._repeated(program, case, flags, folder)
                if finished(facts):
                    facts |= judge(folder / "estimates.npz", truth, **about_case)
                self.results.add(key_of(program, case, flags), facts | about_case | {"date": str(date.today())})

    def out_of_core(self, case: Case) -> None:
        """Calibrate a table in memory and from its file, and compare memory, seconds and difficulties."""
        key = key_of(OURS, case, ("mapped",))
        if not self._wanted(key, OUR_LIMIT):
            return
        with tempfile.TemporaryDirectory(dir=self.scratch) as name:
            folder = Path(name)
            truth = self._simulate(case, folder)
            facts, difficulty = [], []
            for flags in ((), ("mapped",)):
                facts.append(self._repeated(OURS, case, flags, folder))
                if not finished(facts[-1]):
                    break
                facts[-1] |= judge(folder / "estimates.npz", truth)
                with np.load(folder / "estimates.npz") as found:
                    difficulty.append(found["difficulty"])
            both = facts[-1] | {"in_memory": facts[0], "date": str(date.today())}
            if len(difficulty) == 2:
                both["largest_difference"] = float(np.abs(difficulty[0] - difficulty[1]).max())
            self.results.add(key, both)

    def _limit(self, program: Program) -> float:
        return OUR_LIMIT if program is OURS else self.limit

    def _wanted(self, key: str, limit: float) -> bool:
        """Whether a result is missing, or may be had now: at a higher limit, or with a program to be installed."""
        found = self.results.facts.get(key)
        if self.again or found is None or found.get("error") == NOT_INSTALLED:
            return True
        return found.get("stopped_after", limit) < limit

    def _simulate(self, case: Case, folder: Path) -> Truth:
        print(f"{case.family}, {case.size}: simulating", flush=True)
        return simulate(case, folder / "responses.npy")

    def _repeated(self, program: Program, case: Case, flags: tuple[str, ...], folder: Path) -> dict[str, Any]:
        """Facts of the run of median seconds: of three where they are short."""
        arguments = [str(folder / "responses.npy"), case.model, case.likelihood, str(folder / "estimates.npz"), *flags]
        runs: list[dict[str, Any]] = []
        start = time.perf_counter()
        while len(runs) < MAX_RUNS and time.perf_counter() - start < ENOUGH_SECONDS:
            runs.append(run(program, arguments, environments=self.environments, limit=self._limit(program)))
            if not finished(runs[-1]):
                print(f"  {program.name}: {page.unfinished(runs[-1])}", flush=True)
                return runs[-1]
        runs.sort(key=lambda facts: facts["seconds_items"])
        middle = runs[len(runs) // 2]
        print(f"  {program.name} {' '.join(flags)}: {middle['seconds_items']:.3g} s", flush=True)
        return middle | {"all_seconds_items": [facts["seconds_items"] for facts in runs]}


def _about(case: Case, truth: Truth, responses: Path) -> dict[str, Any]:
    if case.n_cells > MAX_JUDGED_CELLS:
        return {}
    return {"theoretical_error": theoretical_error(case, truth), "n_scores": distinct_scores(responses)}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", metavar="NxM", help="only these sizes of ours, such as 826x4710")
    parser.add_argument("--peers", nargs="+", metavar="NAME", help="only these other programs; 'none' for ours alone")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each run of another program")
    parser.add_argument("--quick", action="store_true", help="tiny tables, written outside of the repository")
    parser.add_argument("--again", action="store_true", help="measure anew what is among the results")
    parser.add_argument("--out", type=Path, help="folder for docs/ and benchmarks/results/; default: the repository")
    parser.add_argument("--environments", type=Path, default=Path("~/.cache/irsl-peers").expanduser())
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder for data, 1 GB free")
    return parser.parse_args()


def planned(arguments: argparse.Namespace) -> Plan:
    sizes, compared = (QUICK_SIZES, QUICK_COMPARED) if arguments.quick else (SIZES, Plan.compared)
    if arguments.sizes:
        asked = {tuple(int(n) for n in size.split("x")) for size in arguments.sizes}
        if not asked <= set(sizes):
            raise SystemExit(f"--sizes: choose from {', '.join(f'{n}x{m}' for n, m in sizes)}")
        sizes = tuple(size for size in sizes if size in asked)
    names = [program.script for program in OTHERS]
    peers = names if arguments.peers is None else [name for name in arguments.peers if name != "none"]
    if not set(peers) <= set(names):
        raise SystemExit(f"--peers: choose from none, {', '.join(names)}")
    return Plan(sizes, compared, tuple(program for program in OTHERS if program.script in peers))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that data and programs do not stay behind
    arguments = parsed()
    plan = planned(arguments)
    quick_folder = Path(tempfile.gettempdir()) / "irsl-performance-quick"
    out = arguments.out or (quick_folder if arguments.quick else REPOSITORY)
    results = Results.load(out / "benchmarks" / "results" / "performance.json")
    bench = Bench(results, arguments.environments, arguments.scratch, arguments.limit, arguments.again)
    for size in plan.sizes:
        bench.unit(*size)
    for case, runs in groupby(plan.runs(), key=lambda r: r[0]):
        bench.case(case, [(program, flags) for _, program, flags in runs])
    bench.out_of_core(plan.mapped)
    written = page.write(Found(plan, results), out / "docs", limit=arguments.limit)
    print(f"wrote {written}")


if __name__ == "__main__":
    main()
