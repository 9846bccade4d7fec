"""Files outside the repository: written to a temporary name and renamed, read without pickle."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

PAUSE = "PAUSE"
PAUSE_POLL_SECONDS = 2.0


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; an interrupted write leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an .npz file; an interrupted write leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    partial.rename(path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read an .npz file; arrays of Python objects are refused."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def wait_while_paused(folder: Path) -> float:
    """Sleep as long as the file PAUSE exists in `folder`; return the seconds slept."""
    started = time.monotonic()
    while (folder / PAUSE).exists():
        time.sleep(PAUSE_POLL_SECONDS)
    return time.monotonic() - started


def claim(path: Path) -> bool:
    """Take a piece of work for this process; False if a living process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            if _alive(path):
                return False
            path.unlink(missing_ok=True)  # its process died: the work is free again
        else:
            with os.fdopen(descriptor, "w") as file:
                file.write(str(os.getpid()))
            return True
    return False


def _alive(path: Path) -> bool:
    try:
        os.kill(int(path.read_text() or "0") or os.getpid(), 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return True
