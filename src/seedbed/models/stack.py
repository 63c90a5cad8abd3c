"""The stack that all models over tokens share: embedding → blocks → norm, with states for streaming and padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seedbed.models.attention_masks import attention_mask, padding_mask
from seedbed.models.config import MixerKind, ModelConfig
from seedbed.nn.attention import Attention, CrossAttention
from seedbed.nn.bias import RelativeBias
from seedbed.nn.block import Block, CrossState
from seedbed.nn.cache import KVCache
from seedbed.nn.experts import Experts
from seedbed.nn.feedforward import FeedForward
from seedbed.nn.mixer import Context, State
from seedbed.nn.norm import make_norm
from seedbed.nn.paged import PagedCache
from seedbed.nn.position import rotation, sinusoids
from seedbed.nn.recurrent import Recurrent


class Embedding(nn.Embedding):
    """An embedding that draws no numbers on the meta device, where they cost the import of PyTorch's compiler."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Stack(nn.Module):
    """The map from token ids to hidden states; models add their heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config.vocab_size, config.d_model)
        rows = config.max_length + config.position_offset
        self.position = Embedding(rows, config.d_model) if config.position == "learned" else None
        self.segment = Embedding(config.segments, config.d_model) if config.segments else None
        self.embedding_norm = self._norm() if config.embedding_norm else None
        self.dropout = nn.Dropout(config.dropout)
        self.relative = None
        if config.position == "relative":
            buckets, distance = config.relative_buckets, config.relative_distance
            self.relative = RelativeBias(config.n_heads, buckets, distance, causal=config.causal)
        self.blocks = nn.ModuleList(self._block(layer) for layer in range(config.n_layers))
        self.norm = self._norm() if config.final_norm else nn.Identity()
        self.checkpoint_activations = False

    def hidden(
        self,
        ids: Tensor,
        states: list[State] | None = None,
        *,
        real: Tensor | None = None,  # (B, S) bool, which of all positions so far are text and not padding; None: all
        segments: Tensor | None = None,  # (B, T) kind of segment; 0 where it is None
        memory: Tensor | None = None,  # (B, M, D) an encoder's output
        memory_real: Tensor | None = None,  # (B, M) which of it is text
    ) -> tuple[Tensor, list[State] | None]:
        """Return the last hidden states (B, T, D) of ids (B, T), whose positions follow those in ``states``."""
        start = _positions_before(states)
        x = self.dropout(self._embed(ids, start, segments))
        long = self._is_long(states, start, ids.shape[1])
        contexts = {kind: self._context(kind, start, ids, real, memory, memory_real, long) for kind in set(self.kinds)}
        after: list[State] = []
        for layer, (block, kind) in enumerate(zip(self.blocks, self.kinds, strict=True)):
            state = states[layer] if states is not None else None
            if self.checkpoint_activations and self.training:
                x, state = checkpoint(block, x, state, contexts[kind], use_reentrant=False)
            else:
                x, state = block(x, state, contexts[kind])
            after.append(state)
        return self.norm(x), after if states is not None else None

    def new_state(
        self, batch: int, length: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> list[State]:
        """Return empty states for ``batch`` sequences of up to ``length`` positions, one per layer."""
        weight = next(self.parameters())
        device, dtype = device or weight.device, dtype or weight.dtype
        heads, size = self.config.kv_heads, self.config.head_size
        states: list[State] = [
            KVCache(batch, heads, length, size, device=device, dtype=dtype) if attends(kind) else None
            for kind in self.kinds
        ]
        return [CrossState(state, None) for state in states] if self.config.cross else states

    def shared(self) -> dict[str, str]:
        """Return the tied parameters: name → the name it is stored under."""
        return {}

    def tie(self) -> None:
        """Tie the parameters that the configuration ties; moving off the meta device undoes it."""

    def initialise(self, seed: int) -> None:
        """Draw the weights: normal with deviation 0.02 (GPT-2); zero where a part adds to the residual stream.

        So every block begins as the identity, which lets small models learn faster (`docs/log.md`).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith((".out.weight", ".down.weight", "bias")):
                parameter.data.zero_()
            elif parameter.ndim == 2:
                parameter.data.copy_(torch.empty(parameter.shape).normal_(0.0, 0.02, generator=generator))

    @property
    def kinds(self) -> Sequence[MixerKind]:
        """Return the mixer of every layer."""
        return [self.config.mixer(layer) for layer in range(self.config.n_layers)]

    def _norm(self) -> nn.Module:
        return make_norm(self.config.norm, self.config.d_model, self.config.norm_eps)

    def _block(self, layer: int) -> Block:
        config, kind = self.config, self.config.mixer(layer)
        mixer = self._attention(Attention) if attends(kind) else Recurrent(kind, config.d_model)
        cross = self._attention(CrossAttention) if config.cross else None
        return Block(mixer, self._feedforward(layer), self._norm, config.norm_place, cross, config.dropout)

    def _attention(self, kind: type[Attention]) -> Attention:
        config = self.config
        return kind(
            config.d_model,
            config.n_heads,
            config.kv_heads,
            config.head_size,
            qkv_bias=config.qkv_bias,
            out_bias=config.out_bias,
            qk_norm=config.norm if config.qk_norm else None,
            norm_eps=config.norm_eps,
            scale=config.attention_scale,
            cap=config.attention_cap,
            dropout=config.dropout,
        )

    def _feedforward(self, layer: int) -> nn.Module | None:
        config, gated = self.config, self.config.mlp == "gated"
        if config.mlp == "none":
            return None
        experts = config.experts_of(layer)
        if experts is not None:
            return Experts(config.d_model, experts.hidden or config.hidden, experts, config.activation, gated=gated)
        return FeedForward(config.d_model, config.hidden, config.activation, gated=gated, bias=config.mlp_bias)

    def _embed(self, ids: Tensor, start: int | Tensor, segments: Tensor | None) -> Tensor:
        config, length, device = self.config, ids.shape[1], ids.device
        x: Tensor = self.embedding(ids)
        if config.embedding_scale is not None:
            x = x * torch.tensor(config.embedding_scale, dtype=x.dtype)  # rounded as the weights are
        if self.position is not None:
            x = x + self.position(start + config.position_offset + torch.arange(length, device=device))
        if config.position == "sinusoidal":
            x = x + sinusoids(start, length, config.d_model, device).to(x.dtype)
        if self.segment is not None:
            x = x + self.segment(torch.zeros_like(ids) if segments is None else segments)
        return self.embedding_norm(x) if self.embedding_norm is not None else x

    def _is_long(self, states: list[State] | None, start: int | Tensor, length: int) -> bool:
        """Return whether the texts reach beyond the length up to which LongRoPE's short factors are for."""
        switch = self.config.switch_length
        if switch is None or isinstance(start, int):
            return switch is not None and isinstance(start, int) and start + length > switch
        return any(isinstance(state, PagedCache) and state.long for state in states or ())

    def _context(
        self,
        kind: MixerKind,
        start: int | Tensor,
        ids: Tensor,
        real: Tensor | None,
        memory: Tensor | None,
        memory_real: Tensor | None,
        long: bool,
    ) -> Context:
        """Build the context that all layers of one kind share for positions ``start … start + T - 1``."""
        if not attends(kind):
            return Context()
        config, length = self.config, ids.shape[1]
        mask, causal = None, False  # a paged cache has masks of its own
        if isinstance(start, int):
            mask, causal = attention_mask(config, kind, start, length, ids.device, real, self.relative)
        turn = None
        if config.position == "rope":
            local = kind == "sliding" and config.rope_theta_local is not None
            theta = config.rope_theta_local if local else config.rope_theta
            scaling = None if local else config.rope_scaling
            assert theta is not None
            turn = rotation(start, length, config.rotated, theta, ids.device, scaling, config.max_length, long)
        memory_mask = padding_mask(memory_real) if memory_real is not None else None
        return Context(turn, mask, causal, memory, memory_mask)


def attends(kind: MixerKind) -> bool:
    """Return whether a mixer has keys and values."""
    return kind in ("attention", "sliding")


def _positions_before(states: list[State] | None) -> int | Tensor:
    """Return how many positions came before, for all sequences alike or (B, 1) for each."""
    for state in states or ():
        cache = state.mixer if isinstance(state, CrossState) else state
        if isinstance(cache, KVCache):
            return cache.used
    return 0
