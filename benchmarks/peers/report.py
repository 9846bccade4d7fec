"""What every fit shares: its arguments, clocks, memory, and the line of JSON that it prints.

A fit is run as `python fit_NAME.py RESPONSES.npy MODEL LIKELIHOOD ESTIMATES.npz [FLAG ...]`. It needs NumPy only, as it
runs in the environment of its own program, and Linux, as it reads /proc.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class Report:
    """The facts of one run, printed when it ends, and also when it is told to stop (SIGTERM).

    Attributes
    ----------
    responses : Path
        Array of (n_subjects, n_items), float32 or uint8, NaN where missing.
    model : {"1pl", "2pl"}
    likelihood : {"bernoulli", "beta"}
    flags : list of str
    facts : dict
        What is printed; seconds are wall clock, megabytes 10**6 bytes.
    """

    def __init__(self) -> None:
        path, self.model, self.likelihood, self._estimates, *self.flags = sys.argv[1:]
        self.responses = Path(path)
        self.facts: dict[str, Any] = {}
        self._running: tuple[str, float] | None = None
        signal.signal(signal.SIGTERM, self._stop)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure the seconds of what is done inside."""
        start = time.perf_counter()
        self._running = name, start
        yield
        self.facts[name] = time.perf_counter() - start
        self._running = None

    def count(self, owner: Any, method: str) -> None:
        """Count the calls of a method as steps of the fit."""
        original = getattr(owner, method)
        self.facts["steps"] = 0

        def counted(*arguments: Any, **more: Any) -> Any:
            self.facts["steps"] += 1
            return original(*arguments, **more)

        setattr(owner, method, counted)

    def finish(self, **estimates: ArrayLike) -> None:
        """Write the estimates: difficulty, discrimination, ability, and ability_instead where some are not finite."""
        np.savez(self._estimates, **{name: np.asarray(array, dtype=np.float64) for name, array in estimates.items()})
        self._print()

    def _stop(self, *_: object) -> None:
        self.facts["stopped"] = True
        if self._running is not None:
            name, start = self._running
            self.facts["stopped_in"] = name
            self.facts["seconds_until_stopped"] = time.perf_counter() - start
        self._print()
        os._exit(0)

    def _print(self) -> None:
        self.facts["peak_mb"] = max(self.facts.get("peak_mb", 0.0), memory("VmHWM"))
        print(json.dumps(self.facts), flush=True)


def memory(field: str) -> float:
    """VmHWM (peak), VmRSS or RssAnon of this process, in MB.

    The peak is not read by getrusage: that one also holds what the parent had in memory when it started this process.
    """
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1.024e-3 if found else float("nan")


def forget_peak() -> None:
    """Let the peak of memory begin again at what is in use now."""
    Path("/proc/self/clear_refs").write_text("5")
