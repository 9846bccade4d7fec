"""Figures of the kind that the published study shows (its 5, 6, 9 and 10), from the packaged ladder's samples.

    python benchmarks/figures.py            about a minute; writes docs/pictures/published_5.png, 6, 9 and 10

Half of the subjects calibrate the items with all their 512 samples. The others answer half of the items 50 times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import spearmanr

import irsl
from irsl.laws.pass_at_k import pass_at_k, plug_in
from testtime.real import Study, Table, load, responses_of

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
BENCHMARKS = ("facts_sampled", "patterns_sampled", "recall_sampled", "arithmetic_sampled")
BOUGHT, SOLVED = 50, 0.01
FLOOR = 1e-3  # of -log pass@k, where the axis ends
FULL, CRUDE, OURS = "#222222", "#d08b2c", "#1f5f8b"
K = np.unique(np.round(np.geomspace(1, 512, 30)))


@dataclass(frozen=True)
class Case:
    """One benchmark: the law of the subjects that calibrated, and of the others from few samples."""

    table: Table
    names: list[str]
    train: NDArray[np.intp]
    test: NDArray[np.intp]
    slope: NDArray[np.float64]
    intercept: NDArray[np.float64]
    law: irsl.SamplingLaw
    placed: irsl.SamplingLaw
    n_few: NDArray[np.float64]
    c_few: NDArray[np.float64]


def main() -> None:
    cases = [prepare(name) for name in BENCHMARKS]
    _save(figure_5(cases), 5)
    _save(figure_6(cases), 6)
    _save(figure_9(cases), 9)
    _save(figure_10(cases), 10)


def prepare(benchmark: str) -> Case:
    """Calibrate on half of the subjects and place the others."""
    table = load(Study(benchmark, "ladder", (benchmark,)))
    n, c = table.n_samples, table.n_correct
    responses = irsl.ladder.load().select(outcome="exact_match", benchmark=benchmark).responses
    names = responses["subject"].unique(maintain_order=True).to_list()
    rng = np.random.default_rng(0)
    order = rng.permutation(n.shape[0])
    train, test = np.sort(order[::2]), np.sort(order[1::2])
    known = responses_of(table, n[train], c[train], "known ")
    bank = irsl.calibrate(known).bank
    law = irsl.sampling_law(known, bank)
    place = [f"item {j}" for j in range(n.shape[1])]
    position = {item: i for i, item in enumerate(law.items["item"])}
    columns = np.array([position[item] for item in place])
    n_few, c_few = np.zeros((test.size, n.shape[1])), np.zeros((test.size, n.shape[1]))
    for row, i in enumerate(test):
        some = rng.permutation(n.shape[1])[: n.shape[1] // 2]
        n_few[row, some] = BOUGHT
        c_few[row, some] = rng.hypergeometric(c[i, some].astype(int), (n - c)[i, some].astype(int), BOUGHT)
    placed = law.place(responses_of(table, n_few, c_few, "new "))
    slope, intercept = law.items["slope"].to_numpy()[columns], law.items["intercept"].to_numpy()[columns]
    return Case(table, names, train, test, slope, intercept, law, placed, n_few, c_few)


def _ability(law: irsl.SamplingLaw, index: int) -> float:
    draws = law.laws[index].ability
    draws = draws[np.isfinite(draws)]
    return float(np.median(draws)) if draws.size else 0.0  # nothing of the bank is believed for this subject


def figure_5(cases: list[Case]) -> Figure:
    """Predicted against observed single-sample rates, of subjects that calibrated and of new ones."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey=True)
    for column, case in enumerate(cases):
        for row, (law, subjects, title) in enumerate(
            ((case.law, case.train, "calibration"), (case.placed, case.test, "new subjects"))
        ):
            predicted, seen = [], []
            for i, subject in enumerate(subjects):
                eta = case.slope * _ability(law, i) + case.intercept
                predicted.append(expit(law.curves.logit_at(eta)))
                seen.append(case.table.n_correct[subject] / case.table.n_samples[subject])
            x, y = np.concatenate(predicted), np.concatenate(seen)
            axis = axes[row, column]
            axis.plot([0, 1], [0, 1], color="#bbbbbb", lw=1)
            axis.scatter(x, y, s=4, color=OURS, alpha=0.35, linewidths=0)
            rho = spearmanr(x, y).statistic
            axis.set_title(f"{case.table.name.removesuffix('_sampled')}, {title}\nSpearman {rho:.2f}", fontsize=9)
            _plain(axis)
    figure.supxlabel("predicted rate of a correct sample", fontsize=10)
    figure.supylabel("observed in 512 samples", fontsize=10)
    return figure


def figure_6(cases: list[Case]) -> Figure:
    """Single-sample rates against the items' place, for some new subjects: the curve, and the scatter about it."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axes = figure.subplots(2, 4, sharey=True)
    for column, case in enumerate(cases):
        order = np.argsort([_ability(case.placed, i) for i in range(case.test.size)])
        for row, place in enumerate((case.test.size // 4, 3 * case.test.size // 4)):
            i = int(order[place])
            subject, theta = case.test[i], _ability(case.placed, i)
            eta = case.slope * theta + case.intercept
            rate = case.table.n_correct[subject] / case.table.n_samples[subject]
            axis = axes[row, column]
            line = np.linspace(eta.min() - 0.5, eta.max() + 0.5, 100)
            axis.plot(line, expit(case.law.curves.logit_at(line)), color=OURS, lw=1.5)
            asked = case.n_few[i] > 0
            axis.scatter(eta[asked], rate[asked], s=14, color=FULL, label="sampled", linewidths=0)
            axis.scatter(
                eta[~asked], rate[~asked], s=14, facecolors="none", edgecolors=FULL, linewidths=0.8, label="not sampled"
            )
            name = case.names[subject].split("@")[0]
            axis.set_title(f"{case.table.name.removesuffix('_sampled')}: {name}", fontsize=9)
            _plain(axis)
    axes[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    figure.supxlabel("a (theta - b) of this subject; line: mean rate of an item", fontsize=10)
    figure.supylabel("correct of 512 samples", fontsize=10)
    return figure


def figure_9(cases: list[Case]) -> Figure:
    """pass@k and -log pass@k against k from all samples, and from few: before and after filtering by the truth."""
    figure = Figure(figsize=(12, 10.5), layout="constrained")
    axes = figure.subplots(len(cases), 4)
    for row, case in enumerate(cases):
        order = np.argsort([_ability(case.placed, i) for i in range(case.test.size)])
        i = int(order[case.test.size // 2])
        subject = case.test[i]
        n, c = case.table.n_samples[subject], case.table.n_correct[subject]
        name = case.names[subject].split("@")[0]
        for half, keep in enumerate((np.ones(n.size, bool), c / n > SOLVED)):
            curves = _curves(case, i, keep)
            for side in (0, 1):
                axis = axes[row, 2 * half + side]
                for label, value, colour in curves["lines"]:
                    axis.plot(
                        K, value if side == 0 else -np.log(np.maximum(value, 1e-4)), color=colour, lw=1.6, label=label
                    )
                low, high = curves["band"]
                band = (low, high) if side == 0 else (-np.log(np.maximum(high, 1e-4)), -np.log(np.maximum(low, 1e-4)))
                axis.fill_between(K, *band, color=OURS, alpha=0.15, linewidths=0)
                axis.set_xscale("log")
                if side == 1:
                    axis.set(yscale="log", ylim=(FLOOR, None))
                crude, ours = curves["errors"]
                what = f"items with a rate above {SOLVED:g}" if half else "all items"
                title = f"{name}, {what}" if side == 0 else f"error of -log: few {crude:.2f}, irsl {ours:.2f}"
                axis.set_title(title, fontsize=8)
                _plain(axis)
        axes[row, 0].set_ylabel(f"{case.table.name.removesuffix('_sampled')}: pass@k", fontsize=9)
        axes[row, 1].set_ylabel("-log pass@k", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("k", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _curves(case: Case, i: int, keep: NDArray[np.bool_]) -> dict[str, Any]:
    """Full, plug-in and irsl curves of one new subject over some items."""
    subject = case.test[i]
    n, c = case.table.n_samples[subject], case.table.n_correct[subject]
    draws = case.placed.draws(K, items=[f"item {j}" for j in np.flatnonzero(keep)])[i]
    full = pass_at_k(n[keep][:, None], c[keep][:, None], K).mean(axis=0)
    few = keep & (case.n_few[i] > 0)
    crude = plug_in(case.n_few[i, few][:, None], case.c_few[i, few][:, None], K).mean(axis=0)
    ours = draws.mean(axis=0)

    def error(value: NDArray[np.float64]) -> float:
        return float(np.abs(np.log(np.maximum(value, 1e-4)) - np.log(np.maximum(full, 1e-4))).mean())

    return {
        "lines": (
            ("all 512 samples, unbiased", full, FULL),
            ("50 samples on half of the items, plug-in", crude, CRUDE),
            ("the same samples, irsl with 90 % interval", ours, OURS),
        ),
        "band": np.quantile(draws, [0.05, 0.95], axis=0),
        "errors": (error(crude), error(ours)),
    }


def figure_10(cases: list[Case]) -> Figure:
    """Error of the plug-in minus irsl's, of -log pass@k, for every new subject and benchmark; blue where irsl wins."""
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(1, 2)
    names = sorted({case.names[s].split("@")[0] for case in cases for s in case.test})
    for axis, filtered in zip(axes, (False, True), strict=True):
        gain = np.full((len(names), len(cases)), np.nan)
        for column, case in enumerate(cases):
            for i, subject in enumerate(case.test):
                n, c = case.table.n_samples[subject], case.table.n_correct[subject]
                keep = c / n > SOLVED if filtered else np.ones(n.size, bool)
                if (keep & (case.n_few[i] > 0)).any():
                    crude, ours = _curves(case, i, keep)["errors"]
                    gain[names.index(case.names[subject].split("@")[0]), column] = crude - ours
        image = axis.imshow(np.clip(gain, -1, 1), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
        share = float((gain[np.isfinite(gain)] > 0).mean())
        what = f"items with a rate above {SOLVED:g} in all samples" if filtered else "all items"
        axis.set_title(f"{what}: irsl is nearer in {100 * share:.0f} %", fontsize=10)
        axis.set_xticks(range(len(cases)), [case.table.name.removesuffix("_sampled") for case in cases], fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=6)
    figure.colorbar(image, ax=axes, label="error of -log pass@k: plug-in minus irsl (cut at 1)", shrink=0.7)
    return figure


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _save(figure: Figure, number: int) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    figure.savefig(PICTURES / f"published_{number}.png", dpi=100)
    print(f"published_{number}.png", flush=True)


if __name__ == "__main__":
    main()
