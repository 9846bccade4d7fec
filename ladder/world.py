"""Generated documents: a small invented world of facts, arithmetic, letter patterns, look-ups and agreement.

A document is a list of pieces; every piece is one token, and the pieces joined by blanks are the readable text.
Which prompts are kept out of training is decided by a hash of the prompt (`held_out`), not by a list of items, so
that items can be drawn, and changed, after training.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate

SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"][:56]
LETTERS = [chr(ord("A") + i) for i in range(16)]
DIGITS = list("0123456789")
OPERATIONS = ["copy", "reverse", "sort", "next", "largest"]
PREPOSITIONS = ["near", "behind", "under", "beside"]
VERB_ENDINGS = ["-ka", "-ro", "-shi", "-tum"]  # (gender, number) -> 2 gender + number
PLURAL = "-s"

# relation -> 16 values, and two templates ({e} the entity, {v} the value); the first template is the one asked.
RELATIONS: dict[str, tuple[list[str], tuple[str, str]]] = {
    "home": (
        [
            "balto",
            "corin",
            "dresk",
            "elvan",
            "forum",
            "gradz",
            "hosto",
            "ilmen",
            "jarka",
            "kelso",
            "lomza",
            "modra",
            "norvi",
            "ostra",
            "pirna",
            "quelo",
        ],
        ("{e} lives in {v} .", "in {v} lives {e} ."),
    ),
    "work": (
        [
            "baker",
            "miner",
            "judge",
            "clerk",
            "tailor",
            "mason",
            "piper",
            "hunter",
            "weaver",
            "potter",
            "sailor",
            "farmer",
            "smith",
            "monk",
            "scribe",
            "guard",
        ],
        ("{e} works as {v} .", "the {v} named {e} ."),
    ),
    "food": (
        [
            "bread",
            "plums",
            "trout",
            "beans",
            "honey",
            "dates",
            "lamb",
            "rice",
            "figs",
            "cakes",
            "leeks",
            "olives",
            "barley",
            "cheese",
            "grapes",
            "onions",
        ],
        ("{e} likes {v} .", "{v} pleases {e} ."),
    ),
    "pet": (
        [
            "goat",
            "hound",
            "raven",
            "camel",
            "otter",
            "mule",
            "heron",
            "ferret",
            "pony",
            "crow",
            "lynx",
            "drake",
            "hare",
            "stoat",
            "finch",
            "toad",
        ],
        ("{e} owns a {v} .", "the {v} of {e} ."),
    ),
}
TEMPLATE_WORDS = [
    "lives",
    "in",
    "works",
    "as",
    "the",
    "named",
    "likes",
    "pleases",
    "owns",
    "a",
    "of",
]
ARITHMETIC_KINDS = ["1+1", "1-1", "1*1", "1+1+1", "2+-1", "2+2", "2-2", "1+1-1+1", "2*1", "3+2"]  # digits of the terms

PIECES = (
    ["\n", *DIGITS, *"+-*=.,;:>?!'()"]
    + SYLLABLES
    + TEMPLATE_WORDS
    + ["key", *OPERATIONS, *PREPOSITIONS, "that", PLURAL, *VERB_ENDINGS]
    + [value for values, _ in RELATIONS.values() for value in values]
    + LETTERS
)

N_ENTITIES = 600
N_NOUNS = 300
N_VERBS = 12
ASKED_TEMPLATE_SHARE = 0.6
HELD_OUT_MODULUS = 8
EXEMPT_ARITHMETIC = frozenset({"1+1", "1-1", "1*1"})  # tables of at most 200 entries are not worth splitting
FURTHER_LOOKUPS = 5  # in one recall document, after the first


def held_out(prompt: list[str]) -> bool:
    """Whether a prompt is kept out of every training stream: one in eight, by the CRC of its text."""
    return zlib.crc32(" ".join(prompt).encode()) % HELD_OUT_MODULUS == 0


@dataclass(frozen=True)
class Settings:
    """What a recipe may change about the generated documents.

    Parameters
    ----------
    hard : float
        Share of hard draws (more digits, longer lists, more attractors), 0 to 1.
    noise : float
        Probability that an answer is replaced by a wrong or random one.
    entity_exponent, noun_exponent : float
        Zipf exponents of the entities (facts) and nouns (agreement); 0 is uniform.
    """

    hard: float = 0.5
    noise: float = 0.0
    entity_exponent: float = 1.0
    noun_exponent: float = 0.8


@dataclass(frozen=True)
class Document:
    """A document in three parts, with what an item needs to know about it.

    Parameters
    ----------
    prompt, answer, tail : list of str
        Pieces; the document is their concatenation. Only the first part is shown to a subject that is asked.
    knobs : dict
        What makes it easy or hard: kind, length, rank ...
    exempt : bool
        True where the held-out rule does not apply (facts must be seen to be known; one-digit tables).
    """

    prompt: list[str]
    answer: list[str]
    tail: list[str] = field(default_factory=list)
    knobs: dict[str, object] = field(default_factory=dict)
    exempt: bool = False


@cache
def _zipf(n: int, exponent: float) -> list[float]:
    return list(accumulate((rank + 1) ** -exponent for rank in range(n)))


def zipf_rank(rng: random.Random, n: int, exponent: float) -> int:
    """A rank 0 ... n - 1 with probability proportional to (rank + 1)^-exponent."""
    return rng.choices(range(n), cum_weights=_zipf(n, exponent))[0]


class World:
    """The invented names, facts and genders; drawn once from `seed` and the same for every recipe."""

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(seed)
        names = [(first, second) for first in SYLLABLES for second in SYLLABLES]
        rng.shuffle(names)
        self.entities = names[:N_ENTITIES]
        self.nouns = names[N_ENTITIES : N_ENTITIES + N_NOUNS]
        self.verbs = names[N_ENTITIES + N_NOUNS : N_ENTITIES + N_NOUNS + N_VERBS]
        self.genders = [rng.randrange(2) for _ in self.nouns]
        self.facts = {relation: [rng.randrange(16) for _ in self.entities] for relation in RELATIONS}
        self._draws: dict[str, Callable[[random.Random, Settings], Document]] = {
            "facts": self.fact,
            "arithmetic": self.arithmetic,
            "patterns": self.pattern,
            "recall": self.recall,
            "agreement": self.agreement,
        }

    def training_document(self, kind: str, rng: random.Random, settings: Settings) -> list[str]:
        """Pieces of one document of a kind whose prompt is not held out."""
        draw = self._draws[kind]
        while True:
            document = draw(rng, settings)
            if document.exempt or not held_out(document.prompt):
                return document.prompt + document.answer + document.tail

    def facts_sentence(self, entity: int, relation: str, template: int, value: int) -> tuple[list[str], int]:
        """Pieces of a fact in one of its two templates, and the position of the value in them."""
        pieces: list[str] = []
        position = 0
        for word in RELATIONS[relation][1][template].split():
            if word == "{e}":
                pieces += self.entities[entity]
            elif word == "{v}":
                position = len(pieces)
                pieces.append(RELATIONS[relation][0][value])
            else:
                pieces.append(word)
        return pieces, position

    def fact(
        self,
        rng: random.Random,
        settings: Settings,
        *,
        entity: int | None = None,
        relation: str | None = None,
        asked: bool | None = None,
    ) -> Document:
        """One fact; in the asked template the value is the answer, in the other the whole sentence is."""
        entity = zipf_rank(rng, N_ENTITIES, settings.entity_exponent) if entity is None else entity
        relation = rng.choice(list(RELATIONS)) if relation is None else relation
        asked = rng.random() < ASKED_TEMPLATE_SHARE if asked is None else asked
        value = self.facts[relation][entity]
        if settings.noise and rng.random() < settings.noise:
            value = rng.randrange(16)
        pieces, position = self.facts_sentence(entity, relation, 0 if asked else 1, value)
        position = position if asked else 0
        knobs: dict[str, object] = {"kind": relation, "entity_rank": entity + 1}
        return Document(pieces[:position], pieces[position : position + 1], pieces[position + 1 :], knobs, exempt=True)

    def arithmetic(self, rng: random.Random, settings: Settings, *, kind: str | None = None) -> Document:
        """A sum, difference or product, written in the usual order, one digit a piece."""
        hard, draw = settings.hard, rng.randrange
        if kind is None:
            easy = 1 - hard
            weights = [3 * easy, 3 * easy, 2 * easy, 1.5, 2, 4 * hard, 3 * hard, 1.5 * hard, 2 * hard, 2 * hard]
            kind = rng.choices(ARITHMETIC_KINDS, weights)[0]
        if kind == "1+1":
            terms = [draw(10), "+", draw(10)]
        elif kind == "1-1":
            x, y = sorted((draw(20), draw(10)))
            terms = [y, "-", x]
        elif kind == "1*1":
            terms = [draw(2, 10), "*", draw(2, 10)]
        elif kind == "1+1+1":
            terms = [draw(10), "+", draw(10), "+", draw(10)]
        elif kind == "2+-1":
            terms = [draw(10, 100), rng.choice("+-"), draw(10)]
        elif kind == "2+2":
            terms = [draw(10, 100), "+", draw(10, 100)]
        elif kind == "2-2":
            x, y = sorted((draw(10, 100), draw(10, 100)))
            terms = [y, "-", x]
        elif kind == "1+1-1+1":
            x, y = draw(10), draw(10)
            terms = [x, "+", y, "-", draw(min(9, x + y) + 1), "+", draw(10)]
        elif kind == "2*1":
            terms = [draw(10, 100), "*", draw(2, 10)]
        else:
            terms = [draw(100, 1000), "+", draw(10, 100)]
        value = _value(terms)
        if settings.noise and rng.random() < settings.noise:
            value = max(0, value + rng.choice([-10, -2, -1, 1, 2, 10]))
        prompt = [digit for term in terms for digit in str(term)] + ["="]
        return Document(prompt, list(str(value)), [], {"kind": kind, "value": value}, kind in EXEMPT_ARITHMETIC)

    def pattern(
        self, rng: random.Random, settings: Settings, *, kind: str | None = None, length: int | None = None
    ) -> Document:
        """Letters to copy, reverse, sort or continue, or whose largest is asked."""
        kind = kind or rng.choices(OPERATIONS, [2, 2, 2, 2, 1])[0]
        if length is None:
            length = rng.randint(2, 4) if rng.random() > settings.hard else rng.randint(4, 9)
        if kind == "next" and rng.random() < 0.5:
            period = rng.randint(2, 4)
            cycle = [rng.choice(LETTERS) for _ in range(period)]
            letters = [cycle[i % period] for i in range(length + period)]
            answer = [cycle[(length + period + i) % period] for i in range(2)]
        elif kind == "next":
            start, step, shown = rng.randrange(16), rng.choice([1, 1, 2, 3, -1, -2]), min(length, 5) + 1
            letters = [LETTERS[(start + step * i) % 16] for i in range(shown)]
            answer = [LETTERS[(start + step * (shown + i)) % 16] for i in range(2)]
        else:
            letters = [rng.choice(LETTERS) for _ in range(length)]
            answer = {"copy": letters, "reverse": letters[::-1], "sort": sorted(letters), "largest": [max(letters)]}[
                kind
            ]
        if settings.noise and rng.random() < settings.noise:
            answer = list(answer)
            answer[rng.randrange(len(answer))] = rng.choice(LETTERS)
        return Document([kind, *letters, ">"], list(answer), [], {"kind": kind, "length": len(letters)})

    def recall(self, rng: random.Random, settings: Settings, *, length: int | None = None) -> Document:
        """Key and value pairs, then a key whose value is asked; in training more keys follow.

        With a single look-up a document nothing is learned from a few million tokens.
        """
        if length is None:
            length = rng.randint(2, 3) if rng.random() > settings.hard else rng.randint(3, 6)
        keys = rng.sample(LETTERS, length)
        values = [rng.choice(DIGITS) for _ in keys]
        asked = rng.randrange(length)

        def shown(value: str) -> str:
            return rng.choice(DIGITS) if settings.noise and rng.random() < settings.noise else value

        prompt = ["key"]
        for key, value in zip(keys, values, strict=True):
            prompt += [key, value]
        tail: list[str] = []
        for other in rng.choices(range(length), k=FURTHER_LOOKUPS):
            tail += [";", keys[other], ">", shown(values[other])]
        knobs: dict[str, object] = {"kind": "look-up", "length": length, "distance": length - asked, "values": values}
        return Document([*prompt, ";", keys[asked], ">"], [shown(values[asked])], tail, knobs)

    def agreement(
        self, rng: random.Random, settings: Settings, *, attractors: int | None = None, relative: bool | None = None
    ) -> Document:
        """A sentence whose verb ending depends on the gender and number of the first noun.

        Between them stand prepositional phrases with other nouns (attractors) and sometimes a relative clause.
        """
        exponent = settings.noun_exponent
        if attractors is None:
            attractors = rng.choice([0, 0, 1]) if rng.random() > settings.hard else rng.randint(1, 4)
        if relative is None:
            relative = rng.random() < 0.6 * settings.hard

        def noun_phrase() -> tuple[list[str], str, int]:
            noun, plural = zipf_rank(rng, N_NOUNS, exponent), rng.randrange(2)
            ending = VERB_ENDINGS[2 * self.genders[noun] + plural]
            return [*self.nouns[noun], *([PLURAL] if plural else [])], ending, noun

        def shown(ending: str) -> str:
            return rng.choice(VERB_ENDINGS) if settings.noise and rng.random() < settings.noise else ending

        prompt, ending, noun = noun_phrase()
        for _ in range(attractors):
            prompt += [rng.choice(PREPOSITIONS), *noun_phrase()[0]]
        if relative:
            inner, inner_ending, _ = noun_phrase()
            prompt += ["that", *inner, *rng.choice(self.verbs), inner_ending]
        prompt += rng.choice(self.verbs)
        tail = ["."]
        for _ in range(2):  # two short sentences more, for a denser training signal
            while True:
                phrase, other_ending, _ = noun_phrase()
                short_prompt = [*phrase, *rng.choice(self.verbs)]
                if not held_out(short_prompt):
                    break
            tail += [*short_prompt, shown(other_ending), "."]
        knobs: dict[str, object] = {
            "kind": "relative" if relative else "plain",
            "attractors": attractors,
            "noun_rank": noun + 1,
        }
        return Document(prompt, [shown(ending)], tail, knobs)


def _value(terms: list[int | str]) -> int:
    """Value of alternating numbers and operators (a product has exactly two factors)."""
    total = int(terms[0])
    for operator, term in zip(terms[1::2], terms[2::2], strict=True):
        total = total * int(term) if operator == "*" else total + int(term) if operator == "+" else total - int(term)
    return total


if len(set(PIECES)) != len(PIECES):
    raise RuntimeError("every piece of the generated world must be spelled differently")
