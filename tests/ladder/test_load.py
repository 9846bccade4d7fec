"""The packaged ladder's loader, on a small folder of the same schema."""

import json

import numpy as np
import polars as pl
import pytest

import irsl.ladder
from irsl.errors import DataError

UNIT = 2**-7


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(irsl.ladder.resources, "files", lambda name: tmp_path)
    return tmp_path


def pack(folder, seed=5):
    """Write what the ladder's packer writes: log-likelihoods in units, counts of sampled answers, weights."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    subjects = [f"{recipe}/{size}/{step}" for recipe in ("plain", "noisy") for size in "sl" for step in (10, 20)]
    items = [f"{benchmark}/{j}" for benchmark in ("facts", "order") for j in range(4)]
    n = len(subjects) * len(items)
    pl.DataFrame(
        {
            "subject": np.repeat(subjects, len(items)),
            "item": np.tile(items, len(subjects)),
            "log_p": pl.Series(-rng.integers(1, 4000, (n, 4)).astype(np.int16), dtype=pl.Array(pl.Int16, 4)),
        }
    ).write_parquet(folder / "choices.parquet")
    pl.DataFrame(
        {
            "item": items,
            "benchmark": [item.split("/")[0] for item in items],
            "gold": rng.integers(0, 4, len(items)),
            "n_options": 4,
            "chance": 0.25,
            "choice_characters": [[3, 4, 5, 6]] * len(items),
            "level": range(len(items)),
        }
    ).write_parquet(folder / "items.parquet")
    pl.DataFrame(
        {
            "subject": subjects,
            "recipe": [s.split("/")[0] for s in subjects],
            "run": [s.rsplit("/", 1)[0] for s in subjects],
            "step": [int(s.split("/")[2]) for s in subjects],
            "flops": rng.random(len(subjects)),
            "loss": rng.random(len(subjects)),
        }
    ).write_parquet(folder / "subjects.parquet")
    final = [s for s in subjects if s.endswith("20")]
    pl.DataFrame(
        {
            "subject": np.repeat(final, 2),
            "item": np.tile(items[:2], len(final)),
            "outcome": "exact_match",
            "n_samples": 512,
            "n_correct": rng.integers(0, 513, 2 * len(final)),
        }
    ).write_parquet(folder / "responses.parquet")
    (folder / "weights").mkdir()
    (folder / "weights" / "plain-s.npz").write_bytes(b"fp16")
    meta = {
        "schema_version": 1,
        "log_p_unit": UNIT,
        "sources": ["ladder"],
        "kinds": {"facts": {"exact_match": "counts"}},
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def test_the_ladder_loads(package, tmp_path):
    pack(package / "data")
    ladder = irsl.ladder.load()
    assert ladder.subjects.height == 8
    assert ladder.items.height == 8
    assert ladder.resolution == UNIT
    assert ladder.outcomes.filter(pl.col("benchmark") == "facts")["outcome"].to_list()[0] == "exact_match"
    assert set(ladder.outcomes.filter(pl.col("benchmark") == "order")["outcome"]) >= {"acc", "p_choices"}
    matrix = ladder.select(outcome="acc").to_matrix()
    assert matrix.values.shape == (8, 8)
    assert set(matrix.chance) == {0.25}
    sampled = ladder.select(outcome="exact_match").to_matrix()
    assert (sampled.values.shape, sampled.trials, sampled.kind) == ((4, 2), 512, "counts")
    early = ladder.select(outcome="p_choices", subjects=pl.col("step") < 20)
    assert early.subjects.height == 4
    assert np.isfinite(early.to_matrix().logits).all()
    assert "level" in ladder.items["metadata"][0]
    ladder.save(tmp_path / "copy")
    assert irsl.readers.read(tmp_path / "copy").choices.equals(ladder.choices)


def test_without_its_data_the_package_says_so(package):
    with pytest.raises(DataError, match="reinstall"):
        irsl.ladder.load()
