"""The units of the page: python unit.py N_SUBJECTS N_ITEMS prints the seconds of one product, and of one pass.

The product is (n_subjects x n_items) @ (n_items x 32) in float32, the best of several. The pass reads answers held as
uint8, block by block, and multiplies them with one vector.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

COLUMNS = 32
BLOCK_ROWS = 256
MIN_REPEATS, MAX_REPEATS, ENOUGH_SECONDS = 5, 50, 3.0


def best(work: Callable[[], object]) -> float:
    seconds: list[float] = []
    while len(seconds) < MIN_REPEATS or (sum(seconds) < ENOUGH_SECONDS and len(seconds) < MAX_REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def product(rng: np.random.Generator, n_subjects: int, n_items: int) -> float:
    matrix = rng.random((n_subjects, n_items), dtype=np.float32)
    columns = rng.random((n_items, COLUMNS), dtype=np.float32)
    return best(lambda: matrix @ columns)


def one_pass(rng: np.random.Generator, n_subjects: int, n_items: int) -> float:
    answers = rng.integers(0, 2, (n_subjects, n_items), dtype=np.uint8)
    vector = rng.random(n_items, dtype=np.float32)

    def read() -> None:
        for start in range(0, n_subjects, BLOCK_ROWS):
            answers[start : start + BLOCK_ROWS].astype(np.float32) @ vector

    return best(read)


def main() -> None:
    n_subjects, n_items = map(int, sys.argv[1:])
    rng = np.random.default_rng(0)
    print(json.dumps({"product": product(rng, n_subjects, n_items), "pass": one_pass(rng, n_subjects, n_items)}))


if __name__ == "__main__":
    main()
