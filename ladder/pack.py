"""The packaged data set, written from the committed results.

Every number comes from ladder/results/, that is from trained subjects; only the final weights are taken from the
folder of the runs.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ladder import store, tokenizer
from ladder.analysis import Result, read_results
from ladder.card import data_card
from ladder.config import Configuration
from ladder.items import BENCHMARKS
from ladder.model import ROTARY_BASE, Architecture
from ladder.numpy_subject import NORM_EPSILON, log_p_of_options
from ladder.results import FOLDER, ITEMS, categorical, write_choices, write_parquet
from ladder.tokenizer import Tokenizer
from ladder.train import metadata_path, weights_path

LOG = logging.getLogger("ladder")
SCHEMA_VERSION = 1
FAMILY = "ladder"
CHECKED_ITEMS = 30  # of each weights file, against the stored log-likelihoods
LARGEST_DEVIATION = 0.05  # nats: float16 weights, float32 arithmetic, rounding to log_p_unit
SOURCES = [
    "King James Bible, Debian package bible-kjv-text 4.38 (public domain text)",
    "WordNet 3.0 definitions, Debian package wordnet-base 1:3.0-37 (WordNet 3.0 license)",
    "generated documents, ladder/world.py",
]


def kept_checkpoints(result: Result, configuration: Configuration) -> list[int]:
    """Indices of the checkpoints that are packed."""
    n = len(result.summary["steps"])
    first_seed = result.run.seed == configuration.queue[0].seed
    return list(range(n))[0 if first_seed else -configuration.second_seed_checkpoints :]


def subject_name(result: Result, checkpoint: int) -> str:
    """The subject of a run's checkpoint: "<recipe>-<size>-s<seed>@<step>"."""
    return f"{result.run.name}@{result.summary['steps'][checkpoint]}"


def subject_table(found: list[Result], configuration: Configuration) -> pl.DataFrame:
    """One row for each packed checkpoint; loss in nats per token, bpb the mean of both sources."""
    rows = []
    for result in found:
        summary = result.summary
        for checkpoint in kept_checkpoints(result, configuration):
            step, bits = summary["steps"][checkpoint], summary["bits_per_byte"][checkpoint]
            rows.append(
                {
                    "subject": subject_name(result, checkpoint),
                    "family": FAMILY,
                    "run": result.run.name,
                    "recipe": result.run.recipe.name,
                    "size": result.run.size.name,
                    "seed": result.run.seed,
                    "params": summary["params"],
                    "tokens": step * summary["tokens_per_step"],
                    "step": step,
                    "flops": float(step) * summary["flops_per_step"],
                    "loss": summary["loss"][checkpoint],
                    "bpb": sum(bits) / len(bits),
                    "bpb_bible": bits[0],
                    "bpb_wordnet": bits[1],
                    "date": summary["date"],
                }
            )
    return pl.DataFrame(rows).with_columns(pl.col("date").str.to_date())


def response_table(found: list[Result]) -> pl.DataFrame:
    """The sampled answers of every final checkpoint: counts of exact matches."""
    rows = [
        {
            "subject": subject_name(result, -1),
            "item": item,
            "benchmark": item.split(":")[0],
            "outcome": "exact_match",
            "condition": "",
            "trial": 0,
            "response": n_correct / result.summary["n_samples"],
            "n_samples": result.summary["n_samples"],
            "n_correct": n_correct,
        }
        for result in found
        for item, n_correct in result.summary["n_correct"].items()
    ]
    names = ["subject", "item", "benchmark", "outcome", "condition"]
    numbers = [pl.col("trial", "n_samples", "n_correct").cast(pl.Int32), pl.col("response").cast(pl.Float32)]
    return pl.DataFrame(rows).with_columns(*numbers, pl.col(names).cast(pl.Categorical))


def write_choice_table(found: list[Result], configuration: Configuration, items: list[str], path: Path) -> None:
    """Log-likelihoods of all packed checkpoints, by item, then by run and step."""
    kept = [kept_checkpoints(result, configuration) for result in found]
    subjects = [
        subject_name(result, checkpoint) for result, chosen in zip(found, kept, strict=True) for checkpoint in chosen
    ]
    log_p = np.concatenate([result.log_p[chosen] for result, chosen in zip(found, kept, strict=True)])
    n_rows = len(items) * len(subjects)
    keys = {
        "subject": categorical(np.tile(subjects, len(items))),
        "item": categorical(np.repeat(items, len(subjects))),
        "condition": categorical(np.repeat("", n_rows)),
        "trial": pa.array(np.zeros(n_rows, np.int32)),
    }
    write_choices(keys, log_p.transpose(1, 0, 2).reshape(n_rows, -1), path)


def write_weights(
    found: list[Result], configuration: Configuration, runs_folder: Path, items: pl.DataFrame, destination: Path
) -> dict[str, float]:
    """Final weights of a few runs, with what a reader needs to run them; returns each file's largest deviation.

    Each file is run with NumPy on some items and compared with the stored log-likelihoods.

    Raises
    ------
    RuntimeError
        The weights do not give the stored log-likelihoods.
    """
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(tokenizer.STORED, destination / "tokenizer.json")
    encoder = Tokenizer.load()
    deviations = {}
    for result in found:
        run = result.run
        if (
            run.recipe.name not in configuration.weights_recipes
            or run.size.name not in configuration.weights_sizes
            or run.seed
        ):
            continue
        metadata = store.read_json(metadata_path(runs_folder, run))
        step = metadata["steps"][-1]
        stored = store.read_arrays(weights_path(runs_folder, run))
        arrays = {name.split("/", 1)[1]: array for name, array in stored.items() if name.startswith(f"{step}/")}
        store.write_arrays(destination / f"{run.name}.npz", arrays)
        description = {
            "subject": subject_name(result, -1),
            **metadata["architecture"],
            "rotary_base": ROTARY_BASE,
            "norm_epsilon": NORM_EPSILON,
            "tokenizer": "tokenizer.json",
        }
        store.write_json(destination / f"{run.name}.json", description)
        chosen = np.linspace(0, items.height - 1, CHECKED_ITEMS).astype(int)
        computed = [
            _computed_log_p(items.row(int(i), named=True), arrays, Architecture(**metadata["architecture"]), encoder)
            for i in chosen
        ]
        deviation = float(np.abs(np.array(computed) - result.log_p[-1][chosen] * result.summary["log_p_unit"]).max())
        if deviation > LARGEST_DEVIATION:
            raise RuntimeError(
                f"the weights of {run.name} give log-likelihoods up to {deviation:.3f} nats from the stored ones"
            )
        deviations[run.name] = deviation
    return deviations


def _computed_log_p(
    item: dict[str, object], arrays: dict[str, np.ndarray], architecture: Architecture, encoder: Tokenizer
) -> list[float]:
    spelling = json.loads(str(item["metadata"]))["spelling"]
    prompt = [tokenizer.DOCUMENT_START, *encoder.encode(str(item["text"]), spelling)]
    options = [encoder.encode(option, spelling) for option in item["options"]]  # type: ignore[attr-defined]
    return log_p_of_options(arrays, architecture, prompt, options)


def pack(configuration: Configuration, runs_folder: Path, destination: Path, *, results_folder: Path = FOLDER) -> None:
    """Write the data set: complete recipes only."""
    found = read_results(configuration, results_folder)
    if not found:
        raise FileNotFoundError(
            f"{results_folder}: expected the results of at least one recipe at all sizes; run 'evaluate' first"
        )
    items = pl.read_parquet(results_folder / ITEMS)
    choice_items = items.filter(pl.col("benchmark").is_in(BENCHMARKS))
    if len({result.summary["items"] for result in found}) > 1 or found[0].log_p.shape[1] != choice_items.height:
        raise ValueError(f"{results_folder}: the runs were asked different items; run 'evaluate' again")
    destination.mkdir(parents=True, exist_ok=True)
    write_parquet(items, destination / "items.parquet")
    subjects = subject_table(found, configuration)
    write_parquet(subjects, destination / "subjects.parquet")
    write_parquet(response_table(found), destination / "responses.parquet")
    write_choice_table(found, configuration, choice_items["item"].to_list(), destination / "choices.parquet")
    deviations = write_weights(found, configuration, runs_folder, choice_items, destination / "weights")
    sampled = items.filter(~pl.col("benchmark").is_in(BENCHMARKS))["benchmark"].unique(maintain_order=True)
    store.write_json(
        destination / "meta.json",
        {
            "schema_version": SCHEMA_VERSION,
            "sources": SOURCES,
            "log_p_unit": found[0].summary["log_p_unit"],
            "benchmarks": [{"benchmark": name, "outcome": "acc", "kind": "binary"} for name in BENCHMARKS]
            + [{"benchmark": name, "outcome": "exact_match", "kind": "counts"} for name in sampled],
        },
    )
    card = data_card(found, configuration, choice_items, subjects.height, deviations, CHECKED_ITEMS)
    (destination / "DATA_CARD.md").write_text(card, encoding="utf-8")
    size = sum(path.stat().st_size for path in destination.iterdir() if path.is_file())
    LOG.info("packed %d runs into %s: %.2f MB without weights", len(found), destination, size / 1e6)
