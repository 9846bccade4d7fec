"""Sums of the study's parts, the page docs/test_time.md and its pictures."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from testtime import real, simulated

METHODS = real.METHODS
COLOURS = {
    "plug-in": "#999999",
    "bias-corrected": "#cccccc",
    "unbiased and power law": "#d08b2c",
    "posterior mean": "#7a9a3a",
    "irsl, no bank": "#7fb3d5",
    "irsl": "#1f5f8b",
}
OPENING = """# Repeated sampling

`IRSL_TEST_DATA=... python benchmarks/test_time.py` sub-samples real counts of correct samples and estimates pass@k from
what is left. A quarter of the subjects is new: of these at most 50 samples on half of the items are kept (half of the
samples where there are fewer than 100), drawn without replacement; the other subjects calibrate the items with all
their samples and `calibrate`'s defaults: the likelier of the logit-normal binomial and the beta-binomial where the
counts vary more than a binomial. The truth is the unbiased estimate from all samples on all items, for k up to their
number (at most 10,000). No item is left out because of what the full data show. Intervals are widened by the sampling
error of the truth where coverage is counted. docs/mathematics.md, section 7, says what the law is.

- plug-in: mean of 1 - (1 - c/n)^k. bias-corrected: plus the second-order term of its bias.
- unbiased and power law: Chen et al. (2021) for k up to n, exp(-a k^-b) fitted to it beyond (Brown et al., 2024).
- posterior mean: of every item alone, from Jeffreys' prior.
- irsl, no bank: the law with nothing known of the items. irsl: with the bank; items without samples are predicted.
"""


STOPPING = """## Stopping rules

`python benchmarks/stopping_rules.py`: sampling until a success, or more where there was none, biases shares and the
unbiased estimator, not the likelihood of the counts. z is the rank correlation of n with the share correct within
subjects, in standard errors; beyond 4 it is reported.
"""
ALLOCATION = """## What to sample next

`python benchmarks/sample_allocation.py`: samples allocated by `allocate_samples` in three rounds, after five on every
item, against as many spread evenly. Error of pass@k against the full counts' rates; "with others" starts from a law
of half of the subjects.
"""
JOINT = """## Training compute and samples

`python benchmarks/joint_law.py`: abilities of Pythia checkpoints against log FLOPs, pass@k from the forecast ability.
At a fixed size abilities saturate, so the lines are bent; a classical law bent in the same way is level or ahead
where the last checkpoints are held out, and behind where the largest size is. The nearest trained checkpoint is level
or ahead as a guess of the value itself. What laws add is an interval; that of the joint law is wide where the last
checkpoint is held out.

![pass@k against training compute, and sizes at equal inference compute](pictures/joint_law.png)
"""
SECTIONS = (
    ("stopping_rules", "tables", STOPPING),
    ("sample_allocation", "table", ALLOCATION),
    ("joint_law", "tables", JOINT),
)
FIGURES = """## Figures of the published kind

`python benchmarks/figures.py`, from the packaged ladder's samples: half of the subjects calibrate, the others answer
half of the items 50 times. Predicted against observed single-sample rates:

![predicted and observed rates](pictures/published_5.png)

Rates about the items' curves, for two new subjects on every benchmark:

![rates and curves](pictures/published_6.png)

Curves of a middling new subject, with all items and with those that all its samples show to be solved more often than
once in a hundred:

![pass@k from few samples](pictures/published_9.png)

The plug-in's error of -log pass@k minus irsl's. Where items are left out by the truth the plug-in has an advantage that
nobody has in practice:

![gain of irsl over the plug-in](pictures/published_10.png)
"""


def folded(study: real.Study, fold: int, repetitions: int) -> dict[str, Any]:
    """Sums over the repetitions of one fold."""
    rows = real.run_fold(study, fold, repetitions)
    grid = np.linspace(0.0, 1.0, real.N_K)  # of log k, from 1 to the largest
    result: dict[str, Any] = {"n": len(rows), "largest k": float(np.max([r["k"][-1] for r in rows]))}
    result["bought"] = float(np.median([r["n bought"] for r in rows]))
    result["seconds"] = float(np.median([r["seconds"] for r in rows]))
    far = [np.array(r["far"]) & np.isfinite(r["error"]["irsl"]) for r in rows]  # where irsl has an answer
    result["coverage"] = [float(np.mean(np.array(r["inside"])[f])) for r, f in zip(rows, far, strict=True)]
    result["coverage, all k"] = [float(np.mean(r["inside"])) for r in rows]
    for method in METHODS:
        own: dict[str, Any] = {}
        own["far"] = [
            float(np.nanmean(np.abs(np.array(r["error"][method])[f]))) for r, f in zip(rows, far, strict=True)
        ]
        logs = [np.array(r["log error"][method])[f] for r, f in zip(rows, far, strict=True)]
        own["log"] = [float(np.nanmean(x)) for x in logs if np.isfinite(x).any()]
        own["curve"] = np.mean(
            [np.interp(grid, np.log(r["k"]) / max(np.log(r["k"][-1]), 1e-9), np.abs(r["error"][method])) for r in rows],
            axis=0,
        ).tolist()
        result[method] = own
    for method in ("plug-in", "irsl"):
        result[f"{method}, filtered"] = [
            float(r["filtered"][method]) for r in rows if np.isfinite(r["filtered"][method])
        ]
    return result


def published(replications: int) -> dict[str, list[float]]:
    """Every figure of the published simulated case, (4 replications,) each."""
    rows = [row for r in range(replications) for row in simulated.published(r)]
    return {name: [row[name] for row in rows if name in row] for name in rows[0]}


def covered(design: simulated.Design, replications: int) -> dict[str, Any]:
    """Means over replications."""
    rows = [simulated.coverage(design, r) for r in range(replications)]
    result: dict[str, Any] = {"k": rows[0]["k"], "n": len(rows)}
    for name in ("inside", "error", "bias", "plug-in", "width"):
        values = np.array([row[name] for row in rows], dtype=float)
        result[name] = np.nanmean(values, axis=0).tolist() if np.isfinite(values).any() else []
        result[f"{name} error"] = (np.nanstd(values, axis=0) / np.sqrt(len(rows))).tolist()
    return result


def write(stored: dict[str, Any], root: Path) -> None:
    """Write the page from what there is."""
    parts = [OPENING]
    for title, studies, note in (
        (
            "Half of the items, at most 50 samples each",
            real.SETS,
            "Where samples are only doubled, as on LiveCodeBench from five to ten, a subject's own curve leaves\n"
            "little to add for a law. On the ladder a benchmark has some twenty items, half of them sampled: what\n"
            "a subject does beyond its ability is then much of the error.\n",
        ),
        (
            "Other items, and other benchmarks",
            real.TRANSFERS,
            "30 items: a new subject answers 30 items 50 times, pass@k is that of all. Easier half: it answers the\n"
            "items that the others found easier, pass@k is that of the harder ones. To: it answers one benchmark,\n"
            "pass@k is that of another; both calibrated as one scale. Methods without a bank can only carry over what\n"
            "they saw. Facts and recall of the ladder are not one ability: their common scale predicts worse than the\n"
            "share of facts itself, and its intervals say so.\n",
        ),
    ):
        found = [(s.name, [stored[key] for key in _folds(stored, s.name)]) for s in studies]
        found = [(name, folds) for name, folds in found if folds]
        if found:
            parts += [f"## {title}\n", note, _answer(found), *_real_tables(found)]
            if studies is real.SETS:
                _picture(found, root / "docs" / "pictures" / "test_time_errors.png")
                parts.append("![errors against k](pictures/test_time_errors.png)\n")
    if "published case #0" in stored:
        parts.append(_published(stored["published case #0"]))
    designs = [(d.name, stored[f"{d.name} #0"]) for d in simulated.DESIGNS if f"{d.name} #0" in stored]
    if designs:
        parts.append(_coverage(designs))
    for module, tables, text in SECTIONS:
        path = root / "benchmarks" / "results" / f"{module}.json"
        if path.exists():
            markdown = getattr(importlib.import_module(module), tables)(json.loads(path.read_text()))
            parts.append(f"{text}\n{markdown.strip()}\n")
    parts.append(FIGURES)
    text = "\n".join(part for part in parts if part)
    (root / "docs" / "test_time.md").write_text(text.rstrip() + "\n")


def _folds(stored: dict[str, Any], name: str) -> list[str]:
    return [f"{name} #{fold}" for fold in range(real.FOLDS) if f"{name} #{fold}" in stored]


def _joined(folds: list[dict[str, Any]], *keys: str) -> np.ndarray:
    values: list[float] = []
    for fold in folds:
        part: Any = fold
        for key in keys:
            part = part[key]
        values += part
    return np.array(values, dtype=np.float64)


def _answer(found: list[tuple[str, list[dict[str, Any]]]]) -> str:
    """Say in words on how many data sets irsl has the lowest error, and where it has not."""
    lost = []
    for name, folds in found:
        means = {m: float(np.nanmean(_joined(folds, m, "far"))) for m in METHODS}
        best = min(means, key=lambda m: means[m])
        if best != "irsl":
            gap = _joined(folds, "irsl", "far") - _joined(folds, best, "far")
            lost.append(f"{name} ({best}, by {gap.mean():.4f} +- {gap.std() / np.sqrt(gap.size):.4f})")
    won = f"irsl has the lowest error on {len(found) - len(lost)} of {len(found)}.\n"
    return won + "".join(f"\n- Another is lower on {text}" for text in lost) + "\n"


def _real_tables(found: list[tuple[str, list[dict[str, Any]]]]) -> list[str]:
    far = (
        "Mean absolute error of pass@k beyond the samples: over log-spaced k above 10 where all samples are more than\n"
        "20, else above the number bought, as far as irsl has an answer (without a bank: as that has one); after\n"
        "+- the Monte Carlo error over repetitions. The lowest error is bold.\n"
    )
    errors, logs, others = [], [], []
    for name, folds in found:
        means = {m: _joined(folds, m, "far") for m in METHODS}
        best = min(means, key=lambda m: float(np.nanmean(means[m])))
        errors.append([name, *(_bold(_error(means[m]), m == best) for m in METHODS)])
        means = {m: _joined(folds, m, "log") for m in METHODS}
        best = min(means, key=lambda m: float(np.nanmean(means[m])))
        logs.append([name, *(_bold(f"{np.nanmean(means[m]):.3f}", m == best) for m in METHODS)])
        plug, ours = (_joined(folds, f"{m}, filtered") for m in ("plug-in", "irsl"))
        others.append(
            [
                name,
                str(sum(f["n"] for f in folds)),
                f"{np.median([f['bought'] for f in folds]):.0f} of {max(f['largest k'] for f in folds):,.0f}",
                _percent(_joined(folds, "coverage")),
                _percent(_joined(folds, "coverage, all k")),
                "" if not plug.size else f"{plug.mean():.4f}",
                "" if not ours.size else f"{ours.mean():.4f}",
                f"{np.median([f['seconds'] for f in folds]):.2f}",
            ]
        )
    return [
        far,
        _table(["data", *METHODS], errors),
        "Mean absolute error of -log pass@k at the same k (estimates below 1e-6 count as 1e-6):\n",
        _table(["data", *METHODS], logs),
        "Coverage of irsl's 90 % intervals, beyond the samples and at all k; and, for comparison with published\n"
        "figures only, the error where items with a full-data rate below .005 are left out:\n",
        _table(
            ["data", "repetitions", "samples", "coverage", "all k", "plug-in, filtered", "irsl, filtered", "seconds"],
            others,
        ),
    ]


def _published(case: dict[str, list[float]]) -> str:
    rows = [
        [
            method,
            *(
                f"{np.mean(case[f'{method}, {grid}{which}']):.4f}"
                for grid in ("linear", "logarithmic")
                for which in ("", ", filtered")
            ),
        ]
        for method in ("plug-in", "irsl", "items known")
    ]
    inside = " and ".join(f"{100 * np.mean(case[f'coverage, {g}']):.0f} %" for g in ("linear", "logarithmic"))
    return (
        "## The published simulated case\n\n30 items with difficulties N(1, 2), abilities N(0, .7); eight subjects\n"
        "with 2,560 samples calibrate, four new ones answer all items 50 times. Mean absolute error of pass@k over\n"
        "k = 1 to 2,560 in 64 linear and in 64 logarithmic steps, with all items and with those whose true rate is at\n"
        "least .005. Items known: ability by maximum likelihood with the true difficulties.\n\n"
        + _table(["method", "linear", "linear, filtered", "logarithmic", "logarithmic, filtered"], rows)
        + f"\nirsl's 90 % intervals cover {inside}.\n"
    )


def _coverage(designs: list[tuple[str, dict[str, Any]]]) -> str:
    k = designs[0][1]["k"]
    rows = [
        [
            name,
            str(found["n"]),
            *(f"{100 * x:.0f}" for x in found["inside"]),
            f"{found['bias'][4]:+.3f}",
            f"{found['error'][4]:.3f}",
            f"{found['plug-in'][4]:.3f}",
            f"{found['width'][4]:.2f}",
        ]
        for name, found in designs
    ]
    for title, some in (
        ("of the law's kinds, none never solved", [f for n, f in designs if "humps" not in n and "never" not in n]),
        ("of the law's kinds, some never solved", [f for n, f in designs if "humps" not in n and "never" in n]),
        ("of the law's kinds", [f for n, f in designs if "humps" not in n]),
    ):
        pooled = np.mean([found["inside"] for found in some], axis=0)
        rows.append([f"all {title}", "", *(f"{100 * x:.0f}" for x in pooled), "", "", "", ""])
    return (
        "## Coverage\n\nSimulated subjects with 50 samples an item; logits of rates N(-3, 2), or Beta(.3, 3), or 1.5\n"
        "times Student's t with 3 degrees about -3; one subject and nothing known of the items, or 20 subjects on\n"
        "common items. In %, of 90 % intervals; bias, error and width at k = 500, ten times the samples. Two humps:\n"
        "half of the logits N(-5, 1), half N(0, 1), which no kind of the law can be; the lower hump looks like items\n"
        "that are never solved, and beyond the samples the intervals miss: 50 samples cannot show what rates below\n"
        "1 % are like other than by the shape of those above.\n\n"
        + _table(
            ["design", "replications", *(f"k = {x:,}" for x in k), "bias", "error", "plug-in's error", "width"], rows
        )
    )


def _picture(found: list[tuple[str, list[dict[str, Any]]]], path: Path) -> None:
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    axes = figure.subplots(2, 5)
    for axis, (name, folds) in zip(axes.ravel(), found, strict=False):
        largest = max(f["largest k"] for f in folds)
        k = np.exp(np.linspace(0.0, np.log(largest), real.N_K))
        for method in METHODS:
            curve = np.array([f[method]["curve"] for f in folds], dtype=float).mean(axis=0)
            axis.plot(k, curve, color=COLOURS[method], lw=2.2 if method == "irsl" else 1.2, label=method)
        axis.axvline(np.median([f["bought"] for f in folds]), color="#dddddd", lw=1, zorder=0)
        axis.set(xscale="log", title=name, ylim=(0, None))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.xaxis.set_minor_formatter("")
        axis.title.set_fontsize(9)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("error of pass@k", fontsize=8)
    for axis in axes[1]:
        axis.set_xlabel("k (line: samples bought)", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _error(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    return f"{values.mean():.4f} +- {values.std() / np.sqrt(values.size):.4f}"


def _percent(values: np.ndarray) -> str:
    return f"{100 * values.mean():.0f} +- {100 * values.std() / np.sqrt(values.size):.0f}"


def _bold(text: str, best: bool) -> str:
    return f"**{text}**" if best else text


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows]) + "\n"
