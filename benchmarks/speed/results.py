"""Results on file, one per case, program and settings; and the machine they are of."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from speed.cases import Case
from speed.run import Program

THREADS = ("OPENBLAS_", "OMP_", "MKL_")


@cache
def machine() -> dict[str, Any]:
    """Whatever times depend on."""
    described = Path("/proc/cpuinfo").read_text()
    names = [line.split(":", 1)[1].strip() for line in described.splitlines() if line.startswith("model name")]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "blas": f"{blas['name']} {blas['version']}",
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(THREADS)},
    }


@dataclass
class Results:
    """Facts under keys, saved after every one of them."""

    path: Path
    facts: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, path: Path) -> Results:
        """Take up what an earlier run left."""
        return cls(path, json.loads(path.read_text())["results"] if path.exists() else {})

    def add(self, key: str, facts: dict[str, Any]) -> None:
        """Keep and save, under another name first, so that an interrupted run leaves a whole file."""
        self.facts[key] = facts
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine(), "results": self.facts}, indent=1, sort_keys=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(self.path)


def key_of(program: Program, case: Case, flags: tuple[str, ...] = ()) -> str:
    """Name of a result, with a hash of everything that it depends on but the code of irsl itself."""
    settings = json.dumps([asdict(case), program.settings(), flags, machine()], sort_keys=True)
    return " ".join([case.name, program.script, program.version, *flags, _short(settings)])


def unit_key(n_subjects: int, n_items: int) -> str:
    """Name of the units at a shape."""
    return f"unit {n_subjects}x{n_items} {_short(json.dumps(machine(), sort_keys=True))}"


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
