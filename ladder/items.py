"""Items: six benchmarks of four-choice items, and items whose answers are sampled.

Everything is drawn from the world, the held-out natural text and a seed, so the same configuration gives the same
items. Prompts obey the held-out rules of `world` and `text`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, permutations

from ladder import text
from ladder.tokenizer import DOCUMENT_START, Tokenizer
from ladder.world import (
    ARITHMETIC_KINDS,
    DIGITS,
    LETTERS,
    N_ENTITIES,
    OPERATIONS,
    RELATIONS,
    VERB_ENDINGS,
    Document,
    Settings,
    World,
    held_out,
)

N_OPTIONS = 4
BENCHMARKS = ("facts", "arithmetic", "patterns", "recall", "agreement", "order")
SAMPLED_SUFFIX = "_sampled"
CLEAN = Settings()
ARITHMETIC_WEIGHTS = [1.5, 1.5, 1.5, 2.5, 2.5, 3, 3, 2, 2.5, 2.5]
PATTERN_WEIGHTS = [2, 2, 2, 2, 1]  # of OPERATIONS
PATTERN_LENGTHS = (3, 16)
RECALL_LENGTHS = (2, 16)
ATTRACTOR_WEIGHTS = [3, 2, 2, 2, 2, 2, 2]  # of 0 ... 6 attractors
AGREEMENT_NOUN_EXPONENT = 0.3
ORDER_LENGTHS = (3, 6)  # words at the end whose order is asked
ORDER_CYCLE = ("bible", "wordnet", "bible", "wordnet", "bible")
SAMPLED_PATTERN_LENGTHS = (2, 3, 4, 6, 8, 11)
SAMPLED_RECALL_LENGTHS = (2, 2, 3, 3, 4, 4, 6, 6, 8, 10, 12, 14)
SAMPLED_FACT_RANKS = (0, 1, 2, 4, 7, 12, 20, 33, 50, 80, 120, 180, 260, 360, 470, 590)


@dataclass(frozen=True)
class Item:
    """One item.

    Parameters
    ----------
    name : str
        Unique, prefixed by the benchmark.
    benchmark : str
    spelling : str
        How prompt and options become tokens: "pieces" or "words" (see `tokenizer`).
    prompt : str
    options : tuple of str
        The choices; a single one, the right answer, if answers are sampled.
    gold : int
        Index of the right option.
    closed : bool
        Sampled answers only: whether the document must end after the answer.
    knobs : dict
        What makes it easy or hard.
    """

    name: str
    benchmark: str
    spelling: str
    prompt: str
    options: tuple[str, ...]
    gold: int
    closed: bool
    knobs: dict[str, object]

    def prompt_tokens(self, tokenizer: Tokenizer) -> list[int]:
        """Token ids of the prompt, with the document's start."""
        return [DOCUMENT_START, *tokenizer.encode(self.prompt, self.spelling)]

    def option_tokens(self, tokenizer: Tokenizer) -> list[list[int]]:
        """Token ids of every option."""
        return [tokenizer.encode(option, self.spelling) for option in self.options]


def fingerprint(items: list[Item]) -> str:
    """Hash of a list of items: evaluations of other items are not mixed up with these."""
    return hashlib.sha256(json.dumps([asdict(item) for item in items]).encode()).hexdigest()[:16]


def choice_items(
    world: World, sentences: dict[str, list[str]], tokenizer: Tokenizer, *, seed: int, per_benchmark: int, longest: int
) -> list[Item]:
    """The four-choice items, `per_benchmark` for each of BENCHMARKS.

    Parameters
    ----------
    sentences : dict of list of str
        All natural sentences by source (the training split is filtered out).
    longest : int
        Largest number of tokens of a prompt with an option.
    """
    items: list[Item] = []
    for benchmark in BENCHMARKS:
        rng = random.Random(f"{seed}-{benchmark}")
        drawn = _order(sentences, rng) if benchmark == "order" else _generated(benchmark, world, rng)
        seen: set[str] = set()
        while len(seen) < per_benchmark:
            prompt, options, knobs, spelling = next(drawn)
            if prompt in seen:
                continue
            positions = list(range(N_OPTIONS))
            rng.shuffle(positions)
            item = Item(
                f"{benchmark}:{len(seen):03d}",
                benchmark,
                spelling,
                prompt,
                tuple(options[i] for i in positions),
                positions.index(0),
                False,
                knobs,
            )
            if len(item.prompt_tokens(tokenizer)) + max(map(len, item.option_tokens(tokenizer))) > longest:
                continue
            seen.add(prompt)
            items.append(item)
    return items


Drawn = tuple[str, list[str], dict[str, object], str]  # prompt, options (the right one first), knobs, spelling


def _generated(benchmark: str, world: World, rng: random.Random) -> Iterator[Drawn]:
    draw = {
        "facts": _fact,
        "arithmetic": _arithmetic,
        "patterns": _pattern,
        "recall": _recall,
        "agreement": _agreement,
    }[benchmark]
    while True:
        document, wrong = draw(world, rng)
        if document.exempt or held_out(document.prompt):
            options = [" ".join(document.answer), *(" ".join(option) for option in wrong)]
            yield " ".join(document.prompt), options, document.knobs, "pieces"


def _fact(world: World, rng: random.Random) -> tuple[Document, list[list[str]]]:
    """Entities log-uniform in rank; the others are values of the same relation."""
    relation = rng.choice(list(RELATIONS))
    document = world.fact(
        rng, CLEAN, entity=min(N_ENTITIES - 1, int(N_ENTITIES ** rng.random())), relation=relation, asked=True
    )
    others = [[value] for value in RELATIONS[relation][0] if [value] != document.answer]
    return document, rng.sample(others, N_OPTIONS - 1)


def _arithmetic(world: World, rng: random.Random) -> tuple[Document, list[list[str]]]:
    """Wrong results by the two errors of `_two_errors`: one in the last digit, one further away."""
    document = world.arithmetic(rng, CLEAN, kind=rng.choices(ARITHMETIC_KINDS, ARITHMETIC_WEIGHTS)[0])
    value = int("".join(document.answer))
    near, far = ([1, 2], [10, 20]) if value >= 30 else ([1, 2], [4, 5, 10]) if value >= 12 else ([1], [2, 3])
    while True:
        first, second = (rng.choice([-1, 1]) * rng.choice(errors) for errors in (near, far))
        wrong = [value + first, value + second, value + first + second]
        if value <= 3:  # too small for differences of either sign
            wrong = rng.sample([other for other in range(8) if other != value], N_OPTIONS - 1)
        if min(wrong) >= 0:
            return document, [list(str(other)) for other in wrong]


def _pattern(world: World, rng: random.Random) -> tuple[Document, list[list[str]]]:
    """Lengths beyond those of training; an error swaps two neighbours or replaces a letter."""
    kind = rng.choices(OPERATIONS, PATTERN_WEIGHTS)[0]
    document = world.pattern(rng, CLEAN, kind=kind, length=rng.randint(*PATTERN_LENGTHS))
    right, letters = document.answer, document.prompt[1:-1]
    if len(right) == 1:
        others = sorted(set(letters) - set(right))
        spare = sorted(set(LETTERS) - set(letters))
        rng.shuffle(others)
        rng.shuffle(spare)
        return document, [[letter] for letter in [*others, *spare][: N_OPTIONS - 1]]

    def error() -> Edit:
        i = rng.randrange(len(right))
        if len(right) > 3 and rng.random() < 0.5 and i + 1 < len(right) and right[i] != right[i + 1]:
            return {i: right[i + 1], i + 1: right[i]}
        return {
            i: rng.choice(
                [letter for letter in (letters if rng.random() < 0.7 else LETTERS) if letter != right[i]] or LETTERS
            )
        }

    return document, _two_errors(right, error)


Edit = dict[int, str]  # position -> new piece


def _two_errors(right: list[str], error: Callable[[], Edit]) -> list[list[str]]:
    """Three wrong answers: one error, another one, both.

    Were all wrong answers one error away from the right one, a subject that knows nothing but prefers, say, sorted
    letters would find one of three random changes better than the original more often than not, and score far below
    chance. Here each option stands in the same relation to the other three, and ignorance scores 1 / 4.
    """
    while True:
        first, second = error(), error()
        if not first.keys() & second.keys():
            wrong = [[edit.get(i, piece) for i, piece in enumerate(right)] for edit in (first, second, first | second)]
            if all(option != right for option in wrong) and len({tuple(option) for option in wrong}) == len(wrong):
                return wrong


def _recall(world: World, rng: random.Random) -> tuple[Document, list[list[str]]]:
    """Lengths log-uniform; wrong values belong to other keys of the list, as far as there are enough."""
    shortest, longest = RECALL_LENGTHS
    document = world.recall(rng, CLEAN, length=round(shortest * (longest / shortest) ** rng.random()))
    listed = document.knobs["values"]
    present = sorted({value for value in listed if [value] != document.answer})  # type: ignore[attr-defined]
    absent = [digit for digit in DIGITS if digit not in present and [digit] != document.answer]
    rng.shuffle(present)
    rng.shuffle(absent)
    knobs = {key: value for key, value in document.knobs.items() if key != "values"}
    wrong = [[value] for value in [*present, *absent][: N_OPTIONS - 1]]
    return Document(document.prompt, document.answer, [], knobs), wrong


def _agreement(world: World, rng: random.Random) -> tuple[Document, list[list[str]]]:
    settings = Settings(noun_exponent=AGREEMENT_NOUN_EXPONENT)
    attractors = rng.choices(range(len(ATTRACTOR_WEIGHTS)), ATTRACTOR_WEIGHTS)[0]
    document = world.agreement(rng, settings, attractors=attractors, relative=rng.random() < 0.3)
    return document, [[ending] for ending in VERB_ENDINGS if [ending] != document.answer]


def _order(sentences: dict[str, list[str]], rng: random.Random) -> Iterator[Drawn]:
    """The last words of a held-out sentence in the right order against three wrong orders.

    Same words and same length: neither frequency nor length helps. An error swaps two words, in half of the items
    neighbours.
    """
    pools: dict[str, Iterator[str]] = {}
    for source in text.SOURCES:
        pool = sorted({sentence for sentence in sentences[source] if text.split_of(sentence) == "items"})
        rng.shuffle(pool)
        pools[source] = iter(pool)
    for number in count():
        source = ORDER_CYCLE[number % len(ORDER_CYCLE)]
        length = rng.randint(*ORDER_LENGTHS)
        while True:
            all_words = text.words(next(pools[source]).rstrip(" .,;:?!'()-"))
            end = all_words[-length:]
            if length + 5 <= len(all_words) <= 30 and all(word.isalpha() for word in end) and len(set(end)) == length:
                break
        adjacent = number // len(ORDER_CYCLE) % 2 == 1
        wrong = _wrong_orders(end, rng, adjacent)
        knobs: dict[str, object] = {"kind": source, "length": length, "adjacent": adjacent}
        yield " ".join(all_words[:-length]), [" ".join(order) for order in [end, *wrong]], knobs, "words"


def _wrong_orders(right: list[str], rng: random.Random, adjacent: bool) -> list[list[str]]:
    if len(right) < N_OPTIONS:  # two swaps overlap: any other orders
        return rng.sample([list(order) for order in permutations(right) if list(order) != right], N_OPTIONS - 1)

    def error() -> Edit:
        i, j = rng.sample(range(len(right)), 2)
        if adjacent:
            i = rng.randrange(len(right) - 1)
            j = i + 1
        return {i: right[j], j: right[i]}

    return _two_errors(right, error)


def sampled_items(world: World, *, seed: int) -> list[Item]:
    """Items whose answers are sampled and compared exactly; benchmarks "<name>_sampled"."""
    rng = random.Random(f"{seed}-sampled")
    plans = [
        ("arithmetic", lambda kind=kind: world.arithmetic(rng, CLEAN, kind=kind))
        for kind in ARITHMETIC_KINDS
        for _ in range(2)
    ]
    plans += [
        ("patterns", lambda kind=kind, length=length: world.pattern(rng, CLEAN, kind=kind, length=length))
        for kind in ("copy", "reverse", "sort", "next")
        for length in SAMPLED_PATTERN_LENGTHS
    ]
    plans += [
        ("recall", lambda length=length: world.recall(rng, CLEAN, length=length)) for length in SAMPLED_RECALL_LENGTHS
    ]
    plans += [
        ("facts", lambda rank=rank: world.fact(rng, CLEAN, entity=rank, asked=True)) for rank in SAMPLED_FACT_RANKS
    ]
    items: list[Item] = []
    for benchmark, draw in plans:
        taken = {item.prompt for item in items}
        while True:
            document = draw()
            if (document.exempt or held_out(document.prompt)) and " ".join(document.prompt) not in taken:
                break
        knobs = {key: value for key, value in document.knobs.items() if key != "values"}
        name = benchmark + SAMPLED_SUFFIX
        number = sum(item.benchmark == name for item in items)
        closed = benchmark in ("arithmetic", "patterns")
        items.append(
            Item(
                f"{name}:{number:03d}",
                name,
                "pieces",
                " ".join(document.prompt),
                (" ".join(document.answer),),
                0,
                closed,
                knobs,
            )
        )
    return items
