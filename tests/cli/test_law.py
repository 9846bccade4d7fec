"""irsl law testtime: the answer first, tables and pictures, and one clear line for bad input."""

import json

import numpy as np
import polars as pl
import pytest
from typer.main import get_command

import irsl
from irsl.cli.app import app
from irsl.cli.law import parse_k
from irsl.errors import OptionError
from irsl.laws.pass_at_k import dataset_pass_at_k
from irsl.laws.sampling import sampling_law

N_SUBJECTS, N_ITEMS, N_SAMPLES = 5, 12, 40
PNG = b"\x89PNG"


def counts(benchmark="maths", seed=0):
    rng = np.random.default_rng(seed)
    ability, difficulty = np.linspace(-1.0, 1.0, N_SUBJECTS)[:, None], rng.normal(1.0, 1.5, N_ITEMS)
    c = rng.binomial(N_SAMPLES, 1.0 / (1.0 + np.exp(difficulty - ability)))
    i, j = np.indices(c.shape)
    return pl.DataFrame(
        {
            "subject": [f"m{k}" for k in i.ravel()],
            "item": [f"{benchmark}{k}" for k in j.ravel()],
            "benchmark": benchmark,
            "n_samples": N_SAMPLES,
            "n_correct": c.ravel(),
        }
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with samples.csv of one benchmark, both.csv of two, and banks of these, the second on one scale."""
    folder = tmp_path_factory.mktemp("law")
    one, two = counts(), pl.concat([counts(), counts("code", seed=1)])
    one.write_csv(folder / "samples.csv")
    two.write_csv(folder / "both.csv")
    irsl.calibrate(irsl.read(folder / "samples.csv")).bank.save(folder / "bank")
    irsl.calibrate(irsl.read(folder / "both.csv"), scale="joint").bank.save(folder / "joint")
    return folder


@pytest.fixture(scope="module")
def expected(made):
    """The law that the command is to show."""
    return sampling_law(irsl.read(made / "samples.csv"), irsl.ItemBank.load(made / "bank"))


def refused(result, *words):
    """Status 2, nothing on standard output, and one line on standard error that says `words`."""
    status, out, err = result
    assert status == 2, (status, out, err)
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("irsl: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,10,100", [1, 10, 100]),
        ("100, 1,1", [1, 100]),
        ("7", [7]),
        ("1:10", [1, 2, 3, 6, 10]),
        ("5:5", [5]),
        ("4:20", [4, 6, 10, 18, 20]),
        ("9:101", [9, 10, 18, 32, 56, 100, 101]),
    ],
)
def test_k_is_a_list_or_a_range_with_its_ends_and_powers_of_ten(text, values):
    assert parse_k(text) == values


def test_a_long_range_has_four_values_a_decade():
    values = parse_k("1:10000")
    assert (values[0], values[-1], len(values)) == (1, 10_000, 17)
    assert {10, 100, 1000} < {*values}


@pytest.mark.parametrize(
    "text", ["0:5", "10:1", "", ":", "1:", "1:2:3", "1:2,3", "a", "1.5", "-1", "0,1", "1e3", "1:99999999999"]
)
def test_other_k_is_refused_with_what_was_given(text):
    with pytest.raises(OptionError, match=r"1:10000.*1,10,100") as caught:
        parse_k(text)
    assert repr(text) in str(caught.value)


def test_help_names_the_group_the_command_and_an_example(run):
    assert "law" in run("--help")[1]
    assert "testtime" in run("law", "--help")[1]
    status, out, err = run("law", "testtime", "--help")
    assert (status, err) == (0, "")
    assert "Example: irsl law testtime" in out
    assert "--json" in out


def test_the_example_of_the_help_works(run, made, tmp_path):
    """Without a bank, as written there; the answer comes first, then the table, then the notes."""
    (tmp_path / "samples.csv").write_bytes((made / "samples.csv").read_bytes())
    example = get_command(app).commands["law"].commands["testtime"].epilog.removeprefix("Example: irsl ").split()
    status, out, err = run(*example)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("Best of 5 at k = ")
    assert " on maths: pass@1 0." in lines[0]
    assert lines[1].startswith("maths: pass@k on these 12 items, 90 % intervals")
    assert all(f"k = {k}" in lines[2] for k in ("1 ", "10 ", "100 ", "1,000"))
    assert "never solved" in lines[2]
    notes = [line for line in lines if line.startswith("- ")]
    assert 0 < len(notes) <= 4
    assert "pass@k is identified up to k = 480" in notes[0]
    assert "power law" in notes[1]
    assert "difficulties help" in notes[2]
    assert "not" in out
    assert "identified" in out
    assert (tmp_path / "testtime.png").read_bytes().startswith(PNG)


def test_json_gives_the_values_of_the_law(run, made, expected):
    status, out, err = run(
        "law", "testtime", made / "samples.csv", "--bank", made / "bank", "--k", "1,40,1000", "--json"
    )
    assert (status, err) == (0, "")
    told = json.loads(out)
    assert told["level"] == 0.9
    assert len(told["notes"]) == 3
    curve = expected.curve([1, 40, 1000])
    found = pl.DataFrame(told["curve"], infer_schema_length=None)
    assert found.height == 3 * N_SUBJECTS
    both = found.join(curve, on=["subject", "benchmark", "k"])
    assert both.height == found.height
    for name in ("pass_at_k", "pass_at_k_lower", "pass_at_k_upper"):
        np.testing.assert_allclose(both[name].fill_null(-1), both[f"{name}_right"].fill_null(-1))
    assert both["identified"].to_list() == both["identified_right"].to_list()
    assert found.filter(pl.col("k") == 1000)["pass_at_k"].null_count() == N_SUBJECTS
    answer = told["answer"][0]
    at = curve.filter(k=40).sort(pl.col("pass_at_k").round(3), descending=True)
    assert answer["k"] == 40
    assert answer["pass_at_k"] == pytest.approx(at["pass_at_k"][0], abs=5e-4)
    row = curve.row(by_predicate=(pl.col("subject") == answer["subject"]) & (pl.col("k") == 1), named=True)
    assert [answer[f"pass_at_1{end}"] for end in ("", "_lower", "_upper")] == [
        pytest.approx(row[f"pass_at_k{end}"]) for end in ("", "_lower", "_upper")
    ]
    assert [s["subject"] for s in told["subjects"]] == list(dict.fromkeys(found["subject"]))


def test_the_table_has_every_k_and_the_unbiased_values_up_to_n(run, made, tmp_path):
    for suffix, read in ((".csv", pl.read_csv), (".parquet", pl.read_parquet), (".json", pl.read_json)):
        name = f"t{suffix}"
        status, out, err = run(
            "law", "testtime", made / "samples.csv", "--bank", made / "bank", "--k", "1:100", "--out", name
        )
        assert status == 0, err
        assert f"Written to {name}" in out
        table = read(tmp_path / name)
        assert table["k"].unique().sort().to_list() == parse_k("1:100")
        assert table.height == len(parse_k("1:100")) * N_SUBJECTS
    own = counts().filter(pl.col("subject") == "m3")
    ks = [k for k in parse_k("1:100") if k <= N_SAMPLES]
    unbiased = dataset_pass_at_k(own["n_samples"], own["n_correct"], ks)["pass_at_k"]
    table = table.filter(pl.col("subject") == "m3").sort("k")
    np.testing.assert_allclose(table["unbiased"].drop_nulls(), unbiased)
    assert table.filter(pl.col("k") > N_SAMPLES)["unbiased"].null_count() == len(parse_k("1:100")) - len(ks)


def test_some_subjects_are_shown_and_all_are_fitted(run, made, expected, tmp_path):
    status, out, err = run(
        "law", "testtime", made / "samples.csv", "--bank", made / "bank", "--k", "1,10", "--subject", "m1",
        "--plot", "p.svg", "--out", "t.csv",
    )  # fmt: skip
    assert status == 0, err
    assert out.startswith("m1 on maths: pass@1 ")
    assert "m0" not in out
    table = pl.read_csv(tmp_path / "t.csv")
    assert set(table["subject"]) == {"m1"}
    np.testing.assert_allclose(table["pass_at_k"], expected.curve([1, 10]).filter(subject="m1")["pass_at_k"])
    assert ">m1<" in (tmp_path / "p.svg").read_text()


def test_level_and_seed_reach_the_law(run, made):
    arguments = ("law", "testtime", made / "samples.csv", "--bank", made / "bank", "--k", "10", "--json")
    wide, narrow, other = (
        json.loads(run(*arguments, *more)[1])["curve"][0]
        for more in (("--level", ".95"), ("--level", ".5"), ("--level", ".5", "--seed", "1"))
    )
    assert wide["pass_at_k_upper"] - wide["pass_at_k_lower"] > narrow["pass_at_k_upper"] - narrow["pass_at_k_lower"]
    assert other["pass_at_k_lower"] != narrow["pass_at_k_lower"]


def test_beyond_the_horizon_the_answer_says_so(run, made):
    status, out, err = run("law", "testtime", made / "samples.csv", "--bank", made / "bank", "--k", "1000:100000")
    assert status == 0, err
    assert "pass@k is not identified at any k asked for, from 1,000 on." in out.splitlines()[0]
    assert "identified" in out
    assert "> .9" in out
    assert "> >" not in out
    assert "k = 1,000" in out
    assert "k = 10,000" not in out  # the same bound again


def test_sampling_until_a_success_is_noted_and_has_no_unbiased_values(run, made, tmp_path):
    rng = np.random.default_rng(0)
    rate = rng.beta(0.5, 2.0, (2, 60))
    first = rng.geometric(rate)
    n, solved = np.minimum(first, 50), first <= 50
    i, j = np.indices(n.shape)
    pl.DataFrame(
        {"subject": i.ravel(), "item": j.ravel(), "n_samples": n.ravel(), "n_correct": solved.ravel().astype(int)}
    ).with_columns(pl.col("subject", "item").cast(pl.String)).write_csv(tmp_path / "stopped.csv")
    status, out, err = run("law", "testtime", "stopped.csv", "--k", "1:10", "--out", "t.csv", "--plot", "p.png")
    assert status == 0, err
    notes = [line for line in out.splitlines() if line.startswith("- ")]
    assert len(notes) == 4
    assert "depends on the outcome" in notes[0]
    assert "nothing is known of the items but their counts" in notes[3]
    assert pl.read_csv(tmp_path / "t.csv")["unbiased"].null_count() == 2 * len(parse_k("1:10"))
    assert (tmp_path / "p.png").exists()


def test_benchmarks_on_one_scale_have_an_answer_and_a_table_each(run, made):
    joint = ("law", "testtime", made / "both.csv", "--bank", made / "joint", "--k", "1,10")
    status, out, err = run(*joint)
    assert status == 0, err
    lines = out.splitlines()
    assert " on code: " in lines[0]
    assert " on maths: " in lines[1]
    assert "code: pass@k on these 12 items" in out
    refused(run(*joint, "--plot", "p.png"), "--plot p.png", "code", "maths", "--benchmark")
    status, out, err = run(*joint, "--benchmark", "maths", "--plot", "p.png")
    assert status == 0, err
    assert "code" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--k", "0:5"), ("--k", "0", "1:10000")),
        (("--k", "10:1"), ("--k", "10:1", "smaller end first")),
        (("--benchmark", "nope"), ("nope", "maths")),
        (("--out", "t.xlsx"), ("--out t.xlsx", ".csv", ".parquet", ".json")),
        (("--plot", "p.pdf"), ("--plot p.pdf", ".png", ".svg")),
        (("--level", "90"), ("--level", "(0, 1)", "90")),
        (("--seed", "-1"), ("--seed", "-1")),
        (("--subject", "mm1"), ("--subject mm1", "did you mean 'm1'")),
        (("--bank", "nowhere"), ("nowhere", "bank.json")),
        (("--oops",), ("--oops",)),
    ],
)
def test_bad_options_are_one_line_before_anything_is_written(run, made, tmp_path, arguments, words):
    refused(run("law", "testtime", made / "samples.csv", *arguments), *words)
    assert not list(tmp_path.iterdir())


def test_two_benchmarks_without_a_bank_are_one_line(run, made):
    refused(run("law", "testtime", made / "both.csv"), "one scale", "maths", "code")


def test_probabilities_in_the_place_of_counts_are_one_line(run, tmp_path):
    (tmp_path / "p.csv").write_text("subject,item,response\na,x,0.3\na,y,0.5\nb,x,0.1\nb,y,0.9\n")
    refused(run("law", "testtime", "p.csv", "--kind", "probability"), "counts", "n_samples", "probability")


def test_missing_data_are_one_line(run):
    refused(run("law", "testtime", "nothing.csv"), "nothing.csv", "found nothing there")
    refused(run("law", "testtime"), "data")
    refused(run("law", "pretraining"), "pretraining")
