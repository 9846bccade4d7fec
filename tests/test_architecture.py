"""Rooms import in one direction, heavy libraries stay where they are needed, and `import irsl` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import irsl

SOURCE = Path(irsl.__file__).parent
EVERYWHERE = {"errors", "files", "threads", "_version"}  # of no room: they import nothing of the rooms
# likelihoods <- responses <- calibration, ability <- adaptive, laws <- live, plots, report <- cli; ability may import
# calibration and never the reverse; readers and ladder know only responses. The core never imports cli.
MAY_IMPORT = {
    "likelihoods": set(),
    "responses": {"likelihoods"},
    "readers": {"responses"},
    "ladder": {"responses", "readers"},
    "calibration": {"likelihoods", "responses"},
    "ability": {"likelihoods", "responses", "calibration"},
    "adaptive": {"likelihoods", "responses", "calibration", "ability"},
    "laws": {"likelihoods", "responses", "calibration", "ability"},
    "live": {"likelihoods", "responses", "calibration", "ability", "adaptive", "laws"},
    "engine": set(),
    "plots": {"likelihoods", "responses", "calibration", "ability", "adaptive", "laws"},
    "report": {"likelihoods", "responses", "calibration", "ability", "adaptive", "laws", "plots"},
    "cli": {
        "likelihoods", "responses", "readers", "ladder", "calibration", "ability", "adaptive", "laws", "live",
        "plots", "report",
    },
}  # fmt: skip
ONLY_IN = {"matplotlib": {"plots", "report"}, "typer": {"cli"}, "rich": {"cli"}, "jinja2": {"report"}}
NOWHERE = {"pandas", "torch", "pickle", "sklearn", "jax", "tensorflow"}
MODULES = sorted(SOURCE.rglob("*.py"))


def room(path):
    """The folder under irsl, or the module's name for a file of no room."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return parts[0]


def imported(path):
    """Full names of everything a module imports, also inside functions and for type checking only."""
    package = ("irsl", *path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "irsl" and len(parts) > 1:
            found.add(parts[1])
    return found - {room(path)}


def name_of(path):
    return str(path.relative_to(SOURCE))


def test_the_finder_of_imports_finds_every_form(tmp_path, monkeypatch):
    """The test's own tool: absolute, relative, nested, and for type checking only."""
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "laws").mkdir()
    module = tmp_path / "laws" / "m.py"
    module.write_text(
        "import numpy as np\nfrom irsl import ladder\nfrom ..cli import app\nfrom . import trend\n"
        "def f():\n    import irsl.report.page\nif TYPE_CHECKING:\n    from irsl.adaptive.replay import replay\n"
    )
    assert rooms_imported(module) == {"ladder", "cli", "report", "adaptive"}
    assert "numpy" in set(imported(module))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_follow_the_arrows(path):
    here, there = room(path), rooms_imported(path)
    if path == SOURCE / "__init__.py":
        assert "cli" not in there
        return
    if here in EVERYWHERE:
        assert there <= EVERYWHERE
        return
    assert here in MAY_IMPORT, f"a new room {here!r}: give it its arrows in docs and here"
    assert there <= MAY_IMPORT[here] | EVERYWHERE, f"{here} imports {sorted(there - MAY_IMPORT[here] - EVERYWHERE)}"


def test_the_arrows_have_no_circle():
    done: set[str] = set()
    while len(done) < len(MAY_IMPORT):
        ready = {r for r, needs in MAY_IMPORT.items() if needs <= done} - done
        assert ready, f"a circle among {sorted(set(MAY_IMPORT) - done)}"
        done |= ready


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_stay_in_their_rooms(path):
    top = {name.split(".")[0] for name in imported(path)}
    assert not top & NOWHERE
    for library, rooms in ONLY_IN.items():
        assert library not in top or room(path) in rooms, f"{library} in {room(path)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_names_of_other_modules_that_begin_with_an_underscore_are_left_alone(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("irsl."):
            private = [a.name for a in node.names if a.name.startswith("_") and not a.name.startswith("__")]
            assert not private, f"{node.module}: {private}"


def loaded_by(statement):
    code = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_irsl_is_light():
    """It may load the standard library and three modules of its own."""
    loaded = loaded_by("import irsl")
    assert {name for name in loaded if name.split(".")[0] == "irsl"} <= {"irsl", "irsl._version", "irsl.errors"}
    others = {name.split(".")[0] for name in loaded} - {"irsl"} - set(sys.stdlib_module_names)
    assert not {name for name in others if not name.startswith("_")}


def test_the_command_line_loads_no_arithmetic_before_it_needs_it():
    loaded = {name.split(".")[0] for name in loaded_by("import irsl.cli")}
    assert not loaded & {"numpy", "polars", "scipy", "matplotlib", "jinja2"}


def test_calibrating_and_measuring_load_no_plots_and_no_command_line():
    loaded = {name.split(".")[0] for name in loaded_by("import irsl; irsl.calibrate, irsl.measure, irsl.read")}
    assert not loaded & {"matplotlib", "typer", "rich", "jinja2", *NOWHERE - {"pickle"}}
