"""Sampled answers of every final checkpoint, compared exactly with the right answer."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import numpy as np
import torch

from ladder import store
from ladder.config import Run
from ladder.evaluate import checkpoints
from ladder.items import Item, fingerprint
from ladder.model import KeyValueCache, LanguageModel
from ladder.tokenizer import DOCUMENT_START, Tokenizer


def samples_path(folder: Path, run: Run) -> Path:
    """Counts of right answers of a run's last checkpoint: n_correct, n_samples, fingerprint of the items."""
    return folder / "samples" / f"{run.name}.npz"


@torch.no_grad()
def count_right(
    network: LanguageModel, prompt: list[int], answer: list[int], n_samples: int, generator: torch.Generator
) -> int:
    """Number of answers, sampled at temperature 1, that equal `answer`.

    The prompt is read once; its keys and values are shared by all samples. A sample is followed for as many tokens
    as the right answer has, which settles the comparison.
    """
    caches = [KeyValueCache() for _ in network.blocks]
    scores = network.logits(network(torch.tensor([prompt]), caches=caches)[:, -1])
    for cache in caches:
        cache.expand(n_samples)
    scores = scores.expand(n_samples, -1)
    right = torch.ones(n_samples, dtype=torch.bool)
    for k, token in enumerate(answer):
        drawn = torch.multinomial(scores.softmax(-1), 1, generator=generator)
        right &= drawn[:, 0] == token
        if not right.any():
            return 0
        if k + 1 < len(answer):
            scores = network.logits(network(drawn, position=len(prompt) + k, caches=caches)[:, -1])
    return int(right.sum())


def sample(run: Run, folder: Path, items: list[Item], tokenizer: Tokenizer, *, n_samples: int, seed: int) -> None:
    """Sample answers of a finished run's last checkpoint; counts for the same items are left alone."""
    path, mark = samples_path(folder, run), fingerprint(items)
    if path.exists() and str(store.read_arrays(path)["fingerprint"]) == mark:
        return
    clock = time.monotonic()
    networks = checkpoints(folder, run)
    network = networks[max(networks)]
    generator = torch.Generator().manual_seed(seed + zlib.crc32(run.name.encode()))
    counts = []
    for item in items:
        answer = item.option_tokens(tokenizer)[0] + ([DOCUMENT_START] if item.closed else [])
        counts.append(count_right(network, item.prompt_tokens(tokenizer), answer, n_samples, generator))
    store.write_arrays(
        path,
        {
            "n_correct": np.array(counts, np.int32),
            "n_samples": np.array(n_samples, np.int32),
            "fingerprint": np.array(mark),
            "seconds": np.array(time.monotonic() - clock),
        },
    )
