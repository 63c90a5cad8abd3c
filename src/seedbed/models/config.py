"""ModelConfig names behaviour (which norm, where, which mixer per layer …), never a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedbed.core.config import knob
from seedbed.nn.block import NormPlace
from seedbed.nn.feedforward import Activation
from seedbed.nn.norm import NormKind

MixerKind = Literal["attention", "sliding", "rnn", "lstm", "gru"]
PositionKind = Literal["rope", "learned", "none"]
MlpKind = Literal["gated", "plain", "none"]


@dataclass(frozen=True)
class ModelConfig:
    """The shape and behaviour of a decoder language model. Raises ValueError where two fields contradict."""

    vocab_size: int = knob(4096, "tokens the model knows", unit="tokens", at_least=2)
    d_model: int = knob(256, "width of the residual stream", unit="channels", at_least=1)
    n_layers: int = knob(4, "blocks", at_least=1)
    n_heads: int = knob(4, "query heads", at_least=1)
    n_kv_heads: int | None = knob(None, "key/value heads; default as many as query heads", at_least=1)
    head_dim: int | None = knob(None, "channels a head; default d_model / n_heads", at_least=2)
    d_ff: int | None = knob(
        None, "hidden width of the feed-forward layer; default 4 d, or 8/3 d when gated", at_least=1
    )
    max_length: int = knob(512, "longest context", unit="tokens", at_least=1)
    mixers: tuple[MixerKind, ...] = knob(("attention",), "mixer of each layer; a shorter list repeats")
    window: int | None = knob(None, "positions a sliding-window layer sees, itself included", at_least=1)
    norm: NormKind = knob("rms", "kind of norm")
    norm_eps: float = knob(1e-6, "added to the variance in norms", at_least=0)
    norm_place: NormPlace = knob("pre", "norms before the parts of a block, or after each addition")
    final_norm: bool = knob(True, "a norm after the last block")
    embedding_norm: bool = knob(False, "a norm after the embedding")
    qk_norm: bool = knob(False, "norms over each head's queries and keys")
    position: PositionKind = knob("rope", "how positions are told apart")
    rope_theta: float = knob(10000.0, "base of the rotary wavelengths", at_least=1)
    rope_share: float = knob(1.0, "share of each head that is rotated", at_least=0, at_most=1)
    mlp: MlpKind = knob("gated", "kind of feed-forward layer")
    activation: Activation = knob("silu", "non-linearity of the feed-forward layer")
    qkv_bias: bool = knob(False, "biases on the q, k, v projections")
    out_bias: bool = knob(False, "a bias on attention's output projection")
    mlp_bias: bool = knob(False, "biases in the feed-forward layer")
    tied: bool = knob(True, "output embedding = input embedding")
    dropout: float = knob(0.0, "share of activations dropped in training", at_least=0, at_most=0.99)

    def __post_init__(self) -> None:
        if self.head_dim is None and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if "sliding" in self.mixers and self.window is None:
            raise ValueError("mixers has 'sliding' but window is not set")
        if not self.mixers:
            raise ValueError("mixers is empty")
        if self.position == "learned" and not {"attention", "sliding"} & set(self.mixers):
            raise ValueError("learned positions need an attention layer, whose cache counts them")
        if self.position == "rope" and self.rotated % 2:
            raise ValueError(f"rope rotates pairs of channels, but rope_share x head size is {self.rotated}")

    @property
    def kv_heads(self) -> int:
        """Key/value heads."""
        return self.n_kv_heads or self.n_heads

    @property
    def head_size(self) -> int:
        """Channels a head."""
        return self.head_dim or self.d_model // self.n_heads

    @property
    def rotated(self) -> int:
        """Channels of a head that are rotated."""
        return int(self.head_size * self.rope_share)

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layer. Gated: 8/3 d rounded up to 64, so that both kinds cost the same."""
        if self.d_ff is not None:
            return self.d_ff
        return -(-8 * self.d_model // (3 * 64)) * 64 if self.mlp == "gated" else 4 * self.d_model

    def mixer(self, layer: int) -> MixerKind:
        """The mixer of a layer."""
        return self.mixers[layer % len(self.mixers)]
