"""Tables that users bring: unequal ladders, subjects without sizes, sparse responses."""

import numpy as np
import polars as pl
import pytest

import irsl
from irsl.report.analysis import analyse, describe_runs, target_size
from simulate import ladder


@pytest.fixture(scope="module")
def small():
    return ladder(n_recipes=4, n_sizes=4, n_checkpoints=1, n_items=30)


def with_more(responses, subjects, seed=0):
    """The same table with further subjects who answered everything at random."""
    rng = np.random.default_rng(seed)
    items = responses.items.select("item", "benchmark")
    rows = items.join(pl.DataFrame({"subject": [s["subject"] for s in subjects]}), how="cross").with_columns(
        outcome=pl.lit("acc"), response=pl.Series(rng.integers(0, 2, items.height * len(subjects)).astype(float))
    )
    known = responses.responses.select("subject", "item", "benchmark", "outcome", "response")
    frame = pl.concat([known, rows.select(known.columns)], how="vertical_relaxed")
    people = pl.concat([responses.subjects, pl.DataFrame(subjects)], how="diagonal_relaxed")
    return irsl.Responses.from_frames(frame, items=responses.items, subjects=people, kind="binary")


def test_a_lone_large_subject_is_no_target(small):
    more = with_more(small, [{"subject": "giant", "recipe": "other", "params": 10**9, "flops": 1e20}])
    target, _ = target_size(describe_runs(more.subjects))
    assert target == "112k"
    analysis = analyse(more, title="t", model="1pl", budget=10)
    assert analysis.laws is not None
    assert set(analysis.laws.choice["recipe"]) == {f"recipe{k}" for k in range(4)}


def test_subjects_without_size_stay_in_the_calibration(small):
    more = with_more(small, [{"subject": f"reference{k}", "recipe": f"reference{k}"} for k in range(5)])
    analysis = analyse(more, title="t", model="1pl", budget=10)
    assert analysis.calibration.fits["n_subjects"].to_list() == [12 + 5, 12 + 5]


def test_no_replay_where_subjects_answered_no_more_than_its_budget(small):
    rng = np.random.default_rng(0)
    frame = small.responses.filter(pl.Series(rng.random(small.responses.height) < 0.4))
    sparse = irsl.Responses.from_frames(frame, items=small.items, subjects=small.subjects, kind="binary")
    analysis = analyse(sparse, title="t", model="1pl", budget=15)
    assert analysis.replays is None
    assert any("typical subject answered" in note for note in analysis.notes)
