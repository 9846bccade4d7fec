"""Mistakes to put into irsl, each with the test that must notice; a pytest plugin with the option --mutant NAME."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

MUTANTS: dict[str, Mutant] = {}


@dataclass(frozen=True)
class Mutant:
    """A change of the code under test, and the narrowest test that fails by it, as pytest names it below tests/."""

    make: Callable[[], None]
    caught_by: str


def caught_by(test: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a mutant under its function's name."""

    def register(make: Callable[[], None]) -> Callable[[], None]:
        MUTANTS[make.__name__] = Mutant(make, test)
        return make

    return register


def part(name: str) -> Any:
    """A module of irsl, also where its package has a function of the same name."""
    import_module(f"irsl.{name}")
    return sys.modules[f"irsl.{name}"]


def wrap(owner: Any, name: str, change: Callable[[Any], Any]) -> None:
    """Replace a function by one that returns a changed result."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **options: change(original(*args, **options)))


@caught_by("calibration/test_uncertainty.py::test_covariances_are_those_of_numerical_derivatives[bernoulli]")
def standard_errors_halved() -> None:
    half = lambda u: replace(u, anchored=u.anchored / 4, population=u.population / 4, se_ability=u.se_ability / 2)  # noqa: E731
    wrap(part("calibration.uncertainty"), "uncertainty", half)


@caught_by("calibration/test_reference.py::test_lsat7_2pl_is_mirts")
def sign_of_difficulty_flipped() -> None:
    items = part("calibration.m_step").Items
    items.difficulty = property(lambda self: self.intercept * np.exp(-self.log_a))


@caught_by("calibration/test_recovery.py::test_precision_is_recovered")
def precision_fixed_at_ten() -> None:
    beta = part("likelihoods.beta").Beta
    beta.parameter_step = lambda self, *args: self.at(10.0)


@caught_by("calibration/test_recovery.py::test_ninety_percent_intervals_cover[binary-1-3pl-0.25-0.0]")
def floor_dropped() -> None:
    module = part("calibration.calibrate")
    original = module._initial_items
    module._initial_items = lambda matrix, guessing, likelihood: original(matrix, 0.0 * guessing, likelihood)


@caught_by("calibration/test_reference.py::test_lsat7_with_two_cells_missing_is_mirts")
def missing_taken_as_wrong() -> None:
    binomial = part("likelihoods.binomial").Binomial
    original = binomial.sufficient_statistics
    binomial.sufficient_statistics = lambda self, matrix: original(self, replace(matrix, trials=1))


@caught_by("calibration/test_reference.py::test_lsat7_2pl_is_mirts")
def scale_not_anchored() -> None:
    part("calibration.engine").DEGENERATE_SD = np.inf  # below which the population is not standardised


@caught_by("calibration/test_reference.py::test_lsat7_population_errors_are_mirts")
def louis_correction_dropped() -> None:
    wrap(part("calibration.uncertainty"), "_integrated", lambda x: replace(x, tied=np.zeros_like(x.tied)))


@caught_by("calibration/test_uncertainty.py::test_covariances_are_those_of_numerical_derivatives[bernoulli]")
def item_errors_kept_from_calibrated_abilities() -> None:
    module = part("calibration.uncertainty")
    original = module.uncertainty
    module.uncertainty = lambda statistics, outcome, **options: replace(
        original(statistics, outcome, **options), se_ability=outcome.step.se_ability
    )


@caught_by("ability/test_measure.py::test_the_items_own_errors_are_in_the_intervals")
def item_errors_kept_from_measured_abilities() -> None:
    wrap(part("ability.estimators"), "item_error_variance", np.zeros_like)


@caught_by("calibration/test_clusters.py::test_three_copies_of_everybody_are_one_of_each[1pl]")
def clusters_ignored() -> None:
    wrap(part("calibration.calibrate"), "design_effects", np.ones_like)


@caught_by("calibration/test_overdispersion.py::test_overdispersion_is_recovered[auto]")
def overdispersion_ignored() -> None:
    wrap(part("calibration.calibrate"), "overdispersion_score", lambda x: replace(x, z=0.0))


@caught_by("calibration/test_overdispersion.py::test_scatter_is_recovered[logit_normal_binomial]")
def scatter_left_where_it_starts() -> None:
    likelihood = part("likelihoods.logit_normal_binomial").LogitNormalBinomial
    likelihood.parameter_step = lambda self, *args: self


@caught_by("calibration/test_overdispersion.py::test_curves_are_flattened_by_the_scatter_and_accuracies_use_them")
def curves_kept_logistic() -> None:
    likelihood = part("likelihoods.logit_normal_binomial").LogitNormalBinomial
    likelihood.response_mean = part("likelihoods.base").Likelihood.response_mean


@caught_by("calibration/test_patterns.py::test_weak_subjects_who_saw_only_easy_items_bias_nothing[1pl]")
def one_population_for_every_design() -> None:
    wrap(part("calibration.calibrate"), "find_patterns", lambda x: replace(x, group=0 * x.group))


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--mutant", choices=sorted(MUTANTS), help="put a mistake into irsl before the tests run")


def pytest_configure(config: Any) -> None:
    if name := config.getoption("--mutant"):
        MUTANTS[name].make()
