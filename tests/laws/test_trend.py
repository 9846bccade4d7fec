"""Lines per recipe: exact recovery, weights, coverage of forecasts, and what is refused."""

import numpy as np
import pytest
from scipy.stats import norm, t

import irsl
from irsl.laws import Forecast, fit_trends

SIZES = np.array([1e15, 3e15, 1e16, 3e16])


def points(intercept, slope, sizes=SIZES, *, tau=0.0, se=0.0, rng=None):
    """Recipe names, FLOPs and values of lines in log10(FLOPs / 1e15), with noise."""
    intercept, slope = np.atleast_1d(intercept), np.atleast_1d(slope)
    names = [f"r{r}" for r in range(intercept.size) for _ in sizes]
    flops = np.tile(sizes, intercept.size)
    value = np.repeat(intercept, sizes.size) + np.repeat(slope, sizes.size) * np.log10(flops / 1e15)
    if rng is not None:
        value = value + rng.normal(0, tau, value.size) + rng.normal(0, se, value.size)
    return names, flops, value, np.full(value.size, float(se))


def test_exact_lines_are_recovered():
    intercept, slope = np.array([-0.5, 0.1, 0.4]), np.array([0.8, 1.0, 1.1])
    trend = fit_trends(*points(intercept, slope))
    np.testing.assert_allclose(trend.slope, slope, atol=1e-3)
    np.testing.assert_allclose(trend.intercept, intercept + slope * (trend.centre - 15), atol=1e-3)
    forecast = trend.forecast(1e18)
    np.testing.assert_allclose(forecast.mean, intercept + slope * 3, atol=5e-3)
    assert trend.tau < 2e-3
    assert (np.sqrt(np.diag(forecast.covariance)) < 0.02).all()
    assert trend.recipes == forecast.recipes == ("r0", "r1", "r2")
    assert trend.degrees == 12 - 6


def test_a_forecast_takes_one_compute_or_one_for_each():
    trend = fit_trends(*points([0.0, 1.0], [1.0, 1.2], tau=0.1, se=0.05, rng=np.random.default_rng(0)))
    both, first, second = trend.forecast(np.array([1e17, 1e18])), trend.forecast(1e17), trend.forecast(1e18)
    np.testing.assert_allclose(both.mean, [first.mean[0], second.mean[1]])
    np.testing.assert_allclose(np.diag(both.covariance), [first.covariance[0, 0], second.covariance[1, 1]])


def test_the_order_of_points_and_the_unit_of_compute_do_not_matter():
    names, flops, value, se = points([0.0, 1.0], [1.0, 1.2], tau=0.1, se=0.05, rng=np.random.default_rng(0))
    straight = fit_trends(names, flops, value, se).forecast(1e18)
    order = np.array([7, 0, 6, 1, 2, 4, 3, 5])
    mixed = fit_trends([names[i] for i in order], 1e3 * flops[order], value[order], se[order]).forecast(1e21)
    pick = [mixed.recipes.index(name) for name in straight.recipes]
    np.testing.assert_allclose(mixed.mean[pick], straight.mean, atol=2e-3)
    np.testing.assert_allclose(np.diag(mixed.covariance)[pick], np.diag(straight.covariance), rtol=2e-2)


def test_a_point_with_a_huge_error_is_ignored():
    names, flops, value, se = points([0.0, 0.5, 0.2], [1.0, 1.1, 0.9], np.logspace(15, 17, 6))
    value[2] += 40.0
    se = np.full_like(se, 0.01)
    se[2] = 1e6
    trend = fit_trends(names, flops, value, se)
    np.testing.assert_allclose(trend.slope, [1.0, 1.1, 0.9], atol=0.02)
    kept = np.arange(value.size) != 2
    without = fit_trends([n for n, k in zip(names, kept, strict=True) if k], flops[kept], value[kept], se[kept])
    np.testing.assert_allclose(trend.forecast(1e18).mean, without.forecast(1e18).mean, atol=0.02)


def test_known_errors_are_not_counted_again_as_tau():
    rng = np.random.default_rng(1)
    data = points(rng.normal(0, 0.4, 12), np.ones(12), np.logspace(15, 17, 8), se=0.3, rng=rng)
    assert fit_trends(*data).tau < 0.15
    names, flops, value, _ = data
    assert fit_trends(names, flops, value, np.zeros(value.size)).tau == pytest.approx(0.3, abs=0.06)


def test_equal_slopes_are_pooled_and_different_ones_are_not():
    rng = np.random.default_rng(2)
    alone = np.array(
        [fit_trends(*points([0.0], [1.0], tau=0.15, rng=np.random.default_rng(s))).slope[0] for s in range(12)]
    )
    data = points(rng.normal(0, 0.4, 12), np.ones(12), tau=0.15, rng=rng)
    pooled = fit_trends(*data)
    assert pooled.slope.std() < 0.5 * alone.std()
    assert pooled.slope.mean() == pytest.approx(1.0, abs=0.15)
    slope = np.linspace(0.2, 3.0, 12)
    apart = fit_trends(*points(rng.normal(0, 0.4, 12), slope, tau=0.02, rng=rng))
    np.testing.assert_allclose(apart.slope, slope, atol=0.1)
    assert apart.spread_slope == pytest.approx(slope.std(ddof=1), rel=0.5)


def simulate(rng, n_recipes, sizes, *, slope_sd=0.15, tau=0.15, se=0.05, target=1e17):
    """Whether each 90 % interval holds the recipe's true value at the target, and the recipe's measured one there."""
    intercept, slope = rng.normal(0, 0.4, n_recipes), rng.normal(1.0, slope_sd, n_recipes)
    forecast = fit_trends(*points(intercept, slope, sizes, tau=tau, se=se, rng=rng)).forecast(target)
    truth = intercept + slope * np.log10(target / 1e15) + rng.normal(0, tau, n_recipes)
    measured = truth + rng.normal(0, 0.2, n_recipes)
    result = []
    for value, noise in ((truth, 0.0), (measured, 0.04)):
        lower, upper = forecast.interval(0.9, noise=noise)
        result.append((lower <= value) & (value <= upper))
    return np.array(result)


@pytest.mark.parametrize(("slope_sd", "repetitions"), [(0.15, 25), (0.0, 25)])
def test_forecasts_of_pooled_lines_cover(slope_sd, repetitions):
    """12 recipes of 4 sizes: 84 to 96 % for 90 % intervals, one step beyond the largest size."""
    rng = np.random.default_rng(0)
    inside = np.concatenate([simulate(rng, 12, SIZES, slope_sd=slope_sd) for _ in range(repetitions)], axis=1)
    assert (inside.mean(axis=1) >= 0.84).all()
    assert (inside.mean(axis=1) <= 0.96).all()


def test_forecasts_of_a_single_recipe_cover_as_the_textbook_interval_does():
    """Draper and Smith (1998), section 3.1: x0' (X'X)^-1 x0 + 1 with the residual variance, t with n - 2 degrees.

    tau is averaged over its posterior rather than plugged in, so the intervals are near but not equal: at most a
    third wider in the median, which is compared pair by pair because 150 coverages alone are known to .02.
    """
    rng = np.random.default_rng(3)
    sizes = np.logspace(15, 16.5, 5)
    ours, textbook, width = [], [], []
    for _ in range(150):
        names, flops, value, se = points([0.0], [1.0], sizes, tau=0.15, rng=rng)
        truth = 2.0 + rng.normal(0, 0.15)
        lower, upper = (bound[0] for bound in fit_trends(names, flops, value, se).forecast(1e17).interval(0.9))
        X = np.stack([np.ones(5), np.log10(flops) - 15], axis=1)
        beta, rest, *_ = np.linalg.lstsq(X, value, rcond=None)
        x0 = np.array([1.0, 2.0])
        half = t.ppf(0.95, 3) * np.sqrt(rest[0] / 3 * (1 + x0 @ np.linalg.solve(X.T @ X, x0)))
        ours.append(lower <= truth <= upper)
        textbook.append(abs(x0 @ beta - truth) <= half)
        width.append((upper - lower) / (2 * half))
    assert 0.84 <= np.mean(textbook) <= 0.96
    assert 0.84 <= np.mean(ours) <= 0.98
    assert 0.8 < np.median(width) < 1.34


def test_a_single_recipes_line_is_least_squares():
    names, flops, value, se = points([0.3], [1.2], np.logspace(15, 17, 7), tau=0.1, rng=np.random.default_rng(0))
    trend = fit_trends(names, flops, value, se)
    slope, _ = np.polyfit(np.log10(flops), value, 1)
    assert trend.slope[0] == pytest.approx(slope, rel=1e-6)
    assert trend.intercept[0] == pytest.approx(value.mean(), rel=1e-6)
    assert np.isnan(trend.spread_slope)


def test_intervals_widen_with_distance_level_and_noise():
    trend = fit_trends(*points([0.0, 0.3], [1.0, 1.1], tau=0.1, rng=np.random.default_rng(0)))
    widths = [np.subtract(*trend.forecast(c).interval(0.9)[::-1]) for c in (1e16, 1e17, 1e19)]
    assert (widths[0] < widths[1]).all()
    assert (widths[1] < widths[2]).all()
    near = trend.forecast(1e17)
    for wider in (near.interval(0.99), near.interval(0.9, noise=0.1)):
        assert (np.subtract(*wider[::-1]) > widths[1]).all()


def test_draws_have_the_forecasts_quantiles():
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])
    forecast = Forecast(("a", "b"), np.array([1.0, -1.0]), covariance, 8.0)
    draws = forecast.draws(40_000, np.random.default_rng(0))
    lower, upper = forecast.interval(0.9)
    np.testing.assert_allclose(np.quantile(draws, [0.05, 0.95], axis=0), [lower, upper], atol=0.02)
    np.testing.assert_allclose(np.corrcoef(draws.T)[0, 1], 0.5, atol=0.03)
    np.testing.assert_allclose(upper - forecast.mean, t.ppf(0.95, 8) * np.sqrt([0.04, 0.09]))
    wide = Forecast(("a",), np.zeros(1), np.eye(1), 1e7).interval(0.9)
    assert wide[1][0] == pytest.approx(norm.ppf(0.95), abs=1e-4)


def test_too_few_sizes_name_the_recipe():
    names, flops, value, se = points([0.0, 0.3], [1.0, 1.1])
    kept = np.array([True] * 4 + [True, True, False, False])
    with pytest.raises(irsl.DataError, match="at least 3 sizes; recipe 'r1' has 2"):
        fit_trends([n for n, k in zip(names, kept, strict=True) if k], flops[kept], value[kept], se[kept])
    flops[5:] = flops[4]  # four points, one size
    with pytest.raises(irsl.DataError, match="recipe 'r1' has 1"):
        fit_trends(names, flops, value, se)


@pytest.mark.parametrize(("column", "bad"), [(1, 0.0), (1, -1.0), (2, np.nan), (2, np.inf), (3, -0.1), (3, np.nan)])
def test_impossible_points_name_the_recipe(column, bad):
    data = list(points([0.0, 0.3], [1.0, 1.1]))
    data[column] = data[column].copy()
    data[column][5] = bad
    with pytest.raises(irsl.DataError, match="recipe 'r1'"):
        fit_trends(*data)


def test_a_bend_at_the_largest_size_inflates_the_forecasts_and_straight_lines_do_not():
    rng = np.random.default_rng(0)
    recipes = [f"r{k}" for k in range(12) for _ in range(4)]
    x = np.tile([-1.0, -0.3, 0.3, 1.0], 12)
    straight = np.repeat(rng.normal(0, 0.3, 12), 4) + x + rng.normal(0, 0.05, 48)
    bent = straight + 0.8 * (x == 1.0)
    se = np.full(48, 0.02)
    assert fit_trends(recipes, 10.0**x, straight, se).inflation == 1.0
    trend = fit_trends(recipes, 10.0**x, bent, se)
    assert trend.inflation > 4.0
    few = [i for i, r in enumerate(recipes) if r in ("r0", "r1", "r2")]
    assert fit_trends([recipes[i] for i in few], 10.0 ** x[few], bent[few], se[few]).inflation == 1.0
