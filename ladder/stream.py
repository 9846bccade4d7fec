"""Training streams: rows of packed documents as token ids."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from ladder import store, text
from ladder.config import KINDS, Recipe
from ladder.tokenizer import DOCUMENT_START, Tokenizer
from ladder.world import World

BIBLE_COPIES = 2  # against one of WordNet, which is more than twice as long


class NaturalText:
    """The training split of the natural text, as token ids."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        cached = folder / "training_text.npz"
        if not cached.exists():
            sentences = text.load(folder)
            training = [
                s
                for source in text.SOURCES
                for s in sentences[source] * (BIBLE_COPIES if source == "bible" else 1)
                if text.split_of(s) == "train"
            ]
            encoded = [tokenizer.encode_words(sentence) for sentence in training]
            ends = np.cumsum([len(tokens) for tokens in encoded])
            store.write_arrays(
                cached, {"tokens": np.array([t for tokens in encoded for t in tokens], np.uint16), "ends": ends}
            )
        arrays = store.read_arrays(cached)
        starts = [0, *arrays["ends"][:-1].tolist()]
        self._tokens = arrays["tokens"].tolist()
        self._spans = list(zip(starts, arrays["ends"].tolist(), strict=True))

    def shuffled(self, rng: random.Random):
        """Sentences for ever, in a new order every time round."""
        order = list(range(len(self._spans)))
        while True:
            rng.shuffle(order)
            for i in order:
                start, end = self._spans[i]
                yield self._tokens[start:end]


def build_rows(
    recipe: Recipe, seed: int, n_rows: int, *, context: int, world: World, natural: NaturalText, tokenizer: Tokenizer
) -> np.ndarray:
    """Rows of `context` + 1 tokens, each beginning with a document; documents are packed, the last one is cut.

    The kind of the next document is, with even odds, drawn by the recipe's shares or the one that is furthest behind
    its share: shares of tokens come out right although documents differ in length.

    Returns
    -------
    (n_rows, context + 1) uint16
    """
    rng = random.Random(f"{recipe.name}-{seed}")
    sentences = natural.shuffled(rng)
    shares = [recipe.mix[kind] for kind in KINDS]
    used = [0] * len(KINDS)
    total = 0
    rows = np.zeros((n_rows, context + 1), np.uint16)
    for row_index in range(n_rows):
        settings = recipe.settings_at(row_index / n_rows)
        row: list[int] = []
        while len(row) <= context:
            if rng.random() < 0.5:
                k = max(range(len(KINDS)), key=lambda i: shares[i] * (total + 1) - used[i])
            else:
                k = rng.choices(range(len(KINDS)), shares)[0]
            if KINDS[k] == "text":
                tokens = next(sentences)
            else:
                tokens = tokenizer.encode_pieces(world.training_document(KINDS[k], rng, settings))
            row.append(DOCUMENT_START)
            row += tokens
            used[k] += len(tokens) + 1
            total += len(tokens) + 1
        rows[row_index] = row[: context + 1]
    return rows


def training_rows(
    recipe: Recipe,
    seed: int,
    n_rows: int,
    longest: int,
    folder: Path,
    *,
    context: int,
    world: World,
    natural: NaturalText,
    tokenizer: Tokenizer,
) -> np.ndarray:
    """The first `n_rows` of a recipe's stream, cached in `folder`, so that all sizes of a recipe read the same data.

    `longest` is the number of rows of the longest run. A curriculum depends on the run's length and is not shared.
    """
    n_unique = n_rows if recipe.easy_to_hard else longest
    if recipe.unique_tokens is not None:
        n_unique = recipe.unique_tokens // context
    cached = folder / f"{recipe.name}-s{seed}-{n_unique}.npz"
    if not cached.exists():
        rows = build_rows(recipe, seed, n_unique, context=context, world=world, natural=natural, tokenizer=tokenizer)
        store.write_arrays(cached, {"rows": rows})
    return store.read_arrays(cached)["rows"][:n_rows]
