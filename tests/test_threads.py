"""Threads of our own: results in order, nested work in place, and a pool that a child process makes anew."""

import multiprocessing
import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from irsl.threads import ours_alone, over_ranges


def sums(n):
    return over_ranges(lambda part: int(np.arange(part.start, part.stop).sum()), n, 3)


def test_results_are_in_the_order_of_the_ranges():
    assert sums(8) == [3, 12, 13]
    assert sums(0) == []


def test_work_within_work_is_done_in_place():
    nested = over_ranges(lambda part: sum(sums(part.stop)), 9, 3)
    assert nested == [3, 15, 36]


def test_an_error_reaches_the_caller():
    def fail(part):
        raise ValueError(part.start)

    with pytest.raises(ValueError, match="0"):
        over_ranges(fail, 9, 3)
    assert sums(8) == [3, 12, 13]


def test_a_forked_child_has_a_pool_of_its_own():
    assert sums(8) == [3, 12, 13]  # the parent's pool is there before the child is
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, since Python 3.12
        with multiprocessing.get_context("fork").Pool(1) as children:
            assert children.apply_async(sums, (8,)).get(timeout=20) == [3, 12, 13]


def test_linear_algebra_has_one_thread_for_a_while():
    threads = lambda: [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]  # noqa: E731
    before = threads()
    with ours_alone():
        assert set(threads()) == {1}
    assert threads() == before
