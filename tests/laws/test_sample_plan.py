"""Plans of samples against exact sums, conjugate posteriors, exhaustive search, and refits of simulated subjects."""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.special import logit
from scipy.stats import beta, binom

import irsl
from irsl.errors import OptionError
from irsl.laws import sample_plan as module
from irsl.laws.sample_plan import allocate_samples, samples_for_width
from irsl.laws.sampling import sampling_law

SUBJECT = "subject-0"
POINTS = (np.arange(module.N_POINTS) + 0.5) / module.N_POINTS


def law_of(n_samples, n_correct, **options):
    n, c = np.asarray(n_samples), np.asarray(n_correct, dtype=float)
    return sampling_law(irsl.Responses.from_matrix(c[None], n_samples=n[None], kind="counts"), **options)


def with_rates(law, rates):
    """A law whose first subject has these draws (n_draws, n_items) of its rates, and no two items with equal counts."""
    with np.errstate(divide="ignore"):
        own = replace(law.laws[0], logit=logit(np.asarray(rates)).astype(np.float32))
    return replace(law, laws=(own, *law.laws[1:]))


@pytest.fixture(scope="module")
def law():
    """Twelve items: settled ones, hard ones, and those between."""
    return law_of([2000, 30, 30, 30, 30, 30, 30, 30, 400, 5, 5, 0], [1000, 30, 30, 0, 0, 1, 2, 15, 0, 0, 1, 0])


def slow_reduction(p, value, m):
    """Var E[v | c], summed over every c."""
    weights = binom.pmf(np.arange(m + 1)[:, None], m, p)
    mass = weights.sum(axis=1)
    means = np.divide(weights @ value, mass, out=np.zeros_like(mass), where=mass > 0)
    return mass @ means**2 / p.size - value.mean() ** 2


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize(("m", "tolerance"), [(1, 1e-9), (5, 1e-9), (16, 1e-9), (60, 0.002), (1000, 0.002)])
@pytest.mark.parametrize(("a", "b"), [(0.4, 30), (2, 3), (30, 2)])
def test_the_reduction_is_that_over_every_outcome(a, b, m, tolerance, k):
    p = beta(a, b).ppf(POINTS)
    value = 1 - (1 - p) ** k
    expected = slow_reduction(p, value, m)
    found = module._reduction(logit(p), value, m)
    assert found == pytest.approx(expected, rel=tolerance, abs=1e-12)


@pytest.mark.parametrize("m", [1, 3, 10, 100, 10_000])
@pytest.mark.parametrize(("a", "b"), [(1, 1), (3, 5), (2, 200)])
def test_the_reduction_of_a_beta_is_the_conjugate_one(a, b, m):
    """Of the variance of p, m / (a + b + m); the points miss a little of the tails."""
    p = beta(a, b).ppf(POINTS)
    assert module._reduction(logit(p), p, m) == pytest.approx(p.var() * m / (a + b + m), rel=0.01)


def test_rates_of_zero_are_an_outcome_apart():
    """Half of the draws never solve: v is 0 or 1, and the first right one settles it."""
    p = np.repeat([0.0, 0.01], module.N_POINTS // 2)
    points = np.where(p > 0, logit(np.maximum(p, 0.5 * p.max())), module.LOWEST)
    value = module._pass_at_k(points, 10**6)
    np.testing.assert_allclose(value, p > 0, atol=1e-12)
    for m in (1, 10, 300, 5000):
        never = 0.99**m
        expected = 0.25 - never / (1 + never) ** 2 * (1 + never) / 2
        assert module._reduction(points, value, m) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("m", [1, 16, 17, 200, 10**5, 10**8])
def test_outcomes_are_disjoint_and_certain(m):
    points = logit(beta(0.5, 5).ppf(POINTS))
    edges, likelihood = module._outcomes(points, m)
    assert (np.diff(edges) >= 1).all()
    assert edges[0] >= 0
    assert edges[-1] <= m + 1
    assert len(edges) <= module.MOST_OUTCOMES + 1 + 2 * (module.SINGLE + 1)
    np.testing.assert_allclose(likelihood.sum(axis=0), 1, rtol=1e-12)


def test_quantiles_keep_draws_and_the_share_of_zeros():
    rng = np.random.default_rng(0)
    draws = rng.normal(-3, 2, 4000)
    points = module._quantiles(np.append(draws, np.full(4000, module.LOWEST)))
    assert (points == module.LOWEST).sum() == module.N_POINTS // 2
    assert points[points > module.LOWEST].mean() == pytest.approx(draws.mean(), abs=0.01)
    assert points[points > module.LOWEST].std() == pytest.approx(draws.std(), rel=0.01)
    assert (np.diff(points) >= 0).all()
    assert (module._quantiles(np.full(9, module.LOWEST)) == module.LOWEST).all()


def test_the_steps_end_with_the_budget():
    assert module._steps(13).tolist() == [0, 1, 2, 3, 4, 6, 8, 12, 13]
    assert module._steps(1).tolist() == [0, 1]


def exhaustive(gains, steps, budget):
    choices = product(range(len(steps)), repeat=len(gains))
    return max(
        sum(gains[i][c] for i, c in enumerate(choice)) for choice in choices if sum(steps[c] for c in choice) <= budget
    )


def test_greedy_is_best_where_gains_are_concave():
    rng = np.random.default_rng(0)
    steps = np.arange(7)
    for _ in range(20):
        gains = np.cumsum(np.sort(rng.exponential(size=(3, 7)), axis=1)[:, ::-1], axis=1)
        gains -= gains[:, :1]
        n_more = module._greedy(gains, steps, 6)
        assert n_more.sum() == 6
        assert gains[np.arange(3), n_more].sum() == pytest.approx(exhaustive(gains, steps, 6))


def test_greedy_sees_what_only_many_samples_bring():
    """One more sample of the first item brings nothing, eight bring more each than any of the second."""
    steps = module._steps(8)
    gains = np.array([[0, 0, 0, 0, 0.1, 2, 8], [0, 0.5, 1, 1.4, 1.7, 2, 2.1]])
    assert module._greedy(gains, steps, 8).tolist() == [8, 0]
    steps = module._steps(7)
    gains = np.array([[0, 0, 0, 0, 0, 0, 0], [0, 0.5, 1, 1.4, 1.7, 2, 2.1]])
    assert module._greedy(gains, steps, 7).tolist() == [0, 7]
    assert module._greedy(0 * gains, steps, 7).tolist() == [0, 0]


def test_what_no_step_fits_goes_to_one_item():
    gains = np.array([[0, 1.0, 2.0, 3.0, 3.5, 3.6, 3.65]] * 2)
    n_more = module._greedy(gains, module._steps(7), 7)
    assert n_more.sum() == 7


@pytest.mark.parametrize(("k", "batch", "budget"), [(1, 1, 100), (10, 1, 777), (10, 8, 100), (100, 5, 1000)])
def test_the_budget_is_spent_in_batches_and_reduces(law, k, batch, budget):
    plan = allocate_samples(law, subject=SUBJECT, k=k, budget=budget, batch=batch)
    assert plan.schema == {
        "item": pl.String, "n_samples_so_far": pl.Int64, "n_correct_so_far": pl.Int64, "n_more": pl.Int64,
        "expected_reduction": pl.Float64,
    }  # fmt: skip
    assert plan["item"].to_list() == law.items["item"].to_list()
    assert plan["n_samples_so_far"].to_list() == [2000, 30, 30, 30, 30, 30, 30, 30, 400, 5, 5, 0]
    assert plan["n_more"].sum() == budget // batch * batch
    assert (plan["n_more"] % batch == 0).all()
    assert ((plan["expected_reduction"] > 0) == (plan["n_more"] > 0)).all()
    value = -np.expm1(-k * np.logaddexp(0, law.laws[0].logit.astype(float)))
    # N_POINTS quantiles of the draws, those of equal counts together
    assert plan["expected_reduction"].sum() < 1.2 * value.var(axis=0).sum() / 12**2


def test_more_goes_where_less_is_known(law):
    plan = allocate_samples(law, subject=SUBJECT, k=10, budget=300)["n_more"].to_list()
    assert plan[0] == plan[1] == plan[2] == plan[7] == 0
    assert min(plan[9], plan[11]) > max(plan[3], plan[8])


def test_settled_items_get_none_and_may_leave_the_budget(law):
    rates = np.full((50, 12), 0.9)
    assert allocate_samples(with_rates(law, rates), subject=SUBJECT, k=5, budget=40)["n_more"].sum() == 0
    rates[:, 4] = np.linspace(0.1, 0.3, 50)
    rates[:, 3] = np.linspace(0.1, 0.3, 50)  # as many samples, as many right: one posterior
    plan = allocate_samples(with_rates(law, rates), subject=SUBJECT, k=5, budget=40)
    assert (plan["n_more"] > 0).to_list() == [i in (3, 4) for i in range(12)]
    assert plan["n_more"].sum() == 40


def test_a_rarely_solved_item_gets_its_thousand(law):
    """p is 0 or .002, k = 1,000: the first few samples say next to nothing, yet all the variance is there."""
    rates = np.full((200, 12), 0.5)
    rates[:, 8] = np.repeat([0.0, 2e-3], 100)
    plan = allocate_samples(with_rates(law, rates), subject=SUBJECT, k=1000, budget=1000)
    assert plan["n_more"].to_list() == [1000 if i == 8 else 0 for i in range(12)]
    value, never = 1 - 0.998**1000, 0.998**1000
    expected = value**2 * (0.25 - never / (2 * (1 + never))) / 12**2
    assert plan["expected_reduction"][8] == pytest.approx(expected, rel=1e-4)


def test_the_plan_is_the_same_twice(law):
    first, second = (allocate_samples(law, subject=SUBJECT, k=10, budget=500) for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 1.0])
def test_the_shared_factor_is_updated_as_a_normal_distribution(law, correlation):
    """Against the covariance matrix with the items' precisions added, inverted densely."""
    rng = np.random.default_rng(0)
    variance, share = rng.uniform(0.5, 2, 7), rng.uniform(0.05, 0.9, (4, 7))
    ahead = replace(
        module._Ahead.of(module._chosen(law, SUBJECT, None), 1, 0.9), variance=variance, correlation=correlation
    )
    sd = np.sqrt(variance)
    covariance = correlation * np.outer(sd, sd) + (1 - correlation) * np.diag(variance)
    for left in share * variance:
        noise = np.diag(1 / (1 / left - 1 / variance))
        after = covariance - covariance @ np.linalg.solve(covariance + noise, covariance)
        assert ahead._total(left[None])[0] == pytest.approx(after.sum(), rel=1e-9)
    assert ahead._total(variance[None])[0] == pytest.approx(covariance.sum())


def test_the_width_now_is_the_curves(law):
    row = law.curve([10]).row(0, named=True)
    table = samples_for_width(law, subject=SUBJECT, k=10, width=0.05)
    assert table.columns == ["n_more", "n_samples", "width", "p_enough", "n_needed"]
    assert table["width"][0] == pytest.approx(row["pass_at_k_upper"] - row["pass_at_k_lower"], rel=1e-6)
    assert table["n_more"].to_list()[:4] == [0, 1, 2, 4]
    assert table["n_samples"].to_list()[:2] == [2620, 2632]
    wider = samples_for_width(law, subject=SUBJECT, k=10, width=0.05, level=0.99)
    assert wider["width"][0] > table["width"][0]
    assert wider["n_needed"][0] > table["n_needed"][0]


def test_what_is_needed_lies_between_the_last_two(law):
    table = samples_for_width(law, subject=SUBJECT, k=10, width=0.05)
    before, last = table["n_more"].to_list()[-2:]
    assert before < table["n_needed"][0] <= last
    assert table["width"][-1] <= 0.05 < table["width"][-2]
    assert table["p_enough"].is_between(0, 1).all()
    now = samples_for_width(law, subject=SUBJECT, k=10, width=0.9)
    assert now.select("n_more", "p_enough", "n_needed").rows() == [(0, 1.0, 0)]


def test_beyond_the_horizon_more_samples_are_needed_to_say_anything(law):
    k = 10_000
    table = samples_for_width(law, subject=SUBJECT, k=k, width=0.05)
    row = law.curve([k]).row(0, named=True)
    assert table["width"][0] == pytest.approx(1 - row["pass_at_k_lower"], rel=1e-5)
    unknown = table.slice(1).filter(pl.col("width").is_null())
    assert unknown["n_samples"].max() < k
    assert table.filter(pl.col("width").is_not_null(), pl.col("n_more") > 0)["n_samples"].min() >= k


def test_no_number_is_named_where_none_is_enough(law):
    table = samples_for_width(law, subject=SUBJECT, k=10**8, width=0.01)
    assert table["n_needed"].is_null().all()
    assert table["n_more"][-1] == module.MOST_MORE
    assert table["width"].to_list()[1:] == [None] * (table.height - 1)


def test_predicted_widths_are_those_of_a_refit():
    """Ten subjects of 30 items with 15 samples each, then 60 more: within a quarter, in the mean, at every k."""
    rng = np.random.default_rng(0)
    predicted, real = {1: [], 10: [], 100: []}, {1: [], 10: [], 100: []}
    for _ in range(10):
        rate = rng.beta(0.4, 1.5, 30)
        n, right = np.full(30, 15), rng.binomial(15, rate)
        before, after = law_of(n, right), law_of(n + 60, right + rng.binomial(60, rate))
        for k in predicted:
            ahead = module._Ahead.of(module._chosen(before, SUBJECT, None), k, 0.9)
            predicted[k].append(ahead.widths(60, rng).mean())
            row = after.curve([k]).row(0, named=True)
            real[k].append(row["pass_at_k_upper"] - row["pass_at_k_lower"])
    ratio = np.array([np.mean(predicted[k]) / np.mean(real[k]) for k in predicted])
    np.testing.assert_allclose(ratio, 1, atol=0.25)
    assert ratio[:2] == pytest.approx(1, abs=0.1)


def test_spent_as_planned_the_interval_is_narrower_than_spent_evenly():
    """Six subjects to whom most of 30 items are easy, k = 10, 20 more an item, in two rounds."""
    rng = np.random.default_rng(1)
    widths = []
    for _ in range(6):
        rate = rng.beta(0.8, 0.25, 30)
        n, right = np.full(30, 10), rng.binomial(10, rate)
        even = law_of(n + 20, right + rng.binomial(20, rate))
        for _ in range(2):
            planned = law_of(n, right)
            more = allocate_samples(planned, subject=SUBJECT, k=10, budget=300)["n_more"].to_numpy()
            n, right = n + more, right + rng.binomial(more, rate)
        rows = [law.curve([10]).row(0, named=True) for law in (law_of(n, right), even)]
        widths.append([row["pass_at_k_upper"] - row["pass_at_k_lower"] for row in rows])
    planned_width, even_width = np.mean(widths, axis=0)
    assert n.sum() == 900
    assert planned_width < 0.75 * even_width


def test_a_law_with_a_bank_and_several_benchmarks():
    rng = np.random.default_rng(0)
    ability, difficulty = rng.normal(0, 1.5, 12), rng.normal(0, 1.5, 20)
    p = 1 / (1 + np.exp(difficulty - ability[:, None]))
    both = pl.DataFrame({
        "subject": np.repeat([f"s{i}" for i in range(12)], 20),
        "item": np.tile([f"i{j:02d}" for j in range(20)], 12),
        "n_samples": 10,
        "n_correct": rng.binomial(10, p).ravel(),
    })  # fmt: skip
    law = sampling_law(irsl.Responses.from_frames(both))
    plan = allocate_samples(law, subject="s3", k=10, budget=200)
    assert plan["n_more"].sum() == 200
    assert samples_for_width(law, subject="s3", k=10, width=0.005)["n_needed"][0] > 0
    names = pl.Series(["a"] * 8 + ["b"] * 12)
    halves = tuple(replace(own, usual=np.repeat(own.usual, 2, axis=0) / 2) for own in law.laws)
    two = replace(law, items=law.items.with_columns(benchmark=names), laws=halves)
    with pytest.raises(irsl.DataError, match="several benchmarks, choose one: 'a', 'b'"):
        allocate_samples(two, subject="s3", k=10, budget=200)
    assert allocate_samples(two, subject="s3", k=10, budget=200, benchmark="a").height == 8
    assert samples_for_width(two, subject="s3", k=10, width=0.5, benchmark="b")["n_samples"][0] == 120
    with pytest.raises(irsl.DataError, match="no benchmark 'c'"):
        samples_for_width(two, subject="s3", k=10, width=0.1, benchmark="c")


def test_one_item(law):
    single = law_of([10], [3])
    assert allocate_samples(single, subject=SUBJECT, k=5, budget=7)["n_more"].to_list() == [7]
    assert samples_for_width(single, subject=SUBJECT, k=5, width=0.1)["n_needed"][0] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number of at least 1; found 0"),
        ({"k": 1.5}, "k must be a whole number"),
        ({"k": np.nan}, "k must be a whole number"),
        ({"budget": 0}, "budget must be a whole number"),
        ({"batch": 0}, "batch must be a whole number"),
        ({"batch": 21}, "a budget of 20 buys no batch of 21"),
        ({"subject": "subject-1"}, "no subject 'subject-1'; did you mean 'subject-0'"),
        ({"benchmark": "x"}, "no benchmark 'x'"),
    ],
)
def test_what_cannot_be_allocated_is_refused(law, options, message):
    with pytest.raises(irsl.IrslError, match=message):
        allocate_samples(law, **({"subject": SUBJECT, "k": 3, "budget": 20} | options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be a whole number"),
        ({"width": 0.0}, r"width must lie in \(0, 1\); found 0.0"),
        ({"level": 1.0}, r"level must lie in \(0, 1\); found 1.0"),
        ({"width": np.nan}, r"width must lie in \(0, 1\)"),
    ],
)
def test_what_no_width_is_is_refused(law, options, message):
    with pytest.raises(OptionError, match=message):
        samples_for_width(law, **({"subject": SUBJECT, "k": 3, "width": 0.1} | options))
