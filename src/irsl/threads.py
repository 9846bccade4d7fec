"""Work on ranges of an array on all cores: NumPy gives up the interpreter's lock in its loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="irsl")


def over_ranges(work: Callable[[slice], T], n: int, size: int) -> list[T]:
    """Call `work` on the slices of 0 to n of at most `size`; results in their order. Not to be nested."""
    ranges = [slice(start, min(start + size, n)) for start in range(0, n, max(1, size))]
    if len(ranges) < 2:
        return [work(part) for part in ranges]
    return list(_pool().map(work, ranges))
