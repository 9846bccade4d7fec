"""What the commands share: tables on the screen, files, and JSON."""

import json

import polars as pl
import pytest

from irsl.cli.common import check_picture_name, print_table, to_json, write_picture, write_table
from irsl.errors import OptionError
from irsl.plots.style import panel, styled


@pytest.fixture
def figure():
    with styled():
        drawn, axes = panel("title", x_label="x", y_label="y")
        axes.plot([0, 1], [0, 1])
    return drawn


def test_names_with_brackets_are_printed_as_they_are(capsys, monkeypatch):
    """Rich would take [b] for markup and leave it out."""
    monkeypatch.setenv("COLUMNS", "80")
    print_table(pl.DataFrame({"subject": ["model[b]x[/b]", "two\nlines"], "share": [0.25, None]}), "Title")
    out = capsys.readouterr().out
    assert "model[b]x[/b]" in out
    assert "0.250" in out
    assert "two\nlines" in out.replace(" ", "")


def test_a_long_table_says_how_much_is_missing(capsys):
    print_table(pl.DataFrame({"n": range(50)}), "Title", limit=10)
    assert "... and 40 more rows; --json or --out gives all" in capsys.readouterr().out


def test_a_table_of_an_unknown_format_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(OptionError, match=r"t\.xlsx.*\.csv"):
        write_table(pl.DataFrame({"n": [1]}), tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_pictures_are_whole_files_of_their_format_and_the_same_every_time(figure, tmp_path, name, start):
    write_picture(figure, tmp_path / "new" / name)
    first = (tmp_path / "new" / name).read_bytes()
    assert first.startswith(start)
    assert name.endswith(".png") or b'xmlns="http://www.w3.org/2000/svg"' in first
    write_picture(figure, tmp_path / "new" / name)
    assert (tmp_path / "new" / name).read_bytes() == first
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["p.pdf", "p", "p.PNG.txt"])
def test_a_picture_of_an_unknown_format_is_refused(name, tmp_path):
    with pytest.raises(OptionError, match=r"--plot.*\.png.*\.svg"):
        check_picture_name(tmp_path / name)


def test_json_has_null_where_a_number_is_not_finite():
    value = {"a": [1.0, float("inf"), {"b": float("nan")}]}
    assert json.loads(to_json(value)) == {"a": [1.0, None, {"b": None}]}
