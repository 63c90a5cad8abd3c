"""The shape of a new model, as a recipe gives it: our default with depth as the dial, or a published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from seedbed.core import config
from seedbed.core.config import setting
from seedbed.models.config import AnyConfig, EncoderDecoderConfig, ModelConfig
from seedbed.models.presets import default_shape, preset

Architecture = Literal["decoder", "encoder", "encoder-decoder"]
SHAPE = ("d_model", "n_heads", "n_kv_heads", "d_ff", "dropout")
ENCODER: dict[str, Any] = {"causal": False, "head": "mlm"}


@dataclass(frozen=True)
class ModelSettings:
    """The model's shape: our default with depth as the dial, or a preset; single fields can be set beside it."""

    architecture: Architecture = setting(
        "decoder", "decoder (writes on), encoder (fills masked tokens), or encoder-decoder (text from text)"
    )
    depth: int = setting(4, "blocks; the width is 64 times as much", at_least=1)
    context: int = setting(512, "longest context", unit="tokens", at_least=8)
    preset: str = setting("", "a published decoder's shape instead, such as 'gpt2' (see `seedbed plan`)")
    d_model: int | None = setting(None, "width instead of 64 a block", unit="channels", at_least=8)
    n_heads: int | None = setting(None, "query heads instead of one per 64 channels", at_least=1)
    n_kv_heads: int | None = setting(None, "key/value heads instead of half the query heads", at_least=1)
    d_ff: int | None = setting(None, "hidden width of the feed-forward layers", unit="channels", at_least=8)
    dropout: float | None = setting(None, "share of activations dropped in training", at_least=0, at_most=0.9)

    def __post_init__(self) -> None:
        if self.preset and self.architecture != "decoder":
            raise ValueError(f"preset {self.preset!r} is a decoder's; architecture is {self.architecture!r}")

    def config(self, vocab_size: int) -> AnyConfig:
        """Return the model's configuration for a vocabulary.

        Raises UsageError where there is no such preset, ConfigError where two fields contradict.
        """
        shape = self._shape(vocab_size)
        if self.architecture == "encoder-decoder":
            halves = {"encoder": shape | {"causal": False, "head": "none"}, "decoder": shape | {"cross": True}}
            return config.parse(EncoderDecoderConfig, halves)
        return config.parse(ModelConfig, shape | (ENCODER if self.architecture == "encoder" else {}))

    def _shape(self, vocab_size: int) -> dict[str, Any]:
        changes = {name: getattr(self, name) for name in SHAPE if getattr(self, name) is not None}
        if self.preset:
            shape = config.to_dict(preset(self.preset))
        else:
            shape = default_shape(self.depth, vocab_size, self.context, **changes)
        return shape | changes | {"vocab_size": vocab_size, "max_length": self.context}
