"""Running a program in its own process and environment, watched, and stopped at a limit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent.parent / "peers"
WATCH_SECONDS = 0.02
NOT_INSTALLED = "could not be installed"
GRACE_SECONDS = 5.0  # between asking a program to stop and ending it


@dataclass(frozen=True)
class Program:
    """A script of peers/, with the requirements beside it; without requirements it runs in this environment."""

    name: str
    script: str
    does: frozenset[tuple[str, str]]

    @property
    def requirements(self) -> Path | None:
        """Pinned versions, if it has an environment of its own."""
        path = PEERS / f"{self.script}.txt"
        return path if path.exists() else None

    @property
    def version(self) -> str:
        """Version of the program itself."""
        if self.requirements is None:
            from irsl import __version__

            return __version__
        pins = dict(line.split("==") for line in self.requirements.read_text().split())
        return next(version for name, version in pins.items() if name.replace("-", "_") == self.script)

    def settings(self) -> str:
        """Everything about the program that may change its results."""
        text = (PEERS / f"fit_{self.script}.py").read_text()
        return text + (self.requirements.read_text() if self.requirements else self.version)


ANSWERS = {("bernoulli", "1pl"), ("bernoulli", "2pl")}
PROBABILITIES = {("beta", "1pl"), ("beta", "2pl")}
OURS = Program("irsl", "irsl", frozenset(ANSWERS | PROBABILITIES))
OTHERS = (
    Program("girth", "girth", frozenset(ANSWERS)),
    Program("mirt (Python)", "mirt", frozenset(ANSWERS)),
    Program("py-irt", "py_irt", frozenset(ANSWERS)),
    Program("torch_measure", "torch_measure", frozenset(ANSWERS | PROBABILITIES)),
)


@cache
def python_of(program: Program, environments: Path) -> Path | None:
    """Interpreter of the program's environment, which is made on first use; None where that fails."""
    if program.requirements is None:
        return Path(sys.executable)
    pins = program.requirements.read_text() + sys.version.split()[0]
    folder = environments / f"{program.script}-{sha256(pins.encode()).hexdigest()[:8]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():
        print(f"  making the environment of {program.name} in {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", "--requirement", program.requirements]
        if subprocess.run(install, stderr=subprocess.DEVNULL, env=_environment(program)).returncode:
            return None
        complete.touch()
    return python


def run(program: Program, arguments: list[str], *, environments: Path, limit: float) -> dict[str, Any]:
    """Return the facts that the program printed, with `peak_anonymous_mb`; or why there are none.

    A program that runs longer than `limit` seconds, reading and importing included, is stopped and says how far it
    came; its facts then have `stopped_after`. A program that failed has `error`.
    """
    python = python_of(program, environments)
    if python is None:
        return {"error": NOT_INSTALLED}
    return run_script(python, f"fit_{program.script}.py", arguments, limit=limit, environment=_environment(program))


def run_script(
    python: Path, script: str, arguments: list[str], *, limit: float, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run a script of peers/ and watch it; see `run`."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        command = [str(python), str(PEERS / script), *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        try:
            facts = _watch(process, limit)
        finally:
            process.kill()  # only where the watch itself was interrupted is there anything left to end
        output.seek(0)
        errors.seek(0)
        printed = output.read().decode(errors="replace").strip().splitlines()
        complaints = errors.read().decode(errors="replace").strip().splitlines()
    if printed and printed[-1].startswith("{"):
        facts = json.loads(printed[-1]) | {k: v for k, v in facts.items() if k != "peak_mb"}
    elif process.returncode and "stopped_after" not in facts:
        killed = process.returncode == -signal.SIGKILL
        facts["error"] = "ended by the system" if killed else complaints[-1][:200] if complaints else "failed"
    return facts


def _watch(process: subprocess.Popen[bytes], limit: float) -> dict[str, Any]:
    """Wait, with an eye on memory; ask it to stop at the limit, and end it if it does not."""
    start = time.perf_counter()
    facts: dict[str, Any] = {"peak_anonymous_mb": 0.0, "peak_mb": 0.0}
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        found = dict(re.findall(r"^(VmHWM|RssAnon):\s+(\d+) kB", status.read_text(), re.MULTILINE))
        for field, name in (("RssAnon", "peak_anonymous_mb"), ("VmHWM", "peak_mb")):
            facts[name] = max(facts[name], int(found.get(field, 0)) * 1.024e-3)
        elapsed = time.perf_counter() - start
        if elapsed > limit and "stopped_after" not in facts:
            facts["stopped_after"] = limit
            process.terminate()
        if elapsed > limit + GRACE_SECONDS:
            process.kill()
        time.sleep(WATCH_SECONDS)
    return facts


def _environment(program: Program) -> dict[str, str]:
    """A peer must not see the modules of this environment."""
    return {k: v for k, v in os.environ.items() if program.requirements is None or k != "PYTHONPATH"}
