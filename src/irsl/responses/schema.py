"""Names, columns and kinds of what is observed: the one place that states them."""

from __future__ import annotations

import polars as pl

SCHEMA_VERSION = 1

RESPONSES = pl.Schema(
    {
        "subject": pl.String(),
        "item": pl.String(),
        "benchmark": pl.String(),
        "outcome": pl.String(),
        "condition": pl.String(),
        "trial": pl.Int64(),
        "response": pl.Float64(),
        "n_samples": pl.Int64(),
        "n_correct": pl.Int64(),
    }
)
ITEMS = pl.Schema(
    {
        "item": pl.String(),
        "benchmark": pl.String(),
        "text": pl.String(),
        "options": pl.List(pl.String()),
        "gold": pl.List(pl.Int64()),
        "n_options": pl.Int64(),
        "chance": pl.Float64(),
        "choice_characters": pl.List(pl.Int64()),
        "choice_bytes": pl.List(pl.Int64()),
        "metadata": pl.String(),
    }
)
SUBJECTS = pl.Schema(
    {
        "subject": pl.String(),
        "family": pl.String(),
        "run": pl.String(),
        "recipe": pl.String(),
        "seed": pl.Int64(),
        "params": pl.Float64(),
        "tokens": pl.Float64(),
        "step": pl.Int64(),
        "flops": pl.Float64(),
        "loss": pl.Float64(),
        "date": pl.Date(),
    }
)
CHOICES = pl.Schema(
    {
        "subject": pl.String(),
        "item": pl.String(),
        "condition": pl.String(),
        "trial": pl.Int64(),
        "log_p": pl.List(pl.Float64()),
    }
)

RESPONSE_KEY = ("subject", "benchmark", "item", "outcome", "condition", "trial")
CHOICES_KEY = ("subject", "benchmark", "item", "condition", "trial")

DEFAULT_BENCHMARK = "benchmark"
DEFAULT_OUTCOME = "response"
DEFAULT_CONDITION = "default"

# Other words for our columns, as found in tables of results. A metric is what was observed: an outcome.
ALIASES = {
    "responses": {"model": "subject", "metric": "outcome"},
    "choices": {"model": "subject"},
    "subjects": {"model": "subject", "release_date": "date", "submission_date": "date"},
    "items": {},
}

KINDS = {
    "binary": "0 or 1",
    "counts": "n_correct of n_samples",
    "probability": "a number from 0 to 1",
    "aggregate": "a benchmark mean or a loss, any finite number",
}
