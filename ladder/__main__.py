"""Command line of the ladder: ``python -m ladder COMMAND --folder FOLDER``; every command is resumable.

train     train the runs of the queue that are not finished; start it twice to use two cores
evaluate  ask the checkpoints of finished runs, sample answers, write ladder/results/
pack      write the packaged data set from ladder/results/
all       train and evaluate run by run, then pack
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from ladder import config, results, store, text, tokenizer
from ladder.config import Configuration, Run
from ladder.evaluate import Questions, evaluate, prepare
from ladder.items import Item, choice_items, fingerprint, sampled_items
from ladder.pack import pack
from ladder.sample import sample
from ladder.stream import NaturalText
from ladder.tokenizer import Tokenizer
from ladder.train import Material, metadata_path, train
from ladder.world import World

LOG = logging.getLogger("ladder")
DATA = Path(__file__).parents[1] / "src" / "irsl" / "ladder" / "data"


def material_of(folder: Path, configuration: Configuration) -> Material:
    """Text, tokenizer and world; fetched and learned once."""
    text.fetch(folder / "text")
    if not tokenizer.STORED.exists():
        sentences = text.load(folder / "text")
        training = (s for source in text.SOURCES for s in sentences[source] if text.split_of(s) == "train")
        tokenizer.build(training, configuration.sizes[0].architecture.vocabulary).save(tokenizer.STORED)
    encoder = Tokenizer.load()
    return Material(folder, World(), NaturalText(folder / "text", encoder), encoder)


class Examination:
    """The items, and what is done with a finished run: evaluation, sampling, result files."""

    def __init__(self, configuration: Configuration, material: Material) -> None:
        self.configuration, self.material = configuration, material
        context = configuration.sizes[0].architecture.context
        sentences = text.load(material.folder / "text")
        self.choice: list[Item] = choice_items(
            material.world,
            sentences,
            material.tokenizer,
            seed=configuration.item_seed,
            per_benchmark=configuration.items_per_benchmark,
            longest=context,
        )
        self.sampled: list[Item] = sampled_items(material.world, seed=configuration.item_seed)
        self.questions: Questions = prepare(self.choice, sentences, material.tokenizer, context)

    def write_items(self) -> None:
        """Write results/items.parquet."""
        results.write_parquet(results.item_table(self.choice, self.sampled), results.FOLDER / results.ITEMS)

    def done(self, run: Run) -> bool:
        """Whether the result files of a run exist, for these items."""
        path = results.FOLDER / f"{run.name}.json"
        if not path.exists():
            return False
        stored = store.read_json(path)
        return stored["items"] == self.questions.fingerprint and stored["sampled_items"] == fingerprint(self.sampled)

    def examine(self, run: Run) -> None:
        """Evaluate, sample and write the result files of a finished run."""
        if self.done(run):
            return
        folder, configuration = self.material.folder, self.configuration
        evaluate(run, folder, self.questions)
        sample(
            run,
            folder,
            self.sampled,
            self.material.tokenizer,
            n_samples=configuration.samples,
            seed=configuration.sampling_seed,
        )
        results.collect(run, folder, self.choice, self.sampled, unit=configuration.log_p_unit)
        LOG.info("examined %s", run.name)


def train_queue(
    material: Material, configuration: Configuration, runs: tuple[Run, ...], examination: Examination | None
) -> None:
    """Train the runs that no other process has finished or holds; examine each at once if asked to."""
    for run in runs:
        mark = material.folder / "claims" / run.name
        if metadata_path(material.folder, run).exists() or not store.claim(mark):
            continue
        try:
            LOG.info("training %s", run.name)
            train(run, configuration, material)
            LOG.info(
                "finished %s in %s s",
                run.name,
                store.read_json(metadata_path(material.folder, run))["seconds_training"],
            )
            if examination is not None:
                examination.examine(run)
        finally:
            mark.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ladder", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["train", "evaluate", "pack", "all"])
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="where text, weights and evaluations are kept (outside the repository)",
    )
    parser.add_argument("--runs", nargs="*", help="only these runs, for example balanced-14k-s0")
    parser.add_argument("--out", type=Path, default=DATA, help="where pack writes")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    torch.set_num_threads(1)  # two processes with one thread each are faster than one with two
    configuration = config.load()
    runs = tuple(configuration.run(name) for name in options.runs) if options.runs else configuration.queue
    if options.command != "pack":
        material = material_of(options.folder, configuration)
        examination = Examination(configuration, material) if options.command != "train" else None
        if examination is not None:
            examination.write_items()
        if options.command != "evaluate":
            train_queue(material, configuration, runs, examination)
        if examination is not None:
            for run in runs:
                if metadata_path(options.folder, run).exists():
                    examination.examine(run)
    if options.command in ("pack", "all"):
        pack(configuration, options.folder, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
