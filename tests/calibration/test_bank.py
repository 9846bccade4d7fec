"""The item bank as an artifact: written whole, read back identical, and honest about what it lacks."""

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import irsl
from banks import make_bank
from irsl.calibration import ItemBank
from irsl.calibration.bank import COLUMNS, CONVENTION
from irsl.likelihoods import Beta, Binomial


def calibrated(seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random((30, 12)) < 1 / (1 + np.exp(rng.normal(size=(30, 1)) - rng.normal(size=12)))).astype(float)
    return irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary")).bank


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def bank():
    return calibrated()


def test_a_bank_comes_back_as_it_was(bank, tmp_path):
    bank.save(tmp_path / "deep" / "bank")
    back = ItemBank.load(tmp_path / "deep" / "bank")
    assert_frame_equal(back.items, bank.items, check_exact=True)
    assert back.scales == bank.scales
    assert back.version == bank.version == irsl.__version__
    np.testing.assert_array_equal(back.parameters().covariance, bank.parameters().covariance)


def test_few_subjects_leave_a_wider_prior_for_new_ones_also_in_a_saved_bank(tmp_path):
    """12 subjects: sd sqrt(13 / 9), the ability of a new subject whose only response says nothing."""
    rng = np.random.default_rng(0)
    y = (rng.random((12, 30)) < 1 / (1 + np.exp(rng.normal(size=(12, 1)) - rng.normal(size=30)))).astype(float)
    bank = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary")).bank
    assert bank.scales[0].prior_sd == pytest.approx(np.sqrt(13 / 9))
    bank.save(tmp_path / "bank")
    back = ItemBank.load(tmp_path / "bank")
    flat = back.items.with_columns(discrimination=pl.lit(1e-6), se_discrimination=None, se_difficulty=None)
    empty = irsl.Responses.from_matrix([[1.0]], items=[back.items["item"][0]], kind="binary")
    row = irsl.measure(empty, ItemBank(flat, back.scales, back.version)).row(0, named=True)
    assert row["ability"] == pytest.approx(0.0, abs=1e-3)
    assert row["se_ability"] == pytest.approx(np.sqrt(13 / 9), rel=1e-3)
    assert row["ability_upper"] == pytest.approx(1.6449 * np.sqrt(13 / 9), rel=5e-3)


@pytest.mark.parametrize("n_subjects", [8, 12, 42])
def test_the_priors_sd_is_that_of_one_subject_more(n_subjects):
    """Drawn with the others from a normal population, on the scale where the others have mean 0 and sd 1."""
    theta = np.random.default_rng(1).normal(size=(100_000, n_subjects + 1))
    new = (theta[:, -1] - theta[:, :-1].mean(axis=1)) / theta[:, :-1].std(axis=1)
    assert make_bank([0.0], n_subjects=n_subjects).scales[0].prior_sd == pytest.approx(new.std(), rel=0.02)


def test_the_priors_sd_is_bounded_and_one_where_subjects_are_many_or_unknown():
    sd = {n: make_bank([0.0], n_subjects=n).scales[0].prior_sd for n in (0, 2, 3, 4, 5, 1_000_000)}
    assert sd[0] == 1.0
    assert sd[2] == sd[3] == sd[4] == pytest.approx(np.sqrt(5))
    assert sd[5] == pytest.approx(np.sqrt(3))
    assert sd[1_000_000] == pytest.approx(1.0, abs=1e-5)


def test_a_hand_made_bank_without_errors_comes_back(tmp_path):
    bank = make_bank([0.0, 1.0], 1.2, 0.25, likelihood="beta", precision=7.0, benchmark=["x", "y"], joint=True)
    bank.save(tmp_path / "bank")
    back = ItemBank.load(tmp_path / "bank")
    assert_frame_equal(back.items, bank.items, check_exact=True)
    assert back.scales == bank.scales
    assert back.scales[0].benchmarks == ("x", "y")
    assert back.parameters().covariance is None


def test_the_same_data_give_the_same_bytes(bank, tmp_path):
    bank.save(tmp_path / "first")
    calibrated().save(tmp_path / "second")
    ItemBank.load(tmp_path / "first").save(tmp_path / "third")
    assert contents(tmp_path / "first") == contents(tmp_path / "second") == contents(tmp_path / "third")
    calibrated(1).save(tmp_path / "other")
    assert contents(tmp_path / "first") != contents(tmp_path / "other")


def test_a_bank_says_its_convention_and_where_it_is_from(bank, tmp_path):
    bank.save(tmp_path)
    meta = json.loads((tmp_path / "bank.json").read_text())
    assert meta["convention"] == CONVENTION
    assert meta["irsl_version"] == irsl.__version__
    (scale,) = meta["scales"]
    assert len(scale["data_hash"]) == len(scale["subjects_hash"]) == 64
    assert str(tmp_path) not in (tmp_path / "bank.json").read_text()


def test_an_interrupted_save_leaves_the_old_bank_whole(bank, tmp_path, monkeypatch):
    bank.save(tmp_path / "bank")
    before = contents(tmp_path / "bank")

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("irsl.calibration.bank.json.dumps", fail)  # after items.parquet was written
    with pytest.raises(OSError, match="disk full"):
        calibrated(1).save(tmp_path / "bank")
    assert contents(tmp_path / "bank") == before
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_saving_again_replaces_the_bank(bank, tmp_path):
    calibrated(1).save(tmp_path / "bank")
    bank.save(tmp_path / "bank")
    assert_frame_equal(ItemBank.load(tmp_path / "bank").items, bank.items)
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


@pytest.mark.parametrize("victim", ["file", "folder"])
def test_saving_over_what_is_no_bank_is_refused(bank, tmp_path, victim):
    """A mistyped path must not cost a user a folder of something else."""
    target = tmp_path / "thesis"
    if victim == "folder":
        target.mkdir()
        (target / "chapter1.tex").write_text("years of work")
    else:
        target.write_text("years of work")
    with pytest.raises((irsl.DataError, OSError)):
        bank.save(target)
    kept = target / "chapter1.tex" if victim == "folder" else target
    assert kept.read_text() == "years of work"


def test_what_is_no_bank_is_refused(bank, tmp_path):
    with pytest.raises(irsl.DataError, match=r"no item bank.*bank\.json"):
        ItemBank.load(tmp_path)
    bank.save(tmp_path / "bank")
    head = tmp_path / "bank" / "bank.json"
    meta = json.loads(head.read_text())
    head.write_text(json.dumps({**meta, "schema_version": 99}))
    with pytest.raises(irsl.DataError, match="schema version 99 of the bank; this irsl reads 1"):
        ItemBank.load(tmp_path / "bank")
    head.write_text("{")
    with pytest.raises(irsl.DataError, match="not valid JSON"):
        ItemBank.load(tmp_path / "bank")


def test_a_bank_without_its_items_is_refused_by_an_error_of_ours(bank, tmp_path):
    bank.save(tmp_path)
    (tmp_path / "items.parquet").unlink()
    with pytest.raises((irsl.DataError, OSError), match=r"items\.parquet"):
        ItemBank.load(tmp_path)


def test_items_must_be_unique_complete_and_of_a_known_scale(bank):
    with pytest.raises(irsl.DataError, match=r"'item-0' occurs more than once"):
        ItemBank(pl.concat([bank.items, bank.items.head(1)]), bank.scales, "0")
    with pytest.raises(irsl.DataError, match=r"missing: \['guessing'\]"):
        ItemBank(bank.items.drop("guessing"), bank.scales, "0")
    with pytest.raises(irsl.DataError, match=r"does not describe: \['elsewhere'\]"):
        ItemBank(bank.items.with_columns(scale=pl.lit("elsewhere")), bank.scales, "0")


def test_impossible_parameters_name_the_item():
    for bad, match in (
        (dict(discrimination=[1.0, -1.0]), "discrimination must be finite and positive; item number 1"),
        (dict(guessing=[1.0, 0.0]), r"guessing must lie in \[0, 1\); item number 0"),
    ):
        with pytest.raises(irsl.DataError, match=match):
            make_bank([0.0, 1.0], **bad).parameters()
    with pytest.raises(irsl.DataError, match="difficulty must be finite; item number 1"):
        make_bank([0.0, np.nan]).parameters()


def test_select_keeps_the_order_asked_for(bank):
    part = bank.select(items=["item-7", "item-2"])
    assert part.items["item"].to_list() == ["item-7", "item-2"]
    assert len(part) == 2
    np.testing.assert_array_equal(part.parameters().difficulty, bank.parameters().difficulty[[7, 2]])
    assert set(part.items.columns) == set(COLUMNS)
    assert part.scales == bank.scales


def test_select_by_benchmark_drops_what_is_not_used():
    bank = make_bank([0.0, 1.0, 2.0], benchmark=["x", "y", "x"])
    part = bank.select(benchmark="x")
    assert part.items["item"].to_list() == ["item-0", "item-2"]
    assert [s.scale for s in part.scales] == ["x"]
    assert bank.benchmarks == ["x", "y"]
    both = bank.select(benchmark=["y", "x"], items=["item-2", "item-1"])
    assert both.items["item"].to_list() == ["item-2", "item-1"]


def test_unknown_names_are_named(bank):
    with pytest.raises(irsl.DataError, match=r"2 items are not in the bank \(first: 'nine'\)"):
        bank.select(items=["item-0", "nine", "ten"])
    with pytest.raises(irsl.DataError, match=r"no benchmark 'nine'; it has \['benchmark'\]"):
        bank.select(benchmark="nine")
    with pytest.raises(irsl.DataError, match="no benchmark 'nine'"):
        bank.scale_of("nine")


def test_an_item_asked_for_twice_is_refused(bank):
    with pytest.raises(irsl.DataError, match="'item-0' occurs more than once"):
        bank.select(items=["item-0", "item-0"])


def test_short_forms_are_of_each_scale_or_of_one():
    bank = make_bank(np.linspace(-2, 2, 12), benchmark=["x", "y"] * 6)
    form = bank.short_form(3)
    assert form.items["benchmark"].to_list() == ["x"] * 3 + ["y"] * 3
    assert bank.short_form(2, benchmark="y").items["benchmark"].to_list() == ["y"] * 2
    longer = bank.short_form(5).items["item"].to_list()
    assert longer[:3] == form.items["item"].to_list()[:3], "greedy: a longer form begins with the shorter"
    with pytest.raises(irsl.DataError, match="7 items needs as many; scale 'x' has 6"):
        bank.short_form(7)


def test_each_scale_gives_its_likelihood():
    assert make_bank([0.0]).scales[0].response_likelihood() == Binomial("bernoulli")
    assert make_bank([0.0], likelihood="beta", precision=3.0).scales[0].response_likelihood() == Beta(3.0)
    with pytest.raises(irsl.DataError, match="without precision"):
        make_bank([0.0], likelihood="beta").scales[0].response_likelihood()


def test_covariances_are_of_log_discrimination_and_difficulty():
    v = np.array([[0.04, 0.01], [0.01, 0.09]])
    parameters = make_bank([0.0, 1.0], [1.5, 0.5], covariance=v).parameters()
    np.testing.assert_allclose(parameters.covariance, [v, v])
    assert make_bank([0.0, 1.0]).parameters().covariance is None


def test_an_item_without_errors_among_others_does_not_spoil_a_measure():
    """Errors of one item unknown (flag no_standard_error): the others' errors still count, no NaN anywhere."""
    v = np.tile(np.diag([0.04, 0.09]), (12, 1, 1))
    bank = make_bank(np.linspace(-1, 1, 12), covariance=v)
    names = ("se_difficulty", "se_discrimination", "covariance")
    patchy = ItemBank(
        bank.items.with_columns(pl.when(pl.col("item") != "item-3").then(name).alias(name) for name in names),
        bank.scales,
        "0",
    )
    y = np.array([[1.0] * 6 + [0.0] * 6, [1.0, 0.0] * 6])
    y[:, 10:] = np.nan
    data = irsl.Responses.from_matrix(y, kind="binary")
    exact, some, full = (
        irsl.measure(data, b) for b in (make_bank(np.linspace(-1, 1, 12)), patchy, bank)
    )  # fmt: skip
    for column in ("se_ability", "ability_lower", "accuracy_lower", "accuracy_upper"):
        assert some[column].is_finite().all(), column
    assert (some["se_ability"] > exact["se_ability"]).all()
    assert (some["se_ability"] <= full["se_ability"]).all()


def test_misfit_is_found_where_it_is_and_only_there():
    """Ten more dimensions with random loadings: their variance in response units, within a third.

    Counts, because a single binary response hides it: its variance about the one-dimensional curve is the same.
    """
    rng = np.random.default_rng(0)
    theta, b = rng.normal(size=(200, 1)), rng.normal(size=80)
    for sd in (0.0, 0.8):
        loading = rng.normal(size=(10, 80))
        more = sd * rng.normal(size=(200, 10)) @ (loading / np.linalg.norm(loading, axis=0))
        p = 1 / (1 + np.exp(-(theta + more - b)))
        k = rng.binomial(40, p).astype(float)
        responses = irsl.Responses.from_matrix(k, n_samples=40, kind="counts")
        scale = irsl.calibrate(responses, model="1pl", likelihood="binomial").bank.scales[0]
        averaged = [1 / (1 + np.exp(-(theta + z * sd - b))) for z in rng.normal(size=200)]
        beyond = ((p - np.mean(averaged, axis=0)) ** 2).mean()
        assert scale.misfit_variance == pytest.approx(beyond, rel=0.33, abs=5e-4)
