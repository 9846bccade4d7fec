"""Bias, error and coverage of 90 % intervals by simulation: writes docs/coverage.md, benchmarks/results/coverage.json.

    python benchmarks/coverage.py                               every design, 500 replications or 600 seconds each
    python benchmarks/coverage.py --design "12 x 120 binary 2pl, all seen" --replications 50
    python benchmarks/coverage.py --list

Finished replications are kept and not repeated: a later run goes on where the file ends. `--again` starts anew, as do a
changed design and changed code of calibration.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import coverage_published
import irsl
from coverage_designs import THIRDS, Design, designs, replicate

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "coverage.json"
REPORT = ROOT / "docs" / "coverage.md"
LOW, HIGH = 0.87, 0.93
PARAMETERS = ("difficulty", "log discrimination", "ability")
KNOWN = "difficulty, abilities known"
CHUNK = 10
NUMBERS = re.compile(r"\[[^\[\]{}\"]+\]")  # a list of numbers, to stand on one line
GROUPS = {
    "sizes": "Sizes, kinds of response, cells missing at random",
    "probabilities": "Probabilities that reach 0 and 1",
    "blocks": "Items seen in blocks, or routed by responses",
    "abilities": "Abilities that are not normal",
    "counts": "Overdispersed counts, and small tables of counts",
    "families": "Near-duplicate subjects",
}
OPENING = """# Coverage

`python benchmarks/coverage.py` draws subjects and items, calibrates, and compares with the truth on the anchored scale
(mean ability 0, sd 1; docs/mathematics.md, section 1). Abilities are N(0, 1), difficulties N(.2, 1.2), log
discriminations N(0, .3) (1PL: 0), unless said. Counts are of 50 samples, with difficulties N(.2, 1.5), so that cells of
0 and of 50 occur; Beta responses have precision 10 and difficulties N(.2, .6), because logits beyond the largest number
below 1 in float32 are cut. Every replication draws everything anew.

Difficulties b are drawn independently of discriminations a, or intercepts d = -a b are ("intercepts independent"):
`irsl.calibrate` estimates which is nearer to the items. Where few binary responses leave much to the prior that
matters: 42 x 1000 is therefore drawn both ways.

Two blocks: subjects below the median saw the easier half of the items, the others all. Three blocks: thirds of the
subjects by ability saw quarters 1 and 2, 2 and 3, 3 and 4 of the items by difficulty. Routed: everybody answered ten
items; a score above the median led to the harder half of the rest, others to the easier half. Beta-binomial counts have
an intra-class correlation of .05; the rates of logit-normal ones scatter with sd 1 in logits. Families: ten subjects
share a deviation on every item (sd .7 in logits); the true slope is that of the curve averaged over families.

Bias is the mean of estimate minus truth; three numbers after a colon are easy, middle and hard items (for abilities:
low, middle and high ones). "Stated" is the mean standard error, "sd" the standard deviation of the errors. Coverage is
of 90 % intervals, in %, pooled over items or subjects; after +- stands the Monte Carlo error over replications. Values
outside 87 to 93 % are bold.
"""


def main() -> None:
    arguments = _arguments()
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    stored.setdefault("designs", {})
    every = designs()
    chosen = [d for d in every if not arguments.design or d.name in arguments.design]
    if arguments.list:
        print("\n".join(d.name for d in every))
        return
    if unknown := set(arguments.design) - {d.name for d in every}:
        raise SystemExit(f"no design {sorted(unknown)}; --list names them")
    code = code_digest()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by the workers, which start afresh
    with ProcessPoolExecutor(arguments.parallel, multiprocessing.get_context("spawn")) as pool:
        if arguments.published or not arguments.design:
            stored["power"] = pool.submit(coverage_published.power_table).result()
            stored["recipes"] = pool.submit(coverage_published.recipes).result()
            save(stored, every)
        for design in chosen if not arguments.published else []:
            fresh = {"definition": json.loads(json.dumps(asdict(design))), "code": code}
            state = stored["designs"].get(design.name, {})
            if arguments.again or "unavailable" in state or any(state.get(k) != v for k, v in fresh.items()):
                state = {**fresh, "replications": 0, "seconds": 0.0, "totals": {}}
            stored["designs"][design.name] = state
            extend(
                state,
                lambda numbers, design=design: pool.map(partial(replicate, design), numbers),
                replications=arguments.replications,
                seconds=arguments.seconds_per_design,
                chunk=CHUNK if design.n_subjects * design.n_items < 1_000_000 else arguments.parallel,
                save=lambda: save(stored, every),
            )
            print(_progress(design, state), flush=True)


def extend(
    state: dict[str, Any],
    run: Callable[[Iterable[int]], Iterable[dict[str, float] | str]],
    *,
    replications: int,
    seconds: float,
    chunk: int,
    save: Callable[[], None],
) -> None:
    """Add replications to a design's totals, a chunk at a time, until there are enough or the time is up."""
    started = time.perf_counter()
    while state["replications"] < replications and time.perf_counter() - started < seconds:
        chunk_started = time.perf_counter()
        numbers = range(state["replications"], min(state["replications"] + chunk, replications))
        for scores in run(numbers):
            if isinstance(scores, str):
                state["unavailable"] = scores
                save()
                return
            for name, value in scores.items():
                if math.isfinite(value):
                    n, total, squares = state["totals"].get(name, (0, 0.0, 0.0))
                    state["totals"][name] = [n + 1, total + value, squares + value**2]
        state["replications"] = numbers.stop
        state["seconds"] = round(state["seconds"] + time.perf_counter() - chunk_started, 1)
        save()


def code_digest() -> str:
    """What the results depend on: the source of calibration and of the likelihoods, comments and all."""
    package = Path(irsl.__file__).parent
    files = sorted(f for part in ("calibration", "likelihoods") for f in (package / part).glob("*.py"))
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:12]


def save(stored: dict[str, Any], every: list[Design]) -> None:
    """Write the results, their summary and the report; each to a temporary name first."""
    states = {d.name: stored["designs"][d.name] for d in every if d.name in stored["designs"]}
    for state in states.values():
        state["summary"] = summary(state)
    stored["designs"] = states
    stored["date"] = date.today().isoformat()
    stored["outside 87 to 93 %"] = outside(states)
    text = json.dumps(stored, indent=1, allow_nan=False)
    _write(RESULTS, NUMBERS.sub(lambda match: " ".join(match[0].split()), text) + "\n")
    _write(REPORT, report(stored, every))


def summary(state: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Pooled bias, RMSE, standard errors and coverage of every parameter, from the totals over replications."""
    result: dict[str, dict[str, Any]] = {}
    for key, (n, total, squares) in state["totals"].items():
        parameter, _, statistic = key.partition(": ")
        mean = total / n
        row = result.setdefault(parameter, {})
        row[statistic or "share"] = mean
        if statistic in ("inside", "bias"):
            variance = max(squares / n - mean**2, 0.0) * n / max(n - 1, 1)
            row[f"{statistic} error"] = math.sqrt(variance / n) if n > 1 else None
    for row in result.values():
        if "square" in row:
            row["rmse"] = math.sqrt(row["square"])
            row["sd"] = math.sqrt(max(row["square"] - row["bias"] ** 2, 0.0))
    return result


def outside(states: dict[str, Any]) -> list[dict[str, Any]]:
    """Designs and parameters whose pooled coverage lies outside 87 to 93 %."""
    return [
        {
            "design": name,
            "parameter": parameter,
            "coverage": state["summary"][parameter]["inside"],
            "error": state["summary"][parameter]["inside error"],
        }
        for name, state in states.items()
        for parameter in PARAMETERS
        if not LOW <= state["summary"].get(parameter, {}).get("inside", LOW) <= HIGH
    ]


def report(stored: dict[str, Any], every: list[Design]) -> str:
    """The page: every group's tables, then the few subjects, the published recoveries and what lies outside."""
    parts = [OPENING]
    for group, title in GROUPS.items():
        members = [(d, stored["designs"][d.name]) for d in every if d.group == group and d.name in stored["designs"]]
        measured = [(d, s) for d, s in members if s["replications"]]
        if not members:
            continue
        parts.append(f"## {title}\n")
        for parameter in PARAMETERS if measured else ():
            parts.append(f"{parameter.capitalize()}:\n")
            head = ["design", "replications", "bias", "RMSE", "stated", "sd", "coverage", "easy, middle, hard"]
            if parameter == "ability":
                head[-1] = "low, middle, high"
            parts.append(_table(head, [[d.name, *_row(s, parameter)] for d, s in measured]))
        parts += [f"Not available: {d.name} ({s['unavailable']}).\n" for d, s in members if "unavailable" in s]
        parts += _shortfalls(measured)
    few = [
        (d, stored["designs"][d.name]) for d in every if KNOWN in stored["designs"].get(d.name, {}).get("summary", {})
    ]
    if few:
        parts.append(
            "## Few subjects: what is shrinkage\n\nDifficulty beside a fit which is told the abilities and the prior "
            "from which the items\nwere drawn (its intervals from the curvature at the mode). The bias it has is "
            "shrinkage towards the prior and the shape\nof the likelihood, not an error of calibration.\n"
        )
        head = ["design", "bias", "abilities known", "RMSE", "abilities known", "coverage", "abilities known"]
        parts.append(_table(head, [[d.name, *_few_row(s["summary"])] for d, s in few]))
    if "power" in stored:
        parts.append(_published(stored))
    if len({state["code"] for state in stored["designs"].values()}) > 1:
        parts.append("The designs above were not all run with the same code of calibration: see coverage.json.\n")
    parts.append("## Outside 87 to 93 %\n")
    parts.append(
        _table(
            ["design", "parameter", "coverage"],
            [[r["design"], r["parameter"], _percent(r["coverage"], r["error"])] for r in stored["outside 87 to 93 %"]],
        )
    )
    return "\n".join(parts)


def _row(state: dict[str, Any], parameter: str) -> list[str]:
    row = state["summary"][parameter]
    thirds = ", ".join(f"{100 * row[f'inside {t}']:.0f}" for t in THIRDS) if "inside hard" in row else ""
    pooled = _percent(row["inside"], row["inside error"])
    pooled = pooled if LOW <= row["inside"] <= HIGH else f"**{pooled}**"
    return [str(state["replications"]), _bias(row), *(_number(row[k]) for k in ("rmse", "se", "sd")), pooled, thirds]


def _few_row(rows: dict[str, dict[str, float]]) -> list[str]:
    ours, known = rows["difficulty"], rows[KNOWN]
    cells = [_bias(ours), _bias(known), _number(ours["rmse"]), _number(known["rmse"])]
    return cells + [_percent(r["inside"], r["inside error"]) for r in (ours, known)]


def _shortfalls(measured: list[tuple[Design, dict[str, Any]]]) -> list[str]:
    lines = []
    for design, state in measured:
        rows = state["summary"]
        if rows["converged"]["share"] < 1:
            lines.append(f"{design.name}: {100 * rows['converged']['share']:.0f} % of the fits converged.\n")
        without = rows["difficulty"]["without interval"]
        if without >= 0.0005:
            lines.append(f"{design.name}: {100 * without:.1f} % of the items have no standard error.\n")
    return lines


def _published(stored: dict[str, Any]) -> str:
    power = _table(
        ["subjects", "published", "drawn again", "irsl", "irsl, anchored"],
        [
            [
                str(r["subjects"]),
                _number(r["published"]),
                f"{r['joint']:.4f}",
                f"{r['irsl']:.4f} +- {r['monte carlo error']:.4f}",
                _number(r["anchored"]),
            ]
            for r in stored["power"]
        ],
    )
    recovered = _table(
        ["recipe", "quantity", "published", "irsl"],
        [
            [r["recipe"], r["quantity"], "" if r["published"] is None else f"{r['published']:.4g}", f"{r['irsl']:.4f}"]
            for r in stored["recipes"]
        ],
    )
    return (
        "## Published recoveries\n\nRMSE of difficulty from counts of 50, 100 items, 1PL, ten replications, the "
        "reference's own draws; published, and drawn again: joint maximum likelihood with the slope fixed at 1. Both "
        "centred at their means over the items; for irsl a b, which is on that scale. Anchored: b itself against the "
        "anchored truth.\n\n"
        f"{power}\nRecipes for Beta responses, RMSE after anchoring (precision: the estimate), one draw each:\n\n"
        f"{recovered}"
    )


def _bias(row: dict[str, float]) -> str:
    pooled = f"{row['bias']:+.3f}"
    return pooled + (": " + ", ".join(f"{row[f'bias {t}']:+.3f}" for t in THIRDS) if "bias hard" in row else "")


def _number(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float, error: float | None) -> str:
    return f"{100 * value:.1f}" + ("" if error is None else f" +- {100 * error:.1f}")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _progress(design: Design, state: dict[str, Any]) -> str:
    if "unavailable" in state:
        return f"{design.name}: not available: {state['unavailable']}"
    rows = [state["summary"][p] for p in PARAMETERS]
    covered = ", ".join(
        f"{p} {_percent(r['inside'], r['inside error'])}" for p, r in zip(PARAMETERS, rows, strict=True)
    )
    return f"{design.name}: {state['replications']} replications, {state['seconds']:.0f} s: {covered}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--design", action="append", default=[], help="run only this one; may be repeated")
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--seconds-per-design", type=float, default=600.0, help="stop a design after so long, this run")
    parser.add_argument("--parallel", type=int, default=1, help="processes")
    parser.add_argument("--again", action="store_true", help="forget the stored replications of the designs that run")
    parser.add_argument("--published", action="store_true", help="only the published recoveries")
    parser.add_argument("--list", action="store_true", help="names of the designs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
