"""Folders of Parquet files: twins of the schemas of public data sets, without meta.json, and broken ones."""

import json
from datetime import date

import numpy as np
import polars as pl
import pytest

from irsl.errors import DataError
from irsl.readers import read
from irsl.responses import Responses

N_MODELS, N_ITEMS = 6, 8


def twin(rng, *, metric=None):
    """Generate the common part of a set: responses, items and models, each with the columns every set has."""
    models = [f"model {i}" for i in range(N_MODELS)]
    names = [f"b{j % 2}/{j}" for j in range(N_ITEMS)]
    names = names if metric is None else [f"{name}/{metric[j % len(metric)]}" for j, name in enumerate(names)]
    responses = pl.DataFrame({"model": np.repeat(models, N_ITEMS), "item": np.tile(names, N_MODELS)})
    responses = responses.with_columns(benchmark=pl.col("item").str.split("/").list.first())
    if metric is not None:
        responses = responses.with_columns(metric=pl.col("item").str.split("/").list.last())
    value = pl.Series(rng.integers(0, 2, len(responses)), dtype=pl.Float32)
    return {
        "responses": responses.with_columns(response=value),
        "items": pl.DataFrame({"item": names, "benchmark": [name.split("/")[0] for name in names]}),
        "models": pl.DataFrame({"model": models, "family": "f", "params": np.arange(N_MODELS) * 1e9}),
    }


def binary_with_costs(rng):
    frames = twin(rng)
    n = len(frames["responses"])
    frames["responses"] = frames["responses"].with_columns(
        input_tokens=pl.Series([None, *rng.integers(1, 99, n - 1)], dtype=pl.Int32),
        latency_s=pl.Series(rng.random(n), dtype=pl.Float32),
        cost_usd=pl.Series(rng.random(n), dtype=pl.Float32),
        answered=True,
    )
    frames["items"] = frames["items"].with_columns(text=pl.lit("Why?"), text_source=pl.lit("web"), source_index=7)
    frames["models"] = frames["models"].with_columns(organization=pl.lit("o"), cost_usd_per_1k_calls=1.5)
    ignored = {f"responses.{c}" for c in ("input_tokens", "latency_s", "cost_usd", "answered")}
    return frames, None, "binary", ignored | {"subjects.organization", "subjects.cost_usd_per_1k_calls"}


def counts(rng):
    frames = twin(rng)
    n = pl.Series(rng.integers(1, 3_000_000, len(frames["responses"])), dtype=pl.Int64)
    k = pl.Series([int(rng.integers(0, v + 1)) for v in n], dtype=pl.Int64)
    frames["responses"] = frames["responses"].with_columns(response=k / n, n_samples=n, n_correct=k, dps=1.0)
    frames["models"] = frames["models"].with_columns(release_date=pl.Series([date(2024, 5, 1)] * N_MODELS))
    return frames, None, "counts", {"responses.dps"}


def counts_with_gaps(rng):
    frames, *_ = counts(rng)
    gap = pl.int_range(pl.len()) == 3
    frames["responses"] = (
        frames["responses"]
        .drop("dps")
        .with_columns(n_samples=pl.when(~gap).then("n_samples"), n_correct=pl.when(~gap).then("n_correct"))
    )
    return frames, None, "counts", set()


def probability(rng):
    frames = twin(rng)
    value = pl.Series(rng.random(len(frames["responses"])), dtype=pl.Float32)
    frames["responses"] = frames["responses"].with_columns(response=value, output_chars=5)
    frames["items"] = frames["items"].with_columns(
        options=pl.Series(["{'text': ['x'], 'labels': ['A']}"] + [None] * (N_ITEMS - 1)), answer=pl.lit("A")
    )
    return frames, "probability", "probability", {"responses.output_chars"}


def multiple_choice(rng):
    frames = twin(rng)
    frames["items"] = frames["items"].with_columns(
        options=pl.lit('["x", "y", "z"]'), n_options=pl.lit(3, pl.Int64), date=date(2023, 1, 1)
    )
    frames["models"] = frames["models"].with_columns(tokens=1e12, flops=6e21, instruct=True)
    return frames, None, "binary", {"subjects.instruct"}


def aggregate(rng):
    frames = twin(rng, metric=["acc", "ce_loss"])
    value = pl.Series(rng.normal(3, 2, len(frames["responses"])), dtype=pl.Float32)
    frames["responses"] = frames["responses"].with_columns(response=value, shots=pl.lit(None, pl.Int32), stderr=0.1)
    frames["items"] = frames["items"].with_columns(
        metric=pl.lit("acc"), n_models=pl.lit(N_MODELS, pl.UInt32), min=pl.lit(0.0, pl.Float32)
    )
    frames["models"] = frames["models"].with_columns(run=pl.lit("r"), step=pl.lit(100), chinchilla_multiple=2.0)
    return (
        frames,
        "aggregate",
        "aggregate",
        {"responses.shots", "responses.stderr", "subjects.chinchilla_multiple"},
    )


TWINS = [binary_with_costs, counts, counts_with_gaps, probability, multiple_choice, aggregate]


def write(folder, frames):
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet")


@pytest.mark.parametrize("make", TWINS)
def test_every_schema_loads_and_comes_back(tmp_path, make):
    frames, kind, expected, ignored = make(np.random.default_rng(3))
    write(tmp_path, frames)
    responses = read(tmp_path, kind=kind)
    assert set(responses.outcomes["kind"]) == {expected}
    assert set(responses.read_report.ignored) == ignored
    assert responses.responses.height == N_MODELS * N_ITEMS
    assert responses.subjects["params"].to_list() == frames["models"]["params"].to_list()
    responses.save(tmp_path / "again")
    again = read(tmp_path / "again")
    assert again.responses.equals(responses.responses)
    assert again.items.equals(responses.items)
    assert again.subjects.equals(responses.subjects)
    if expected == "aggregate":
        with pytest.raises(DataError, match="aggregate"):
            responses.to_matrix()
    else:
        assert responses.to_matrix().values.shape == (N_MODELS, N_ITEMS)


def test_gaps_in_counts_are_null_and_reported(tmp_path):
    frames, *_ = counts_with_gaps(np.random.default_rng(3))
    write(tmp_path, frames)
    responses = read(tmp_path)
    assert responses.responses["response"].null_count() == 1
    assert f"{tmp_path.name}/responses.parquet, row 3" in str(responses.read_report)


def test_columns_of_other_sets_are_kept_where_they_belong(tmp_path):
    frames, *_ = multiple_choice(np.random.default_rng(3))
    write(tmp_path, frames)
    responses = read(tmp_path)
    assert responses.items["options"].to_list()[0] == ["x", "y", "z"]
    assert json.loads(responses.items["metadata"][0]) == {"date": "2023-01-01"}
    assert set(responses.to_matrix().chance) == {1 / 3}
    assert responses.subjects.select("tokens", "flops").row(0) == (1e12, 6e21)


def test_an_undeclared_kind_is_asked_for(tmp_path):
    frames, *_ = probability(np.random.default_rng(3))
    write(tmp_path, frames)
    with pytest.raises(DataError, match=r"responses\.parquet, column 'response'.*kind='probability'"):
        read(tmp_path)


def test_the_kind_handed_in_goes_before_the_one_stored(tmp_path):
    Responses.from_matrix([[1, 0]]).save(tmp_path / "r")
    assert read(tmp_path / "r").outcomes["kind"].to_list() == ["binary"]
    assert read(tmp_path / "r", kind="probability").outcomes["kind"].to_list() == ["probability"]


def test_broken_folders(tmp_path):
    Responses.from_matrix([[1, 0]]).save(tmp_path / "r")
    meta = tmp_path / "r" / "meta.json"
    meta.write_text("{")
    with pytest.raises(DataError, match=r"meta\.json: expected JSON"):
        read(tmp_path / "r")
    meta.write_text('{"schema_version": 99}')
    with pytest.raises(DataError, match="expected schema_version 1, found 99"):
        read(tmp_path / "r")
    meta.write_text('{"schema_version": 1}')
    (tmp_path / "r" / "responses.parquet").unlink()
    with pytest.raises(DataError, match=r"expected responses\.parquet or choices\.parquet"):
        read(tmp_path / "r")
