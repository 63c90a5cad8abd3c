"""The decoder language model: embedding → blocks → norm → output embedding.

Architecture only: devices, precision, parallelism, quantization and adapters are applied from outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seedbed.models.config import MixerKind, ModelConfig
from seedbed.nn.attention import Attention
from seedbed.nn.block import Block
from seedbed.nn.cache import KVCache
from seedbed.nn.feedforward import FeedForward
from seedbed.nn.mixer import Context, State
from seedbed.nn.norm import make_norm
from seedbed.nn.position import rotation
from seedbed.nn.recurrent import Recurrent


class _Embedding(nn.Embedding):
    """Random numbers are not drawn on the meta device: there, they cost the import of PyTorch's compiler, a second."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Decoder(nn.Module):
    """A causal language model over token ids."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = _Embedding(config.vocab_size, config.d_model)
        self.position = _Embedding(config.max_length, config.d_model) if config.position == "learned" else None
        self.embedding_norm = self._norm() if config.embedding_norm else None
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(self._block(layer) for layer in range(config.n_layers))
        self.norm = self._norm() if config.final_norm else nn.Identity()
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.tie()
        self.checkpoint_activations = False

    def forward(self, ids: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State] | None]:
        """Logits (B, T, V) of ids (B, T), whose positions follow those in ``states``; and the new states."""
        hidden, states = self.hidden(ids, states)
        return self.head(hidden), states

    def hidden(self, ids: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State] | None]:
        """The last hidden states (B, T, D), before the output embedding."""
        start = _positions_before(states)
        x = self.dropout(self._embed(ids, start))
        contexts = {kind: self._context(kind, start, ids) for kind in set(self._kinds())}
        after: list[State] = []
        for layer, (block, kind) in enumerate(zip(self.blocks, self._kinds(), strict=True)):
            state = states[layer] if states is not None else None
            if self.checkpoint_activations and self.training:
                x, state = checkpoint(block, x, state, contexts[kind], use_reentrant=False)
            else:
                x, state = block(x, state, contexts[kind])
            after.append(state)
        return self.norm(x), after if states is not None else None

    def head(self, hidden: Tensor) -> Tensor:
        """Logits (…, V) of hidden states (…, D)."""
        logits: Tensor = self.output(hidden)
        return logits

    def new_state(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> list[State]:
        """Empty states for ``batch`` sequences of up to ``length`` positions, one per layer."""
        weight = next(self.parameters())
        device, dtype = device or weight.device, dtype or weight.dtype
        heads, size = self.config.kv_heads, self.config.head_size
        return [
            KVCache(batch, heads, length, size, device=device, dtype=dtype) if _attends(kind) else None
            for kind in self._kinds()
        ]

    def tie(self) -> None:
        """Share the embedding with the output where the config says so; moving off the meta device undoes it."""
        if self.config.tied:
            self.output.weight = self.embedding.weight

    def initialise(self, seed: int) -> None:
        """Draw the weights: normal with deviation 0.02 (GPT-2); zero where a part adds to the residual stream.

        So every block begins as the identity, which lets small models learn faster (`docs/log.md`).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith(("mixer.out.weight", "feedforward.down.weight", "bias")):
                parameter.data.zero_()
            elif parameter.ndim == 2:
                parameter.data.copy_(torch.empty(parameter.shape).normal_(0.0, 0.02, generator=generator))

    def _kinds(self) -> Sequence[MixerKind]:
        return [self.config.mixer(layer) for layer in range(self.config.n_layers)]

    def _norm(self) -> nn.Module:
        return make_norm(self.config.norm, self.config.d_model, self.config.norm_eps)

    def _block(self, layer: int) -> Block:
        config = self.config
        feedforward = (
            FeedForward(
                config.d_model, config.hidden, config.activation, gated=config.mlp == "gated", bias=config.mlp_bias
            )
            if config.mlp != "none"
            else None
        )
        return Block(
            self._mixer(config.mixer(layer)),
            feedforward,
            (self._norm(), self._norm()),
            config.norm_place,
            config.dropout,
        )

    def _mixer(self, kind: MixerKind) -> nn.Module:
        config = self.config
        if kind in ("rnn", "lstm", "gru"):
            return Recurrent(kind, config.d_model)
        return Attention(
            config.d_model,
            config.n_heads,
            config.kv_heads,
            config.head_size,
            qkv_bias=config.qkv_bias,
            out_bias=config.out_bias,
            qk_norm=config.norm if config.qk_norm else None,
            norm_eps=config.norm_eps,
            dropout=config.dropout,
        )

    def _embed(self, ids: Tensor, start: int) -> Tensor:
        x: Tensor = self.embedding(ids)
        if self.position is not None:
            x = x + self.position(torch.arange(start, start + ids.shape[1], device=ids.device))
        return self.embedding_norm(x) if self.embedding_norm is not None else x

    def _context(self, kind: MixerKind, start: int, ids: Tensor) -> Context:
        """What all layers of one kind share for positions ``start … start + T - 1``."""
        if not _attends(kind):
            return Context()
        config, length, device = self.config, ids.shape[1], ids.device
        turn = rotation(start, length, config.rotated, config.rope_theta, device) if config.position == "rope" else None
        window = config.window if kind == "sliding" else None
        plain = window is None or window >= start + length
        if plain and (start == 0 or length == 1):
            return Context(turn, None, causal=length > 1)
        query = torch.arange(start, start + length, device=device)[:, None]
        key = torch.arange(start + length, device=device)[None]
        visible = key <= query
        if window is not None:
            visible &= query - key < window
        return Context(turn, visible, causal=False)


def _attends(kind: MixerKind) -> bool:
    return kind in ("attention", "sliding")


def _positions_before(states: list[State] | None) -> int:
    caches = [state for state in states or [] if isinstance(state, KVCache)]
    return caches[0].used if caches else 0
