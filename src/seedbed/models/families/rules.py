"""Rules that many families share: sizes, activations, sliding layers. Rotary settings are in ``rotary.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, same, whole

ACTIVATIONS = {  # published names of activations, and ours
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "quick_gelu": "gelu_quick",
    "relu": "relu",
    "relu2": "relu2",
    "tanh": "tanh",
}


def sizes(**other: str) -> list[Rule]:
    """Map width, layers, heads and vocabulary under their usual names; ``other`` gives those that differ."""
    names = {
        "vocab_size": "vocab_size",
        "d_model": "hidden_size",
        "n_layers": "num_hidden_layers",
        "n_heads": "num_attention_heads",
        "d_ff": "intermediate_size",
        "max_length": "max_position_embeddings",
    }
    filled = {"d_ff": "hidden"}  # where a field of ours is None
    return [same(ours, theirs, written=filled.get(ours, ours)) for ours, theirs in (names | other).items()]


def hidden(theirs: str, width: str) -> Rule:
    """Map the hidden width, which is four times the model's where a file has none."""

    def read(published: Published) -> Fields:
        return {"d_ff": published.get(theirs) or 4 * whole(published, width)}

    return Rule(read, lambda config: {theirs: config.hidden})


def grouped(*, head_dim: bool = True) -> Rule:
    """Map key/value heads, and the size of a head where a family can choose it."""

    def read(published: Published) -> Fields:
        heads = whole(published, "num_attention_heads")
        grouped = published.get("num_key_value_heads") or heads
        size = published.get("head_dim") if head_dim else None
        usual = whole(published, "hidden_size") // heads
        return {"n_kv_heads": None if grouped == heads else grouped, "head_dim": None if size == usual else size}

    def write(config: ModelConfig) -> Fields:
        return {"num_key_value_heads": config.kv_heads} | ({"head_dim": config.head_size} if head_dim else {})

    return Rule(read, write)


def known_activation(name: object) -> str:
    """Return our name of a published activation."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise Inexpressible(f"the activation {name!r} is not known; {', '.join(ACTIVATIONS)} are")
    return ACTIVATIONS[name]


def activation(theirs: str, written: Mapping[str, str], default: str = "silu") -> Rule:
    """Map the feed-forward layer's activation; ``written`` gives the family's names of ours."""

    def read(published: Published) -> Fields:
        return {"activation": known_activation(published.get(theirs) or default)}

    def write(config: ModelConfig) -> Fields:
        if config.activation not in written:
            raise Inexpressible(f"it has no activation {config.activation!r}")
        return {theirs: written[config.activation]}

    return Rule(read, write)


PLAIN: dict[str, Any] = {"norm": "layer", "mlp": "plain", "qkv_bias": True, "out_bias": True, "mlp_bias": True}
GELU = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "silu": "silu", "relu": "relu", "relu2": "relu2"}


def windows(
    *, kinds: Callable[[Published], Sequence[str]] | None = None, switch: str = "", default: int | None = None
) -> Rule:
    """Map the layers that see a sliding window only.

    Args:
        kinds: "full_attention" or "sliding_attention" for each layer where a file has no ``layer_types``; without it,
            all layers have the window if ``sliding_window`` is set (Mistral).
        switch: a key that must be true for windows to be used (Qwen).
        default: the window that a file means by leaving it out.
    """

    def read(published: Published) -> Fields:
        window = published.get("sliding_window", default)
        if window is None or (switch and not published.get(switch)):
            return {"mixers": ("attention",), "window": None}
        if kinds is None:
            return {"mixers": ("sliding",), "window": window}
        mixers = _mixers(
            published.get("layer_types") or kinds(published), whole(published, "num_hidden_layers", 10_000)
        )
        return {"mixers": mixers, "window": window if "sliding" in mixers else None}

    def write(config: ModelConfig) -> Fields:
        mixers = [config.mixer(layer) for layer in range(config.n_layers)]
        written: Fields = {"sliding_window": config.window if "sliding" in mixers else None}
        if switch:
            written[switch] = "sliding" in mixers
        if kinds is not None:
            written["layer_types"] = [_THEIRS[mixer] for mixer in mixers]
        return written

    return Rule(read, write)


_THEIRS = {"attention": "full_attention", "sliding": "sliding_attention"}
_OURS = {theirs: ours for ours, theirs in _THEIRS.items()}


def _mixers(kinds: Sequence[str], layers: int) -> tuple[str, ...]:
    """Return one mixer for each layer, or a single one where all are the same."""
    if len(kinds) != layers or not set(kinds) <= set(_OURS):
        raise Inexpressible(f"layer_types must name {', '.join(_OURS)} for each of {layers} layers")
    mixers = tuple(_OURS[kind] for kind in kinds)
    return mixers[:1] if len(set(mixers)) == 1 else mixers


def tied(default: bool) -> Rule:
    """Map whether the output embedding is the input embedding; ``default`` is the meaning of an absent entry."""
    return same("tied", "tie_word_embeddings", default)
