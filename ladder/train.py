"""Training of one run: every checkpoint's weights and a small JSON file of metadata."""

from __future__ import annotations

import math
import platform
import resource
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ladder import store
from ladder.config import Configuration, Run, Training
from ladder.model import LanguageModel
from ladder.stream import NaturalText, training_rows
from ladder.tokenizer import Tokenizer
from ladder.world import World

FLOPS_PER_PARAMETER_AND_TOKEN = 6  # Kaplan et al. (2020), section 2.1: forward and backward
SHORTEST_WARM_UP = 20  # steps
COMPUTE_DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Material:
    """What every run reads."""

    folder: Path
    world: World
    natural: NaturalText
    tokenizer: Tokenizer


def weights_path(folder: Path, run: Run) -> Path:
    """Checkpoints of a run: arrays named "<step>/<parameter>"."""
    return folder / "runs" / f"{run.name}.npz"


def metadata_path(folder: Path, run: Run) -> Path:
    """Metadata of a run; it is written last, so where it exists the run is finished."""
    return folder / "runs" / f"{run.name}.json"


def checkpoint_steps(training: Training, steps: int) -> list[int]:
    """Steps at which weights are stored, geometric up to the last step."""
    marks = np.geomspace(max(1, training.first_checkpoint * steps), steps, training.checkpoints)
    return sorted({round(float(mark)) for mark in marks})


def learning_rate_factor(training: Training, step: int, steps: int) -> float:
    """Share of the peak learning rate at a step: linear warm-up times cosine decay."""
    warm_up = max(SHORTEST_WARM_UP, round(training.warm_up * steps))
    floor = training.final_learning_rate
    decay = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / steps))
    return min(1.0, step / warm_up) * decay


def train(run: Run, configuration: Configuration, material: Material) -> None:
    """Train a run from its first step to its last and store the result; a finished run is left alone."""
    if metadata_path(material.folder, run).exists():
        return
    training, architecture = configuration.training, run.size.architecture
    per_step = training.rows_per_step * architecture.context
    steps = run.size.tokens // per_step
    longest = max(size.tokens for size in configuration.sizes) // per_step * training.rows_per_step
    clock = time.monotonic()
    rows = training_rows(
        run.recipe,
        run.seed,
        steps * training.rows_per_step,
        longest,
        material.folder / "streams",
        context=architecture.context,
        world=material.world,
        natural=material.natural,
        tokenizer=material.tokenizer,
    )
    tokens = torch.from_numpy(rows.astype(np.int64))
    seconds_data = time.monotonic() - clock

    torch.manual_seed(run.seed)
    network = LanguageModel(architecture)
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, run.size.learning_rate, betas=training.betas, fused=True)
    batches = _batches(len(rows), training.rows_per_step, steps, run.seed)
    marks = set(checkpoint_steps(training, steps))
    stored: dict[str, np.ndarray] = {}
    losses: dict[int, float] = {}
    recent: list[torch.Tensor] = []
    processor = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    clock, paused = time.monotonic(), 0.0
    for step, batch in enumerate(batches, start=1):
        factor = learning_rate_factor(training, step, steps)
        for group in optimiser.param_groups:
            group["lr"] = run.size.learning_rate * factor
        x = tokens[batch]
        hidden = network(x[:, :-1], dtype=COMPUTE_DTYPE).flatten(0, 1)
        loss = functional.cross_entropy(network.logits(hidden.to(COMPUTE_DTYPE)), x[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, training.clip, foreach=True)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        recent.append(loss.detach())
        if step in marks:
            stored |= {f"{step}/{name}": array for name, array in network.to_arrays().items()}
            losses[step] = float(torch.stack(recent).float().mean())
            recent = []
            if not math.isfinite(losses[step]):
                raise FloatingPointError(
                    f"the loss of {run.name} is {losses[step]} at step {step}; lower its learning rate"
                )
        if step % 100 == 0:
            paused += store.wait_while_paused(material.folder)
    seconds = time.monotonic() - clock - paused

    store.write_arrays(weights_path(material.folder, run), stored)
    parameters_counted = network.n_parameters()
    store.write_json(
        metadata_path(material.folder, run),
        {
            "run": run.name,
            "recipe": run.recipe.name,
            "size": run.size.name,
            "seed": run.seed,
            "architecture": asdict(architecture),
            "params": parameters_counted,
            "learning_rate": run.size.learning_rate,
            "tokens_per_step": per_step,
            "steps": sorted(losses),
            "training_loss": [
                losses[step] for step in sorted(losses)
            ],  # nats per token, mean since the last checkpoint
            "flops_per_step": FLOPS_PER_PARAMETER_AND_TOKEN * parameters_counted * per_step,
            "seconds_data": round(seconds_data, 2),
            "seconds_training": round(seconds, 2),
            "processor_seconds_training": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - processor, 2),
            "date": datetime.now(UTC).date().isoformat(),
            "torch": torch.__version__,
            "cpu": _cpu(),
        },
    )


def _batches(n_rows: int, per_step: int, steps: int, seed: int):
    """Row indices of every step: in the stream's order the first time, shuffled anew when the stream repeats."""
    rng = np.random.default_rng(seed)
    order = np.arange(n_rows)
    for _ in range(steps):
        while len(order) < per_step:
            order = np.concatenate([order, rng.permutation(n_rows)])
        yield order[:per_step]
        order = order[per_step:]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines[:12] if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return f"{named.get('model name', 'unknown')} (family {named.get('cpu family', '?')})"
