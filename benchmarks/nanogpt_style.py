"""The peer: a GPT and its training step as a small PyTorch project writes them, after Karpathy's nanoGPT.

Written anew in the manner of its model.py and train.py (2022, MIT): one fused projection for q, k, v, PyTorch's
attention, cross-entropy over all logits, AdamW with decay on matrices and embeddings, gradients clipped at 1, batches
of random windows. No biases, tied embeddings. As there, AdamW is fused on CUDA alone and torch.compile is off on CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT."""

    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int


class CausalSelfAttention(nn.Module):
    """Multi-head attention with one projection for q, k and v."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.n_head = config.n_head

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        batch, length, width = x.shape
        q, k, v = self.c_attn(x).split(width, dim=2)
        q, k, v = (part.view(batch, length, self.n_head, width // self.n_head).transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(batch, length, width))


class MLP(nn.Module):
    """Four times wider, GELU, back."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=False)
        self.gelu = nn.GELU()
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP with norms before."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=False)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=False)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, C)."""
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """GPT-2's shape without biases."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, bias=False)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                residual = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * config.n_layer) if residual else 0.02)

    def forward(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and the mean loss in nats; ids and targets are (B, T)."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.wte(ids) + self.wpe(positions)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return logits, F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


class Trainer:
    """Model, optimizer and data of a run; seeded.

    Args:
        data: (tokens,) the training text.
        steps: length of the cosine, from ``lr`` to a tenth of it; 0 keeps ``lr``.
    """

    def __init__(
        self,
        config: GPTConfig,
        data: np.ndarray[Any, Any],
        batch: int,
        *,
        lr: float = 1e-3,
        steps: int = 0,
        seed: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.config, self.data, self.batch, self.lr, self.steps, self.done = config, data, batch, lr, steps, 0
        self.model = GPT(config)
        matrices = [p for p in self.model.parameters() if p.ndim >= 2]
        vectors = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))

    def step(self) -> float:
        """One update. Returns the loss in nats."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        _, loss = self.model(*self._get_batch())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return loss.item()

    def _get_batch(self) -> tuple[Tensor, Tensor]:
        size = self.config.block_size
        starts = torch.randint(len(self.data) - size, (self.batch,)).tolist()
        ids = torch.stack([torch.from_numpy(self.data[i : i + size].astype(np.int64)) for i in starts])
        targets = torch.stack([torch.from_numpy(self.data[i + 1 : i + 1 + size].astype(np.int64)) for i in starts])
        return ids, targets

    def _learning_rate(self, warmup: int = 100, final: float = 0.1) -> float:
        if not self.steps:
            return self.lr
        if self.done < warmup:
            return self.lr * (self.done + 1) / (warmup + 1)
        through = (self.done - warmup) / max(1, self.steps - warmup)
        return self.lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * through)))
