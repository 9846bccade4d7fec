"""The law of repeated sampling: its numbers against plain ones, and what it says by simulation."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import betaln, expit, log_expit
from scipy.stats import norm, t

import irsl
from irsl.laws import rates
from irsl.laws.pass_at_k import pass_at_k
from irsl.laws.rates import BETA_SPREADS, LOGIT_SPREADS, SHARES, Cells, Curves, Marginals
from irsl.laws.stopping import stopping_rule


def counts(k, n, prefix="subject-", items=None):
    k = np.atleast_2d(np.asarray(k, dtype=float))
    n = np.broadcast_to(np.asarray(n, dtype=float), k.shape)
    values, trials = np.where(n > 0, k, np.nan), np.where(n > 0, n, np.nan)
    names = [f"{prefix}{i}" for i in range(k.shape[0])]
    return irsl.Responses.from_matrix(values, n_samples=trials, kind="counts", subjects=names, items=items)


def exact(p, k):
    """pass@k, (..., K), of items with known rates (..., n_items)."""
    return -np.expm1(np.log1p(-p)[..., None] * np.atleast_1d(k)).mean(axis=-2)


def population(seed, n_subjects=12, n_items=30, *, scatter=0.0, share=0.0, mean=1.5):
    rng = np.random.default_rng(seed)
    b, theta = rng.normal(mean, 1.5, n_items), rng.normal(size=n_subjects)
    p = expit(theta[:, None] - b + scatter * rng.normal(size=(n_subjects, n_items)))
    p[rng.random(p.shape) < share] = 0.0
    return rng, p


def scatter_density(spread, centre):
    """Density of the logit of one of LOGIT_SPREADS: two halves that meet at the centre, cut at the grid's ends."""
    s, skew, degrees = LOGIT_SPREADS[spread]
    below, above = s / np.sqrt(skew), s * np.sqrt(skew)
    one = norm if np.isinf(degrees) else t(degrees)
    inside = below * (0.5 - one.cdf((-25 - centre) / below)) + above * (one.cdf((15 - centre) / above) - 0.5)
    return lambda x: one.pdf((x - centre) / (below if x < centre else above)) / inside


def centre_of(eta, spread):
    """Centre at which the mean rate is logistic(eta), by bisection of an integral."""

    def mean(centre):
        density = scatter_density(spread, centre)
        return quad(lambda x: density(x) * expit(x), -25, 15, points=[centre, 0], limit=400)[0]

    return brentq(lambda centre: mean(centre) - expit(eta), -24.0, 14.0)


def counted(cells, spread, ability):
    return rates.weights(cells, rates.logit_likelihood(cells.n_samples, cells.n_correct), spread, ability)


@pytest.mark.parametrize(("n", "k"), [(50, 0), (50, 3), (50, 50), (4000, 1), (3_000_000, 2)])
@pytest.mark.parametrize("spread", [7, 26, 41, 57])
def test_marginal_likelihoods_are_the_integrals(n, k, spread):
    """Of the Beta in closed form, of every kind on the logit scale by adaptive quadrature."""
    table = rates.log_marginal_table(np.array([float(n)]), np.array([float(k)]))[:, 0]
    for eta in (-4.0, -2.0, 0.5):
        place = np.argmin(np.abs(rates.LOGITS - eta))
        centre = centre_of(eta, spread)
        scatter = scatter_density(spread, centre)

        def density(x, scatter=scatter):
            return np.exp(k * log_expit(x) + (n - k) * log_expit(-x)) * scatter(x)

        top = centre if k == 0 else np.clip(np.log(max(k, 0.5) / max(n - k, 0.5)), -24, 14)
        exact = quad(density, -25, 15, points=[centre, top], limit=400, epsabs=0)[0]
        if exact > 1e-250:
            assert table[BETA_SPREADS.size + spread, place] == pytest.approx(np.log(exact), abs=3e-3)
        s = BETA_SPREADS[6]
        exact = betaln(expit(eta) * s + k, expit(-eta) * s + n - k) - betaln(expit(eta) * s, expit(-eta) * s)
        assert table[6, place] == pytest.approx(exact, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("spread", [5, 8, BETA_SPREADS.size + 8, BETA_SPREADS.size + 42, BETA_SPREADS.size + 56])
def test_posterior_weights_give_the_expected_pass_at_k(spread):
    """On the grid, against closed forms of the Beta and adaptive quadrature of the other kinds."""
    n, k = np.array([0.0, 50.0, 50.0]), np.array([0.0, 0.0, 4.0])
    cells = Cells(n, k, Curves(np.full(3, 1.2), np.array([-1.0, -2.0, 0.3])))
    ability, at = -0.4, np.array([1.0, 30.0, 2000.0])
    found = counted(cells, spread, ability) @ (1.0 - np.exp(log_expit(-rates.LOGITS)[:, None] * at))
    eta = cells.curves.logit(ability)
    for j in range(3):
        n, k = cells.n_samples[j], cells.n_correct[j]
        for i, x in enumerate(at):
            if spread < BETA_SPREADS.size:
                alpha, beta = expit(eta[j]) * BETA_SPREADS[spread] + k, expit(-eta[j]) * BETA_SPREADS[spread] + n - k
                exact = 1.0 - np.exp(betaln(alpha, beta + x) - betaln(alpha, beta))
            else:
                centre = centre_of(eta[j], spread - BETA_SPREADS.size)
                scatter = scatter_density(spread - BETA_SPREADS.size, centre)

                def density(z, x=x, n=n, k=k, scatter=scatter):
                    return np.exp(k * log_expit(z) + (n - k + x) * log_expit(-z)) * scatter(z)

                whole, part = (
                    quad(density, -25, 15, args=(y,), points=[centre], limit=400, epsabs=0)[0] for y in (0.0, x)
                )
                exact = 1.0 - part / whole
            assert found[j, i] == pytest.approx(exact, rel=2e-3, abs=1e-5)


def test_curves_are_means_over_the_scatter():
    eta = np.linspace(-5.0, 4.0, 19)
    none = np.zeros(eta.size)
    cells = Cells(none, none, Curves(np.ones(eta.size), eta))
    for spread in (*range(2, 16), *(BETA_SPREADS.size + 16 * kind + i for kind in range(4) for i in range(11))):
        mean = counted(cells, spread, 0.0) @ expit(rates.LOGITS)
        np.testing.assert_allclose(mean, expit(eta), rtol=0.03)


@pytest.mark.parametrize(("n_items", "n"), [(15, 20), (450, 4000)])
def test_ability_is_integrated(n_items, n):
    """The evidence of one kind and spread against a sum over a fine grid of abilities.

    Of hundreds of items never solved in thousands of samples the product of likelihoods is below the smallest number.
    """
    rng = np.random.default_rng(0)
    n, ones = np.full(n_items, float(n)), np.ones(n_items)
    p = np.where(rng.random(n_items) < 0.7, expit(rng.normal(-1.0, 1.5, n_items)), 0.0)
    k = rng.binomial(n.astype(int), p).astype(float)
    cells = Cells(n, k, Curves(ones, rng.normal(-1.0, 1.0, n_items)))
    found = rates.evidence(cells, Marginals.of(cells), 0.0, 2.0)
    table = rates.log_marginal_table(cells.n_samples, cells.n_correct)
    theta = np.linspace(-8, 8, 3201)
    for spread, share in ((3, 7), (BETA_SPREADS.size + 27, 6), (BETA_SPREADS.size + 59, 7)):
        total = norm.logpdf(theta, 0.0, 2.0)
        for j in range(n_items):
            value = CubicSpline(rates.LOGITS, table[spread, j])(theta + cells.curves.intercept[j])
            own = np.log1p(-SHARES[share]) + value
            total += np.logaddexp(own, np.log(SHARES[share])) if share and cells.n_correct[j] == 0 else own
        exact = np.log(np.exp(total - total.max()).sum() * (theta[1] - theta[0])) + total.max()
        assert found.log_marginal[spread, share] == pytest.approx(exact, abs=2e-3)


def test_few_samples_on_items_of_a_bank_reach_far_beyond_them():
    """The published case in small: eight subjects with many samples, new ones with 50; a tenth of plug-in's error."""
    crude, ours = [], []
    k = np.linspace(1, 2560, 40).round()
    for seed in range(3):
        rng, p = population(seed, mean=1.0)
        law = irsl.sampling_law(counts(rng.binomial(2560, p[:8]), 2560))
        new = rng.binomial(50, p[8:])
        curve = law.place(counts(new, 50)).curve(k)["pass_at_k"].to_numpy().reshape(4, -1)
        truth = exact(p[8:], k)
        ours.append(np.abs(curve - truth).mean())
        crude.append(np.abs(exact(new / 50.0 - 1e-15 * (new == 50), k) - truth).mean())
    assert np.mean(ours) < 0.004
    assert np.mean(crude) > 10 * np.mean(ours)


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_intervals_at_ten_times_the_samples_cover(share):
    """One subject of whose items nothing is known; 24 draws, so a Monte Carlo error of .06."""
    inside = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        p = np.where(rng.random(60) < share, 0.0, expit(rng.normal(-3.0, 2.0, 60)))
        curve = irsl.sampling_law(counts(rng.binomial(50, p), 50)).curve([500])
        truth = exact(p, 500)[0]
        inside.append(curve["pass_at_k_lower"][0] <= truth <= curve["pass_at_k_upper"][0])
    assert np.mean(inside) >= 0.75


def test_share_never_solved_is_estimated():
    rng = np.random.default_rng(3)
    p = np.where(rng.random((6, 120)) < 0.4, 0.0, rng.beta(4.0, 4.0, (6, 120)))
    subjects = irsl.sampling_law(counts(rng.binomial(60, p), 60)).subjects
    assert abs(subjects["share_unsolvable"].mean() - 0.4) < 0.08
    assert (subjects["share_unsolvable_lower"] <= subjects["share_unsolvable_upper"]).all()


def test_beyond_the_samples_nothing_is_identified():
    law = irsl.sampling_law(counts([[0, 1, 5, 0, 2]], 20))
    curve = law.curve([1, 50, 100, 101, 10**6])
    assert curve["identified"].to_list() == [True, True, True, False, False]
    assert curve["pass_at_k"].null_count() == 2
    assert curve["pass_at_k_upper"][3:].to_list() == [1.0, 1.0]
    assert curve["pass_at_k_lower"][4] == pytest.approx(curve["pass_at_k_lower"][2])


def test_curves_rise_with_k_and_hold_between_their_bounds():
    rng, p = population(0, scatter=1.0, share=0.1)
    curve = irsl.sampling_law(counts(rng.binomial(30, p), 30)).curve(np.unique(np.geomspace(1, 900, 30).round()))
    for _, own in curve.group_by("subject"):
        own = own.sort("k")
        for name in ("pass_at_k", "pass_at_k_lower", "pass_at_k_upper"):
            assert (np.diff(own[name].to_numpy()) >= -1e-9).all()
        assert (own["pass_at_k_lower"] <= own["pass_at_k"]).all()
        assert (own["pass_at_k"] <= own["pass_at_k_upper"]).all()


def test_well_sampled_items_speak_for_themselves():
    """With many samples the law is the unbiased estimate up to their number."""
    rng, p = population(1, scatter=1.0, mean=0.0)
    n = 3000
    c = rng.binomial(n, p)
    law = irsl.sampling_law(counts(c, n))
    k = np.array([1, 10, 100, 1000])
    exact = pass_at_k(float(n), c[:, :, None].astype(float), k).mean(axis=1)
    np.testing.assert_allclose(law.curve(k)["pass_at_k"].to_numpy().reshape(exact.shape), exact, atol=0.004)


def test_the_same_seed_gives_the_same_answer_and_order_of_items_none_at_all():
    rng, p = population(2)
    c = rng.binomial(25, p)
    names = [f"q{j}" for j in range(c.shape[1])]
    first = irsl.sampling_law(counts(c, 25, items=names), seed=5).curve([1, 20, 200])
    assert first.equals(irsl.sampling_law(counts(c, 25, items=names), seed=5).curve([1, 20, 200]))
    turned = irsl.sampling_law(counts(c[:, ::-1], 25, items=names[::-1]), seed=5).curve([1, 20, 200])
    np.testing.assert_allclose(first["pass_at_k"].to_numpy(), turned["pass_at_k"].to_numpy(), atol=0.01)


def test_ability_alone_predicts_a_curve():
    rng, p = population(4, n_subjects=30, mean=0.5)
    law = irsl.sampling_law(counts(rng.binomial(200, p), 200))
    own = law.subjects.row(3, named=True)
    predicted = law.predict(own["ability"], 0.05, [1, 10, 100])
    truth = exact(p[3], [1, 10, 100])
    assert (predicted["pass_at_k_lower"].to_numpy() <= truth).all()
    assert (truth <= predicted["pass_at_k_upper"].to_numpy()).all()


def test_sampling_until_the_first_success_is_found_and_does_no_harm():
    rng = np.random.default_rng(0)
    p = expit(rng.normal(-5.0, 1.5, 200))
    first = rng.geometric(p)
    n = np.minimum(-(-first // 10) * 10, 2000)  # in batches of ten, until one has a success
    c = np.where(first <= 2000, 1 + rng.binomial(np.maximum(n - first, 0), p), 0)
    law = irsl.sampling_law(counts(c, n))
    assert law.stopping.found
    assert "likelihood" in law.stopping.note()
    truth = p.mean()
    shares = (c / n).mean()
    ours = law.curve([1]).row(0, named=True)
    assert shares > 1.3 * truth
    assert abs(ours["pass_at_k"] - truth) < 0.3 * truth
    fixed = stopping_rule(np.full((1, 200), 50.0), rng.binomial(50, p)[None].astype(float))
    assert not fixed.found
    assert fixed.note() is None


@pytest.mark.parametrize("n", [[30, 60, 5000] * 20, [10.0] * 59 + [11.0]])
@pytest.mark.parametrize("rate", [0.3, 0.003])
def test_numbers_of_samples_that_ignore_the_outcome_are_no_stopping_rule(n, rate):
    rng = np.random.default_rng(1)
    n = np.tile(np.array(n, dtype=float), (8, 1))
    assert not stopping_rule(n, rng.binomial(n.astype(int), rate).astype(float)).found


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(irsl.DataError, match="of kind probability"):
        irsl.sampling_law(irsl.Responses.from_matrix(np.array([[0.2, 0.5]]), kind="probability"))
    law = irsl.sampling_law(counts([[1, 2, 3]], 5))
    with pytest.raises(irsl.DataError, match="no item"):
        law.place(counts([[1]], 5, items=["elsewhere"]))
    for k in ([0], [1.5], [[1, 2]]):
        with pytest.raises(irsl.IrslError, match="whole numbers"):
            law.curve(k)
    with pytest.raises(irsl.IrslError, match="level"):
        irsl.sampling_law(counts([[1, 2]], 5), level=1.0)
    with pytest.raises(irsl.DataError, match="no ability"):
        law.predict(0.0, 0.1, [1])


def test_two_benchmarks_need_one_scale():
    frame = pl.DataFrame(
        {
            "subject": ["a", "a", "b", "b"],
            "item": ["x", "y", "x", "y"],
            "benchmark": ["one", "two", "one", "two"],
            "n_samples": 5,
            "n_correct": [1, 2, 3, 4],
        }
    )
    with pytest.raises(irsl.DataError, match="one scale"):
        irsl.sampling_law(irsl.Responses.from_frames(frame, kind="counts"))


def test_items_that_the_law_does_not_have_are_said_to_be_left_out():
    rng, p = population(5)
    names = [f"q{j}" for j in range(p.shape[1])]
    known = counts(rng.binomial(20, p), 20, items=names)
    law = irsl.sampling_law(known)
    more = counts(rng.binomial(20, p[:2, :4]), 20, prefix="new ", items=["q0", "q1", "q2", "elsewhere"])
    with pytest.warns(UserWarning, match=r"1 items .*left out.*elsewhere"):
        law.place(more)
    bank = irsl.calibrate(known).bank.select(items=names[:-1])
    with pytest.warns(UserWarning, match=rf"1 items .*left out.*{names[-1]}"):
        irsl.sampling_law(known, bank)


def test_draws_are_what_the_intervals_are_of():
    rng, p = population(6, n_subjects=7)
    law = irsl.sampling_law(counts(rng.binomial(20, p), 20), level=0.8)
    low, high = np.quantile(law.draws([5, 50]), [0.1, 0.9], axis=1)
    curve = law.curve([5, 50])
    np.testing.assert_allclose(curve["pass_at_k_lower"].to_numpy(), low.ravel())
    np.testing.assert_allclose(curve["pass_at_k_upper"].to_numpy(), high.ravel())
    first, other = law.items["item"][0], law.items["item"][1]
    both = law.draws([3], items=[first, other])
    np.testing.assert_allclose(both, (law.draws([3], items=[first]) + law.draws([3], items=[other])) / 2)
    with pytest.raises(irsl.DataError, match="elsewhere"):
        law.draws([3], items=["elsewhere"])


def test_intervals_widen_by_what_others_show_of_the_same_items():
    """Abilities on easy and hard items that have nothing to do with each other: easy ones say little of hard ones."""
    rng = np.random.default_rng(8)
    easy, hard = rng.normal(size=(2, 24, 1))
    p = np.concatenate([expit(easy - rng.normal(-1, 1, 20)), expit(hard - rng.normal(2, 1, 20))], axis=1)
    names = [f"q{j}" for j in range(40)]
    law = irsl.sampling_law(counts(rng.binomial(100, p[:16]), 100, items=names))
    half = counts(rng.binomial(50, p[16:, :20]), 50, prefix="new ", items=names[:20])
    placed = law.place(half)
    assert placed.backtest > 1.5
    draws, plain = (own.draws([1], items=names[20:])[..., 0] for own in (placed, replace(placed, inflation=1.0)))
    truth = p[16:, 20:].mean(axis=1)
    inside = [
        np.mean((np.quantile(d, 0.05, axis=1) <= truth) & (truth <= np.quantile(d, 0.95, axis=1)))
        for d in (draws, plain)
    ]
    assert inside[0] > inside[1]


def test_misfit_adds_to_the_error_of_a_forecast_and_does_not_multiply_it():
    rng = np.random.default_rng(5)
    p = expit(rng.normal(size=(12, 1)) + rng.normal(-3.0, 1.5, 40) + 0.7 * rng.normal(size=(12, 40)))
    law = irsl.sampling_law(counts(rng.binomial(50, p), 50))

    def width(se, inflation):
        curve = replace(law, inflation=inflation).predict(0.0, se, [20])
        return (curve["pass_at_k_upper"] - curve["pass_at_k_lower"])[0]

    assert width(0.0, 2.0) > 1.6 * width(0.0, 1.0)
    assert 1.0 < width(1.5, 2.0) / width(1.5, 1.0) < 1.3  # multiplied, it would be 2
