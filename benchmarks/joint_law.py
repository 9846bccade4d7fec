"""How well a law over training compute and samples forecasts pass@k: Pythia on GSM8K.

    IRSL_TEST_DATA=path/to/data python benchmarks/joint_law.py            (eight minutes on one core)

Held out are (a) the last checkpoint, 300B tokens, of every size, (b) the last two, 200B and 300B, and (c) the largest
size, 12B, at all its checkpoints from 2B tokens; the bank, the sampling law and the lines know only the others. Lines
are those of a size over its checkpoints in (a) and (b), of a training step over sizes in (c). The truth of pass@k is
the mean over items of the unbiased estimator where every item of the checkpoint has at least k samples; beyond that it
is the curve of a sampling law that was fitted to all checkpoints' full counts, and results are given apart. Three
windows of training checkpoints are reported; the picture and the trade are of the last. Aggregates go to
benchmarks/results/joint_law.json, the picture to docs/pictures/joint_law.png, tables to the terminal.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

import irsl
from irsl.errors import DataError
from irsl.laws import SamplingLaw
from irsl.laws.joint import BENDS, BentTrend, JointLaw, fit_bent_trends, joint_law
from irsl.laws.pass_at_k import dataset_pass_at_k
from irsl.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    QUIET,
    SKY,
    SMALL,
    TEXT,
    VERMILION,
    flops_axis,
    styled,
)
from results_file import write_results

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "joint_law.json"
PICTURE = ROOT / "docs" / "pictures" / "joint_law.png"
K = np.unique(np.round(np.logspace(0, 4, 9)).astype(int))
Z90 = float(norm.ppf(0.95))
LAST, LARGEST, SCORED_FROM = 3e11, 1.2e10, 2e9  # tokens, parameters, tokens
WINDOWS = {"all": 0.0, "from 512M tokens": 5e8, "from 2B tokens": 2e9}
MAIN = "from 2B tokens"
ANSWER_TOKENS = 150  # assumed; the source's inference_compute varies a hundredfold between checkpoints of one size
METHODS = (
    "joint law", "joint law, straight lines", "joint law, ability known", "nearest checkpoint", "classical law",
    "classical law, bent",
)  # fmt: skip
DRAWN = {1.6e8: ORANGE, 4.1e8: VERMILION, 1e9: GREEN, 6.9e9: BLUE}
SIZES = {
    1.4e7: FAINT,
    7e7: QUIET,
    1.6e8: ORANGE,
    4.1e8: VERMILION,
    1e9: GREEN,
    1.4e9: PURPLE,
    2.8e9: SKY,
    6.9e9: BLUE,
    1.2e10: INK,
}
LIMITS = {1: (1e-4, 1e-1), 10: (1e-3, 1.0), 100: (1e-2, 1.0), 1000: (5e-2, 1.0)}
TICKS = (0.0001, 0.001, 0.01, 0.1, 0.2, 0.5, 1.0)

Curves = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Design:
    """What is held out, and which checkpoints are on one line."""

    name: str
    held_out: pl.Expr
    group: str
    nearest: str


DESIGNS = (
    Design("last checkpoint of every size", pl.col("tokens") == LAST, "params", "tokens"),
    Design("last two checkpoints of every size", pl.col("tokens") >= 2e11, "params", "tokens"),
    Design("largest size", pl.col("params") == LARGEST, "tokens", "params"),
)


@dataclass(frozen=True)
class Fit:
    """What the checkpoints that are not held out say."""

    joint: JointLaw
    trained: pl.DataFrame
    curves: Curves
    classical: dict[int, BentTrend]


def main() -> None:
    root = os.environ.get("IRSL_TEST_DATA")
    if root is None:
        print("set IRSL_TEST_DATA to the folder of data sets", file=sys.stderr)
        raise SystemExit(2)
    folder = Path(root) / "pythia_sampling_gsm8k"
    responses, models = (pl.read_parquet(folder / f"{name}.parquet") for name in ("responses", "models"))
    started = time.perf_counter()
    truth = curves(responses, sampled(responses))
    result: dict[str, Any] = {"k": K.tolist(), "designs": {}}
    fits: dict[str, Fit] = {}
    for design in DESIGNS:
        for window, least in WINDOWS.items():
            fit = fitted(responses, models.filter(~design.held_out, pl.col("tokens") > 0.99 * least), design)
            if window == MAIN:
                fits[design.name] = fit
            asked = models.filter(design.held_out, pl.col("tokens") >= SCORED_FROM)
            placed = fit.joint.law.place(counts(responses.filter(pl.col("model").is_in(asked["model"].implode()))))
            known = {
                own.subject: (float(np.nanmean(own.ability)), float(np.nanstd(own.ability))) for own in placed.laws
            }
            table = pl.concat(
                [
                    forecasts(fit, design, row, truth[row["model"]], known[row["model"]])
                    for row in asked.iter_rows(named=True)
                ]
            )
            result["designs"].setdefault(design.name, {})[window] = {
                "n_trained": fit.trained.height,
                "n_left_out": len(fit.joint.left_out),
                "n_held_out": asked.height,
                "bend": fit.joint.trend.bend,
                "tau_straight": fit.joint.trend.trends[0].tau,
                "tau_best": min(t.tau for t in fit.joint.trend.trends),
                "scores": scores(table),
            }
    result["trade"], trades = trade(fits[DESIGNS[0].name].joint, models, truth)
    result["seconds"] = round(time.perf_counter() - started, 1)
    write_results(RESULTS, result)
    PICTURE.parent.mkdir(exist_ok=True)
    with styled():
        picture(fits[DESIGNS[0].name], models, truth, trades).savefig(PICTURE, dpi=200)
    print(tables(result))


def counts(responses: pl.DataFrame) -> irsl.Responses:
    return irsl.Responses.from_frames(responses, kind="counts")


def sampled(responses: pl.DataFrame) -> SamplingLaw:
    data = counts(responses)
    return irsl.sampling_law(data, irsl.calibrate(data, likelihood="binomial").bank)


def curves(responses: pl.DataFrame, law: SamplingLaw) -> Curves:
    """pass@k of every subject from its own counts: unbiased where n allows it, else the law's; with intervals."""
    found = law.curve(K).partition_by("subject", as_dict=True)
    result = {}
    for (subject,), seen in responses.partition_by("model", as_dict=True).items():
        own = dataset_pass_at_k(seen["n_samples"].to_numpy(), seen["n_correct"].to_numpy(), K)
        own = own.select("k", unbiased="pass_at_k")
        result[str(subject)] = (
            found[(subject,)].join(own, on="k").with_columns(
                pl.coalesce("unbiased", "pass_at_k").alias("pass_at_k"), exact=pl.col("unbiased").is_not_null()
            )
        )  # fmt: skip
    return result


def fitted(responses: pl.DataFrame, trained: pl.DataFrame, design: Design) -> Fit:
    own = responses.filter(pl.col("model").is_in(trained["model"].implode()))
    law = sampled(own)
    flops, groups = named(trained, "flops"), {s: str(g) for s, g in named(trained, design.group).items()}
    while True:  # a line needs three checkpoints of whose ability something is known
        try:
            joint = joint_law(law, flops, groups=groups)
            break
        except DataError as error:
            short = [g for g in set(groups.values()) if f"recipe {g!r}" in str(error)]
            if not short:
                raise
            flops = {s: f for s, f in flops.items() if groups[s] != short[0]}
    found = curves(own, law)
    return Fit(joint, trained, found, {int(k): classical_trend(found, trained, design, int(k)) for k in K})


def named(models: pl.DataFrame, column: str) -> dict[str, Any]:
    return dict(models.select("model", column).iter_rows())


def forecasts(
    fit: Fit, design: Design, asked: dict[str, Any], truth: pl.DataFrame, ability: tuple[float, float]
) -> pl.DataFrame:
    """Every method's pass@k of one held-out checkpoint, beside the truth."""
    group, flops = str(asked[design.group]), asked["flops"]
    peers = fit.trained.filter(pl.col(design.group) == asked[design.group])
    nearest = fit.curves[peers.sort(design.nearest)["model"][-1]]
    names = ["k", "pass_at_k", "pass_at_k_lower", "pass_at_k_upper"]
    found = {
        "joint law": fit.joint.forecast(flops, K, group),
        "joint law, straight lines": replace(fit.joint, trend=straightened(fit.joint.trend)).forecast(flops, K, group),
        "joint law, ability known": fit.joint.law.predict(*ability, K),
        "nearest checkpoint": nearest,
        "classical law": classical(fit, group, flops, bend=False),
        "classical law, bent": classical(fit, group, flops, bend=True),
    }
    right = truth.select("subject", "k", "exact", truth="pass_at_k")
    return pl.concat(
        [frame.select(names).join(right, on="k").with_columns(method=pl.lit(name)) for name, frame in found.items()]
    )


def classical(fit: Fit, group: str, flops: float, *, bend: bool) -> pl.DataFrame:
    """log(-log pass@k) against log FLOPs for each k alone, lines pooled over groups as the joint law's are."""
    rows = []
    for k, trend in fit.classical.items():
        mean, sd = (trend if bend else straightened(trend)).forecast(group, flops)
        rows.append((k, *np.exp(-np.exp(mean + sd * Z90 * np.array([0.0, 1.0, -1.0]))).tolist()))
    return pl.DataFrame(rows, schema=["k", "pass_at_k", "pass_at_k_lower", "pass_at_k_upper"], orient="row")


def classical_trend(found: Curves, trained: pl.DataFrame, design: Design, k: int) -> BentTrend:
    points = [
        (str(row[design.group]), row["flops"], found[row["model"]].filter(pl.col("k") == k)["pass_at_k"][0])
        for row in trained.iter_rows(named=True)
    ]
    points = [point for point in points if 0.0 < point[2] < 1.0]  # others have no such logarithm
    names = [point[0] for point in points]
    group, flops, value = zip(*[point for point in points if names.count(point[0]) >= 3], strict=True)
    y = np.log(-np.log(np.array(value)))
    return fit_bent_trends(group, np.array(flops), y, np.zeros(y.size))


def straightened(trend: BentTrend) -> BentTrend:
    return replace(trend, weights=(np.array(BENDS) == 0.0).astype(float))


def scores(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Errors and coverage of every method, over all k and where the truth is exact or not; errors over checkpoints."""
    rows = []
    for part, where in (("all k", pl.lit(True)), ("k up to n", pl.col("exact")), ("k beyond n", ~pl.col("exact"))):
        for method in METHODS:
            own = table.filter(where, pl.col("method") == method).with_columns(
                absolute=(pl.col("pass_at_k") - pl.col("truth")).abs(),
                log=(pl.col("pass_at_k").log() - pl.col("truth").log()).abs(),
                inside=pl.col("truth").is_between("pass_at_k_lower", "pass_at_k_upper").cast(pl.Float64),
                width=pl.col("pass_at_k_upper") - pl.col("pass_at_k_lower"),
            )
            means = own.group_by("subject").agg(pl.col("absolute", "log", "inside").mean(), n=pl.len())
            row: dict[str, Any] = {"part": part, "method": method, "n_subjects": means.height, "n": own.height}
            for name in ("absolute", "log", "inside"):
                row[name] = own[name].mean()
                weight = means["n"].to_numpy() / max(own.height, 1)
                row[f"{name}_se"] = float(np.sqrt((weight**2 * (means[name].to_numpy() - row[name]) ** 2).sum()))
            rows.append({**row, "bias": (own["pass_at_k"] - own["truth"]).mean(), "width": own["width"].mean()})
    return rows


def trade(joint: JointLaw, models: pl.DataFrame, truth: Curves) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Sizes at 300B tokens, forecast from their earlier checkpoints, at equal inference compute; and who was best."""
    last = models.filter(pl.col("tokens") == LAST)
    cost = {row["model"]: 2.0 * row["params"] * ANSWER_TOKENS for row in last.iter_rows(named=True)}
    groups = {row["model"]: str(row["params"]) for row in last.iter_rows(named=True)}
    most = max(cost.values())
    budget = np.append(np.geomspace(most / 10.0, 1000.0 * most, 50), [most, 10.0 * most, 100.0 * most])
    table = joint.trade(cost, budget, flops=named(last, "flops"), groups=groups)
    params = named(models, "params")
    table = table.with_columns(params=pl.col("option").replace_strict(params, return_dtype=pl.Float64))
    right = [
        float(np.interp(np.log(k), np.log(K), truth[option]["pass_at_k"].to_numpy()))
        for option, k in table.select("option", "k").iter_rows()
    ]
    table = table.with_columns(truth=pl.Series(right))
    rows = []
    for samples in (1, 10, 100):
        part = table.filter(pl.col("budget").is_close(samples * most))
        chosen, best = part.filter("best").row(0, named=True), part.sort("truth").row(-1, named=True)
        largest = part.filter(pl.col("params") == LARGEST).row(0, named=True)
        rows.append(
            {"samples_of_largest": samples, "budget": samples * most}
            | {f"forecast_{name}": chosen[name] for name in ("params", "k", "pass_at_k", "p_best", "truth")}
            | {f"truly_best_{name}": best[name] for name in ("params", "k", "truth")}
            | {"largest_truth": largest["truth"]}
        )
    return rows, table


def picture(fit: Fit, models: pl.DataFrame, truth: Curves, trades: pl.DataFrame) -> Figure:
    """pass@k against training compute at four k; below, sizes at equal inference compute."""
    figure = Figure(figsize=(7.4, 5.2))
    for place, k in enumerate((1, 10, 100, 1000)):
        axes = figure.add_axes((0.06 + 0.241 * place, 0.585, 0.186, 0.27))
        draw_compute(axes, fit, models, truth, k)
        axes.set_title(f"k = {k}", fontsize=TEXT, loc="left", color=INK)
    left, right = (figure.add_axes((x, 0.085, 0.41, 0.27)) for x in (0.055, 0.565))
    draw_trade(left, right, trades)

    def say(x: float, y: float, text: str, **more: Any) -> None:
        figure.text(x, y, text, **{"fontsize": SMALL, "color": QUIET, "va": "center", **more})

    say(0.01, 0.975, "pass@k against training compute", fontsize=TEXT + 1, fontweight="bold", color=INK)
    x = 0.01
    for params, colour in DRAWN.items():
        say(x, 0.935, size_name(params), color=colour, fontweight="bold")
        x += 0.06
    say(x + 0.01, 0.935, "● fitted to   ○ held out (300B tokens)   line and band: law, 90 %; both axes logarithmic")
    say(0.5, 0.515, "training FLOPs", ha="center")
    say(0.01, 0.465, "Sizes at equal inference compute, 300B tokens", fontsize=TEXT + 1, fontweight="bold", color=INK)
    x = 0.01
    for params, colour in SIZES.items():
        say(x, 0.425, size_name(params), color=colour, fontweight="bold")
        x += 0.058
    say(0.055, 0.385, "pass@k: line forecast, dots true")
    say(0.565, 0.385, "probability of being the best buy")
    say(0.5, 0.012, f"inference FLOPs per question = k · 2N · {ANSWER_TOKENS} tokens", ha="center")
    return figure


def draw_compute(axes: Axes, fit: Fit, models: pl.DataFrame, truth: Curves, k: int) -> None:
    every = models.filter(pl.col("tokens") > 0.99 * WINDOWS[MAIN])
    at = int(np.searchsorted(K, k))
    for params, colour in DRAWN.items():
        own = every.filter(pl.col("params") == params).sort("flops")
        flops = own["flops"].to_numpy()
        value = np.array([truth[name]["pass_at_k"][at] for name in own["model"]])
        grid = np.geomspace(flops[0], 3.0 * flops[-1], 30)
        curve = fit.joint.forecast(grid, [k], str(params))
        axes.fill_between(
            grid, curve["pass_at_k_lower"], curve["pass_at_k_upper"], color=colour, alpha=0.12, linewidth=0
        )
        axes.plot(grid, curve["pass_at_k"], color=colour, linewidth=1.0)
        axes.plot(flops[:-1], value[:-1], "o", color=colour, markersize=2.6)
        axes.plot(flops[-1:], value[-1:], "o", color=colour, markersize=4.2, markerfacecolor="white")
    chosen = every.filter(pl.col("params").is_in(list(DRAWN)))["flops"]
    flops_axis(axes, [chosen.min(), 3 * chosen.max()])
    axes.set_yscale("log")
    axes.set_ylim(*LIMITS[k])
    ticks = [tick for tick in TICKS if LIMITS[k][0] <= tick <= LIMITS[k][1]]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def draw_trade(left: Axes, right: Axes, trades: pl.DataFrame) -> None:
    for params, colour in SIZES.items():
        own = trades.filter(pl.col("params") == params, pl.col("k") <= K[-1]).sort("budget")
        left.plot(own["budget"], own["pass_at_k"], color=colour, linewidth=1.2)
        some = own.gather_every(5)
        left.plot(some["budget"], some["truth"], "o", color=colour, markersize=2.4)
        sure = trades.filter(pl.col("params") == params).sort("budget")
        right.plot(sure["budget"], sure["p_best"], color=colour, linewidth=1.2)
    for axes in (left, right):
        flops_axis(axes, trades["budget"])
        axes.set_ylim(-0.02, 1.02)


def size_name(params: float) -> str:
    return f"{params / 1e9:g}B" if params >= 1e9 else f"{params / 1e6:g}M"


def tables(result: dict[str, Any]) -> str:
    """Markdown: the scores of the main window, of the joint law in every window, and the trade."""
    lines = []
    for name, windows in result["designs"].items():
        for part in ("all k", "k up to n", "k beyond n"):
            lines += [f"\nHeld out: {name}; {part}; {MAIN}", ""]
            lines += ["| method | forecasts | error of pass@k | bias | error of -log pass@k | coverage | width |"]
            lines += ["|---|---|---|---|---|---|---|"]
            lines += [scored(row["method"], row) for row in windows[MAIN]["scores"] if row["part"] == part]
    lines += ["\nWindows, all k", ""]
    lines += ["| held out, trained on | forecasts | error of pass@k | bias | error of -log pass@k | coverage | width |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for name, windows in result["designs"].items():
        for window, found in windows.items():
            row = found["scores"][0]
            lines += [scored(f"{name}, {window} ({found['n_trained']}; bend {found['bend']:.2f})", row)]
    lines += ["\n| budget, samples of 12B | forecast best | k | p_best | forecast | true | truly best | true | 12B |"]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for row in result["trade"]:
        cells = [
            row["samples_of_largest"], size_name(row["forecast_params"]), row["forecast_k"],
            f"{row['forecast_p_best']:.2f}", f"{row['forecast_pass_at_k']:.3f}", f"{row['forecast_truth']:.3f}",
            size_name(row["truly_best_params"]), f"{row['truly_best_truth']:.3f}", f"{row['largest_truth']:.3f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, f"\n{result['seconds']} s"])


def scored(label: str, row: dict[str, Any]) -> str:
    return (
        f"| {label} | {row['n']} | {row['absolute']:.3f} ± {row['absolute_se']:.3f} | {row['bias']:+.3f} | "
        f"{row['log']:.2f} ± {row['log_se']:.2f} | {100 * row['inside']:.0f} ± {100 * row['inside_se']:.0f} % | "
        f"{row['width']:.2f} |"
    )


if __name__ == "__main__":
    main()
