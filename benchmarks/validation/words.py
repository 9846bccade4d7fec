"""Names, and numbers as the page writes them."""

from __future__ import annotations

import textwrap
from typing import Any

from scipy.stats import norm

Z90 = float(norm.ppf(0.95))
Result = dict[str, Any]

BASELINES = ("overall mean", "subject mean", "item mean", "additive, probability", "additive, logit")
TITLES = {
    "evalperf": "EvalPerf",
    "livecodebench": "LiveCodeBench",
    "open_llm_arc_mixtral": "ARC (Mixtral family)",
    "open_llm_tiny": "Open LLM Leaderboard",
    "mmlu_pro": "MMLU-Pro",
    "psn_irt": "PSN-IRT",
    "alpaca_eval": "AlpacaEval",
}
SOURCES = {
    "evalperf": "[evalplus/evalplus.github.io](https://github.com/evalplus/evalplus.github.io), Apache-2.0",
    "livecodebench": "[LiveCodeBench/livecodebench.github.io]"
    "(https://github.com/LiveCodeBench/livecodebench.github.io), CC BY-SA 4.0",
    "open_llm_arc_mixtral": "[Peiyu-Georgia-Li/ATLAS](https://github.com/Peiyu-Georgia-Li/ATLAS), no licence stated",
    "open_llm_tiny": "[Peiyu-Georgia-Li/ATLAS](https://github.com/Peiyu-Georgia-Li/ATLAS), no licence stated",
    "mmlu_pro": "[TIGER-AI-Lab/MMLU-Pro](https://github.com/TIGER-AI-Lab/MMLU-Pro), Apache-2.0",
    "psn_irt": "[Joe-Hall-Lee/PSN-IRT](https://github.com/Joe-Hall-Lee/PSN-IRT), no licence stated",
    "alpaca_eval": "[tatsu-lab/alpaca_eval](https://github.com/tatsu-lab/alpaca_eval), CC BY-NC 4.0",
}
ABOUT = {
    "evalperf": "Code tasks chosen to be easy enough that speed can be compared; {trials} samples of each, counted.",
    "livecodebench": "Code generation, and prediction of a program's output with and without a chain of thought; "
    "{trials} samples of each, counted. Several output-prediction items stem from one problem.",
    "open_llm_arc_mixtral": "One benchmark, one family: merges and fine-tunes of Mixtral, many nearly the same.",
    "open_llm_tiny": "About a hundred items each of ARC, HellaSwag and GSM8K, and thousands of models, most of them "
    "fine-tunes or merges of a few bases. Not every model has every benchmark.",
    "mmlu_pro": "Fourteen subjects of multiple choice with up to ten options; answers that could not be read count as "
    "wrong, so accuracy can be below chance.",
    "psn_irt": "Eleven benchmarks and anonymous models; {sampled} To a 2PL this is the hard case: an item's two "
    "parameters rest on a dozen binary responses.",
    "alpaca_eval": "A judge's probability that a model's answer beats the reference's: continuous, and so skewed that "
    "most values are within .01 of 0. Fitted with a Beta likelihood, values moved to at least half of 1e-6 from 0 and "
    "1. There is no log score: predictions are compared in response units only.",
}


def method(result: Result, part: str, name: str) -> Result:
    return next(row for row in result[part]["rows"] if row["method"] == name)


def models(result: Result) -> list[Result]:
    return [r for r in result["cells"]["rows"] if r["method"] not in BASELINES]


def best_model(result: Result) -> Result:
    return max(models(result), key=lambda r: r["gain"])


def best_baseline(result: Result) -> Result:
    return max((method(result, "cells", name) for name in BASELINES), key=lambda r: r["gain"])


def signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def percent(share: float) -> str:
    value = 100 * share
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def spread(values: list[float]) -> str:
    low, middle, high = (f"{v:.2f}" for v in values)
    return middle if low == high else f"{middle} ({low} to {high})"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def wrapped(text: str, indent: str = "") -> str:
    """Fill lines, a number staying with its per cent sign."""
    whole = " ".join(text.split()).replace(" %", "~%")
    lines = textwrap.fill(whole, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("~%", " %")


def bullets(lines: list[str]) -> str:
    return "\n".join(wrapped(f"- {line}", "  ") for line in lines)


def joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def many(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
