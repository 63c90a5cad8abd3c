"""Causal self-attention (Vaswani et al. 2017), multi-head, grouped-query (Ainslie et al. 2023) or sliding-window.

Queries, keys and values have projections of their own: fused checkpoints are split when they are loaded. Masks and
rotary tables come from outside in the Context.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import Context, State
from seedbed.nn.norm import NormKind, make_norm
from seedbed.nn.position import rotate


class Attention(nn.Module):
    """Attention over the positions so far.

    Args:
        size: model width D.
        heads: query heads H.
        kv_heads: key/value heads; H is a multiple of it.
        head_dim: channels a head.
        qkv_bias: q, k and v have biases. out_bias: the output projection has one.
        qk_norm: the kind of norm over each head's q and k (Dehghani et al. 2023), or None.
        dropout: share of attention weights dropped in training.
    """

    def __init__(
        self,
        size: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        *,
        qkv_bias: bool = False,
        out_bias: bool = False,
        qk_norm: NormKind | None = None,
        norm_eps: float = 1e-6,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim, self.groups, self.dropout = head_dim, heads // kv_heads, dropout
        self.q = nn.Linear(size, heads * head_dim, bias=qkv_bias)
        self.k = nn.Linear(size, kv_heads * head_dim, bias=qkv_bias)
        self.v = nn.Linear(size, kv_heads * head_dim, bias=qkv_bias)
        self.out = nn.Linear(heads * head_dim, size, bias=out_bias)
        self.q_norm = make_norm(qk_norm, head_dim, norm_eps) if qk_norm else None
        self.k_norm = make_norm(qk_norm, head_dim, norm_eps) if qk_norm else None

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D). ``state`` is a KVCache that is appended to, or None."""
        q, k, v = (self._heads(project(x)) for project in (self.q, self.k, self.v))  # (B, T, H, Dh)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if context.rotation is not None:
            q, k = rotate(q, context.rotation), rotate(k, context.rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, Dh)
        if isinstance(state, KVCache):
            k, v = state.append(k, v)  # (B, H_kv, S, Dh)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=context.mask,
            is_causal=context.causal,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.groups > 1,
        )
        return self.out(y.transpose(1, 2).flatten(2)), state

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_dim)
