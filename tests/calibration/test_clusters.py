"""Subjects that resemble each other count for less, and those that do not count in full."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import irsl


def families(y, family):
    """Binary responses of subjects with a column `family`."""
    names = [f"s{k}" for k in range(y.shape[0])]
    table = irsl.Responses.from_matrix(y, subjects=names, kind="binary").responses
    subjects = pl.DataFrame({"subject": names, "family": [str(x) for x in family]})
    return irsl.Responses.from_frames(table, subjects=subjects, kind="binary")


def answers(seed=0, n_subjects=100, n_items=40):
    rng = np.random.default_rng(seed)
    theta, b = rng.normal(size=(n_subjects, 1)), rng.normal(0.0, 1.0, n_items)
    return rng, (rng.random((n_subjects, n_items)) < expit(theta - b)).astype(float)


@pytest.mark.parametrize("model", ["1pl", "2pl"])
def test_three_copies_of_everybody_are_one_of_each(model):
    _, y = answers()
    responses = families(np.repeat(y, 3, axis=0), np.repeat(np.arange(100), 3))
    plain = irsl.calibrate(responses, model=model, item_prior="none")
    clustered = irsl.calibrate(responses, model=model, item_prior="none", cluster="family")
    for name in ("se_difficulty",) if model == "1pl" else ("se_difficulty", "se_discrimination"):
        ratio = clustered.bank.items[name].to_numpy() ** 2 / plain.bank.items[name].to_numpy() ** 2
        assert np.median(ratio) == pytest.approx(3.0, rel=0.1)
    assert clustered.fits["n_effective_subjects"][0] == pytest.approx(100, rel=0.1)
    assert "100 clusters" in clustered.fits["message"][0]
    assert plain.fits["n_effective_subjects"][0] is None
    np.testing.assert_array_equal(clustered.bank.items["difficulty"], plain.bank.items["difficulty"])


def test_independent_subjects_in_families_count_in_full():
    rng, y = answers(n_subjects=300)
    c = irsl.calibrate(families(y, rng.permutation(300) // 3), cluster="family")
    assert c.fits["n_effective_subjects"][0] == pytest.approx(300, rel=0.1)


def test_copies_with_noise_count_for_something_between():
    """Two in ten answers of a copy are its own."""
    rng, y = answers(n_subjects=100)
    copies = np.repeat(y, 3, axis=0)
    own = rng.random(copies.shape) < 0.2
    copies[own] = rng.permutation(copies, axis=0)[own]
    c = irsl.calibrate(families(copies, np.repeat(np.arange(100), 3)), cluster="family")
    assert 110 < c.fits["n_effective_subjects"][0] < 220


def test_an_unknown_column_is_an_error_that_names_those_there():
    _, y = answers(n_subjects=9)
    with pytest.raises(irsl.errors.OptionError, match=r"no column 'species'.*'subject', 'family'"):
        irsl.calibrate(families(y, np.arange(9)), cluster="species")


def test_two_clusters_are_too_few():
    _, y = answers(n_subjects=9)
    with pytest.raises(irsl.DataError, match="at least 3 clusters; found 2"):
        irsl.calibrate(families(y, np.arange(9) < 4), cluster="family")


def test_clusters_that_begin_in_one_block_and_end_in_another_are_whole(monkeypatch):
    rng, y = answers(n_subjects=60)
    responses = families(np.repeat(y, 2, axis=0), np.repeat(rng.permutation(60) // 4, 2))
    whole = irsl.calibrate(responses, cluster="family").fits["n_effective_subjects"][0]
    for cells in (40, 280, 1200):
        monkeypatch.setattr("irsl.calibration.clusters.BLOCK_CELLS", cells)
        assert irsl.calibrate(responses, cluster="family").fits["n_effective_subjects"][0] == pytest.approx(whole)


def test_a_column_without_values_is_an_error():
    _, y = answers(n_subjects=9)
    responses = families(y, np.arange(9))
    with pytest.raises(irsl.errors.OptionError, match="no subject has a value of 'run'"):
        irsl.calibrate(responses, cluster="run")
