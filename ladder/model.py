"""The language model of the ladder: a small pre-norm decoder with rotary positions and tied embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

ROTARY_BASE = 1000.0
EMBEDDING_INIT_SD = 0.02


@dataclass(frozen=True)
class Architecture:
    """The numbers that define a network.

    Parameters
    ----------
    vocabulary, d_model, n_layers, n_heads : int
        `d_model / n_heads` must be even (rotary positions turn pairs of channels).
    context : int
        Longest sequence in tokens.
    """

    vocabulary: int
    d_model: int
    n_layers: int
    n_heads: int
    context: int

    @property
    def d_head(self) -> int:
        """Channels of one attention head."""
        return self.d_model // self.n_heads

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads or self.d_head % 2:
            raise ValueError(f"d_model / n_heads must be an even integer; found {self.d_model} / {self.n_heads}")


class KeyValueCache:
    """Keys and values of the tokens read so far, for one layer."""

    def __init__(self) -> None:
        self.keys: Tensor | None = None
        self.values: Tensor | None = None

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add (batch, heads, time, d_head) keys and values along time; return all of them."""
        if self.keys is not None and self.values is not None:
            keys = torch.cat((self.keys, keys), 2)
            values = torch.cat((self.values, values), 2)
        self.keys, self.values = keys, values
        return keys, values

    def expand(self, batch: int) -> None:
        """Repeat the single sequence read so far `batch` times (without copying)."""
        if self.keys is None or self.values is None:
            raise ValueError("an empty cache cannot be expanded: read a prompt first")
        self.keys = self.keys.expand(batch, -1, -1, -1)
        self.values = self.values.expand(batch, -1, -1, -1)


class Block(nn.Module):
    """Attention and a ReLU perceptron, each behind a LayerNorm without bias.

    Matrices are cast to the dtype of the activations that they multiply, so that training can compute in bfloat16
    (four times the speed of float32 on recent server CPUs) while weights, norms and the residual stream stay float32.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        d = architecture.d_model
        self.architecture = architecture
        self.norm_attention = nn.LayerNorm(d, bias=False)
        self.norm_mlp = nn.LayerNorm(d, bias=False)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.up = nn.Linear(d, 4 * d, bias=False)
        self.down = nn.Linear(4 * d, d, bias=False)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor, cache: KeyValueCache | None, dtype: torch.dtype
    ) -> Tensor:
        x = x + self._attention(self.norm_attention(x).to(dtype), rotary, mask, cache)
        hidden = functional.relu(functional.linear(self.norm_mlp(x).to(dtype), self.up.weight.to(dtype)))
        return x + functional.linear(hidden, self.down.weight.to(dtype))

    def _attention(self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor, cache: KeyValueCache | None) -> Tensor:
        heads, d_head = self.architecture.n_heads, self.architecture.d_head
        batch, time, d = x.shape
        qkv = functional.linear(x, self.qkv.weight.to(x.dtype)).view(batch, time, 3 * heads, d_head)
        turned, value = qkv.split((2 * heads, heads), 2)
        cos, sin = rotary
        turned = turned * cos + turned.roll(d_head // 2, -1) * sin
        query, key = turned.transpose(1, 2).chunk(2, 1)
        value = value.transpose(1, 2)
        if cache is not None:
            key, value = cache.append(key, value)
        # Plain products: the fused CPU kernel is several times slower at this length (80) and head size.
        seen = key.shape[2]
        flat = (batch * heads, -1, d_head)
        scores = torch.baddbmm(mask, query.reshape(flat), key.reshape(flat).transpose(1, 2), alpha=d_head**-0.5)
        mixed = torch.bmm(scores.softmax(-1), value.reshape(batch * heads, seen, d_head))
        mixed = mixed.view(batch, heads, time, d_head).transpose(1, 2).reshape(batch, time, d)
        return functional.linear(mixed, self.out.weight.to(x.dtype))


class LanguageModel(nn.Module):
    """Decoder with tied embeddings.

    Initialisation: N(0, .02) for the embedding, N(0, 1 / fan_in) for matrices, those that write to the residual
    stream divided by sqrt(2 n_layers).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding = nn.Embedding(architecture.vocabulary, architecture.d_model)
        self.blocks = nn.ModuleList(Block(architecture) for _ in range(architecture.n_layers))
        self.norm = nn.LayerNorm(architecture.d_model, bias=False)
        nn.init.normal_(self.embedding.weight, 0, EMBEDDING_INIT_SD)
        for block in self.blocks:
            for linear in (block.qkv, block.out, block.up, block.down):
                nn.init.normal_(linear.weight, 0, linear.weight.shape[1] ** -0.5)
            for linear in (block.out, block.down):
                linear.weight.data /= math.sqrt(2 * architecture.n_layers)
        cos, sin = rotary_tables(architecture)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        causal = torch.full((architecture.context, architecture.context), float("-inf")).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    def forward(
        self,
        tokens: Tensor,
        *,
        position: int = 0,
        caches: list[KeyValueCache] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Final hidden states, (batch, time, d_model) float32.

        Parameters
        ----------
        tokens : (batch, time) int64
        position : int
            Number of tokens already in `caches`.
        caches : list of KeyValueCache, optional
            One per layer; filled by the call.
        dtype : torch.dtype
            Precision of the matrix products.
        """
        time = tokens.shape[1]
        rotary = (
            self.cos[position : position + time, None].to(dtype),
            self.sin[position : position + time, None].to(dtype),
        )
        mask = self.causal[position : position + time, : position + time].to(dtype)
        x = functional.embedding(tokens, self.embedding.weight)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotary, mask, None if caches is None else caches[layer], dtype)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every vocabulary entry, in the precision of `hidden`: (..., vocabulary)."""
        return functional.linear(hidden, self.embedding.weight.to(hidden.dtype))

    def n_parameters(self) -> int:
        """Number of parameters outside the embedding."""
        return sum(p.numel() for p in self.blocks.parameters()) + sum(p.numel() for p in self.norm.parameters())

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All weights as float16 arrays by name."""
        return {name: tensor.detach().half().numpy() for name, tensor in self.state_dict().items()}

    @classmethod
    def from_arrays(cls, architecture: Architecture, arrays: dict[str, np.ndarray]) -> LanguageModel:
        """A network with the weights that `to_arrays` gave."""
        network = cls(architecture)
        network.load_state_dict({name: torch.from_numpy(array.astype(np.float32)) for name, array in arrays.items()})
        return network.eval()


def rotary_tables(architecture: Architecture) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary positions, (context, d_head) each.

    A vector z at position t becomes z cos + roll(z, d_head / 2) sin: the sign of the sines is that of the rotation.
    """
    half = architecture.d_head // 2
    frequency = ROTARY_BASE ** (-torch.arange(half) / half)
    angle = torch.arange(architecture.context)[:, None] * frequency
    return torch.cat((angle.cos(), angle.cos()), -1), torch.cat((-angle.sin(), angle.sin()), -1)
