"""ModelConfig: the fields that name behaviour (which norm, where, which mixer per layer …), never a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedbed.core.config import setting
from seedbed.nn.block import NormPlace
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.feedforward import Activation
from seedbed.nn.norm import NormKind
from seedbed.nn.position import RopeScaling

MixerKind = Literal["attention", "sliding", "rnn", "lstm", "gru"]
PositionKind = Literal["rope", "learned", "sinusoidal", "alibi", "relative", "none"]
MlpKind = Literal["gated", "plain", "none"]
HeadKind = Literal["lm", "mlm", "sequence", "token", "span", "none"]
PoolKind = Literal["first", "last", "mean"]
_MANY = 2**27  # more than any size of a model; what is larger is a mistake, and sizes up to it can be multiplied
_MOST_EXPERTS = 100_000  # in all layers together; each is a module, which takes memory even before it has weights


@dataclass(frozen=True)
class ModelConfig:
    """The shape and behaviour of a stack of blocks over tokens. Raises ValueError where two fields contradict."""

    vocab_size: int = setting(4096, "tokens the model knows", unit="tokens", at_least=2, at_most=_MANY)
    d_model: int = setting(256, "width of the residual stream", unit="channels", at_least=1, at_most=_MANY)
    n_layers: int = setting(4, "blocks", at_least=1, at_most=10_000)
    n_heads: int = setting(4, "query heads", at_least=1, at_most=_MANY)
    n_kv_heads: int | None = setting(None, "key/value heads; default as many as query heads", at_least=1)
    head_dim: int | None = setting(None, "channels a head; default d_model / n_heads", at_least=2, at_most=_MANY)
    d_ff: int | None = setting(
        None, "hidden width of the feed-forward layer; default 4 d, or 8/3 d when gated", at_least=1, at_most=_MANY
    )
    max_length: int = setting(512, "longest context", unit="tokens", at_least=1, at_most=_MANY)
    mixers: tuple[MixerKind, ...] = setting(("attention",), "mixer of each layer; a shorter list repeats")
    window: int | None = setting(None, "positions a sliding-window layer sees, itself included", at_least=1)
    causal: bool = setting(True, "a position sees those before it only")
    cross: bool = setting(False, "blocks attend to an encoder's output too")
    norm: NormKind = setting("rms", "kind of norm")
    norm_eps: float = setting(1e-6, "added to the variance in norms", at_least=0)
    norm_place: NormPlace = setting("pre", "where norms stand in a block, and whether its two parts are parallel")
    final_norm: bool = setting(True, "a norm after the last block")
    embedding_norm: bool = setting(False, "a norm after the embedding")
    embedding_scale: float | None = setting(None, "what embedded tokens are multiplied with")
    segments: int = setting(
        0, "kinds of segment told apart by an embedding (BERT's sentence A and B)", at_least=0, at_most=_MANY
    )
    qk_norm: bool = setting(False, "norms over each head's queries and keys")
    attention_scale: float | None = setting(
        None, "what attention's scores are multiplied with; default 1/sqrt(head size)"
    )
    attention_cap: float | None = setting(None, "attention's scores are squashed to this magnitude", at_least=0)
    position: PositionKind = setting("rope", "how positions are told apart")
    position_offset: int = setting(
        0, "rows of the table of learned positions before position 0", at_least=0, at_most=_MANY
    )
    rope_theta: float = setting(10000.0, "base of the rotary wavelengths", at_least=1)
    rope_theta_local: float | None = setting(None, "the same in sliding-window layers, which are then not scaled")
    rope_share: float = setting(1.0, "share of each head that is rotated", at_least=0, at_most=1)
    rope_scaling: RopeScaling | None = setting(None, "stretched wavelengths for long contexts")
    relative_buckets: int = setting(32, "relative positions: buckets of distances", at_least=2, at_most=_MANY)
    relative_distance: int = setting(128, "relative positions: where the last bucket begins", unit="tokens", at_least=1)
    mlp: MlpKind = setting("gated", "kind of feed-forward layer")
    activation: Activation = setting("silu", "non-linearity of the feed-forward layer")
    experts: ExpertsConfig | None = setting(None, "a mixture of experts in the feed-forward layer's place")
    dense_layers: tuple[int, ...] = setting((), "layers that keep one feed-forward layer in spite of experts")
    qkv_bias: bool = setting(False, "biases on the q, k, v projections")
    out_bias: bool = setting(False, "a bias on attention's output projection")
    mlp_bias: bool = setting(False, "biases in the feed-forward layer")
    head: HeadKind = setting(
        "lm", "what is put out: next token, masked token, classes of a text or token, a span, nothing"
    )
    head_bias: bool = setting(False, "a bias on the output layer")
    head_dense: bool = setting(False, "a layer before the classes")
    head_activation: Activation = setting("tanh", "the non-linearity after it")
    labels: int = setting(2, "classes of a text or token", at_least=1, at_most=_MANY)
    pool: PoolKind = setting("first", "the position that stands for a text: first, last, or the mean")
    tied: bool = setting(True, "output embedding = input embedding")
    logit_scale: float | None = setting(None, "what hidden states are multiplied with before the output embedding")
    logit_cap: float | None = setting(None, "logits are squashed to this magnitude", at_least=0)
    dropout: float = setting(0.0, "share of activations dropped in training", at_least=0, at_most=0.99)

    def __post_init__(self) -> None:
        if self.head_dim is None and self.d_model % self.n_heads:
            raise ValueError(f"d_model {self.d_model} is not a multiple of n_heads {self.n_heads}")
        if self.n_heads % self.kv_heads:
            raise ValueError(f"n_heads {self.n_heads} is not a multiple of n_kv_heads {self.n_kv_heads}")
        if "sliding" in self.mixers and self.window is None:
            raise ValueError("mixers has 'sliding' but window is not set")
        if not self.mixers:
            raise ValueError("mixers is empty")
        if self.position in ("learned", "sinusoidal") and not {"attention", "sliding"} & set(self.mixers):
            raise ValueError(f"{self.position} positions need an attention layer, whose cache counts them")
        if self.position == "rope" and self.rotated % 2:
            raise ValueError(f"rope rotates pairs of channels, but rope_share x head size is {self.rotated}")
        if self.experts is not None and self.n_layers * self.experts.count > _MOST_EXPERTS:
            raise ValueError(f"{self.n_layers} layers of {self.experts.count} experts are too many")
        if self.n_heads * self.head_size > _MANY:
            raise ValueError(f"{self.n_heads} heads of {self.head_size} channels are too wide")
        self._check_scaling()
        if not self.causal and set(self.mixers) != {"attention"}:
            raise ValueError("layers that see the whole text are attention layers; mixers has others")
        if self.cross and self.norm_place not in ("pre", "post"):
            raise ValueError(f"cross-attention needs norms before or after its parts, not {self.norm_place!r}")

    def _check_scaling(self) -> None:
        scaling = self.rope_scaling
        if scaling is None or self.position != "rope":
            return
        factors = {len(scaling.factors), len(scaling.short_factors)}
        if scaling.kind == "longrope" and factors != {self.rotated // 2}:
            raise ValueError(f"longrope needs {self.rotated // 2} factors for long contexts and for short ones")
        if scaling.kind == "yarn" and self.rope_theta <= 1:
            raise ValueError("yarn needs a rope_theta above 1")

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
    def switch_length(self) -> int | None:
        """Return the length beyond which all keys of a text are others (LongRoPE); None where there is none."""
        return self.rope_scaling.switch_length if self.position == "rope" and self.rope_scaling else None

    @property
    def hidden(self) -> int:
        """Hidden width of the feed-forward layer. Gated: 8/3 d rounded up to 64, so that both kinds cost the same."""
        if self.d_ff is not None:
            return self.d_ff
        return -(-8 * self.d_model // (3 * 64)) * 64 if self.mlp == "gated" else 4 * self.d_model

    def mixer(self, layer: int) -> MixerKind:
        """Return the mixer of a layer."""
        return self.mixers[layer % len(self.mixers)]

    def experts_of(self, layer: int) -> ExpertsConfig | None:
        """Return the mixture of experts of a layer, or None where it has one feed-forward layer."""
        return None if layer in self.dense_layers else self.experts


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """An encoder, and a decoder that attends to it; both embed tokens with the decoder's table."""

    encoder: ModelConfig = setting(ModelConfig(causal=False, head="none"), "reads the text")
    decoder: ModelConfig = setting(ModelConfig(cross=True), "writes the answer")

    def __post_init__(self) -> None:
        if self.encoder.causal or not self.decoder.cross:
            raise ValueError("the encoder must see the whole text (causal = false), the decoder the encoder (cross)")
        if self.encoder.d_model != self.decoder.d_model or self.encoder.vocab_size != self.decoder.vocab_size:
            raise ValueError("encoder and decoder must have one width and one vocabulary")


AnyConfig = ModelConfig | EncoderDecoderConfig


def stacks(config: AnyConfig) -> list[ModelConfig]:
    """Return the one stack of most models, or the two of an encoder–decoder."""
    return [config] if isinstance(config, ModelConfig) else [config.encoder, config.decoder]
