"""Who was given what: groups where the design decided, none where the responses or chance did."""

import numpy as np
import pytest
from scipy.special import expit

import irsl
from irsl.calibration.patterns import find_patterns
from matrices import as_csr


def answers(rng, theta, b):
    return (rng.random((theta.size, b.size)) < expit(theta[:, None] - b)).astype(float)


def easy_and_hard(seed=0, n_subjects=1000, n_items=40):
    """Abilities, difficulties with the easier half first, and responses to all items."""
    rng = np.random.default_rng(seed)
    theta, b = rng.normal(size=n_subjects), np.sort(rng.normal(0.0, 1.2, n_items))
    return rng, theta, b, answers(rng, theta, b)


def hide(y, subjects, items):
    """Responses with the cells of some subjects and items missing, and their numbers of trials."""
    n = np.ones_like(y)
    n[np.ix_(subjects, items)] = 0.0
    return y * n, n


def same_parts(one, other):
    """Whether two labellings divide the subjects alike."""
    return len(set(zip(one.tolist(), other.tolist(), strict=True))) == np.unique(one).size == np.unique(other).size


def weak_saw_only_easy_items(seed=0, n_subjects=1000, n_items=40):
    _, theta, b, y = easy_and_hard(seed, n_subjects, n_items)
    return theta, b, *hide(y, theta < np.median(theta), np.arange(n_items) >= n_items // 2)


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_a_design_by_ability_makes_groups_and_blocks(storage):
    theta, _, y, n = weak_saw_only_easy_items()
    patterns = find_patterns(*(as_csr(y, n) if storage == "csr" else (y, n)))
    assert same_parts(patterns.group, theta >= np.median(theta))
    assert np.unique(patterns.block[:20]).size == np.unique(patterns.block[20:]).size == 1
    assert patterns.block[0] != patterns.block[-1]


@pytest.mark.parametrize("stragglers", [[3, 7], [3, 5, 8], [2, 4, 6, 8, 10, 12, 14]])
@pytest.mark.parametrize("alike", [False, True])
def test_stragglers_with_patterns_of_their_own_do_not_hide_a_design(stragglers, alike):
    theta, _, y, n = weak_saw_only_easy_items()
    for k, subject in enumerate(stragglers):
        n[subject] = 1.0
        n[subject, 3 if alike else k] = 0.0
    patterns = find_patterns(y * n, n)
    rest = np.delete(np.arange(theta.size), stragglers)
    assert same_parts(patterns.group[rest], (theta >= np.median(theta))[rest])
    own = len(stragglers) >= 5
    assert np.unique(patterns.group).size == 2 + own


def test_many_shared_items_leave_one_population_without_a_search():
    _, _, y, n = weak_saw_only_easy_items(n_subjects=1500, n_items=500)
    assert (find_patterns(y, n).group == 0).all()
    assert find_patterns(y, n).block.max() == 1


def routed():
    _, _, _, y = easy_and_hard()
    return hide(y, y[:, :20].sum(axis=1) < 15, np.arange(40) >= 20)


def missing_at_random():
    rng, _, _, y = easy_and_hard()
    n = (rng.random(y.shape) < 0.7).astype(float)
    return y * n, n


def without_common_items():
    _, theta, _, y = easy_and_hard()
    n = ((theta < 0)[:, None] == (np.arange(40) < 20)).astype(float)
    return y * n, n


def complete():
    return easy_and_hard()[3], 1


@pytest.mark.parametrize("design", [routed, missing_at_random, without_common_items, complete])
def test_one_population_where_the_design_tells_nothing_of_ability(design):
    assert (find_patterns(*design()).group == 0).all()


def error_of(theta, b, y, n, **options):
    """Bias of the easier and of the harder half's difficulties on the anchored scale."""
    responses = irsl.Responses.from_matrix(np.where(n > 0, y, np.nan), kind="binary")
    c = irsl.calibrate(responses, **options)
    error = c.bank.items["difficulty"].to_numpy() - (b - theta.mean()) / theta.std()
    return c, np.array([error[: b.size // 2].mean(), error[b.size // 2 :].mean()])


@pytest.mark.parametrize("model", ["1pl", "2pl"])
def test_weak_subjects_who_saw_only_easy_items_bias_nothing(model):
    c, error = error_of(*weak_saw_only_easy_items(), model=model)
    assert (np.abs(error) < 0.05).all()
    assert "2 populations" in c.fits["message"][0]


def test_one_normal_population_for_such_a_design_is_biased():
    c, error = error_of(*weak_saw_only_easy_items(), population="normal")
    assert np.abs(error).max() > 0.08
    assert "populations" not in c.fits["message"][0]


def test_strong_subjects_who_saw_only_hard_items_and_a_few_links_bias_nothing():
    """Three groups in a chain, each with eight items in common with the next."""
    _, theta, b, y = easy_and_hard(seed=1)
    group = np.searchsorted(np.quantile(theta, [0.33, 0.67]), theta)
    first, last = np.array([0, 8, 16])[group], np.array([24, 32, 40])[group]
    n = ((np.arange(40) >= first[:, None]) & (np.arange(40) < last[:, None])).astype(float)
    _, error = error_of(theta, b, y * n, n, model="1pl")
    assert (np.abs(error) < 0.05).all()
