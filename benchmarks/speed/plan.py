"""What is measured: which cases, by which programs; and the look-up of what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from speed.cases import Case
from speed.results import Results, key_of, unit_key
from speed.run import OTHERS, OURS, Program

Size = tuple[int, int]

SIZES: tuple[Size, ...] = ((826, 4_710), (1_653, 9_420), (3_306, 18_841), (6_612, 37_682))
QUICK_SIZES: tuple[Size, ...] = ((30, 60), (40, 90), (60, 120), (80, 180))
FAMILIES = (
    ("beta", "1pl", 0.0),
    ("beta", "1pl", 0.1),
    ("beta", "2pl", 0.0),
    ("bernoulli", "1pl", 0.0),
    ("bernoulli", "1pl", 0.1),
    ("bernoulli", "2pl", 0.0),
)
COMPARED = (
    Case("bernoulli", "1pl", 200, 2_000),
    Case("bernoulli", "1pl", 1_000, 5_000),
    Case("bernoulli", "1pl", 12, 41_871),
    Case("bernoulli", "2pl", 500, 2_000),
    Case("bernoulli", "2pl", 1_000, 50),
    Case("beta", "1pl", 200, 2_000),
)
QUICK_COMPARED = (
    Case("bernoulli", "1pl", 30, 120),
    Case("bernoulli", "1pl", 6, 300),
    Case("bernoulli", "2pl", 60, 12),
    Case("beta", "1pl", 30, 60),
)
MAPPED_SIZE = 2  # which of SIZES is also calibrated from a file


@dataclass(frozen=True)
class Plan:
    """Sizes for ours alone, cases for all programs, and the other programs."""

    sizes: tuple[Size, ...] = SIZES
    compared: tuple[Case, ...] = COMPARED
    others: tuple[Program, ...] = OTHERS

    @property
    def families(self) -> list[list[Case]]:
        """Cases of ours, a list per family, in increasing size."""
        return [[Case(lik, model, *size, missing) for size in self.sizes] for lik, model, missing in FAMILIES]

    @property
    def largest(self) -> Case:
        """The complete Beta 1PL of the largest size, also calibrated beside the caller's array."""
        return self.families[0][-1]

    @property
    def mapped(self) -> Case:
        """The complete Beta 1PL that is calibrated from a file."""
        return self.families[0][min(MAPPED_SIZE, len(self.sizes) - 1)]

    def runs(self) -> list[tuple[Case, Program, tuple[str, ...]]]:
        """All runs of programs but the one out of core, those on the same data next to each other."""
        alone = [(case, OURS, ()) for family in self.families for case in family]
        alone.insert(len(self.sizes), (self.largest, OURS, ("kept",)))
        beside = [
            (case, program, ())
            for case in self.compared
            for program in (OURS, *self.others)
            if (case.likelihood, case.model) in program.does
        ]
        return alone + beside


@dataclass(frozen=True)
class Found:
    """Results as the plan names them; None where there is none."""

    plan: Plan
    results: Results

    def of(self, case: Case, program: Program = OURS, *flags: str) -> dict[str, Any] | None:
        """Facts of one run."""
        return self.results.facts.get(key_of(program, case, flags))

    def unit(self, case: Case) -> dict[str, Any] | None:
        """Seconds of the product and of the pass at the case's shape."""
        return self.results.facts.get(unit_key(case.n_subjects, case.n_items))

    def seconds(self, case: Case, program: Program = OURS) -> float | None:
        """Seconds to calibrate the items, where it came to its end."""
        facts = self.of(case, program)
        return None if facts is None or finished(facts) is False else facts["seconds_items"]


def finished(facts: dict[str, Any]) -> bool:
    """Whether a program came to its end."""
    return "error" not in facts and "stopped_after" not in facts
