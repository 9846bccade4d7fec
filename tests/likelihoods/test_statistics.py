"""Sufficient statistics block by block, whatever the storage; and the tables that stand in for special functions."""

import numpy as np
import pytest
from scipy.special import expit

import irsl
from irsl.likelihoods import Beta, BetaBinomial, Binomial
from irsl.likelihoods.beta import TABLE_FROM
from irsl.likelihoods.statistics import Buffers, Expected, dense
from matrices import as_csr, coded

PHIS = [1.0, 10.0, 400.0, 1e4]


def stored(y, trials, storage, folder):
    if storage == "csr":
        return as_csr(y, trials)
    if storage == "memory-mapped":
        for name, x in (("y", y), ("n", trials)):
            np.save(folder / f"{name}.npy", x.astype(np.float32))
        return tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("y", "n"))
    return y.astype(storage), trials.astype(storage)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("likelihood", [Binomial(), Beta(), BetaBinomial()], ids=lambda x: x.name)
def test_components_do_not_depend_on_the_storage(likelihood, dtype, tmp_path):
    rng = np.random.default_rng(0)
    trials = rng.choice([0, 1] if likelihood.name == "beta" else [0, 1, 30], (60, 9))
    y = rng.binomial(trials, 0.4).astype(float)
    if likelihood.name == "beta":
        y = np.where(trials > 0, rng.uniform(0.001, 0.999, y.shape), 0.0).astype(np.float32)
    kinds = ["float32", "csr", "memory-mapped"] + (["uint8"] if likelihood.name != "beta" else ["float64"])
    seen = []
    for kind in kinds:
        values, n = stored(y, trials, kind, tmp_path)
        statistics = likelihood.sufficient_statistics(coded(values, "any", n))
        blocks = [statistics.components(rows, dtype, Buffers()) for rows in statistics.blocks(7)]
        whole = [np.concatenate([dense(part) for part in parts]) for parts in zip(*blocks, strict=True)]
        seen.append([*whole, statistics.constant, statistics.slope])
    for other in seen[1:]:
        for one, two in zip(seen[0], other, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("likelihood", ["binomial", "beta", "beta_binomial"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_results_do_not_depend_on_blocks_and_pieces(likelihood, missing, monkeypatch):
    rng = np.random.default_rng(1)
    eta = rng.normal(size=(70, 1)) - rng.normal(size=16)
    y = (
        rng.beta(8 * expit(eta), 8 * expit(-eta))
        if likelihood == "beta"
        else rng.binomial(12, expit(eta)).astype(float)
    )
    y[rng.random(y.shape) < missing] = np.nan
    n = None if likelihood == "beta" else np.where(np.isnan(y), np.nan, 12.0)
    responses = irsl.Responses.from_matrix(y, n_samples=n, kind="probability" if n is None else "counts")
    whole = irsl.calibrate(responses, likelihood=likelihood)
    for name, cells in (
        ("likelihoods.statistics.BLOCK_CELLS", 200),
        ("likelihoods.statistics.PIECE_CELLS", 60),
        ("likelihoods.beta.BLOCK_CELLS", 100),
        ("calibration.m_step.CHUNK_CELLS", 100),
        ("calibration.quadrature.TENSOR_CELLS", 5_000),
    ):
        monkeypatch.setattr(f"irsl.{name}", cells)
    pieces = irsl.calibrate(responses, likelihood=likelihood)
    assert pieces.log_likelihood == pytest.approx(whole.log_likelihood, rel=1e-9)
    for column in ("difficulty", "discrimination", "se_difficulty"):
        np.testing.assert_allclose(pieces.bank.items[column], whole.bank.items[column], rtol=1e-6)
    np.testing.assert_allclose(pieces.abilities["se_ability"], whole.abilities["se_ability"], rtol=1e-6)


def directly(function, eta, *others):
    """A likelihood's function of (eta, ...) on pieces too small for a table."""
    pieces = [function(*part) for part in zip(*(np.array_split(x, 8) for x in (eta, *others)), strict=True)]
    return [np.concatenate(x) for x in zip(*pieces, strict=True)]


@pytest.mark.parametrize("phi", PHIS)
def test_tables_of_the_beta_are_its_functions(phi):
    """To 1e-8 of each function's scale, also beyond the table's range."""
    rng = np.random.default_rng(2)
    eta = np.append(rng.uniform(-60, 60, TABLE_FROM), rng.uniform(-6, 6, TABLE_FROM))
    likelihood = Beta(phi)
    expected = Expected((rng.normal(0, 4, eta.size), rng.uniform(0, 3, eta.size)))
    natural, base = likelihood.natural_and_base(eta, 0.0)
    plain_natural, plain_base = directly(lambda x: likelihood.natural_and_base(x, 0.0), eta)
    np.testing.assert_allclose(natural, plain_natural, rtol=1e-12)
    np.testing.assert_allclose(base, plain_base, rtol=1e-8, atol=1e-8 * phi)
    tables = [likelihood.objective(eta, 0.0, expected), *likelihood.objective_slopes(eta, 0.0, expected)]
    plain = directly(
        lambda x, t, n: [
            likelihood.objective(x, 0.0, Expected((t, n))),
            *likelihood.objective_slopes(x, 0.0, Expected((t, n))),
        ],
        eta,
        *expected.components,
    )
    for ours, theirs in zip(tables, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7 * max(1.0, phi))
    information = likelihood.information(2, eta, 0.0)
    (alone,) = directly(lambda x: [likelihood.information(2, x, 0.0)], eta)
    np.testing.assert_allclose(information, alone, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("phi", PHIS)
def test_a_step_of_the_precision_is_the_same_with_tables(phi, monkeypatch):
    rng = np.random.default_rng(4)
    eta = rng.uniform(-8, 8, (TABLE_FROM // 8, 8))
    mu = expit(eta)
    y = np.clip(rng.beta(1.3 * phi * mu, 1.3 * phi * (1 - mu)), 1e-12, 1 - 1e-12)
    expected = Expected((np.log(y / (1 - y)), np.ones((1, 8))))
    slope = float(np.log1p(-y).sum())
    table = Beta(phi).parameter_step(eta, 0.0, expected, slope, 0.0)
    monkeypatch.setattr("irsl.likelihoods.beta.TABLE_FROM", eta.size + 1)
    plain = Beta(phi).parameter_step(eta, 0.0, expected, slope, 0.0)
    assert abs(np.log(table.precision / plain.precision)) < 1e-5
    assert plain.precision > 1.05 * phi
