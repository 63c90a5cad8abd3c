"""Attention (Vaswani et al. 2017): multi-head, grouped-query (Ainslie et al. 2023), sliding-window; self and cross.

Queries, keys and values have projections of their own: fused checkpoints are split when they are loaded. Masks, biases
and rotary tables come from outside in the Context.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import Context, State
from seedbed.nn.norm import NormKind, make_norm
from seedbed.nn.paged import PagedCache
from seedbed.nn.position import rotate

_ROWS, _SHORT = 192, 1024
"""Rows of a block, and the longest sequence, for attention in blocks (:func:`_causal_blocks`)."""


class Attention(nn.Module):
    """Multi-head attention over the positions so far."""

    def __init__(
        self,
        size: int,  # model width D
        heads: int,  # query heads H
        kv_heads: int,  # key/value heads; H is a multiple of it
        head_dim: int,  # channels a head
        *,
        qkv_bias: bool = False,  # q, k and v have biases
        out_bias: bool = False,  # the output projection has one
        qk_norm: NormKind | None = None,  # the norm over each head's q and k (Dehghani et al. 2023)
        norm_eps: float = 1e-6,
        scale: float | None = None,  # what scores are multiplied with; default 1 / sqrt(head_dim)
        cap: float | None = None,  # scores s become cap · tanh(s / cap) (Gemma 2, Riviere et al. 2024, section 2)
        dropout: float = 0.0,  # share of attention weights dropped in training
    ) -> None:
        super().__init__()
        self.head_dim, self.groups, self.dropout = head_dim, heads // kv_heads, dropout
        self.scale, self.cap = head_dim**-0.5 if scale is None else scale, cap
        self.q = nn.Linear(size, heads * head_dim, bias=qkv_bias)
        self.k = nn.Linear(size, kv_heads * head_dim, bias=qkv_bias)
        self.v = nn.Linear(size, kv_heads * head_dim, bias=qkv_bias)
        self.out = nn.Linear(heads * head_dim, size, bias=out_bias)
        self.q_norm = make_norm(qk_norm, head_dim, norm_eps) if qk_norm else None
        self.k_norm = make_norm(qk_norm, head_dim, norm_eps) if qk_norm else None

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D). ``state`` is a cache that is appended to, or None."""
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))  # (B, T, H, Dh)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if context.rotation is not None:
            q, k = rotate(q, context.rotation), rotate(k, context.rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, Dh)
        if isinstance(state, PagedCache):
            y = state.attend(q, k, v, self._mix)
        else:
            if isinstance(state, KVCache):
                k, v = state.append(k, v)  # (B, H_kv, S, Dh)
            y = self._mix(q, k, v, context.mask, context.causal)
        return self._project(y), state

    def _project(self, y: Tensor) -> Tensor:
        """(B, H, T, Dh) → (B, T, D)."""
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """q (B, H, T, Dh), k and v (B, H_kv, S, Dh) → (B, H, T, Dh)."""
        dropout = self.dropout if self.training else 0.0
        if mask is not None and mask.dtype != torch.bool:
            mask = mask.to(q.dtype)
        if self.cap is not None:
            return self._capped(q, k, v, mask, causal, dropout)
        if causal and mask is None and not dropout and _trains_in_bfloat16(q):
            return _causal_blocks(q, k, v, self.scale)
        return F.scaled_dot_product_attention(
            q, k, v, mask, dropout, causal, scale=self.scale, enable_gqa=self.groups > 1
        )

    def _capped(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
        assert self.cap is not None
        k, v = (part.repeat_interleave(self.groups, 1) for part in (k, v))
        scores = self.cap * torch.tanh(q @ k.mT * (self.scale / self.cap))  # (B, H, T, S)
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            lowest = torch.finfo(scores.dtype).min  # and not infinity: a row that sees nothing must stay finite
            scores = (
                scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else (scores + mask).clamp(min=lowest)
            )
        return F.dropout(scores.softmax(-1), dropout) @ v

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim)


def _trains_in_bfloat16(q: Tensor) -> bool:
    """Tell whether :func:`_causal_blocks` is the faster way; its memory grows with the square of the length."""
    short = q.shape[2] <= _SHORT
    return short and q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled()


def _causal_blocks(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """q (B, H, T, Dh), k and v (B, H_kv, T, Dh) → (B, H, T, Dh); each position sees those up to itself.

    Blocks of rows, each over the positions up to its end, as plain matrix products: PyTorch's fused attention on CPUs
    takes twice as long in bfloat16 for lengths of fine-tuning, forwards and backwards together.
    """
    heads, length = q.shape[1], q.shape[2]
    k, v = (part.repeat_interleave(heads // part.shape[1], 1).flatten(0, 1) for part in (k, v))
    rows = -(-length // -(-length // _ROWS))  # blocks of equal size
    later = q.new_full((rows, rows), -torch.inf).triu(1)
    parts = []
    for start, block in zip(range(0, length, rows), torch.split(q.flatten(0, 1), rows, 1), strict=True):
        stop = start + block.shape[1]
        mask = F.pad(later[: stop - start, : stop - start], (start, 0))
        scores = torch.baddbmm(mask, block, k[:, :stop].mT, alpha=scale)  # (B H, rows, stop)
        parts.append(scores.softmax(-1).to(v.dtype) @ v[:, :stop])
    return torch.cat(parts, 1).view(q.shape)


class CrossAttention(Attention):
    """A decoder's attention to an encoder's output; its keys and values are computed once and are the state."""

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D). ``state`` is (k, v), or None at the start."""
        q = self._heads(self.q(x)).transpose(1, 2)
        if state is None:
            if context.memory is None:
                raise ValueError("cross-attention needs the encoder's output")
            memory = context.memory
            state = tuple(self._heads(project(memory)).transpose(1, 2) for project in (self.k, self.v))
        k, v = state
        return self._project(self._mix(q, k, v, context.memory_mask, False)), state
