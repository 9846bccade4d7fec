"""Files and folders are replaced whole or not at all, and nothing is left lying about."""

import stat
from pathlib import Path

import pytest

from irsl.files import replace_file, replace_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fill(folder, text):
    (folder / "a").write_text(text)
    (folder / "sub").mkdir()
    (folder / "sub" / "b").write_text(text)


def test_a_folder_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "result"
    with replace_folder(target) as new:
        assert not target.exists()
        assert new.parent == target.parent
        assert names(new) == []
        fill(new, "new")
    assert names(target) == ["a", "sub"]
    assert names(target.parent) == ["result"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_folder_is_replaced_and_not_merged(tmp_path):
    target = tmp_path / "result"
    target.mkdir()
    (target / "old").write_text("old")
    with replace_folder(target) as new:
        fill(new, "new")
        assert names(target) == ["old"]
    assert names(target) == ["a", "sub"]
    assert (target / "sub" / "b").read_text() == "new"
    assert names(tmp_path) == ["result"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_folder_and_no_litter(tmp_path, error):
    target = tmp_path / "result"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(error), replace_folder(target) as new:  # noqa: PT012
        fill(new, "half")
        raise error
    assert names(tmp_path) == ["result"]
    assert (target / "old").read_text() == "old"
    with pytest.raises(error), replace_folder(tmp_path / "fresh") as new:
        raise error
    assert names(tmp_path) == ["result"]


def failing_rename(monkeypatch, fails):
    real = Path.rename

    def rename(self, to):
        if fails(self, Path(to)):
            raise OSError("no rename today")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)


@pytest.mark.parametrize("step", ["old away", "new in place"])
def test_a_failing_rename_leaves_the_old_folder_and_no_litter(tmp_path, monkeypatch, step):
    target = tmp_path / "result"
    target.mkdir()
    (target / "old").write_text("old")
    new_folder = []

    def fails(source, to):
        return source == target if step == "old away" else source == new_folder[0]

    failing_rename(monkeypatch, fails)
    with pytest.raises(OSError, match="no rename today"), replace_folder(target) as new:  # noqa: PT012
        new_folder.append(new)
        fill(new, "new")
    assert names(target) == ["old"]
    assert (target / "old").read_text() == "old"
    assert names(tmp_path) == ["result"]


def test_a_file_appears_when_the_block_ends(tmp_path):
    target = tmp_path / "deep" / "table.csv"
    with replace_file(target) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["table.csv"]


def test_a_file_is_replaced(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with replace_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_file_and_no_litter(tmp_path, error):
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(error), replace_file(target) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_a_failing_rename_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    target = tmp_path / "table.csv"
    target.write_text("old")
    failing_rename(monkeypatch, lambda source, to: to == target)
    with pytest.raises(OSError, match="no rename today"), replace_file(target) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]
