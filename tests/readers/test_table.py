"""Tables as CSV and Parquet, long and wide; errors name file, line and column."""

import polars as pl
import pytest

from irsl.errors import DataError
from irsl.readers import read


def csv(tmp_path, text, name="scores.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_long_csv(tmp_path):
    responses = read(csv(tmp_path, "model,item,response,flops\na,1,1,1e9\na,2,NA,1e9\nb,1,false,2e9\nb,2,oops,2e9\n"))
    assert responses.responses["response"].to_list() == [1, None, 0, None]
    assert responses.subjects["flops"].to_list() == [1e9, 2e9]
    assert [u.first for u in responses.read_report.unread] == [
        "scores.csv, line 3, column 'response': 'NA'",
        "scores.csv, line 5, column 'response': 'oops'",
    ]
    assert responses.read_report.sources == ("scores.csv",)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(("name", "separator"), [("w.csv", ","), ("w.tsv", "\t"), ("W.CSV", ",")])
def test_wide_tables(tmp_path, encoding, name, separator):
    path = tmp_path / name
    path.write_text("who,q 1,é\na,1,0\nb,,true\n".replace(",", separator), encoding=encoding)
    responses = read(path)
    assert responses.subjects["subject"].to_list() == ["a", "b"]
    assert responses.items["item"].to_list() == ["q 1", "é"]
    assert responses.to_matrix().values.tolist() == [[1, 0], [0, 1]]
    assert responses.to_matrix().trials.tolist() == [[1, 1], [0, 1]]
    assert responses.read_report.unread[0].first == f"{name}, line 3, column 'q 1': None"


def test_parquet_long_and_wide(tmp_path):
    frame = pl.DataFrame({"subject": ["a", "b"], "item": ["x", "x"], "response": [0.25, float("nan")]})
    frame = pl.concat([frame, frame.with_columns(item=pl.lit("y"), response=pl.lit(0.5))])
    frame.write_parquet(tmp_path / "long.parquet")
    frame.pivot("item", index="subject", values="response").write_parquet(tmp_path / "wide.parquet")
    long, wide = (read(tmp_path / f"{name}.parquet", kind="probability") for name in ("long", "wide"))
    assert long.responses.sort("subject", "item").equals(wide.responses.sort("subject", "item"))


def test_wide_parquet_of_mixed_types(tmp_path):
    pl.DataFrame({"m": ["a", "b"], "x": [True, False], "y": [1, 0], "z": ["1", "n/a"]}).write_parquet(
        tmp_path / "w.parquet"
    )
    assert read(tmp_path / "w.parquet").responses["response"].to_list() == [1, 0, 1, 0, 1, None]


def test_a_table_can_hold_everything(tmp_path):
    header = "subject,item,benchmark,outcome,condition,trial,n_samples,n_correct\n"
    text = header + "a,1,A,pass,5-shot,0,10,3\na,1,A,pass,5-shot,1,10,4\n"
    matrix = read(csv(tmp_path, text)).to_matrix()
    assert (matrix.values.tolist(), matrix.trials, matrix.kind) == ([[7]], 20, "counts")


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("", None, ["empty file"]),
        ("subject,item,response\n", None, ["empty table"]),
        ("subject\na\n", None, ["only 'subject'"]),
        ("subject,item,respons\na,1,1\n", None, ["'response'", "'respons'", "did you mean 'respons'"]),
        ("subject,itm,respons\na,1,1\na,2,0\n", None, ["line 2 and line 3", "'itm' meant for 'item'"]),
        ("who,q1,notes\na,1,fine\nb,0,\n", None, ["column 'notes'", "'fine'", "leave this one out"]),
        ("who,q1,q2\na,1,\nb,0,\n", None, ["column 'q2'", "every cell is empty"]),
        ("who,q1,q1\na,1,1\n", None, ["line 1", "'q1' more than once"]),
        (
            "who,q1,q2\na,1,0\nb,0,1.5\n",
            "probability",
            ["line 3, column 'q2'", "found 1.5", "subject 'b', item 'q2'"],
        ),
        ("who,q1,q2\na,1,0\nb,0,0.5\n", None, ["wide.csv: the kind", "kind='probability'"]),
        ("who,q1\na,1\nb,\n", None, ["'b'", "missing"]),
        ("subject,item,response\na,1,2\n", "binary", ["wide.csv, line 2, column 'response'", "0 or 1"]),
        ("subject,item,response\na,1,1\na,1,0\n", None, ["line 2 and line 3", "subject 'a'", "item '1'"]),
        ("subject,item,response\na,1,1,9\n", None, ["wide.csv", "comma-separated"]),
        ("subject,item,n_samples,n_correct\na,1,5,6\n", None, ["line 2, column 'n_correct'", "n_samples"]),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, text, kind, parts):
    with pytest.raises(DataError) as error:
        read(csv(tmp_path, text, "wide.csv"), kind=kind)
    for part in ("wide.csv", *parts):
        assert part in str(error.value)


def test_what_no_reader_knows(tmp_path):
    with pytest.raises(DataError, match="nothing there"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"no reader knows this file.*\.csv"):
        read(csv(tmp_path, "{}", "log.json"))
    with pytest.raises(DataError, match=r"no reader knows this folder.*responses\.parquet"):
        read(tmp_path)
    with pytest.raises(DataError, match="expected a Parquet file"):
        read(csv(tmp_path, "not parquet", "x.parquet"))
