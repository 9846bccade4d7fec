"""Log-likelihoods of every choice, and held-out loss, of every stored checkpoint of a run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ladder import store, text
from ladder.config import Configuration, Run
from ladder.items import N_OPTIONS, Item, fingerprint
from ladder.model import Architecture, LanguageModel
from ladder.tokenizer import DOCUMENT_START, Tokenizer
from ladder.train import metadata_path, weights_path

BATCH = 256  # sequences
LOSS_SENTENCES = 250  # of each source


@dataclass(frozen=True)
class _Batch:
    """Sequences of similar length, and which of their predictions are wanted.

    `position` indexes the flattened (sequence, time); `position[k]` predicts `target[k]`, which is part of cell
    `cell[k]` of the result.
    """

    tokens: Tensor
    position: Tensor
    target: Tensor
    cell: Tensor


@dataclass(frozen=True)
class Questions:
    """Everything that is asked of a checkpoint, batched once and asked many times."""

    choices: tuple[_Batch, ...]
    n_items: int
    text: tuple[_Batch, ...]
    text_bytes: np.ndarray
    text_tokens: int
    fingerprint: str


def prepare(items: list[Item], sentences: dict[str, list[str]], tokenizer: Tokenizer, context: int) -> Questions:
    """Tokenise and batch the items and the held-out sentences."""
    sequences: list[tuple[list[int], list[tuple[int, int, int]]]] = []  # tokens; (position, target, cell)
    for i, item in enumerate(items):
        prompt, options = item.prompt_tokens(tokenizer), item.option_tokens(tokenizer)
        if all(len(option) == 1 for option in options):  # one pass answers all four
            sequences.append(
                (prompt, [(len(prompt) - 1, option[0], i * N_OPTIONS + j) for j, option in enumerate(options)])
            )
            continue
        for j, option in enumerate(options):
            wanted = [(len(prompt) - 1 + k, token, i * N_OPTIONS + j) for k, token in enumerate(option)]
            sequences.append((prompt + option[:-1], wanted))
    natural: list[tuple[list[int], list[tuple[int, int, int]]]] = []
    text_bytes = np.zeros(len(text.SOURCES))
    for s, source in enumerate(text.SOURCES):
        chosen = [sentence for sentence in sentences[source] if text.split_of(sentence) == "loss"]
        encoded = [(sentence, tokenizer.encode_words(sentence)) for sentence in chosen]
        for sentence, tokens in [pair for pair in encoded if len(pair[1]) < context][:LOSS_SENTENCES]:
            natural.append(([DOCUMENT_START, *tokens[:-1]], [(k, token, s) for k, token in enumerate(tokens)]))
            text_bytes[s] += len(sentence.encode())
    text_tokens = sum(len(wanted) for _, wanted in natural)
    return Questions(_batches(sequences), len(items), _batches(natural), text_bytes, text_tokens, fingerprint(items))


def _batches(sequences: list[tuple[list[int], list[tuple[int, int, int]]]]) -> tuple[_Batch, ...]:
    ordered = sorted(sequences, key=lambda sequence: len(sequence[0]))
    batches = []
    for start in range(0, len(ordered), BATCH):
        chunk = ordered[start : start + BATCH]
        longest = len(chunk[-1][0])
        tokens = torch.zeros(len(chunk), longest, dtype=torch.long)
        wanted: list[tuple[int, int, int]] = []
        for row, (sequence, predictions) in enumerate(chunk):
            tokens[row, : len(sequence)] = torch.tensor(sequence)
            wanted += [(row * longest + position, target, cell) for position, target, cell in predictions]
        position, target, cell = torch.tensor(wanted).T
        batches.append(_Batch(tokens, position.contiguous(), target.contiguous(), cell.contiguous()))
    return tuple(batches)


@torch.no_grad()
def _log_p(network: LanguageModel, batches: tuple[_Batch, ...], n_cells: int) -> Tensor:
    """Sum of log-probabilities of the wanted tokens by cell, (n_cells,) float64, in nats."""
    total = torch.zeros(n_cells, dtype=torch.float64)
    for batch in batches:
        hidden = network(batch.tokens).flatten(0, 1)[batch.position]
        logits = network.logits(hidden)
        log_p = logits.gather(1, batch.target[:, None])[:, 0] - logits.logsumexp(1)
        total.index_add_(0, batch.cell, log_p.double())
    return total


def ask(network: LanguageModel, questions: Questions) -> tuple[np.ndarray, float, np.ndarray]:
    """Log-likelihoods and losses of one checkpoint.

    Returns
    -------
    log_p : (n_items, 4) float32, in nats
    loss : float
        Of held-out natural text of both sources, in nats per token.
    bits_per_byte : (n_sources,) float64
    """
    log_p = _log_p(network, questions.choices, questions.n_items * N_OPTIONS)
    natural = _log_p(network, questions.text, len(text.SOURCES)).numpy()
    loss = float(-natural.sum() / questions.text_tokens)
    return log_p.view(-1, N_OPTIONS).float().numpy(), loss, -natural / math.log(2) / questions.text_bytes


def evaluation_path(folder: Path, run: Run) -> Path:
    """Evaluation of a run: log_p (n_checkpoints, n_items, 4), loss, bits_per_byte, fingerprint of the items."""
    return folder / "evaluations" / f"{run.name}.npz"


def checkpoints(folder: Path, run: Run) -> dict[int, LanguageModel]:
    """Networks of a finished run by step."""
    metadata = store.read_json(metadata_path(folder, run))
    architecture = Architecture(**metadata["architecture"])
    arrays = store.read_arrays(weights_path(folder, run))
    return {
        step: LanguageModel.from_arrays(
            architecture,
            {name.split("/", 1)[1]: array for name, array in arrays.items() if name.startswith(f"{step}/")},
        )
        for step in metadata["steps"]
    }


def evaluated(folder: Path, run: Run, questions: Questions) -> bool:
    """Whether a run was already asked these items."""
    path = evaluation_path(folder, run)
    return path.exists() and str(store.read_arrays(path)["fingerprint"]) == questions.fingerprint


def evaluate(run: Run, folder: Path, questions: Questions) -> None:
    """Ask every checkpoint of a finished run; an evaluation of the same items is left alone."""
    if evaluated(folder, run, questions):
        return
    clock = time.monotonic()
    answers = [ask(network, questions) for network in checkpoints(folder, run).values()]
    store.write_arrays(
        evaluation_path(folder, run),
        {
            "log_p": np.stack([log_p for log_p, _, _ in answers]),
            "loss": np.array([loss for _, loss, _ in answers]),
            "bits_per_byte": np.stack([bits for _, _, bits in answers]),
            "fingerprint": np.array(questions.fingerprint),
            "seconds": np.array(time.monotonic() - clock),
        },
    )


def questions_of(
    configuration: Configuration, items: list[Item], sentences: dict[str, list[str]], tokenizer: Tokenizer
) -> Questions:
    """The questions of a configuration."""
    return prepare(items, sentences, tokenizer, configuration.sizes[0].architecture.context)
