"""torch_measure: its `fit` with its defaults (joint maximum likelihood by Adam, at most 1,000 epochs)."""

import numpy as np
import torch
from torch_measure.models import BetaRasch, BetaTwoPL, Rasch, TwoPL

from report import Report

MODELS = {
    ("bernoulli", "1pl"): Rasch,
    ("bernoulli", "2pl"): TwoPL,
    ("beta", "1pl"): BetaRasch,
    ("beta", "2pl"): BetaTwoPL,
}


def main() -> None:
    report = Report()
    values = torch.tensor(np.load(report.responses), dtype=torch.float32)
    torch.manual_seed(0)
    model = MODELS[report.likelihood, report.model](*values.shape)
    report.count(torch.Tensor, "backward")
    with report.timed("seconds_items"):
        model.fit(values, verbose=False)
    difficulty = model.difficulty.detach().numpy()
    slopes = model.discrimination.detach().numpy() if report.model == "2pl" else np.ones_like(difficulty)
    report.finish(difficulty=difficulty, discrimination=slopes, ability=model.ability.detach().numpy())


if __name__ == "__main__":
    main()
