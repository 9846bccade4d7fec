"""The engine against a slow plain version, and what must not change its results."""

import math

import numpy as np
import pytest
from scipy.special import expit

import irsl
from irsl.calibration.engine import INTERPOLATION_TOLERANCE, Settings, _remaining, fit, resolve
from irsl.calibration.expectation import expectation_step, log_likelihood_at
from irsl.calibration.item_prior import no_prior
from irsl.calibration.m_step import Items
from irsl.calibration.population import NormalPopulation
from irsl.calibration.quadrature import Nodes
from irsl.likelihoods import Beta, BetaBinomial, Binomial
from irsl.likelihoods.statistics import Levels
from irsl.responses.matrix import ResponseMatrix
from matrices import as_csr, coded


def plain_marginals(y, n, items, points):
    """log of the integral of likelihood times prior, and the posterior mean, cell by cell on a fine grid."""
    log_prior = -0.5 * points**2 - 0.5 * np.log(2 * np.pi) + np.log(points[1] - points[0])
    marginal, mean = [], []
    for k in range(y.shape[0]):
        total = log_prior.copy()
        for j in range(y.shape[1]):
            if n[k, j] > 0:
                eta = np.exp(items.log_a[j]) * points + items.intercept[j]
                natural, base = items.likelihood.natural_and_base(eta, items.guessing[j])
                t = np.log(y[k, j] / (1 - y[k, j])) if isinstance(items.likelihood, Beta) else y[k, j]
                total += t * natural + n[k, j] * base
        top = total.max()
        weight = np.exp(total - top)
        marginal.append(top + np.log(weight.sum()))
        mean.append((weight * points).sum() / weight.sum())
    return np.array(marginal), np.array(mean)


@pytest.mark.parametrize(
    ("likelihood", "kind", "trials", "guessing"),
    [
        (Binomial("bernoulli"), "binary", 1, 0.0),
        (Binomial("bernoulli"), "binary", 1, 0.25),
        (Binomial(), "counts", 40, 0.0),
        (Beta(15.0), "probability", 1, 0.0),
    ],
)
@pytest.mark.parametrize(("missing", "storage"), [(0.0, "dense"), (0.3, "dense"), (0.3, "csr")])
def test_e_step_is_the_plain_integral(likelihood, kind, trials, guessing, missing, storage):
    rng = np.random.default_rng(0)
    items = Items(rng.normal(0, 0.3, 25), rng.normal(0, 1.2, 25), np.full(25, guessing), likelihood)
    theta = rng.normal(size=14)
    y = likelihood.sample(items.eta(theta).T, guessing, trials=trials, rng=rng)
    y = np.clip(y, 1e-4, 1 - 1e-4).astype(np.float32).astype(float) if kind == "probability" else y
    n = np.where(rng.random(y.shape) < missing, 0.0, trials)
    n[0] = trials
    matrix = coded(np.where(n > 0, y, 0.0), kind, n.astype(np.float32) if missing else trials)
    if storage == "csr":
        values, counts = as_csr(y, n)
        matrix = coded(values, kind, counts)
    stats = likelihood.sufficient_statistics(matrix)
    _, step = resolve(stats, items, 1.0)
    marginal, mean = plain_marginals(y, n, items, np.linspace(-8, 8, 16001))
    np.testing.assert_allclose(step.ability, mean, atol=2e-4)
    np.testing.assert_allclose(step.log_marginal, marginal, atol=0.02)


@pytest.mark.parametrize("likelihood", [Binomial(), BetaBinomial(0.05)])
def test_functions_averaged_over_errors_of_the_items(likelihood):
    """The data enter the average of the log-likelihood over an item's errors, to second order, only by the information.

    Averaged over the responses as well, at any abilities: the mean of log f falls by half the information times the
    variance of eta.
    """
    rng = np.random.default_rng(0)
    items = Items(np.array([0.2]), np.array([-0.4]), np.zeros(1), likelihood)
    factor = np.array([[0.02, 0.0], [0.01, 0.03]])
    covariance = (factor @ factor.T)[None]
    points, trials = np.array([-1.5, 0.0, 0.7]), 6
    levels = None
    if isinstance(likelihood, BetaBinomial):
        levels = Levels(np.zeros(7, np.intp), np.array([0, 7]), np.arange(7.0), np.full(7, float(trials)))

    def mean_log_likelihood(functions):
        """Over responses drawn at the items' modes."""
        if levels is None:
            mean = trials * expit(items.eta(points))
            return (mean * functions[0] + trials * functions[1])[0]
        log_choose = np.log([math.comb(trials, k) for k in range(trials + 1)])[:, None]
        probability = np.exp(likelihood.functions(items.eta(points), 0.0, levels)[0] + log_choose)
        return (probability * functions[0]).sum(axis=0)

    draws = rng.standard_normal((20_000, 2))
    draws = np.concatenate([draws, -draws]) @ factor.T
    eta = np.exp(items.log_a[0] + draws[:, :1]) * points + items.intercept[0] + draws[:, 1:]
    exact = np.zeros(points.size)
    for row in eta[:, None, :]:
        exact += mean_log_likelihood(likelihood.functions(row, 0.0, levels)) / len(draws)
    plain = mean_log_likelihood(items.functions(points, levels))
    averaged = mean_log_likelihood(items.averaged_functions(points, levels, covariance))
    np.testing.assert_allclose(averaged - plain, exact - plain, rtol=0.05)


def steep(rng, n_items, likelihood):
    """Items of a up to 6."""
    log_a = np.append(rng.normal(0.0, 0.4, n_items - 3), np.log([4.0, 5.0, 6.0]))
    return Items(log_a, rng.normal(0.0, 1.0, n_items), np.zeros(n_items), likelihood)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("likelihood", "trials"),
    [
        (Beta(1.0), 1), (Beta(10.0), 1), (Beta(1000.0), 1), (Beta(10_000.0), 1),
        (Binomial(), 1), (Binomial(), 3_000_000),
    ],
    ids=["beta 1", "beta 10", "beta 1,000", "beta 10,000", "one trial", "3,000,000 trials"],
)  # fmt: skip
def test_the_bound_on_the_engines_own_error_holds(likelihood, trials, seed):
    """Steep items: posterior moments at its nodes are those of the likelihood itself, to 1 % of a posterior sd."""
    rng = np.random.default_rng(seed)
    items = steep(rng, 20, likelihood)
    theta = rng.normal(size=30)
    y = likelihood.sample(items.eta(theta).T, 0.0, trials=trials, rng=rng)
    if trials == 1 and isinstance(likelihood, Beta):
        y = np.clip(y, 1e-6, 1 - 1e-6)
    statistics = likelihood.sufficient_statistics(coded(y, "any", trials))
    _, step = resolve(statistics, items, 1.0)
    t, n = statistics.cells(slice(0, 30))
    for k in range(30):
        low, high = step.ability[k] - 9 * step.se_ability[k], step.ability[k] + 9 * step.se_ability[k]
        points = np.linspace(low, high, 2001)
        table = likelihood.log_density(t[k, :, None], n, items.eta(points), 0.0).sum(axis=0) - 0.5 * points**2
        weight = np.exp(table - table.max())
        weight /= weight.sum()
        mean = float(weight @ points)
        sd = float(np.sqrt(weight @ (points - mean) ** 2))
        assert weight[[0, -1]].max() < 1e-6
        assert abs(step.ability[k] - mean) < 0.01 * sd
        assert step.se_ability[k] == pytest.approx(sd, rel=0.01)


@pytest.mark.parametrize("trials", [100, 3_000_000])
def test_subjects_beyond_the_nodes_first_interval_are_found(trials):
    """Where a posterior is narrow nothing of it lies inside, and all its weight at the interval's end."""
    items = Items(np.zeros(8), np.linspace(-9.0, 9.0, 8), np.zeros(8), Binomial())
    theta = np.array([-8.0, 0.3, 9.5])
    k = np.round(trials * expit(items.eta(theta).T))
    _, step = resolve(items.likelihood.sufficient_statistics(coded(k, "counts", trials)), items, 1.0)
    points = np.linspace(-12.0, 12.0, 480_001)
    for row in range(3):
        table = items.likelihood.log_density(k[row, :, None], trials, items.eta(points), 0.0).sum(axis=0)
        assert step.ability[row] == pytest.approx(points[np.argmax(table - 0.5 * points**2)], abs=0.1)
    assert (step.se_ability > 0).all()


@pytest.mark.parametrize(("phi", "seed"), [(10.0, 0), (10_000.0, 1)])
def test_a_fit_states_an_error_within_its_tolerance(phi, seed):
    rng = np.random.default_rng(seed)
    items = steep(rng, 20, Beta(phi))
    y = np.clip(items.likelihood.sample(items.eta(rng.normal(size=60)).T, 0.0, trials=1, rng=rng), 1e-6, 1 - 1e-6)
    statistics = items.likelihood.sufficient_statistics(coded(y, "probability"))
    population = NormalPopulation.of(np.zeros(60, np.intp))
    outcome = fit(statistics, items, no_prior(20), population, common_slope=False, settings=Settings())
    assert outcome.converged
    assert 0.0 <= outcome.interpolation_error <= INTERPOLATION_TOLERANCE
    assert outcome.items.likelihood.precision == pytest.approx(phi, rel=0.15)
    # at the fit's own nodes every subject's log-likelihood is a polynomial; here against direct evaluation
    points = outcome.step.ability[:, None] + outcome.step.se_ability[:, None] * np.linspace(-2, 2, 9)
    at_nodes = log_likelihood_at(statistics.components(slice(0, 60)), outcome.items.functions(outcome.nodes.points))
    polynomial = (outcome.nodes.basis(points) @ at_nodes[:, :, None])[..., 0]
    t, _ = statistics.cells(slice(0, 60))
    direct = np.stack(
        [
            outcome.items.likelihood.log_density(t[k, :, None], 1, outcome.items.eta(points[k]), 0.0).sum(axis=0)
            for k in range(60)
        ]
    )
    error = polynomial - direct
    assert np.abs(error - error.mean(axis=1, keepdims=True)).max() < 3 * INTERPOLATION_TOLERANCE


def test_expected_statistics_are_sums_over_posteriors():
    """H @ f(nodes) is the sum of T times the posterior mean of f, for a smooth f."""
    rng = np.random.default_rng(1)
    items = Items(np.zeros(30), rng.normal(size=30), np.zeros(30), Binomial("bernoulli"))
    y = (rng.random((20, 30)) < 0.5).astype(float)
    stats = items.likelihood.sufficient_statistics(coded(y, "binary"))
    nodes = Nodes(-6, 6, 40)
    step = expectation_step(stats, items, nodes, NormalPopulation.of(np.zeros(20, np.intp)), np.float64)
    curve = 1.3 * (nodes.points - 0.4)  # Bernoulli responses are asked for linear functions only
    _, plain = plain_marginals(y, np.ones_like(y), items, np.linspace(-8, 8, 4001))
    fine = np.linspace(-8, 8, 4001)
    expected = []
    for k in range(20):
        total = -0.5 * fine**2
        eta = fine[:, None] + items.intercept
        total = total + (y[k] * eta - np.logaddexp(0, eta)).sum(axis=1)
        w = np.exp(total - total.max())
        expected.append((w * 1.3 * (fine - 0.4)).sum() / w.sum())
    np.testing.assert_allclose(step.expected.components[0] @ curve, y.T @ np.array(expected), rtol=1e-5)
    np.testing.assert_allclose(step.ability, plain, atol=1e-4)


@pytest.mark.parametrize("count", [24, 40, 64])
def test_interpolation_reproduces_smooth_functions_and_the_nodes_themselves(count):
    nodes = Nodes(-5.0, 7.0, count)
    f = lambda t: np.log1p(np.exp(0.7 * (t - 1)))  # noqa: E731
    t = np.linspace(-5, 7, 333)
    error = np.abs(nodes.basis(t) @ f(nodes.points) - f(t)).max()
    assert error < 10.0 ** (-count / 12)
    np.testing.assert_allclose(nodes.basis(nodes.points), np.eye(count), atol=1e-12)


def simulated(seed=0, n_subjects=150, n_items=40, missing=0.0):
    rng = np.random.default_rng(seed)
    theta, b, a = rng.normal(size=n_subjects), rng.normal(0.2, 1.2, n_items), rng.lognormal(0, 0.3, n_items)
    y = (rng.random((n_subjects, n_items)) < expit(a * (theta[:, None] - b))).astype(float)
    y[rng.random(y.shape) < missing] = np.nan
    return y


def test_permuting_subjects_and_items_permutes_the_results():
    y = simulated(missing=0.1)
    rng = np.random.default_rng(5)
    rows, columns = rng.permutation(y.shape[0]), rng.permutation(y.shape[1])
    one = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"))
    two = irsl.calibrate(irsl.Responses.from_matrix(y[rows][:, columns], kind="binary"))
    for column in ("difficulty", "discrimination", "se_difficulty"):
        np.testing.assert_allclose(one.bank.items[column].to_numpy()[columns], two.bank.items[column], atol=2e-4)
    np.testing.assert_allclose(one.abilities["ability"].to_numpy()[rows], two.abilities["ability"], atol=2e-4)


def test_the_same_data_give_the_same_bits(tmp_path):
    y = simulated()
    for name in ("one", "two"):
        irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary")).bank.save(tmp_path / name)
    for file in ("items.parquet", "bank.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_single_precision_agrees_with_double(monkeypatch):
    y = simulated(seed=2)
    double = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"))
    monkeypatch.setattr("irsl.calibration.engine.DOUBLE_PRECISION_CELLS", 0)
    single = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"))
    np.testing.assert_allclose(single.bank.items["difficulty"], double.bank.items["difficulty"], atol=1e-3)


def test_counts_of_one_trial_are_binary_responses():
    y = simulated(seed=3)
    binary = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"))
    counts = irsl.calibrate(irsl.Responses.from_matrix(y, n_samples=np.ones_like(y), kind="counts"))
    np.testing.assert_allclose(counts.bank.items["difficulty"], binary.bank.items["difficulty"], atol=1e-6)


def test_non_convergence_is_a_status_with_the_last_iterate():
    c = irsl.calibrate(irsl.Responses.from_matrix(simulated(), kind="binary"), max_iterations=2)
    assert not c.converged
    assert "not converged" in c.fits["message"][0]
    assert c.bank.items["difficulty"].is_finite().all()


def test_stationary_point_of_the_marginal_likelihood():
    """Moving any parameter of the maximum-likelihood solution lowers the marginal likelihood."""
    y = simulated(n_subjects=300, n_items=8)
    c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), item_prior="none", tolerance=1e-7)
    items = c.bank.items
    log_a, b = np.log(items["discrimination"].to_numpy()), items["difficulty"].to_numpy()
    points = np.linspace(-7, 7, 1401)

    def marginal(log_a, b):
        eta = np.exp(log_a) * (points[:, None] - b)
        success, failure = -np.logaddexp(0, -eta), -np.logaddexp(0, eta)
        table = y @ success.T + (1 - y) @ failure.T - 0.5 * points**2
        return np.log(np.exp(table).sum(axis=1) * 0.01 / np.sqrt(2 * np.pi)).sum()

    top = marginal(log_a, b)
    assert c.log_likelihood == pytest.approx(top, abs=1e-3)
    for j in range(8):
        for part in (0, 1):
            for h in (-0.02, 0.02):
                moved = [log_a.copy(), b.copy()]
                moved[part][j] += h
                assert marginal(*moved) < top


def test_posteriors_narrower_than_expected_information_says_are_resolved():
    """A subject whose Beta responses disagree has more observed than expected information; its sd is never 0."""
    items = Items(np.zeros(400), np.zeros(400), np.zeros(400), Beta(2.0))
    matrix = coded(np.full((3, 400), 0.5), "probability")
    matrix = ResponseMatrix(
        matrix.subjects, matrix.items, matrix.benchmarks, matrix.chance, "probability", matrix.values, 1,
        np.where(np.arange(400) % 2, 69.0, -69.0).astype(np.float32) * np.ones((3, 1), np.float32),
    )  # fmt: skip
    _, step = resolve(items.likelihood.sufficient_statistics(matrix), items, 1.0)
    points = np.linspace(-1, 1, 20001)
    _, base = items.likelihood.natural_and_base(points, 0.0)
    log_weight = 400 * base - 0.5 * points**2
    weight = np.exp(log_weight - log_weight.max())
    expected = np.sqrt((weight * points**2).sum() / weight.sum())
    np.testing.assert_allclose(step.se_ability, expected, rtol=5e-3)


def test_the_first_ratio_of_changes_is_not_believed():
    assert _remaining([50.0, 0.2])[0] == pytest.approx(0.2 * 0.1 / 0.9)
    assert _remaining([50.0, 5.0, 0.2])[0] == pytest.approx(0.2 * 0.04 / 0.96)
    assert _remaining([1.0, 0.5])[0] == pytest.approx(0.5)
