"""The configuration, ladder.toml, as objects."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from ladder.model import Architecture
from ladder.world import Settings

STORED = Path(__file__).with_name("ladder.toml")
KINDS = ("text", "facts", "arithmetic", "patterns", "recall", "agreement")
EASY_TO_HARD = "easy to hard"


@dataclass(frozen=True)
class Size:
    """One rung: a network, its peak learning rate and its number of training tokens."""

    name: str
    architecture: Architecture
    learning_rate: float
    tokens: int


@dataclass(frozen=True)
class Recipe:
    """A training mixture.

    Parameters
    ----------
    mix : dict
        Share of tokens by kind of document; sums to 1.
    settings : Settings
        Of the generated documents.
    unique_tokens : int or None
        Length of the stream that is repeated; None: nothing is repeated.
    easy_to_hard : bool
        Whether difficulty grows in the course of training (then `settings` gives the noise only).
    """

    name: str
    mix: dict[str, float]
    settings: Settings
    unique_tokens: int | None
    easy_to_hard: bool

    def __post_init__(self) -> None:
        if set(self.mix) != set(KINDS) or abs(sum(self.mix.values()) - 1) > 1e-9:
            raise ValueError(
                f"mix of recipe {self.name!r} must give shares of {', '.join(KINDS)} that sum to 1; found {self.mix}"
            )

    def settings_at(self, progress: float) -> Settings:
        """Settings at a share `progress` of the training."""
        if not self.easy_to_hard:
            return self.settings
        exponent = 1.5 - progress
        return Settings(hard=progress, noise=self.settings.noise, entity_exponent=exponent, noun_exponent=exponent)


@dataclass(frozen=True)
class Training:
    """What all runs share."""

    rows_per_step: int
    warm_up: float
    final_learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    clip: float
    checkpoints: int
    first_checkpoint: float


@dataclass(frozen=True)
class Run:
    """One training run: a recipe, a size and a seed."""

    recipe: Recipe
    size: Size
    seed: int

    @property
    def name(self) -> str:
        """The name used in files and subjects."""
        return f"{self.recipe.name}-{self.size.name}-s{self.seed}"


@dataclass(frozen=True)
class Configuration:
    """All of ladder.toml; `queue` lists the runs in the order of their training."""

    training: Training
    sizes: tuple[Size, ...]
    recipes: tuple[Recipe, ...]
    queue: tuple[Run, ...]
    item_seed: int
    items_per_benchmark: int
    sampling_seed: int
    samples: int
    log_p_unit: float
    second_seed_checkpoints: int
    weights_recipes: tuple[str, ...]
    weights_sizes: tuple[str, ...]

    def run(self, name: str) -> Run:
        """The run of a name such as "balanced-14k-s0"."""
        found = [run for run in self.queue if run.name == name]
        if not found:
            raise ValueError(
                f"no run is called {name!r}; runs are <recipe>-<size>-s<seed>, for example {self.queue[0].name!r}"
            )
        return found[0]


def load(path: Path = STORED) -> Configuration:
    """Read and check a configuration file."""
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    model, training = content["model"], content["training"]
    sizes = tuple(
        Size(
            entry["name"],
            Architecture(model["vocabulary"], entry["d_model"], entry["layers"], entry["heads"], model["context"]),
            entry["learning_rate"],
            entry["tokens"],
        )
        for entry in content["sizes"]
    )
    recipes = tuple(_recipe(name, entry) for name, entry in content["recipes"].items())
    queue = content["queue"]
    by_size = {size.name: size for size in sizes}
    order = sorted(recipes, key=lambda recipe: recipe.name not in queue["first"])
    # The largest first: two processes share the queue, and a long run at the end would leave one of them idle.
    runs = [
        Run(recipe, size, seed) for seed in queue["seeds_of_all_sizes"] for recipe in order for size in reversed(sizes)
    ]
    runs += [Run(recipe, by_size[entry["size"]], entry["seed"]) for entry in queue["further_seeds"] for recipe in order]
    return Configuration(
        Training(**{**training, "betas": tuple(training["betas"])}),
        sizes,
        recipes,
        tuple(runs),
        content["items"]["seed"],
        content["items"]["per_benchmark"],
        content["sampling"]["seed"],
        content["sampling"]["samples"],
        content["results"]["log_p_unit"],
        content["pack"]["second_seed_checkpoints"],
        tuple(content["pack"]["weights_recipes"]),
        tuple(content["pack"]["weights_sizes"]),
    )


def _recipe(name: str, entry: dict) -> Recipe:
    schedule = entry.get("schedule")
    if schedule not in (None, EASY_TO_HARD):
        raise ValueError(f"schedule of recipe {name!r} must be {EASY_TO_HARD!r} or absent; found {schedule!r}")
    knobs = {key: entry[key] for key in ("hard", "noise", "entity_exponent", "noun_exponent") if key in entry}
    return Recipe(name, entry["mix"], Settings(**knobs), entry.get("unique_tokens"), schedule == EASY_TO_HARD)
