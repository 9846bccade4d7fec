import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betainc, expit
from scipy.stats import beta as beta_distribution
from scipy.stats import binom

from irsl.errors import DataError
from irsl.likelihoods import Beta, Binomial
from matrices import coded

ETA = np.array([-7.0, -2.5, -0.3, 0.0, 0.8, 3.0, 6.0])
CASES = [
    pytest.param(Binomial("bernoulli"), 0.0, 1, id="bernoulli"),
    pytest.param(Binomial("bernoulli"), 0.25, 1, id="bernoulli with a floor"),
    pytest.param(Binomial(), 0.0, 50, id="binomial"),
    pytest.param(Binomial(), 0.1, 7, id="binomial with a floor"),
    pytest.param(Beta(1.0), 0.0, 1, id="beta 1"),
    pytest.param(Beta(10.0), 0.0, 1, id="beta 10"),
    pytest.param(Beta(400.0), 0.0, 1, id="beta 400"),
]


def some_values(likelihood, trials):
    if isinstance(likelihood, Beta):
        return np.array([0.02, 0.3, 0.7, 0.99])
    return np.arange(trials + 1.0)[:: max(1, trials // 5)]


def statistic(likelihood, y):
    return np.log(y / (1 - y)) if isinstance(likelihood, Beta) else y


@pytest.mark.parametrize(("likelihood", "c", "n"), CASES)
@pytest.mark.parametrize("step", [1e-3, 1e-4, 1e-5])
def test_score_is_the_finite_difference_of_the_log_density(likelihood, c, n, step):
    for y in some_values(likelihood, n):
        up, down = (likelihood.log_density(statistic(likelihood, y), n, ETA + s, c) for s in (step, -step))
        d_natural, mean, _ = likelihood.slopes(ETA, c)
        score = d_natural * (statistic(likelihood, y) - n * mean)
        np.testing.assert_allclose((up - down) / (2 * step), score, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(("likelihood", "c", "n"), CASES)
def test_slopes_are_derivatives_of_each_other(likelihood, c, n):
    h = 1e-5
    natural_up, base_up = likelihood.natural_and_base(ETA + h, c)
    natural_down, base_down = likelihood.natural_and_base(ETA - h, c)
    d_natural, mean, d_mean = likelihood.slopes(ETA, c)
    np.testing.assert_allclose((natural_up - natural_down) / (2 * h), d_natural, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose((base_up - base_down) / (2 * h), -d_natural * mean, rtol=1e-5, atol=1e-7)
    up, down = likelihood.slopes(ETA + h, c), likelihood.slopes(ETA - h, c)
    np.testing.assert_allclose((up[1] - down[1]) / (2 * h), d_mean, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose((up[2] - down[2]) / (2 * h), likelihood.curvature(ETA, c), rtol=1e-5, atol=1e-7)


# with phi of 1 a tenth of the draws are closer to 0 or 1 than floating point tells
@pytest.mark.parametrize(("likelihood", "c", "n"), [c for c in CASES if c.id != "beta 1"])
def test_information_is_the_variance_of_the_score(likelihood, c, n):
    rng = np.random.default_rng(0)
    eta = np.repeat([-1.5, 0.4, 2.0], 200_000).reshape(3, -1)
    y = likelihood.sample(eta, c, trials=n, rng=rng)
    y = np.clip(y, 1e-12, 1 - 1e-12) if isinstance(likelihood, Beta) else y
    d_natural, mean, d_mean = likelihood.slopes(eta, c)
    score = d_natural * (statistic(likelihood, y) - n * mean)
    expected = (n * d_natural * d_mean)[:, 0]
    np.testing.assert_allclose(score.var(axis=1), expected, rtol=0.03)
    np.testing.assert_allclose(score.mean(axis=1), 0.0, atol=5 * np.sqrt(expected / 200_000).max())


@pytest.mark.parametrize("c", [0.0, 0.25])
def test_binomial_density_is_scipys(c):
    k = np.arange(11.0)
    for eta in ETA:
        p = c + (1 - c) * expit(eta)
        np.testing.assert_allclose(Binomial().log_density(k, 10, eta, c), binom.logpmf(k, 10, p), rtol=1e-9)


@pytest.mark.parametrize("phi", [0.5, 2.0, 10.0, 1000.0])
def test_beta_density_is_scipys_and_integrates_to_one(phi):
    y = np.array([0.001, 0.2, 0.5, 0.95])
    for eta in (-2.0, 0.0, 1.5):
        mu = expit(eta)
        ours = Beta(phi).log_density(statistic(Beta(), y), 1, np.array(eta), 0.0)
        np.testing.assert_allclose(ours, beta_distribution.logpdf(y, mu * phi, (1 - mu) * phi), rtol=1e-9)
    density = lambda v: np.exp(Beta(20.0).log_density(statistic(Beta(), np.array(v)), 1, np.array(0.7), 0.0))  # noqa: E731
    assert quad(density, 0, 1)[0] == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(
    ("y", "mu", "phi", "expected"),
    [
        (0.7, 0.5, 10, -0.2031288263),
        (0.3, 0.3, 10, -0.9814338152),
        (0.9, 0.2, 10, 11.9467900476),
        (1e-6, 0.5, 10, 48.8163264125),
        (0.5, 0.5, 2, 0.0),
    ],
)
def test_beta_negative_log_likelihood_of_the_published_system(y, mu, phi, expected):
    """Values of docs/mathematics.md, section 7, worked out independently of this code."""
    eta = np.log(mu / (1 - mu))
    assert -Beta(phi).log_density(statistic(Beta(), np.array(y)), 1, np.array(eta), 0.0) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize(
    ("phi", "mu", "expected"),
    [
        (10, 0.5, 2.766537), (10, 0.3, 2.418793), (10, 0.1, 1.427581), (10, 0.01, 0.995189),
        (1, 0.5, 0.616850), (1, 0.01, 0.980423), (400, 0.5, 100.250417), (400, 0.1, 36.413379),
    ],
)  # fmt: skip
def test_beta_information_values(phi, mu, expected):
    d_natural, _, d_mean = Beta(phi).slopes(np.array(np.log(mu / (1 - mu))), 0.0)
    assert d_natural * d_mean == pytest.approx(expected, abs=1e-6)


def test_sampled_responses_have_the_stated_mean_and_variance():
    rng = np.random.default_rng(1)
    for likelihood, n in ((Beta(12.0), 1), (Binomial(), 20)):
        y = likelihood.sample(np.full(100_000, 0.6), 0.0, trials=n, rng=rng) / n
        assert y.mean() == pytest.approx(expit(0.6), abs=0.005)
        assert y.var() == pytest.approx(float(likelihood.response_variance(np.array(expit(0.6)), n)), rel=0.03)


def test_beta_refuses_exact_zero_and_one_and_names_the_first():
    y = np.full((3, 4), 0.5)
    y[1, 2] = 1.0
    with pytest.raises(DataError, match=r"strictly between 0 and 1.*'s1'.*'i2'.*resolution"):
        Beta().sufficient_statistics(coded(y, "probability"))


@pytest.mark.parametrize("phi", [0.7, 10.0, 300.0])
def test_values_that_the_resolution_cannot_tell_from_the_ends_enter_by_their_probability(phi):
    y = np.array([[0.0, 0.004, 0.5], [1.0, 0.3, 0.997]])
    likelihood = Beta(phi, resolution=0.01)
    stats = likelihood.sufficient_statistics(coded(y, "probability"))
    t, n = stats.cells(slice(0, 2))
    np.testing.assert_array_equal(np.isinf(t), [[True, True, False], [True, False, True]])
    eta = np.array([[-1.0, 0.3, 0.7], [2.0, -0.4, 1.1]])
    mu = expit(eta)
    lower, upper = betainc(mu * phi, (1 - mu) * phi, 0.005), betainc((1 - mu) * phi, mu * phi, 0.005)
    density = likelihood.log_density(t, n, eta, 0.0)
    np.testing.assert_allclose(density[0, :2], np.log(lower[0, :2]), rtol=1e-9)
    np.testing.assert_allclose(density[1, [0, 2]], np.log(upper[1, [0, 2]]), rtol=1e-9)
    h = 1e-5
    up, down = (likelihood.log_density(t, n, eta + s, 0.0) for s in (h, -h))
    np.testing.assert_allclose((up - down) / (2 * h), likelihood.score(t, n, eta, 0.0), rtol=1e-4, atol=1e-6)
    functions = likelihood.functions(np.tile(eta[0], (3, 1)), 0.0)
    total = sum(
        (x.toarray() if hasattr(x, "toarray") else x) @ f if not isinstance(x, int) else x * f.sum(axis=0)
        for x, f in zip(stats.components(slice(0, 1)), functions, strict=True)
    )
    direct = [likelihood.log_density(t[:1], 1, np.full((1, 3), e), 0.0).sum() for e in eta[0]]
    assert np.ptp(total[0] - direct) < 1e-4


@pytest.mark.parametrize("phi", [2.0, 10.0])
def test_information_with_censored_ends_is_the_variance_of_the_score(phi):
    rng = np.random.default_rng(0)
    likelihood = Beta(phi, resolution=0.02)
    for eta in (-2.0, 0.5):
        y = Beta(phi).sample(np.full(200_000, eta), 0.0, rng=rng)
        t = np.log(np.clip(y, 1e-300, 1)) - np.log1p(-np.clip(y, 0, 1 - 1e-16))
        t = np.where(y < 0.01, -np.inf, np.where(y > 0.99, np.inf, t))
        score = likelihood.score(t, 1, np.full(t.shape, eta), 0.0)
        assert abs(score.mean()) < 5 * score.std() / np.sqrt(t.size)
        assert likelihood.information(1, np.array(eta), 0.0) == pytest.approx(score.var(), rel=0.02)


def test_exact_logits_are_used_where_the_matrix_has_them():
    logits = np.array([[40.0, -40.0]], dtype=np.float32)
    t = Beta().sufficient_statistics(coded(np.array([[1.0, 0.0]]), "probability", logits=logits))
    np.testing.assert_array_equal(t.values, logits)
    assert np.isfinite([t.slope, t.constant]).all()


def test_the_input_is_never_changed():
    y = np.random.default_rng(0).uniform(0.1, 0.9, (5, 4))
    m = coded(y, "probability")
    before = m.values.copy()
    Beta().sufficient_statistics(m)
    np.testing.assert_array_equal(m.values, before)


def test_the_constants_complete_the_density():
    """Sum of T A + n C plus the constants is the sum of log densities, also with missing cells."""
    rng = np.random.default_rng(2)
    eta = rng.normal(size=(6, 5))
    observed = rng.random((6, 5)) < 0.7
    for likelihood, kind, n in ((Beta(7.0), "probability", 1), (Binomial(), "counts", 9)):
        y = likelihood.sample(eta, 0.0, trials=n, rng=rng)
        trials = np.where(observed, n, 0).astype(np.float32)
        m = coded(np.where(observed, y, 0.0), kind, trials)
        stats = likelihood.sufficient_statistics(m)
        natural, base = likelihood.natural_and_base(eta, 0.0)
        phi = likelihood.parameter or 0.0
        t, _ = stats.cells(slice(0, 6))
        total = (t * natural + trials * base).sum() + stats.constant + phi * stats.slope
        direct = likelihood.log_density(statistic(likelihood, y), n, eta, 0.0)[observed].sum()
        assert total == pytest.approx(direct, rel=1e-5)
