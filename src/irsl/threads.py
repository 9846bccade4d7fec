"""Work on ranges of an array on all cores: NumPy gives up the interpreter's lock in its loops and products.

The linear algebra library's own threads would compete with ours, and wait busily between its calls; under `ours_alone`
it has one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

_state = threading.local()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="irsl")


# a child process inherits the pool but none of its threads, and would wait for them for ever
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def ours_alone() -> Iterator[None]:
    """One thread for every call of the linear algebra library, while we make calls from several threads."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


def over_ranges(work: Callable[[slice], T], n: int, size: int) -> list[T]:
    """Call `work` on the slices of 0 to n of at most `size`, on all cores; results in their order.

    Within such work it goes one by one: the cores are taken.
    """
    ranges = [slice(start, min(start + size, n)) for start in range(0, n, max(1, size))]
    if len(ranges) < 2 or getattr(_state, "busy", False):
        return [work(part) for part in ranges]

    def marked(part: slice) -> T:
        _state.busy = True
        try:
            return work(part)
        finally:
            _state.busy = False

    return list(_pool().map(marked, ranges))
