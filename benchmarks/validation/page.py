"""The page: tables, what does not fit, and what to conclude, every number from the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from irsl.likelihoods import BetaBinomial, Likelihood, LogitNormalBinomial
from validation.pictures import (
    CALIBRATION_KEY,
    SUBJECT_KEY,
    calibration_panel,
    gains_picture,
    grid,
    save,
    subject_panel,
)
from validation.words import (
    ABOUT,
    SOURCES,
    TITLES,
    Z90,
    Result,
    best_baseline,
    best_model,
    bullets,
    joined,
    many,
    method,
    percent,
    signed,
    spread,
    table,
    wrapped,
)

DOCS = Path(__file__).parents[2] / "docs"
AGREEMENT = 0.95  # rank correlation of abilities with observed means, below which they measure different things
NAMED = {  # likelihoods, with the mean over the scales of their parameter
    "beta_binomial": "beta-binomial, overdispersion {overdispersion:.3f}",
    "logit_normal_binomial": "logit-normal, scatter {logit_sd:.2f}",
    "beta": "beta, precision {precision:.2f}",
}
RAW, CORRECTED = "mean of the items", "mean, corrected for easiness"


def summary_table(results: dict[str, Result]) -> str:
    rows = []
    for name, result in results.items():
        baseline, model = best_baseline(result), best_model(result)
        raw, corrected = (method(result, "subjects", m) for m in (RAW, CORRECTED))
        two = method(result, "subjects", "2pl benchmark")
        rows.append(
            [
                TITLES[name],
                f"{result['n_subjects']:,} x {result['n_items']:,}",
                f"{baseline['gain']:.4f} ({baseline['method']})",
                f"{model['gain']:.4f} ({model['method']})",
                signed(model["gain_additive"], 4) + f" ± {Z90 * model['se_gain_additive']:.4f}",
                f"{raw['error']:.3f}",
                f"{corrected['error']:.3f}",
                f"{two['error']:.3f}",
                percent(two["inside"]),
            ]
        )
    header = ["set", "subjects x items", "best baseline", "best model", "model against additive logit"]
    return table([*header, "error of 50 items' mean", "corrected mean", "2PL", "coverage of the 2PL's 90 %"], rows)


def cells_table(result: Result) -> str:
    continuous = result["kind"] == "probability"
    keys = ["squared_error", "absolute_error"] if continuous else ["log_score", "brier", "auc"]
    keys += [] if continuous else ["auc_within_item", "auc_within_subject"]
    rows = []
    for row in result["cells"]["rows"]:
        name = row["method"]
        values = [f"{row[k]:.4f}" if k != "log_score" else signed(row[k], 4) for k in keys]
        gain = f"{signed(row['gain'], 4)} ± {Z90 * row['se_gain']:.4f}"
        rows.append([name, *values, gain, f"{row['calibration_error']:.3f}"])
    header = ["squared error", "absolute error"] if continuous else ["log score", "Brier", "AUC"]
    header += [] if continuous else ["AUC within item", "AUC within subject"]
    return table(["method", *header, "gain over item mean", "calibration error"], rows)


def subjects_table(result: Result) -> str:
    rows = [
        [
            row["method"],
            f"{row['error']:.4f} ± {Z90 * row['se_error']:.4f}",
            f"{percent(row['inside'])} ± {100 * Z90 * row['se_inside']:.1f}",
            f"{row['width']:.3f}",
        ]
        for row in result["subjects"]["rows"]
    ]
    return table(["method", "mean absolute error", "coverage", "width"], rows)


def misfit_lines(result: Result) -> list[str]:
    report = result["fit"]["benchmark"]
    found, expected = report["found"], report["expected"]
    likelihood = joined([NAMED.get(x, x).format(**report) for x in report["likelihood"]])
    flags = ", ".join(f"{k.replace('_', ' ')} {percent(v)}" for k, v in report["flags"].items() if v)
    scales = report["n_scales"]
    low, middle, high = report["eigenvalue_ratio"]
    ratio = f"{middle:.1f}" if scales == 1 else f"{middle:.1f} (median; {low:.1f} to {high:.1f})"
    lines = [
        f"Likelihood of the 2PL: {likelihood}; {report['converged']} of {many(scales, 'scale')} converged.",
        f"Items flagged: {percent(report['flagged'])}" + (f" ({flags})" if flags else "") + ".",
        f"Items whose mean squared residual is outside .7 to 1.3: weighted (infit) {percent(found['infit_outside'])}, "
        f"where the model itself gives {percent(expected['infit_outside'])}; unweighted (outfit) "
        f"{percent(found['outfit_outside'])}, where it gives {percent(expected['outfit_outside'])}.",
        f"First residual eigenvalue: {ratio} times what the model gives; beyond all {report['n_bootstraps']} simulated "
        f"data sets on {report['beyond_bootstrap']} of {many(scales, 'scale')}.",
    ]
    if joint := result["fit"].get("joint"):
        lines[-1] += (
            f" On one scale for all benchmarks: {joint['eigenvalue_ratio'][1]:.1f} times, and its share of all "
            f"residual variance is {percent(joint['eigenvalue'])} instead of {percent(joint['eigenvalue_expected'])}."
        )
    if found["within_family"] is not None:
        lines.append(
            f"Residuals of two subjects correlate {signed(found['within_family'], 2)} within a family and "
            f"{signed(found['between_families'], 2)} between families (the model gives "
            f"{signed(expected['within_family'], 2)} and {signed(expected['between_families'], 2)})."
        )
    lines.append(
        f"Subjects with a near-duplicate (residuals correlating above .5 with some other's): "
        f"{percent(found['near_duplicates'])}; the model gives {percent(expected['near_duplicates'])}."
    )
    lines.append(f"Rank correlation of abilities with observed means: {spread(report['agreement'])}.")
    lines.append(
        f"Reliability: marginal {spread(report['reliability'])}, odd-even halves of the observed means "
        f"{spread(report['split_half'])}" + (" (median and range over benchmarks)." if scales > 1 else ".")
    )
    return lines


def section(name: str, result: Result) -> str:
    sampled = (
        f"a random sample of at most {result['items_per_benchmark']:,} items of each benchmark, to save time."
        if result["items_per_benchmark"]
        else "all items."
    )
    about = ABOUT[name].format(trials=f"{result['median_trials']:.0f}", sampled=sampled)
    cells, subjects = result["cells"], result["subjects"]
    failed = f" Not converged: {joined(sorted(set(cells['not_converged'])))}." if cells["not_converged"] else ""
    size = (
        f"{result['n_subjects']:,} subjects, {result['n_items']:,} items, {many(result['n_benchmarks'], 'benchmark')}, "
        f"{result['n_cells']:,} cells with mean {result['mean_response']:.3f}. Source: {SOURCES[name]}."
    )
    held = f"Held-out cells ({cells['n_cells']:,} in {many(result['n_repeats'], 'repeat')}).{failed}"
    new = (
        f"Held-out subjects ({subjects['n_subjects']:,} subjects in {many(result['n_splits'], 'split')}, "
        f"{subjects['n_measurements']:,} measurements)."
    )
    return "\n\n".join(
        [
            f"## {TITLES[name]}",
            wrapped(f"{about} {size}"),
            held,
            cells_table(result),
            new,
            subjects_table(result),
            "Where it does not fit:",
            bullets(misfit_lines(result)),
            "What to conclude:",
            bullets(conclusions(name, result)),
        ]
    )


def write_page(results: dict[str, Result]) -> None:
    """Write docs/validation.md and docs/pictures/validation_*.svg."""
    if not results:
        return
    pictures = DOCS / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for name, figure in {
        "gains": gains_picture(results),
        "calibration": grid(
            results,
            calibration_panel,
            CALIBRATION_KEY,
            title="Held-out cells in ten bins",
            x_label="mean predicted response",
            y_label="mean observed response",
        ),
        "subjects": grid(
            results,
            subject_panel,
            SUBJECT_KEY,
            title="Accuracy of held-out subjects",
            x_label="mean response over all items",
            y_label="estimated from 50 items (2PL)",
        ),
    }.items():
        save(figure, pictures / f"validation_{name}.svg")
    text = "\n\n".join(
        [
            HEAD.format(n_sets=len(results)),
            "## The answer",
            bullets(answers(results)),
            summary_table(results),
            wrapped(SUMMARY_NOTE),
            "![Gains in log score over the item mean](pictures/validation_gains.svg)",
            HOW,
            "![Predicted against observed](pictures/validation_calibration.svg)",
            "![Held-out subjects measured with 50 items](pictures/validation_subjects.svg)",
            *(section(name, result) for name, result in results.items()),
        ]
    )
    (DOCS / "validation.md").write_text(text + "\n", encoding="utf-8")


HEAD = """# Validation on real language models

Written by `python benchmarks/real_data.py` from {n_sets} public sets of responses: do not edit. The data are not part
of the project; their sources are named below. All intervals are 90 %."""

SUMMARY_NOTE = """Gains are in log score over predicting each item's mean (nats per trial; squared error for
AlpacaEval), on held-out cells, with intervals clustered by subject. Errors and coverage are of the accuracy of held-out
subjects from 50 items a benchmark; the corrected mean allows for the known easiness of the items that were asked."""

HOW = """## How it was done

*Held-out cells.* A random tenth of the observed cells is left out, the rest calibrated, and each held-out cell
predicted by the mean of its curve, P = c + (1 - c) logistic(a (theta - b)) or the flatter one of the logit-normal
binomial, theta, b and log a being normal with their errors (with a floor, theta alone). The 1PL, 2PL and, where chance
is known (one over the number of options), 3PL are fitted with one ability per benchmark and, where there are several
benchmarks, with one joint ability. Baselines are fitted to the same cells, benchmark by benchmark, the one constant of
each chosen on a tenth of them: the benchmark's mean; the subject's and the item's mean, drawn to it by some
pseudo-cells; item + subject - mean, kept off 0 and 1 by a margin; and logistic(mean + subject + item) with a ridge,
which is the Rasch model by penalised joint likelihood and the one to beat. AUC over random cells flatters everything,
since items differ so much: the AUC within an item (between subjects, mean over items with both outcomes) says what is
known about subjects, the AUC within a subject what is known about items. Scores are per trial; for counts they judge
the mean, not the spread. "Best" is chosen on the held-out cells themselves, among baselines and among models alike.

*Held-out subjects.* Items are calibrated on seven tenths of the subjects; each of the others answers 50 random items of
each benchmark (half of them where there are fewer than 100), five times over, and `irsl.measure`'s accuracy is compared
with its mean over all items. Beside it: the mean of those items with Wilson's interval (Student's for counts and
probabilities) and the correction for a finite population; and the same mean corrected by the mean of the calibration
subjects on the items asked and on all. The joint scale uses the 50 items of every benchmark for each.

*Where it does not fit.* Residuals of the 2PL on all data, standardised, beside the same statistics on data simulated
from the fit in the same cells and calibrated again: with few subjects large residuals are to be expected. A first
eigenvalue of the residuals well beyond the simulated ones says that one ability per scale is not enough. Marginal
reliability is the variance of abilities over that plus their mean squared error; split-half reliability correlates the
observed means of odd and even items (Spearman-Brown)."""


def answers(results: dict[str, Result]) -> list[str]:
    """What all sets say together."""
    binary = {k: r for k, r in results.items() if r["kind"] != "probability"}
    verdicts: dict[str, list[str]] = {"better than it": [], "no different from it": [], "worse than it": []}
    for name, result in binary.items():
        verdicts[f"{verdict(best_model(result))} it"].append(TITLES[name])
    cells = "; ".join(f"{word} on {joined(names)}" for word, names in verdicts.items() if names)
    one = [abs(method(r, "cells", "1pl benchmark")["gain_additive"]) for r in binary.values()]
    ratio = {
        m: [method(r, "subjects", m)["error"] / method(r, "subjects", RAW)["error"] for r in binary.values()]
        for m in (CORRECTED, "1pl benchmark", "2pl benchmark")
    }
    gained = {m: f"{100 * (1 - sum(v) / len(v)):.0f} %" for m, v in ratio.items()}
    covered = {name: coverage(method(r, "subjects", "2pl benchmark")) for name, r in results.items()}
    words = {w: [TITLES[k] for k, v in covered.items() if v == w] for w in ("hold", "are too narrow", "are too wide")}
    intervals = "; ".join(f"{word} on {joined(names)}" for word, names in words.items() if names)
    lines = [
        "**Does a model predict unseen cells?** Beside the additive logit baseline, the best model is "
        f"{cells}. The 1PL alone is that baseline with errors attached (at most {max(one):.4f} nats apart); what is "
        "gained beyond it comes from discriminations and floors.",
        "**Fifty items instead of all?** Compared with the mean of the 50 items, the error is "
        f"{gained['2pl benchmark']} smaller with the 2PL and {gained['1pl benchmark']} with the 1PL (mean over the "
        "binary and counted sets); "
        f"correcting the mean for the easiness of the items, which needs no model, gains {gained[CORRECTED]}.",
        f"**Are the 2PL's intervals right?** They {intervals}.",
    ]
    if joint := {k: method(r, "subjects", "2pl joint") for k, r in results.items() if "joint" in r["fit"]}:
        two = {k: method(results[k], "subjects", "2pl benchmark") for k in joint}
        nearer = [TITLES[k] for k in joint if joint[k]["error"] < two[k]["error"]]
        held = [TITLES[k] for k in joint if coverage(joint[k]) == "hold"]
        inside = [row["inside"] for row in joint.values()]
        lines.append(
            "**One ability for all benchmarks?** Measured with the items of all benchmarks at once, the accuracy of "
            f"each is nearer on {joined(nearer) if nearer else 'none'}, of {many(len(joint), 'set')}; its 90 % "
            f"intervals hold on {joined(held) if held else 'none'}, with coverage from {percent(min(inside))} to "
            f"{percent(max(inside))}. Unless the benchmarks are known to measure one thing, keep a scale for each."
        )
    if apart := [TITLES[k] for k, r in results.items() if r["fit"]["benchmark"]["agreement"][0] < AGREEMENT]:
        lowest = min(r["fit"]["benchmark"]["agreement"][0] for r in results.values())
        lines.append(
            "**Is the 2PL's ability accuracy?** Not everywhere: on some benchmark of "
            f"{joined(apart)} its rank correlation with the observed mean is below {AGREEMENT:.2f} (as low as "
            f"{lowest:.2f}). Rank by `accuracy`, or calibrate a 1PL."
        )
    ratios = [r["fit"]["benchmark"]["eigenvalue_ratio"][1] for r in results.values()]
    lines.append(
        "**Is one ability per benchmark enough?** Not strictly: the first residual eigenvalue is "
        f"{min(ratios):.1f} to {max(ratios):.1f} times what one dimension leaves (median over a set's benchmarks)."
    )
    if (alpaca := results.get("alpaca_eval")) is not None:
        lines.append(f"**Continuous scores near 0 or 1?** {continuous_cells(alpaca)}")
    return lines


def verdict(row: Result) -> str:
    """How a model compares with the additive logit baseline, beyond its 90 % interval."""
    if abs(row["gain_additive"]) <= Z90 * row["se_gain_additive"]:
        return "no different from"
    return "better than" if row["gain_additive"] > 0 else "worse than"


def coverage(row: Result) -> str:
    """Whether 90 % intervals hold, within four points."""
    off = row["inside"] - 0.9
    if abs(off) <= 0.04:
        return "hold"
    return "are too wide" if off > 0 else "are too narrow"


def continuous_cells(result: Result) -> str:
    additive, model = method(result, "cells", "additive, logit"), best_model(result)
    word = "better" if model["squared_error"] < additive["squared_error"] else "worse"
    return (
        f"The Beta likelihood predicts {word} than the additive logit baseline: squared error "
        f"{model['squared_error']:.4f} for the best model against {additive['squared_error']:.4f}."
    )


def conclusions(name: str, result: Result) -> list[str]:
    """What a user of such data should take from it."""
    model = best_model(result)
    half = Z90 * model["se_gain_additive"]
    if result["kind"] == "probability":
        lines = [continuous_cells(result)]
    else:
        lines = [
            f"Cells: the best model ({model['method']}) is {verdict(model)} the additive logit baseline "
            f"({signed(model['gain_additive'], 4)} ± {half:.4f} nats a trial); its AUC within items is "
            f"{model['auc_within_item']:.3f}, of {model['auc']:.3f} over all cells."
        ]
    rows = {m: method(result, "subjects", m) for m in (RAW, CORRECTED, "1pl benchmark", "2pl benchmark")}
    best = min(rows, key=lambda m: rows[m]["error"])
    lines.append(
        f"Fifty items: nearest is the {'' if best in (RAW, CORRECTED) else 'model '}{best} with an error of "
        f"{rows[best]['error']:.3f}; the mean of the items misses by {rows[RAW]['error']:.3f}. Intervals of the 1PL "
        f"{coverage(rows['1pl benchmark'])} ({percent(rows['1pl benchmark']['inside'])}), of the 2PL "
        f"{coverage(rows['2pl benchmark'])} ({percent(rows['2pl benchmark']['inside'])})."
    )
    if (low := result["fit"]["benchmark"]["agreement"][0]) < AGREEMENT:
        lines.append(
            f"The 2PL's ability is not accuracy here: its rank correlation with the observed mean is {low:.2f}"
            + (" on the benchmark where they agree least" if result["n_benchmarks"] > 1 else "")
            + ". Discriminations follow the largest common difference, whatever it is: good for single cells, less so "
            "for means and rankings. Compare with the 1PL, whose ability is the total score."
        )
    return lines + NOTES[name](result)


def floor_note(result: Result) -> str:
    two, three = (method(result, "cells", f"{m} benchmark")["log_score"] for m in ("2pl", "3pl"))
    word = "helps" if three > two else "hurts"
    return f"A floor at chance {word} here: {signed(three - two, 4)} nats a trial against the 2PL."


def counts_note(result: Result) -> str:
    report, n = result["fit"]["benchmark"], result["median_trials"]
    worth = {}
    if report["overdispersion"] is not None:
        own = BetaBinomial(report["overdispersion"])
        worth[f"with overdispersion {own.overdispersion:.2f}"] = samples_worth(own, n)
    if report.get("logit_sd") is not None:
        scattered = LogitNormalBinomial(report["logit_sd"])
        worth[f"with a scatter of {scattered.logit_sd:.2f} logits"] = samples_worth(scattered, n)
    if worth:
        found = [f"{how}, {n:.0f} samples at the middle of a curve are worth about {x:.1f}" for how, x in worth.items()]
        return (
            f"Samples of one item by one subject are far from independent draws at the curve: {joined(found)}. "
            "Buy items, not samples."
        )
    return (
        f"The binomial likelihood takes all {n:.0f} samples of an item as independent draws at the curve, which they "
        "are not: residuals are several times what it expects, and its intervals for items and abilities are too "
        "narrow."
    )


def samples_worth(likelihood: Likelihood, n: float) -> float:
    """Independent samples at the middle of a curve whose mean varies as much as that of n."""
    return 0.25 / float(likelihood.response_variance(np.array(0.5), n))


def joint_note(result: Result) -> str:
    joint = method(result, "subjects", "2pl joint")
    gap = method(result, "cells", "2pl joint")["log_score"] - method(result, "cells", "2pl benchmark")["log_score"]
    return (
        f"One ability for all benchmarks: {signed(gap, 4)} nats a trial against one for each; the accuracy of a "
        f"benchmark misses by {joint['error']:.3f}, and its 90 % interval, {joint['width']:.2f} wide, holds the truth "
        f"{percent(joint['inside'])} of the time."
    )


def reliability_note(result: Result) -> str:
    report = result["fit"]["benchmark"]
    return (
        f"On the least reliable benchmark the halves agree only to {report['split_half'][0]:.2f}, while the model "
        f"claims at least {report['reliability'][0]:.2f}: its claim is about the one ability that it assumes."
    )


NOTES: dict[str, Callable[[Result], list[str]]] = {
    "evalperf": lambda r: [counts_note(r), joint_note(r)],
    "livecodebench": lambda r: [counts_note(r), joint_note(r)],
    "open_llm_arc_mixtral": lambda r: [floor_note(r)],
    "open_llm_tiny": lambda r: [floor_note(r), joint_note(r)],
    "mmlu_pro": lambda r: [floor_note(r), joint_note(r)],
    "psn_irt": lambda r: [floor_note(r), joint_note(r), reliability_note(r)],
    "alpaca_eval": lambda r: [],
}
