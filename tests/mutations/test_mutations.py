"""The proof of the proof: with a mistake in the engine the test that must notice fails, and without one none does."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mutations.mutants import MUTANTS

TESTS = Path(__file__).parents[1]
SOUND = "no mistake"


def run(name):
    """Result of the tests that a mutant names, or of all of them on the code as it is."""
    chosen = list(MUTANTS.values()) if name == SOUND else [MUTANTS[name]]
    tests = sorted({str(TESTS / mutant.caught_by) for mutant in chosen})
    mutant = [] if name == SOUND else ["--mutant", name]
    path = os.pathsep.join([str(TESTS), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "mutations.mutants", "-p", "no:cacheprovider", *mutant, *tests],
        capture_output=True, text=True, cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(request):
    """Runs of the mutants that were selected, two at a time."""
    names = [item.callspec.params["name"] for item in request.session.items if item.module is request.module]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


@pytest.mark.parametrize("name", [SOUND, *MUTANTS])
def test_every_mistake_is_noticed(name, results):
    result = results[name]
    assert result.returncode == (0 if name == SOUND else pytest.ExitCode.TESTS_FAILED), result.stdout + result.stderr
    if name != SOUND:
        assert "AssertionError" in result.stdout or "E       assert" in result.stdout, result.stdout
