"""What the packaged ladder shows, with every model and outcome: writes docs/ladder.md and docs/pictures.

python benchmarks/packaged_ladder.py
"""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

import irsl
from irsl import plots
from irsl.report.analysis import LEVEL, Analysis, analyse
from irsl.report.forecasts import METHODS
from irsl.report.pictures import mean_curve

DOCS = Path(__file__).parent.parent / "docs"
VARIANTS = [("acc", "3pl"), ("acc", "2pl"), ("acc", "1pl"), ("p_choices", "1pl"), ("p_choices", "2pl")]
PICTURED = "arithmetic"


def table(frame: pl.DataFrame) -> str:
    def cell(value: object) -> str:
        if value is None:
            return ""
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    rows = ["| " + " | ".join(c.replace("_", " ") for c in frame.columns) + " |", "|" + "---|" * frame.width]
    return "\n".join(rows + ["| " + " | ".join(cell(v) for v in row) + " |" for row in frame.iter_rows()])


def draw(analysis: Analysis) -> None:
    laws = analysis.laws
    assert laws is not None
    folder = DOCS / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    best = laws.choice.filter(pl.col("benchmark") == PICTURED)["recipe"][0]
    only = pl.col("benchmark") == PICTURED
    figures = {
        "ability_law": plots.ability_law(
            laws.points.filter(only),
            laws.trends.filter(only),
            title=PICTURED,
            target=analysis.target,
            colours={best: plots.style.HIGHLIGHTS[0]},
            accuracy_of=mean_curve(analysis.calibration.bank, PICTURED),
            level=LEVEL,
        ),
        "forecast": plots.forecast_observed(laws.forecasts.filter(only), title=PICTURED, level=LEVEL),
    }
    for name, figure in figures.items():
        figure.savefig(
            folder / f"{name}.png", dpi=160, bbox_inches="tight", pad_inches=0.15, metadata={"Software": None}
        )


def main() -> None:
    ladder = irsl.ladder.load()
    results, overall = {}, []
    for outcome, model in VARIANTS:
        start = time.perf_counter()
        analysis = analyse(ladder.select(outcome=outcome), title="ladder", model=model)
        seconds = time.perf_counter() - start
        results[outcome, model] = analysis
        assert analysis.laws is not None
        rows = analysis.laws.comparison.filter(pl.col("benchmark") == "all", pl.col("method") != "smallest")
        overall.append(
            rows.select(
                outcome=pl.lit(outcome),
                model=pl.lit(model),
                method=pl.col("method").replace(METHODS),
                error="error",
                coverage="coverage",
                width="width",
                decision_accuracy="decision_accuracy",
                interval=pl.format("{} to {}", pl.col("decision_lower").round(2), pl.col("decision_upper").round(2)),
            )
        )
        print(outcome, model, f"{seconds:.0f} s", "converged:", analysis.calibration.fits["converged"].sum(), "of 6")
    main_job = results["acc", "3pl"]
    assert main_job.laws is not None
    assert main_job.replays is not None
    draw(main_job)
    comparison = main_job.laws.comparison.filter(pl.col("method").is_in(["irsl", "classical", "seed"])).select(
        "benchmark", pl.col("method").replace(METHODS), "error", "coverage", "width", "decision_accuracy"
    )
    replays = main_job.replays.group_by("selection", maintain_order=True).agg(
        pl.col("error").mean(), pl.col("coverage").mean(), pl.col("width").mean(), pl.col("ability_error").mean()
    )
    text = TEXT.format(
        overall=table(pl.concat(overall)), comparison=table(comparison), replays=table(replays.sort("error"))
    )
    (DOCS / "ladder.md").write_text(text, encoding="utf-8")


TEXT = """# What the packaged ladder shows

Written by `python benchmarks/packaged_ladder.py` from the packaged data set: do not edit. Twelve data recipes, five
sizes from 14k to 197k parameters, six benchmarks of 200 four-choice items; how it was made is in
[ladder/README.md](../ladder/README.md). Items are calibrated without any response of the largest size, which is then
forecast from the final checkpoints of the four smaller ones. All intervals are 90 %.

## Forecasts, over all benchmarks

Error is the mean absolute error of accuracy, coverage the share of recipes inside their interval, decision accuracy
the share of pairs of recipes put in the right order, with a bootstrap interval over recipes. "Another seed" is the
noise ceiling: the same recipes trained again. With the outcome p_choices, accuracy means the mean probability of the
right option.

{overall}

What a user should take from it:

- At this scale the classical law is nearer than the item-response law in every variant. In decisions the two, and
  just ranking the recipes by the largest small size, differ by less than their intervals: with twelve recipes no
  difference here is evidence of a better method.
- The noise ceiling is low. Training the same recipe again moves its accuracy by about as much as the forecasts miss.
- Intervals are too narrow here, after the backtest too. Some skills arrive suddenly between the last size that the
  laws see and the largest (recall is near chance up to 113k for nearly all recipes), and no law fitted below a jump
  foresees it.
- A floor at chance (3pl) matters: without it the curves of items that subjects only guess stay flat and cannot carry a
  forecast upwards, although the 2PL describes the calibration data better, since systematic preferences put
  accuracies below chance.

## By benchmark, main job (binary outcome, floor at chance)

{comparison}

## Fifty of two hundred items, on held-out recipes

Whole recipes are left out of the calibration and their checkpoints measured from 50 items of each benchmark. Error and
coverage are of the accuracy over all 200 items.

{replays}

Here adaptive choice loses to random items in accuracy: a benchmark holds several skills that arrive at different
times, the items with most information come from few of them, and the interval's misfit term, which assumes items
chosen at random, does not make up for it. Stratified items are the safer choice, and ridge regression from a fixed
short form, which needs no item response theory but the same calibration responses, is nearer still.
"""


if __name__ == "__main__":
    main()
