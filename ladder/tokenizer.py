"""Tokens: one for every piece of the generated world, byte-pair merges for the words of natural text.

Two spellings of a text exist, because "the" is one piece of the generated world and a natural word as well:
``pieces`` (blank-separated, each one reserved token) and ``words`` (natural text, merged letters).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from ladder import text
from ladder.world import PIECES

DOCUMENT_START = 0  # the newline, first of the reserved pieces
NOTE = "ids: reserved pieces, then _a ... _z (word starts), a ... z, then the merges in order; id 0 starts a document"
STORED = Path(__file__).with_name("tokenizer.json")


class Tokenizer:
    """Encodes both spellings.

    Parameters
    ----------
    reserved : list of str
        Pieces, ids 0, 1, ...
    merges : list of (str, str)
        In order of their learning; "_" marks the first letter of a word.
    """

    def __init__(self, reserved: list[str], merges: list[tuple[str, str]]) -> None:
        letters = [chr(ord("a") + i) for i in range(26)]
        self.reserved = reserved
        self.merges = merges
        self.parts = ["_" + letter for letter in letters] + letters + ["".join(merge) for merge in merges]
        self._piece_id = {piece: i for i, piece in enumerate(reserved)}
        self._part_id = {part: len(reserved) + i for i, part in enumerate(self.parts)}
        self._rank = {merge: rank for rank, merge in enumerate(merges)}
        self._cache: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.reserved) + len(self.parts)

    def encode_pieces(self, pieces: Iterable[str]) -> list[int]:
        """Token ids of pieces of the generated world."""
        return [self._piece_id[piece] for piece in pieces]

    def encode_words(self, sentence: str) -> list[int]:
        """Token ids of a clean natural sentence."""
        return [token for word in text.words(sentence) for token in self._encode_word(word)]

    def encode(self, string: str, spelling: str) -> list[int]:
        """Token ids of a text in one of the two spellings, "pieces" or "words"."""
        if spelling == "pieces":
            return self.encode_pieces(string.split())
        if spelling == "words":
            return self.encode_words(string)
        raise ValueError(f"spelling must be 'pieces' or 'words'; found {spelling!r}")

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            if word.isalpha():
                self._cache[word] = [self._part_id[part] for part in self._merge(word)]
            else:
                self._cache[word] = [self._piece_id[word]]
        return self._cache[word]

    def _merge(self, word: str) -> list[str]:
        parts = _letters(word)
        while len(parts) > 1:
            ranked = [(self._rank.get(pair, len(self._rank)), i) for i, pair in enumerate(pairwise(parts))]
            rank, i = min(ranked)
            if rank == len(self._rank):
                break
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        return parts

    def save(self, path: Path) -> None:
        """Write reserved pieces and merges as JSON."""
        content = {
            "reserved": self.reserved,
            "merges": [list(merge) for merge in self.merges],
            "note": NOTE,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
        partial.rename(path)

    @classmethod
    def load(cls, path: Path = STORED) -> Tokenizer:
        """The tokenizer stored beside this module."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["reserved"], [(first, second) for first, second in content["merges"]])


def _letters(word: str) -> list[str]:
    return ["_" + word[0], *word[1:]]


def learn_merges(counts: Counter[str], n_merges: int) -> list[tuple[str, str]]:
    """The most frequent pairs inside words, one after the other.

    Pair counts are kept up to date from the words that hold the merged pair only, which makes it a matter of seconds.
    """
    spelled = [(_letters(word), count) for word, count in sorted(counts.items()) if word.isalpha()]
    pair_counts: Counter[tuple[str, str]] = Counter()
    holders: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for i, (parts, count) in enumerate(spelled):
        for pair in pairwise(parts):
            pair_counts[pair] += count
            holders[pair].add(i)
    merges: list[tuple[str, str]] = []
    for _ in range(n_merges):
        best = max(pair_counts, key=lambda pair: (pair_counts[pair], pair))
        merges.append(best)
        for i in list(holders[best]):
            parts, count = spelled[i]
            for pair in pairwise(parts):
                pair_counts[pair] -= count
                holders[pair].discard(i)
            merged = _apply(parts, best)
            spelled[i] = (merged, count)
            for pair in pairwise(merged):
                pair_counts[pair] += count
                holders[pair].add(i)
    return merges


def _apply(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    i = 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            merged.append(parts[i] + parts[i + 1])
            i += 2
        else:
            merged.append(parts[i])
            i += 1
    return merged


def build(sentences: Iterable[str], vocabulary: int) -> Tokenizer:
    """A tokenizer of `vocabulary` entries learned from clean natural sentences."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        counts.update(text.words(sentence))
    frequent = Counter({word: count for word, count in counts.items() if count > 2})
    return Tokenizer(PIECES, learn_merges(frequent, vocabulary - len(PIECES) - 52))
