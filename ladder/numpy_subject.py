"""The forward pass in NumPy: what a reader of the packaged weights has to compute, and a check of `model`."""

from __future__ import annotations

import numpy as np

from ladder.model import ROTARY_BASE, Architecture

NORM_EPSILON = 1e-5  # torch.nn.LayerNorm's default


def _normalised(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPSILON) * weight


def _turned(x: np.ndarray) -> np.ndarray:
    """Rotary positions of (time, heads, d_head)."""
    time, _, d_head = x.shape
    half = d_head // 2
    angle = np.arange(time)[:, None, None] * ROTARY_BASE ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate((first * cos - second * sin, second * cos + first * sin), -1)


def log_probabilities(arrays: dict[str, np.ndarray], architecture: Architecture, tokens: list[int]) -> np.ndarray:
    """Log-probability of every possible next token after each token, (time, vocabulary)."""
    weights = {name: array.astype(np.float64) for name, array in arrays.items()}
    heads, d_head, time = architecture.n_heads, architecture.d_head, len(tokens)
    x = weights["embedding.weight"][tokens]
    hidden_from = np.triu(np.full((time, time), -np.inf), 1)
    for layer in range(architecture.n_layers):
        part = f"blocks.{layer}."
        qkv = _normalised(x, weights[part + "norm_attention.weight"]) @ weights[part + "qkv.weight"].T
        query, key, value = qkv.reshape(time, 3, heads, d_head).transpose(1, 0, 2, 3)
        scores = np.einsum("qhd,khd->hqk", _turned(query), _turned(key)) / np.sqrt(d_head) + hidden_from
        attention = np.exp(scores - scores.max(-1, keepdims=True))
        attention /= attention.sum(-1, keepdims=True)
        x = x + np.einsum("hqk,khd->qhd", attention, value).reshape(time, -1) @ weights[part + "out.weight"].T
        hidden = np.maximum(_normalised(x, weights[part + "norm_mlp.weight"]) @ weights[part + "up.weight"].T, 0)
        x = x + hidden @ weights[part + "down.weight"].T
    logits = _normalised(x, weights["norm.weight"]) @ weights["embedding.weight"].T
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def log_p_of_options(
    arrays: dict[str, np.ndarray], architecture: Architecture, prompt: list[int], options: list[list[int]]
) -> list[float]:
    """Log-likelihood in nats of every option after a prompt."""
    answers = []
    for option in options:
        log_p = log_probabilities(arrays, architecture, prompt + option)
        answers.append(float(sum(log_p[len(prompt) - 1 + k, token] for k, token in enumerate(option))))
    return answers
