"""docs/performance.md and its picture, from the results."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from speed.cases import Case
from speed.picture import draw_growth
from speed.plan import SIZES, Found, finished
from speed.results import machine
from speed.run import OURS, Program

PICTURE = (
    "Seconds of calibration against the number of responses on logarithmic axes: a line per model of ours, points for "
    "other programs, and a dashed line of linear growth"
)


def write(found: Found, docs: Path, *, limit: float) -> Path:
    """Write the page and the picture, and return the page's path."""
    (docs / "pictures").mkdir(parents=True, exist_ok=True)
    draw_growth(found, docs / "pictures" / "performance_growth.png")
    path = docs / "performance.md"
    text = TEXT.format(
        answer=_answer(found),
        machine=_machine(),
        bounds=_bounds(found),
        picture=f"![{PICTURE}](pictures/performance_growth.png)",
        growth=_growth(found),
        ours=_ours(found),
        beside=_beside(found),
        slower=_slower(found),
        wide=_wide(found),
        mapped=_mapped(found),
        limit=f"{limit:g}",
    )
    path.write_text(text, encoding="utf-8")
    return path


def unfinished(facts: dict[str, Any]) -> str:
    """Why a run has no result, and how far it came."""
    if "error" in facts:
        return f"failed: {facts['error'].replace('|', '/')}"
    steps = f", {facts['steps']:,} steps done" if facts.get("steps") else ""
    return f"stopped after {facts['stopped_after']:g} s{steps}"


def _answer(found: Found) -> str:
    case = found.plan.largest
    facts, unit = found.of(case), found.unit(case)
    if facts is None or unit is None or not finished(facts):
        return f"No result for {case.family}, {case.size}" + (f": {unfinished(facts)}." if facts else ".")
    seconds = facts["seconds_items"]
    first = (
        f"`irsl` calibrates {case.n_items:,} items on {case.n_subjects:,} subjects, {case.n_cells:,} probabilities, in "
        f"{_seconds(seconds)} and {_gb(facts['peak_calibrate_mb'])}, the time of {_plain(seconds / unit['product'])} "
        "products of that matrix with 32 columns."
    )
    ratios = _ratios(found)
    if not ratios:
        return first
    faster = [f"{program.name} ({case.family}, {case.size})" for case, program, ratio in ratios if ratio < 1]
    slower = [ratio for _, _, ratio in ratios if ratio >= 1]
    parts = []
    if faster:
        parts.append(f"{len(faster)} took less time than ours, {_and(faster)}")
    if slower:
        parts.append(f"{len(slower)} took {_plain(min(slower), 2)} to {_plain(max(slower), 2)} times as long as ours")
    if unended := _n_unfinished(found):
        parts.append(f"{unended} did not come to an end")
    n_runs = len(ratios) + unended
    return f"{first} Of {n_runs} runs of other Python programs on smaller tables, {_and(parts)}."


def _n_unfinished(found: Found) -> int:
    runs = [found.of(case, program) for case in found.plan.compared for program in found.plan.others]
    return sum(facts is not None and not finished(facts) for facts in runs)


def _ratios(found: Found) -> list[tuple[Case, Program, float]]:
    """Seconds of others over ours, where both came to an end."""
    ratios = []
    for case in found.plan.compared:
        ours = found.seconds(case)
        for program in found.plan.others:
            theirs = found.seconds(case, program)
            if ours is not None and theirs is not None:
                ratios.append((case, program, theirs / ours))
    return ratios


def _machine() -> str:
    this = machine()
    variables = ", ".join(f"{name}={value}" for name, value in this["variables"].items())
    return (
        f"{this['cpu']}, {this['cores']} cores, {this['ram_gb']} GB of memory; Python {this['python']}, NumPy "
        f"{this['numpy']} ({this['blas']}), SciPy {this['scipy']}" + (f"; with {variables}" if variables else "")
    )


def _bounds(found: Found) -> str:
    """The bounds that the design sets, at the largest size measured; those in GB and seconds only at the full size."""
    beta, missing, steep, answers = (found.plan.families[i][-1] for i in (0, 1, 2, 3))
    full = (beta.n_subjects, beta.n_items) == SIZES[-1]
    unit = found.unit(beta) or {}
    product, one_pass = unit.get("product"), unit.get("pass")
    whole = _facts(found, beta)
    kept, with_missing, two_slopes, binary = (
        _facts(found, beta, "kept"),
        _facts(found, missing),
        _facts(found, steep),
        _facts(found, answers),
    )
    seconds, peak, per_pass = "seconds_items", "peak_calibrate_mb", "seconds_per_pass"
    rows = [
        ("Beta 1PL", _over(whole.get(seconds), product), "G", 40, 20, True),
        ("Beta 1PL, peak memory from a Responses", _over(whole.get(peak), 1e3), "GB", 1.6, None, full),
        ("Beta 1PL, peak memory beside the caller's array", _over(kept.get(peak), 1e3), "GB", 2.7, None, full),
        ("Beta 1PL, one EM iteration", _over(whole.get(per_pass), product), "G", 3, 2.4, True),
        (
            "Beta 1PL, 10 % missing",
            _over(with_missing.get(seconds), whole.get(seconds)),
            "times the complete",
            2.5,
            2,
            True,
        ),
        ("Beta 2PL", _over(two_slopes.get(seconds), whole.get(seconds)), "times the 1PL", 4, 3, True),
        ("Bernoulli 1PL", binary.get(seconds), "s", 10, 4, full),
        ("Bernoulli 1PL, peak memory from a Responses", _over(binary.get(peak), 1e3), "GB", 0.6, None, full),
        ("Bernoulli 1PL, one EM iteration", _over(binary.get(per_pass), one_pass), "passes", 2, None, True),
    ]
    cells = []
    for work, value, what, bound, aim, judged in rows:
        if value is None:
            verdict = "not measured"
        elif not judged:
            verdict = "not judged at this size"
        else:
            verdict = "no" if value > bound else "yes, and the aim" if aim is not None and value <= aim else "yes"
        cells.append([work, _number(value, what), _number(bound, what), _number(aim, what), verdict])
    head = f"At {beta.size}, G = {_seconds(product)}, a pass {_seconds(one_pass)}:\n\n"
    return head + _table(["work", "measured", "bound", "aim", "holds"], cells)


def _facts(found: Found, case: Case, *flags: str) -> dict[str, Any]:
    facts = found.of(case, OURS, *flags)
    return facts if facts is not None and finished(facts) else {}


def _over(value: float | None, unit: float | None) -> float | None:
    return None if value is None or unit is None else value / unit


def _growth(found: Found) -> str:
    """Power of the number of responses by which seconds grow: over all sizes, and from the last but one."""
    rows = []
    for family in found.plan.families:
        measured = [(case.n_cells, seconds) for case in family if (seconds := found.seconds(case)) is not None]
        if len(measured) < 2:
            continue
        cells, seconds = np.log(np.array(measured)).T
        last = (seconds[-1] - seconds[-2]) / (cells[-1] - cells[-2])
        rows.append([family[0].family, f"{np.polyfit(cells, seconds, 1)[0]:.2f}", f"{last:.2f}"])
    return _table(["model", "power, all sizes", "power, last two sizes"], rows)


def _ours(found: Found) -> str:
    head = ["model", "subjects x items", "take over, s", "calibrate, s", "G", "passes", "s a pass", "G a pass"]
    head += ["before, GB", "peak, GB", "RMSE difficulty", "RMSE ability", "precision", "converged"]
    rows = []
    for case in (case for family in found.plan.families for case in family):
        facts, unit = found.of(case), found.unit(case) or {}
        start = [case.family, case.size]
        if facts is None or not finished(facts):
            rows.append([*start, "", unfinished(facts) if facts else "not measured", *[""] * (len(head) - 4)])
            continue
        product = unit.get("product")
        seconds, per_pass = facts["seconds_items"], facts["seconds_per_pass"]
        rows.append(
            [
                *start,
                f"{facts['seconds_from_matrix']:.3g}",
                f"{seconds:.3g}",
                _plain(_over(seconds, product)),
                str(facts["steps"]),
                _plain(per_pass),
                _plain(_over(per_pass, product)),
                f"{facts['before_mb'] / 1e3:.2f}",
                f"{facts['peak_calibrate_mb'] / 1e3:.2f}",
                _plain(facts["difficulty_rmse"]),
                _plain(facts["ability_rmse"]),
                "" if facts["precision"] is None else f"{facts['precision']:.2f}",
                "yes" if facts["converged"] else "no",
            ]
        )
    return _table(head, rows)


def _beside(found: Found) -> str:
    """A table per case, ours first."""
    head = ["program", "items, s", "times ours", "abilities, s", "steps", "peak, MB", "RMSE difficulty", "slope"]
    head += ["RMSE ability", "slope", "remarks"]
    parts = []
    for case in found.plan.compared:
        ours, rows = found.seconds(case), []
        for program in (OURS, *found.plan.others):
            facts = found.of(case, program)
            if facts is None:
                continue
            name = f"{program.name} {program.version}"
            if not finished(facts):
                peak = _plain(facts.get("peak_mb"))
                rows.append([name, unfinished(facts), "", "", "", peak, *[""] * 5])
                continue
            seconds = facts["seconds_items"]
            rows.append(
                [
                    name,
                    f"{seconds:.3g}",
                    _plain(_over(seconds, ours), 2),
                    _plain(facts.get("seconds_abilities")) or "included",
                    _plain(facts.get("steps"), 1),
                    _plain(max(facts["peak_mb"], facts.get("peak_calibrate_mb", 0.0))),
                    _plain(facts["difficulty_rmse_standardised"]),
                    _plain(facts["difficulty_slope"]),
                    _plain(facts["ability_rmse_standardised"]),
                    _plain(facts["ability_slope"]),
                    _remarks(facts, case),
                ]
            )
        if rows:
            parts.append(f"### {case.family}, {case.size}\n\n{_table(head, rows)}")
    return "\n\n".join(parts) or "No other program was run."


def _remarks(facts: dict[str, Any], case: Case) -> str:
    remarks = []
    if facts["ability_not_finite"]:
        remark = f"{facts['ability_not_finite']} of {case.n_subjects} abilities not finite"
        remarks.append(remark + (f"; those of its {facts['instead']} instead" if "instead" in facts else ""))
    if facts["difficulty_not_finite"]:
        remarks.append(f"{facts['difficulty_not_finite']:,} of {case.n_items:,} difficulties not finite")
    if facts.get("converged") is False:
        remarks.append("says that it did not converge")
    return "; ".join(remarks)


def _slower(found: Found) -> str:
    """Where another program is faster, in words."""
    ratios = _ratios(found)
    if not ratios:
        return "No other program was run to its end."
    faster = [
        f"{program.name} on {case.family}, {case.size}, in {ratio:.2g} times our time"
        for case, program, ratio in ratios
        if ratio < 1
    ]
    return f"Another program is faster here: {_and(faster)}." if faster else "None is faster than ours in these tables."


def _wide(found: Found) -> str:
    head = ["data", "program", "items, s", "not finite: difficulties", "abilities", "RMSE ability", "theoretical"]
    head += ["ratio", "distinct abilities", "distinct scores", "snaps to nodes"]
    rows = []
    for case in found.plan.compared:
        if case.likelihood != "bernoulli" or case.n_items <= case.n_subjects:
            continue
        for program in (OURS, *found.plan.others):
            facts = found.of(case, program)
            if facts is None:
                continue
            start = [f"{case.family}, {case.size}", program.name]
            if not finished(facts):
                rows.append([*start, unfinished(facts), *[""] * (len(head) - 3)])
                continue
            rmse = facts["ability_rmse" if program is OURS else "ability_rmse_standardised"]
            most = facts["n_scores"] if case.model == "1pl" else case.n_subjects
            distinct = facts["n_abilities"]
            rows.append(
                [
                    *start,
                    f"{facts['seconds_items']:.3g}",
                    str(facts["difficulty_not_finite"]),
                    str(facts["ability_not_finite"]),
                    _plain(rmse),
                    _plain(facts["theoretical_error"]),
                    _plain(_over(rmse, facts["theoretical_error"])),
                    f"{distinct:,}",
                    f"{most:,}",
                    "yes" if distinct < most / 2 else "no",
                ]
            )
    return _table(head, rows)


def _mapped(found: Found) -> str:
    case = found.plan.mapped
    facts = found.of(case, OURS, "mapped")
    if facts is None or not finished(facts):
        return unfinished(facts) + "." if facts else "Not measured."
    in_memory = facts["in_memory"]
    rows = [
        [
            name,
            f"{of['seconds_from_matrix']:.3g}",
            f"{of['seconds_items']:.3g}",
            f"{max(of['peak_mb'], of['peak_calibrate_mb']) / 1e3:.2f}",
            f"{of['peak_anonymous_mb'] / 1e3:.2f}",
            _plain(of["difficulty_rmse"]),
        ]
        for name, of in (("in memory", in_memory), ("mapped from its file", facts))
    ]
    head = ["responses", "take over, s", "calibrate, s", "peak, GB", "of it not file pages, GB", "RMSE difficulty"]
    return (
        f"{case.family}, {case.size}, a file of {4 * case.n_cells / 1e9:.2f} GB. Pages that were read count "
        "towards the peak, though the system may drop them at any time; what must be held is the column beside it. The "
        "file was in the system's cache. "
        f"The largest difference between the difficulties is {facts['largest_difference']:.1e}.\n\n{_table(head, rows)}"
    )


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _plain(value: float | None, digits: int = 3) -> str:
    """Significant digits, without an exponent for large numbers."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _number(value: float | None, what: str) -> str:
    return "" if value is None else f"{_plain(value)} {what}"


def _seconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3g} s"


def _gb(megabytes: float) -> str:
    return f"{megabytes / 1e3:.2g} GB"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


TEXT = """# How fast calibration is

{answer}

Written by `python benchmarks/performance.py` from benchmarks/results/performance.json: do not edit. The
machine: {machine}.

G is one float32 product of a matrix of the case's shape with 32 columns, and a pass reads answers held as uint8 once,
block by block, and multiplies them with one vector; both are NumPy's, measured in the same run. Times in G should
hold on other machines too. All seconds are wall clock; GB are 10^9 bytes.

## What was promised

{bounds}

## How the cost grows

{picture}

Seconds grow with this power of the number of responses, 1 being linear:

{growth}

## All sizes

Take over is `Responses.from_matrix`, calibrate `irsl.calibrate`: items, their standard errors, and abilities. The
arrays are float32 probabilities, uint8 answers, or float32 with NaN where cells are missing. Before is the memory in
use when calibration starts, the caller's array being released; the peak is that of calibrating. Errors are those
against the truth moved to mean 0 and standard deviation 1 of the subjects, estimates as they are; the true precision
is 10.

{ours}

## Beside other Python programs

Each in its own process and environment (versions in benchmarks/peers/*.txt), with its defaults and at most
{limit} s for a whole run, reading included. Seconds are those to the items: ours include standard errors and abilities,
py-irt's and torch_measure's include abilities, mirt runs without its standard errors. Peaks are of whole processes.
Errors are those of standardised estimates, so that a program's scale does not matter; the slope of the estimates on the
truth shows the scale, and ought to be 1 or, for estimates drawn to the mean by a prior, a little below. Programs that
are left out of a table have no such model.

{slower}

{beside}

## More items than subjects

Most programs for item response models were written for many subjects and few items; benchmarks of language models are
the other way round, and posteriors are then narrower than a fixed grid. Theoretical is the mean over subjects of
1 / sqrt(information) at the truth, the items known; with few subjects errors may be smaller, as the mean and the
standard deviation are taken out. Errors are those of our estimates as they are, and of the others' standardised. A
Rasch model can tell as many abilities apart as there are distinct scores, a 2PL all. Abilities count as distinct from a
tenth of the theoretical error on; where they are fewer than half of what can be told apart, a program has put them near
the nodes of its quadrature.

{wide}

## From a file

{mapped}

## Repeating it

```sh
python benchmarks/performance.py
```

with `irsl` installed, on Linux, nothing else running, and 24 GB of memory. The first run makes the environments of the
other programs (several GB, as two of them need torch); `--peers none` leaves these out, `--sizes 826x4710` restricts
ours, `--quick` tries everything on tiny tables. Data are simulated with fixed seeds: abilities and difficulties
N(0, 1), slopes 1 or lognormal with standard deviation 0.3. Runs of less than 20 s are repeated, and the one of median
time is shown.
"""
