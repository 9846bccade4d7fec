"""Decisions, roughness and compute against published values, and their limits."""

import numpy as np
import pytest

import irsl
from irsl.laws import decision_accuracy, total_variation, training_flops


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [("ABCD", "BACD", 5 / 6), ("ABCD", "DCBA", 0.0), ("ABCDE", "BADCE", 0.8), ("ABCD", "ABCD", 1.0)],
)
def test_decision_accuracy_of_orders(truth, predicted, expected):
    """Counted by hand: 1 of 6 pairs swapped; all; 2 of 10; none. Reference value A8."""
    rank = [-predicted.index(name) for name in truth]
    assert decision_accuracy(-np.arange(len(truth)), rank) == pytest.approx(expected)


def test_ties_of_the_truth_are_left_out_and_of_the_prediction_count_half():
    assert decision_accuracy([1, 1, 2], [5, 3, 4]) == pytest.approx(0.5)
    assert decision_accuracy([1, 2, 3], [0, 0, 1]) == pytest.approx((0.5 + 1 + 1) / 3)
    assert decision_accuracy([1, 2, 3], [7, 7, 7]) == 0.5
    assert np.isnan(decision_accuracy([1, 1], [1, 2]))
    assert np.isnan(decision_accuracy([1], [1]))


def test_decision_accuracy_equals_half_of_one_plus_kendalls_tau():
    """Without ties, (1 + tau_a) / 2."""
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    for _ in range(5):
        t, p = rng.normal(size=(2, 12))
        assert decision_accuracy(t, p) == pytest.approx((1 + kendalltau(t, p).statistic) / 2)
        assert decision_accuracy(t, 3 * p - 1) == decision_accuracy(t, p)
        assert decision_accuracy(t, -p) == pytest.approx(1 - decision_accuracy(t, p))


def test_decisions_of_what_is_not_a_vector_of_numbers_are_refused():
    with pytest.raises(irsl.DataError, match=r"one length; found \(2,\) and \(3,\)"):
        decision_accuracy([1, 2], [1, 2, 3])
    with pytest.raises(irsl.DataError, match="predicted must be finite; number 1"):
        decision_accuracy([1, 2], [1, np.nan])


@pytest.mark.parametrize(
    ("curve", "expected"),
    [([1, 2, 3, 4, 5], 1.25), ([0.2, 0.5, 0.3, 0.6], 2.6666667), ([0.1, 0.3, 0.2, 0.4, 0.5], 1.875)],
)
def test_total_variation_values(curve, expected):
    """Reference value A3: V / (V - 1) sum |steps| / |rise|."""
    assert total_variation(curve) == pytest.approx(expected, abs=1e-7)
    assert total_variation(-3 * np.array(curve) + 2) == pytest.approx(expected, abs=1e-7)


def test_total_variation_without_a_rise_warns():
    with pytest.warns(UserWarning, match="ends where it began"):
        assert total_variation([1.0, 2.0, 1.0]) == np.inf
    with pytest.warns(UserWarning, match="ends where it began"):
        assert np.isnan(total_variation([1.0, 1.0, 1.0]))
    for bad in ([1.0], [], [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(irsl.DataError, match="at least two finite"):
            total_variation(bad)


DATADECIDE = {
    "20M": (19_101_888, 64, 14_584, 3.1023e-4),
    "60M": (57_078_144, 96, 29_042, 2.7689e-3),
    "90M": (97_946_640, 160, 29_901, 8.1535e-3),
    "150M": (151_898_880, 192, 38_157, 1.9363e-2),
    "300M": (319_980_544, 320, 45_787, 8.1576e-2),
    "530M": (530_074_944, 448, 57_786, 2.3877e-1),
    "750M": (681_297_408, 576, 63_589, 4.3420e-1),
    "1B": (1_176_832_000, 704, 69_369, 1.0),
}


def test_flops_of_the_datadecide_models():
    """6 N D with D = batch x step x 2048: Magnusson et al. (2025), model table; reference value A9."""
    n, batch, step, ratio = (np.array(column) for column in zip(*DATADECIDE.values(), strict=True))
    flops = training_flops(n, batch * step * 2048)
    assert flops[-1] == pytest.approx(7.062098e20, rel=1e-4)
    np.testing.assert_allclose(flops / flops[-1], ratio, rtol=1e-4)


def test_flops_broadcast():
    np.testing.assert_array_equal(training_flops([[1], [2]], [10, 100]), [[60, 600], [120, 1200]])
    assert training_flops(2, 5) == 60
