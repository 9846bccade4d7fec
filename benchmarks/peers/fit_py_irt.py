"""py-irt: variational inference with its defaults (2,000 epochs), items and abilities together."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pyro
import torch
from py_irt.config import IrtConfig
from py_irt.dataset import Dataset
from py_irt.training import IrtModelTrainer

from report import Report


def dataset(values: np.ndarray) -> Dataset:
    """Go through the file that it reads; names are row and column numbers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "responses.jsonlines"
        with path.open("w") as file:
            for i, row in enumerate(values):
                answers = {str(j): int(row[j]) for j in np.flatnonzero(np.isfinite(row))}
                file.write(json.dumps({"subject_id": str(i), "responses": answers}) + "\n")
        return Dataset.from_jsonlines(path)


def by_number(names: dict[int, str], values: list[float]) -> np.ndarray:
    found = np.full(len(names), np.nan)
    for index, name in names.items():
        found[int(name)] = values[index]
    return found


def main() -> None:
    report = Report()
    with report.timed("seconds_reading"):
        data = dataset(np.load(report.responses))
    pyro.set_rng_seed(0)
    config = IrtConfig(model_type=report.model, epochs=2000)
    trainer = IrtModelTrainer(config=config, data_path=None, dataset=data, verbose=False)
    report.count(torch.Tensor, "backward")
    with report.timed("seconds_items"):
        trainer.train(epochs=config.epochs)
    found = trainer.last_params
    difficulty = by_number(found["item_ids"], found["diff"])
    slopes = by_number(found["item_ids"], found["disc"]) if report.model == "2pl" else np.ones_like(difficulty)
    report.finish(
        difficulty=difficulty, discrimination=slopes, ability=by_number(found["subject_ids"], found["ability"])
    )


if __name__ == "__main__":
    main()
