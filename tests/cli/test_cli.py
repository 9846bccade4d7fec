"""The command line: help with examples, tables in and out, and one clear line for bad input."""

import json

import numpy as np
import polars as pl
import pytest

import irsl
from irsl.cli.app import app

COMMANDS = sorted(c.name or c.callback.__name__ for c in app.registered_commands)
EXISTING = ("demo", "calibrate", "measure", "report")


def scores(n_subjects=30, n_items=15, seed=0):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(rng.normal(size=n_items) - rng.normal(size=(n_subjects, 1))))
    return (rng.random(p.shape) < p).astype(int)


def wide_table(path, y):
    frame = pl.DataFrame(y, schema=[f"q{j}" for j in range(y.shape[1])])
    frame.insert_column(0, pl.Series("subject", [f"m{i}" for i in range(len(y))])).write_csv(path)


def long_table(path, y):
    i, j = np.indices(y.shape)
    pl.DataFrame(
        {"subject": [f"m{k}" for k in i.ravel()], "item": [f"q{k}" for k in j.ravel()], "response": y.ravel()}
    ).write_csv(path)


TABLES = {"wide": wide_table, "long": long_table}


def refused(result, *words):
    """Status 2, nothing on standard output, and one line on standard error that says `words`."""
    status, out, err = result
    assert status == 2, (status, out, err)
    assert out == ""
    assert "Traceback" not in err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("irsl: ")
    for word in words:
        assert word in lines[0]


def test_help_names_every_command_and_where_to_start(run):
    for arguments in (("--help",), ("-h",), ()):
        status, out, _ = run(*arguments)
        assert status == 0 or not arguments
        for command in (*EXISTING, *COMMANDS):
            assert command in out
        assert "Start with: irsl demo" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(run, command):
    status, out, err = run(command, "--help")
    assert (status, err) == (0, "")
    assert f"Example: irsl {command}" in out
    assert "--json" in out


def test_examples_of_the_help_are_of_options_that_exist():
    """Every --option in an example is one of its command."""
    for command in app.registered_commands:
        from typer.main import get_command

        known = {o for p in get_command(app).commands[command.callback.__name__].params for o in p.opts}
        words = command.epilog.split("&&")[0].split()
        assert {w for w in words if w.startswith("--")} <= known


def test_version(run):
    assert run("--version") == (0, f"{irsl.__version__}\n", "")


@pytest.mark.parametrize("form", TABLES)
def test_calibrate_then_measure(run, tmp_path, form):
    y = scores()
    TABLES[form](tmp_path / "train.csv", y[:25])
    TABLES[form](tmp_path / "new.csv", y[25:])
    status, out, err = run("calibrate", "train.csv", "--out", "bank", "--model", "1pl")
    assert status == 0, err
    assert "15 items" in out
    bank = irsl.ItemBank.load(tmp_path / "bank")
    direct = irsl.calibrate(irsl.read(tmp_path / "train.csv"), model="1pl")
    assert bank.items.equals(direct.bank.items)

    status, out, err = run("measure", "new.csv", "--bank", "bank", "--out", "measured.csv", "--level", "0.8")
    assert status == 0, err
    assert "80 %" in out
    table = pl.read_csv(tmp_path / "measured.csv")
    expected = irsl.measure(irsl.read(tmp_path / "new.csv"), direct.bank, level=0.8)
    assert table.columns == expected.columns
    np.testing.assert_allclose(table["ability"], expected["ability"])
    np.testing.assert_allclose(table["accuracy_lower"], expected["accuracy_lower"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".json"])
def test_tables_are_written_in_the_format_of_their_name(run, tmp_path, suffix):
    wide_table(tmp_path / "train.csv", scores())
    assert run("calibrate", "train.csv", "--out", "bank")[0] == 0
    assert run("measure", "train.csv", "--bank", "bank", "--out", f"m{suffix}")[0] == 0
    table = {".csv": pl.read_csv, ".parquet": pl.read_parquet, ".json": pl.read_json}[suffix](tmp_path / f"m{suffix}")
    assert table.height == 30


def test_json_output_parses(run, tmp_path):
    y = scores()
    y[0] = 1
    wide_table(tmp_path / "train.csv", y)
    status, out, _ = run("calibrate", "train.csv", "--out", "bank", "--json")
    assert status == 0
    told = json.loads(out)
    assert told["bank"] == "bank"
    assert told["fits"][0]["n_items"] == 15
    status, out, _ = run("measure", "train.csv", "--bank", "bank", "--json")
    assert status == 0
    rows = json.loads(out)
    assert len(rows) == 30
    assert rows[0]["subject"] == "m0"
    assert 0 <= rows[0]["accuracy_lower"] <= rows[0]["accuracy"] <= 1


def test_json_is_json_also_where_an_ability_is_infinite(run, tmp_path):
    """RFC 8259 has no Infinity and no NaN: strict readers, jq and JavaScript refuse them."""
    y = scores()
    y[0] = 1
    wide_table(tmp_path / "train.csv", y)
    run("calibrate", "train.csv", "--out", "bank")
    status, out, _ = run("measure", "train.csv", "--bank", "bank", "--estimator", "mle", "--json")
    assert status == 0

    def refuse(constant):
        raise AssertionError(f"not JSON: {constant}")

    assert len(json.loads(out, parse_constant=refuse)) == 30


@pytest.mark.parametrize("command", ["calibrate", "report"])
def test_a_missing_file_is_one_line(run, command):
    refused(run(command, "nothing.csv", "--out", "x"), "nothing.csv", "found nothing there")


def test_a_missing_bank_is_one_line(run, tmp_path):
    wide_table(tmp_path / "new.csv", scores())
    refused(run("measure", "new.csv", "--bank", "nowhere"), "nowhere", "bank.json")
    refused(run("measure", "new.csv", "--bank", "new.csv"), "new.csv", "bank.json")


def test_a_value_out_of_range_is_one_line_that_says_where(run, tmp_path):
    (tmp_path / "bad.csv").write_text("subject,item,response\nm0,q0,1\nm0,q1,0\nm1,q0,1.7\nm1,q1,0\n")
    refused(run("calibrate", "bad.csv", "--kind", "binary", "--out", "x"), "bad.csv", "line 4", "1.7")
    assert not (tmp_path / "x").exists()


def test_an_unknown_column_is_one_line(run, tmp_path):
    (tmp_path / "bad.csv").write_text("subject,itm,response\nm0,q0,1\nm0,q1,0\n")
    refused(run("calibrate", "bad.csv", "--out", "x"), "itm", "item")


def test_scores_without_a_kind_are_one_line(run, tmp_path):
    (tmp_path / "bad.csv").write_text("subject,q0,q1\nm0,0.3,1\nm1,0.5,0\n")
    refused(run("calibrate", "bad.csv", "--out", "x"), "kind")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("calibrate",), ("Missing argument", "data")),
        (("calibrate", "t.csv"), ("--out",)),
        (("calibrate", "t.csv", "--out", "x", "--model", "4pl"), ("4pl", "1pl", "2pl", "3pl")),
        (("calibrate", "t.csv", "--out", "x", "--oops"), ("--oops",)),
        (("calibrate", "t.csv", "--out", "x", "--outcome", "f1"), ("f1", "response")),
        (("calibrate", "t.csv", "--out", "x", "--benchmark", "mmlu"), ("mmlu", "benchmark")),
        (("measure", "t.csv", "--bank", "bank", "--estimator", "bayes"), ("bayes", "eap", "wle")),
        (("measure", "t.csv", "--bank", "bank", "--level", "90"), ("level", "(0, 1)", "90")),
        (("measure", "t.csv", "--bank", "bank", "--out", "m.xlsx"), (".csv", ".parquet", ".json")),
        (("forecast",), ("forecast",)),
    ],
)
def test_bad_options_are_one_line_that_names_the_good_ones(run, tmp_path, arguments, words):
    wide_table(tmp_path / "t.csv", scores())
    if "bank" in arguments:
        run("calibrate", "t.csv", "--out", "bank")
    refused(run(*arguments), *words)
    assert not (tmp_path / "x").exists()


def test_a_warning_is_a_note_on_standard_error(run, tmp_path):
    wide_table(tmp_path / "train.csv", scores()[:, :10])
    wide_table(tmp_path / "new.csv", scores())
    run("calibrate", "train.csv", "--out", "bank")
    status, out, err = run("measure", "new.csv", "--bank", "bank", "--json")
    assert status == 0
    assert "irsl: note: 5 items are not in the bank" in err
    assert len(json.loads(out)) == 30


def test_the_table_that_a_user_wrote_is_not_lost_when_a_measure_fails(run, tmp_path):
    wide_table(tmp_path / "t.csv", scores())
    run("calibrate", "t.csv", "--out", "bank")
    (tmp_path / "m.csv").write_text("mine\n")
    refused(run("measure", "nothing.csv", "--bank", "bank", "--out", "m.csv"), "nothing.csv")
    assert (tmp_path / "m.csv").read_text() == "mine\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank", "m.csv", "t.csv"]


def test_calibrate_does_not_overwrite_a_folder_that_is_no_bank(run, tmp_path):
    wide_table(tmp_path / "t.csv", scores())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    refused(run("calibrate", "t.csv", "--out", "thesis"), "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()
