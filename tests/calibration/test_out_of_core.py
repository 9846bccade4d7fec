"""Responses on disk: mapped into memory, read block by block, with the results of those in memory."""

import numpy as np
import pytest

import irsl
from irsl.likelihoods import statistics


def simulated(kind, missing):
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-(rng.normal(size=(240, 1)) - rng.normal(size=90))))
    y = (rng.random(p.shape) < p).astype(np.float32) if kind == "binary" else rng.beta(8 * p, 8 * (1 - p))
    y = y.astype(np.float32)
    if missing:
        y[rng.random(y.shape) < 0.2] = np.nan
    return y


@pytest.mark.parametrize("kind", ["binary", "probability"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_matrix_on_disk_gives_the_results_of_one_in_memory(kind, missing, tmp_path, monkeypatch):
    monkeypatch.setattr(statistics, "BLOCK_CELLS", 90 * 32)  # many blocks
    here = irsl.Responses.from_matrix(simulated(kind, missing), kind=kind)
    here.to_matrix().write(tmp_path / "matrix")
    there = irsl.read(tmp_path / "matrix")
    assert isinstance(there.to_matrix().values, np.memmap)
    one, two = irsl.calibrate(here), irsl.calibrate(there)
    for column in ("difficulty", "discrimination", "se_difficulty", "se_discrimination", "mean_response"):
        np.testing.assert_allclose(two.bank.items[column], one.bank.items[column], rtol=0, atol=1e-9)
    np.testing.assert_allclose(two.abilities["ability"], one.abilities["ability"], rtol=0, atol=1e-9)
    assert two.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-9)
    assert two.bank.scales[0].data_hash == one.bank.scales[0].data_hash


@pytest.mark.parametrize(("kind", "dtype"), [("binary", np.uint8), ("probability", np.float32)])
def test_a_memory_map_is_not_copied_and_not_changed(kind, dtype, tmp_path):
    np.save(tmp_path / "values.npy", simulated(kind, False).astype(dtype))
    values = np.load(tmp_path / "values.npy", mmap_mode="r")
    mapped = irsl.Responses.from_matrix(values, kind=kind)
    assert mapped.to_matrix().values is values
    copied = irsl.Responses.from_matrix(np.array(values), kind=kind)
    one, two = irsl.calibrate(mapped), irsl.calibrate(copied)
    np.testing.assert_allclose(one.bank.items["difficulty"], two.bank.items["difficulty"], rtol=0, atol=1e-9)


def test_several_benchmarks_in_one_matrix_are_refused(tmp_path):
    matrix = irsl.Responses.from_matrix(simulated("binary", False), kind="binary").to_matrix()
    matrix.benchmarks[3] = "another"
    matrix.write(tmp_path / "matrix")
    with pytest.raises(irsl.DataError, match="one benchmark"):
        irsl.read(tmp_path / "matrix")
    with pytest.raises(irsl.DataError, match="holds binary"):
        irsl.read(tmp_path / "matrix", kind="probability")
