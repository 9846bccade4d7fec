"""Integrals over a subject's posterior against sums over a grid far finer than it needs."""

import numpy as np
import pytest

from irsl.calibration.quadrature import Nodes, integrate, weights_on_windows

NODES = Nodes(-6.0, 6.0, 64)
FINE = np.linspace(-6.0, 6.0, 600_001)


def normal(points, rows):
    return -0.5 * points**2 - 0.5 * np.log(2 * np.pi)


def bump(mean, sd):
    return lambda t: -0.5 * ((t - mean) / sd) ** 2


def two_modes(left, right, sd, tilt=0.0):
    """A quartic with modes at left and right of that sd; `tilt` in nats raises the right one."""
    half = (right - left) / 2
    return lambda t: -(((t - left) * (t - right) / (2 * half * sd)) ** 2) / 2 + tilt * (t - left) / (right - left)


CASES = {
    "wide": bump(0.3, 5.0),
    "no data": lambda t: 0.0 * t,
    "usual": bump(-1.2, 0.3),
    "narrow": bump(0.713, 1e-2),
    "very narrow": bump(1.2345678, 1e-4),
    "near the end": bump(5.2, 0.2),
    "two modes": two_modes(-1.0, 1.1, 0.08),
    "two uneven modes": two_modes(-0.7, 1.6, 0.1, tilt=2.0),
    "two modes that touch": two_modes(0.0, 1.0, 0.25),
    "skewed": lambda t: 40 * t - 3 * np.exp(1.5 * t),
    "all solved": lambda t: -60 * np.logaddexp(0.0, -2.0 * t),
    "none solved": lambda t: -3 * np.logaddexp(0.0, 0.4 * t),
}


def brute_force(function):
    value = function(FINE) + normal(FINE, None)
    top = value.max()
    weight = np.exp(value - top)
    total = weight.sum()
    mean = (weight * FINE).sum() / total
    sd = np.sqrt((weight * (FINE - mean) ** 2).sum() / total)
    return mean, sd, top + np.log(total * (FINE[1] - FINE[0]))


def check(posterior, row, function):
    mean, sd, log_marginal = brute_force(function)
    assert abs(posterior.mean[row] - mean) < 1e-4 * sd
    assert posterior.sd[row] == pytest.approx(sd, rel=1e-4)
    assert posterior.log_marginal[row] == pytest.approx(log_marginal, abs=1e-4)
    smooth = lambda t: 1.0 / (1.0 + np.exp(-0.8 * (t - 0.2)))  # noqa: E731
    value = function(FINE) + normal(FINE, None)
    weight = np.exp(value - value.max())
    expected = (weight * smooth(FINE)).sum() / weight.sum()
    assert posterior.expectation[row] @ smooth(NODES.points) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_moments_and_marginal_are_those_of_a_fine_grid(name):
    check(integrate(NODES, CASES[name](NODES.points)[None, :], normal), 0, CASES[name])


@pytest.mark.parametrize("start", [(-5.5, 1e-3), (4.0, 0.02), (0.0, 3.0), (-7.0, 0.1), (9.0, 1e-3), (1.0, 0.0)])
def test_windows_that_start_far_away_find_the_posterior(start):
    """All at once, so that subjects of every width share the blocks; also from outside the nodes."""
    names = [n for n in CASES if "modes" not in n]
    table = np.stack([CASES[n](NODES.points) for n in names])
    posterior = integrate(NODES, table, normal, tuple(np.full(len(names), x) for x in start))
    for row, name in enumerate(names):
        check(posterior, row, CASES[name])


def test_a_block_of_any_size_gives_the_same_numbers(monkeypatch):
    table = np.stack([f(NODES.points) for f in CASES.values()])
    whole = integrate(NODES, table, normal)
    monkeypatch.setattr("irsl.calibration.quadrature.TENSOR_CELLS", 3_000)
    parts = integrate(NODES, table, normal)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-4 * whole.sd.min())
    np.testing.assert_allclose(parts.log_marginal, whole.log_marginal, atol=1e-5)


@pytest.mark.parametrize("count", [25, 41])
def test_weights_on_windows_are_the_posterior(count):
    table = np.stack([f(NODES.points) for f in CASES.values()])
    posterior = integrate(NODES, table, normal)
    points, weight = weights_on_windows(NODES, table, normal, posterior.low, posterior.high, count)
    assert points.shape == weight.shape == (len(CASES), count)
    np.testing.assert_allclose(weight.sum(axis=1), 1.0, rtol=1e-12)
    one = np.array([n not in ("two modes", "two uneven modes") for n in CASES])
    mean = (weight * points).sum(axis=1)
    assert (np.abs(mean - posterior.mean)[one] < 0.01 * posterior.sd[one]).all()
