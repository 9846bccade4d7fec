"""Standard errors against numerical derivatives of the marginal likelihood, each other, and repeated sampling."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

import irsl
from irsl.calibration import uncertainty as module
from irsl.calibration.engine import Settings, fit
from irsl.calibration.item_prior import initial_prior, no_prior
from irsl.calibration.m_step import Items
from irsl.calibration.population import NormalPopulation
from irsl.calibration.uncertainty import uncertainty
from irsl.likelihoods import Beta, BetaBinomial, Binomial
from matrices import coded

Z90 = float(norm.ppf(0.95))
POINTS = np.linspace(-8.0, 8.0, 641)


def draw(likelihood, n_subjects, n_items, *, seed=0, trials=1, missing=0.0):
    """A coded matrix of responses to items of a about 1.2."""
    rng = np.random.default_rng(seed)
    a, b, theta = rng.lognormal(0.2, 0.2, n_items), rng.normal(0.0, 0.8, n_items), rng.normal(size=n_subjects)
    y = likelihood.sample(a * (theta[:, None] - b), 0.0, trials=trials, rng=rng)
    y = np.clip(y, 1e-6, 1 - 1e-6) if isinstance(likelihood, Beta) else y
    n = np.where(rng.random(y.shape) < missing, 0.0, trials)
    return coded(np.where(n > 0, y, 0.0), "any", n if missing else trials)


def fitted(likelihood, matrix, *, common_slope=False, prior=False):
    statistics = likelihood.sufficient_statistics(matrix)
    zeros = np.zeros(matrix.n_items)
    block = np.zeros(matrix.n_items, np.intp)
    outcome = fit(
        statistics,
        Items(zeros, zeros, zeros, likelihood),
        initial_prior(block, common_slope=common_slope) if prior else no_prior(matrix.n_items),
        NormalPopulation.of(np.zeros(matrix.n_subjects, np.intp)),
        common_slope=common_slope,
        settings=Settings(tolerance=1e-8, max_iterations=2000),
    )
    return statistics, outcome


def posteriors(statistics, outcome, xi):
    """Log marginal likelihood and posterior mean of every subject at the items' (log a, d), summed over POINTS."""
    likelihood = outcome.items.likelihood
    t, n = statistics.cells(slice(0, statistics.shape[0]))
    n = np.broadcast_to(np.asarray(n, dtype=float), t.shape)
    log_a, d = xi.reshape(-1, 2).T
    table = np.zeros((t.shape[0], POINTS.size))
    for j in range(d.size):
        density = likelihood.log_density(t[:, j, None], n[:, j, None], np.exp(log_a[j]) * POINTS + d[j], 0.0)
        table += np.where(n[:, j, None] > 0, density, 0.0)
    table -= 0.5 * POINTS**2
    top = table.max(axis=1, keepdims=True)
    weight = np.exp(table - top)
    return top[:, 0] + np.log(weight.sum(axis=1)), weight @ POINTS / weight.sum(axis=1)


def derivatives(statistics, outcome):
    """Minus the Hessian of the marginal log-likelihood, and d posterior means / d xi, by central differences."""
    xi = np.stack([outcome.items.log_a, outcome.items.intercept], axis=1).ravel()
    h, size = 1e-3, xi.size
    hessian = np.empty((size, size))
    value = lambda *moves: float(  # noqa: E731
        posteriors(statistics, outcome, xi + sum(s * h * np.eye(size)[i] for i, s in moves))[0].sum()
    )
    for i in range(size):
        for j in range(i + 1):
            corners = [r * s * value((i, r), (j, s)) for r in (1, -1) for s in (1, -1)]
            hessian[i, j] = hessian[j, i] = sum(corners) / (4 * h**2)
    follow = np.stack(
        [
            (posteriors(statistics, outcome, xi + e)[1] - posteriors(statistics, outcome, xi - e)[1]) / (2 * h)
            for e in h * np.eye(size)
        ]
    )
    return -hessian, follow


def slow_uncertainty(statistics, outcome):
    """Both covariances of all items and the abilities' variances, with every step written out."""
    information, follow = derivatives(statistics, outcome)
    v = np.linalg.inv(information)
    theta, variance = outcome.step.ability, outcome.step.se_ability**2
    n, m = theta.size, outcome.items.n_items
    # joint covariance of (xi, theta), then the anchored quantities are linear in them
    joint = np.block([[v, v @ follow], [follow.T @ v, follow.T @ v @ follow + np.diag(variance)]])
    anchor = np.zeros((2 * m + n, 2 * m + n))
    anchor[: 2 * m, : 2 * m] = np.eye(2 * m)
    anchor[: 2 * m : 2, 2 * m :] = theta / n
    anchor[1 : 2 * m : 2, 2 * m :] = np.exp(outcome.items.log_a)[:, None] / n
    anchor[2 * m :, 2 * m :] = np.eye(n) - 1.0 / n - np.outer(theta, theta) / n
    moved = anchor @ joint @ anchor.T
    block = lambda x: np.stack([x[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] for j in range(m)])  # noqa: E731
    return block(v), block(moved), np.diag(moved)[2 * m :]


@pytest.mark.parametrize(
    ("likelihood", "trials", "missing"),
    [
        (Binomial("bernoulli"), 1, 0.0),
        (Binomial(), 6, 0.2),
        (Beta(6.0), 1, 0.2),
        (BetaBinomial(0.1), 8, 0.2),
    ],
    ids=["bernoulli", "binomial", "beta", "beta_binomial"],
)
def test_covariances_are_those_of_numerical_derivatives(likelihood, trials, missing):
    statistics, outcome = fitted(likelihood, draw(likelihood, 120, 4, trials=trials, missing=missing))
    ours = uncertainty(statistics, outcome, common_slope=False)
    population, anchored, se2 = slow_uncertainty(statistics, outcome)
    for one, other in ((ours.population, population), (ours.anchored, anchored)):
        scale = np.sqrt(np.einsum("ji,jk->jik", *[np.diagonal(other, axis1=1, axis2=2)] * 2))
        np.testing.assert_allclose(one / scale, other / scale, atol=5e-3)
    np.testing.assert_allclose(ours.se_ability**2, se2, rtol=5e-3)


WAYS = {
    "integrated": {},
    "by subject": {"EXACT_ITEMS": 0},
    "at nodes": {"EXACT_ITEMS": 0, "SUBJECT_SCORES": 0},
}


@pytest.mark.parametrize("common_slope", [False, True])
@pytest.mark.parametrize(
    ("likelihood", "trials", "missing"),
    [
        (Binomial("bernoulli"), 1, 0.2),
        (Binomial(), 20, 0.0),
        (Beta(10.0), 1, 0.1),
        (BetaBinomial(0.05), 20, 0.0),
        (BetaBinomial(0.05), 20, 0.2),
    ],
    ids=["bernoulli", "binomial", "beta", "beta_binomial", "beta_binomial with missing cells"],
)
def test_three_ways_to_the_directions_agree(likelihood, trials, missing, common_slope, monkeypatch):
    matrix = draw(likelihood, 120, 60, trials=trials, missing=missing)
    statistics, outcome = fitted(likelihood, matrix, common_slope=common_slope, prior=True)
    seen = {}
    for way, limits in WAYS.items():
        for name, value in limits.items():
            monkeypatch.setattr(module, name, value)
        u = uncertainty(statistics, outcome, common_slope=common_slope)
        part = slice(1, 2) if common_slope else slice(0, 2)
        root = lambda v, part=part: np.sqrt(np.diagonal(v, axis1=1, axis2=2))[:, part]  # noqa: E731
        seen[way] = root(u.population), root(u.anchored), u.se_ability
    for way in ("by subject", "at nodes"):
        for one, other in zip(seen[way], seen["integrated"], strict=True):
            ratio = one / other
            assert abs(np.median(ratio) - 1.0) < 0.03, way
            assert np.abs(ratio - 1.0).max() < 0.17, way


def test_anchored_intervals_of_a_dozen_subjects_cover():
    """12 x 60 binary responses, 200 times over: abilities and difficulties against the anchored truth."""
    rng = np.random.default_rng(0)
    inside = {"ability": [], "difficulty": []}
    for _ in range(200):
        theta, b = rng.normal(size=12), rng.normal(0.3, 1.2, 60)
        y = (rng.random((12, 60)) < expit(theta[:, None] - b)).astype(float)
        c = irsl.calibrate(irsl.Responses.from_matrix(y, kind="binary"), model="1pl", tolerance=0.03)
        for name, frame, x in (("ability", c.abilities, theta), ("difficulty", c.bank.items, b)):
            error = frame[name].to_numpy() - (x - theta.mean()) / theta.std()
            inside[name].append(np.abs(error) < Z90 * frame[f"se_{name}"].to_numpy())
    for name, parts in inside.items():
        assert 0.84 <= np.mean(parts) <= 0.96, name


def test_means_and_sds_of_groups_are_estimated_too():
    """Against the numerical Hessian over items, means and log sds, where all subjects together hold the scale."""
    likelihood, group = Binomial("bernoulli"), np.repeat([0, 1], [120, 180])
    rng = np.random.default_rng(3)
    theta = np.array([-0.7, 0.5])[group] + np.array([0.5, 1.0])[group] * rng.normal(size=300)
    a, b = rng.lognormal(0.3, 0.2, 6), rng.normal(size=6)
    matrix = coded((rng.random((300, 6)) < expit(a * (theta[:, None] - b))).astype(float), "binary")
    statistics, zeros = likelihood.sufficient_statistics(matrix), np.zeros(6)
    outcome = fit(
        statistics,
        Items(zeros, zeros, zeros, likelihood),
        no_prior(6),
        NormalPopulation.of(group),
        common_slope=False,
        settings=Settings(tolerance=1e-8, max_iterations=3000),
    )
    population, xi = outcome.population, np.stack([outcome.items.log_a, outcome.items.intercept], axis=1).ravel()
    t, _ = statistics.cells(slice(0, 300))

    def value(x):
        log_a, d = x[:12].reshape(-1, 2).T
        mean, log_sd = x[12:].reshape(-1, 2).T
        curve = expit(np.exp(log_a)[:, None] * POINTS + d[:, None])
        table = t @ np.log(curve) + (1 - t) @ np.log1p(-curve)
        table += norm.logpdf(POINTS, mean[group][:, None], np.exp(log_sd)[group][:, None])
        return float(np.logaddexp.reduce(table, axis=1).sum())

    x, h = np.concatenate([xi, np.stack([population.mean, np.log(population.sd)], axis=1).ravel()]), 2e-3
    steps = h * np.eye(x.size)
    information = np.empty((x.size, x.size))
    for i in range(x.size):
        for j in range(i + 1):
            corners = [r * s * value(x + r * steps[i] + s * steps[j]) for r in (1, -1) for s in (1, -1)]
            information[i, j] = information[j, i] = -sum(corners) / (4 * h**2)
    share, hold = np.bincount(group) / 300, np.zeros((2, x.size))
    hold[0, 12::2], hold[1, 12::2], hold[1, 13::2] = share, share * population.mean, share * population.sd**2
    v = np.linalg.inv(information + 1e8 * hold.T @ hold)
    result = uncertainty(statistics, outcome, common_slope=False)
    blocks = np.stack([v[2 * j : 2 * j + 2, 2 * j : 2 * j + 2] for j in range(6)])
    np.testing.assert_allclose(result.population, blocks, rtol=5e-3, atol=1e-4)
    known = np.linalg.inv(information[:12, :12])
    assert (np.diagonal(v)[:12] / np.diagonal(known)).max() > 1.1
