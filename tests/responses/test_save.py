"""Saved and read back, the tables are identical; an interrupted save leaves the old folder whole."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irsl.errors import DataError
from irsl.readers import read
from irsl.responses import ResponseMatrix, Responses
from irsl.responses.schema import RESPONSES

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=8).filter(
    str.strip
)
KINDS = {
    "binary": st.sampled_from([0.0, 1.0]),
    "probability": st.floats(0, 1),
    "aggregate": st.floats(allow_nan=False, allow_infinity=False),
}


@st.composite
def tables(draw):
    subjects = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    items = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    benchmark = {item: draw(st.sampled_from(["A", "B", "mmlu:é"])) for item in items}
    kind = {outcome: draw(st.sampled_from([*KINDS, "counts"])) for outcome in ("acc", "other")}
    rows = []
    for subject in subjects:
        for number, item in enumerate(items):
            for outcome in kind if draw(st.booleans()) or number == 0 else []:
                for trial in range(draw(st.integers(1, 2))):
                    missing = number > 0 and draw(st.integers(0, 4)) == 0
                    value = n = k = None
                    if kind[outcome] == "counts":
                        n = draw(st.integers(1, 5000))
                        k = None if missing else draw(st.integers(0, n))
                    elif not missing:
                        value = draw(KINDS[kind[outcome]])
                    rows.append((subject, item, benchmark[item], outcome, "5-shot", trial, value, n, k))
    return pl.DataFrame(rows, schema=RESPONSES, orient="row"), kind


def assert_same(one, two):
    for name in ("responses", "items", "subjects", "choices", "outcomes"):
        left, right = getattr(one, name), getattr(two, name)
        assert (left is None) == (right is None)
        if left is not None:
            assert left.schema == right.schema
            assert left.equals(right)
    assert dict(one.kinds) == dict(two.kinds)
    assert one.resolution == two.resolution


@settings(max_examples=60, deadline=None, derandomize=True)
@given(tables())
def test_any_table_comes_back(tmp_path_factory, made):
    frame, kind = made
    responses = Responses.from_frames(frame, kind=kind)
    folder = tmp_path_factory.mktemp("saved") / "r"
    responses.save(folder)
    again = read(folder)
    assert_same(responses, again)
    again.save(folder)
    assert_same(responses, read(folder))


def with_choices(unit=2**-7, seed=0):
    rng = np.random.default_rng(seed)
    width = {f"i{j}": 2 + j % 3 for j in range(6)}
    rows = [(f"s{i}", item, (-rng.integers(1, 9999, n)).tolist()) for i in range(5) for item, n in width.items()]
    return Responses.from_frames(
        pl.DataFrame(
            {
                "subject": ["s0", "s1"],
                "item": "i0",
                "outcome": "exact_match",
                "n_samples": 512,
                "n_correct": [3, 0],
            }
        ),
        choices=pl.DataFrame(rows, schema=["subject", "item", "log_p"], orient="row"),
        items=pl.DataFrame({"item": list(width), "gold": 1, "level": range(6)}),
        subjects=pl.DataFrame({"subject": [f"s{i}" for i in range(5)], "date": ["2024-05-01", None, None, None, None]}),
        log_p_unit=unit,
    )


@pytest.mark.parametrize("unit", [2**-7, 0.01, None])
def test_log_likelihoods_come_back_exactly(tmp_path, unit):
    responses = with_choices(unit)
    responses.save(tmp_path / "r")
    again = read(tmp_path / "r")
    assert_same(responses, again)
    stored = pl.read_parquet(tmp_path / "r" / "choices.parquet").schema["log_p"]
    assert stored == pl.List(pl.Float64 if unit is None else pl.Int32)
    assert json.loads((tmp_path / "r" / "meta.json").read_text())["schema_version"] == 1
    assert_same(responses.select(outcome="p_choices"), again.select(outcome="p_choices"))


def test_a_selection_and_an_array_can_be_saved(tmp_path):
    chosen = with_choices().select(outcome="p_choices")
    chosen.save(tmp_path / "chosen")
    assert_same(chosen, read(tmp_path / "chosen"))
    array = Responses.from_matrix([[3.0, np.nan], [0.0, 5.0]], n_samples=5)
    array.save(tmp_path / "array")
    assert_same(array, read(tmp_path / "array"))


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_an_interrupted_save_leaves_the_old_folder_whole(tmp_path, monkeypatch, failing):
    folder = tmp_path / "r"
    with_choices(seed=0).save(folder)
    before = snapshot(folder)
    write, calls = pl.DataFrame.write_parquet, []

    def write_until(frame, *args, **options):
        calls.append(args)
        write(frame, *args, **options)
        if len(calls) == failing:
            raise KeyboardInterrupt

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_until)
    with pytest.raises(KeyboardInterrupt):
        with_choices(seed=1).save(folder)
    assert snapshot(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        with_choices(seed=1).save(tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_a_failing_rename_puts_the_old_folder_back(tmp_path, monkeypatch):
    folder = tmp_path / "r"
    with_choices(seed=0).save(folder)
    before = snapshot(folder)
    rename = Path.rename

    def fail_to_install(path, target):
        if Path(target) == folder and (path / "meta.json").is_file() and snapshot(path) != before:
            raise OSError("no space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_to_install)
    with pytest.raises(OSError, match="no space"):
        with_choices(seed=1).save(folder)
    assert snapshot(folder) == before


def test_a_matrix_interrupted_leaves_the_old_one(tmp_path, monkeypatch):
    matrix = Responses.from_matrix([[1.0, 0.0], [np.nan, 1.0]]).to_matrix()
    matrix.write(tmp_path / "m")
    before = snapshot(tmp_path / "m")

    def fail(*args, **options):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="no space"):
        matrix.select_items(["item-0"]).write(tmp_path / "m")
    assert snapshot(tmp_path / "m") == before
    assert ResponseMatrix.open(tmp_path / "m").n_items == 2


def test_somebody_elses_folder_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"thesis\.tex"):
        with_choices().save(tmp_path)
    with pytest.raises(DataError, match=r"thesis\.tex"):
        with_choices().save(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_saving_again_replaces(tmp_path):
    with_choices(seed=0).save(tmp_path / "deep" / "r")
    with_choices(seed=1).save(tmp_path / "deep" / "r")
    assert_same(read(tmp_path / "deep" / "r"), with_choices(seed=1))
