"""Read every real data set of a folder and print what came of it.

    IRSL_TEST_DATA=path/to/data python benchmarks/validate_shared_data.py

The data are not part of the project; its tests use synthetic twins of their schemas. A set whose columns do
not declare the kind of its outcome has it stated here.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import irsl.readers
from irsl.errors import DataError

KINDS = {
    "alpaca_eval": "probability",
    "classic_irt": {"response": "probability"},
    "llmrouter": "probability",
    "scaling_dclm": "aggregate",
    "scaling_olmo_ladder": "aggregate",
    "scaling_open_llms": "aggregate",
    "scaling_pythia": "aggregate",
}


def main() -> int:
    """Print a row for each data set; the exit status is the number that could not be read."""
    root = os.environ.get("IRSL_TEST_DATA")
    if not root:
        print("set IRSL_TEST_DATA to the folder of data sets", file=sys.stderr)
        return 2
    failed = 0
    print("| set | kind | subjects | items | rows | observed | matrix | read s | matrix s |")
    print("|---|---|---|---|---|---|---|---|---|")
    reports = []
    for folder in sorted(path for path in Path(root).iterdir() if (path / "responses.parquet").is_file()):
        start = time.perf_counter()
        try:
            responses = irsl.readers.read(folder, kind=KINDS.get(folder.name))
        except DataError as error:
            print(f"| {folder.name} | failed: {error} |")
            failed += 1
            continue
        read = time.perf_counter()
        try:
            matrix = responses.to_matrix()
            storage = "sparse" if matrix.is_sparse else "dense"
            shape = f"{matrix.n_subjects} x {matrix.n_items} {storage} {matrix.kind}"
            share = f"{100 * matrix.observed / (matrix.n_subjects * matrix.n_items):.1f} %"
        except DataError as error:
            shape, share = f"refused: {str(error).split(':')[0]}", ""
        done = time.perf_counter()
        kinds = "/".join(sorted(set(responses.outcomes["kind"])))
        print(
            f"| {folder.name} | {kinds} | {responses.subjects.height} | {responses.items.height} "
            f"| {responses.responses.height} | {share} | {shape} | {read - start:.2f} | {done - read:.2f} |"
        )
        reports.append(f"{folder.name}: {responses.read_report}")
    print("\n\n".join(["", *reports]))
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
