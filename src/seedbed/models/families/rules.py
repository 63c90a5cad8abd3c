"""Rules that many families share: sizes, activations, sliding layers, rotary positions in all forms that files have."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, same, whole
from seedbed.nn.position import RopeScaling, ScalingKind

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


_SCALING = {
    "linear": (),
    "llama3": (("low_frequency", "low_freq_factor"), ("high_frequency", "high_freq_factor")),
    "yarn": (("fast", "beta_fast"), ("slow", "beta_slow"), ("rounded", "truncate"), ("gain", "attention_factor")),
    "longrope": (("factors", "long_factor"), ("short_factors", "short_factor"), ("gain", "attention_factor")),
}


def rope(
    theta: float = 10000.0,  # the base where a file has none
    share: float | None = None,  # likewise; None: heads are rotated whole
    *,
    local: str = "",  # the key of the base in sliding-window layers, where a family has one
    local_theta: float | None = None,  # and its default
    names: tuple[str, str] = ("rope_theta", "partial_rotary_factor"),  # of base and share outside the table
) -> Rule:
    """Map rotary positions, whether as one table (``rope_parameters``) or as older files have them."""

    def read(published: Published) -> Fields:
        table: Published = published.get("rope_parameters") or {}
        inner: Published = table.get("full_attention") or table
        sliding: Published = table.get("sliding_attention") or {}
        scaled = inner.get("rope_type", "default") != "default"
        scaling: Published | None = inner if scaled else published.get("rope_scaling")
        places = [(inner, "rope_theta"), (published, names[0])]
        parts = [(inner, "partial_rotary_factor"), (published, names[1]), (scaling or {}, "partial_rotary_factor")]
        fields = {
            "rope_theta": float(_first(places, theta)),
            "rope_share": 1.0 if share is None else float(_first(parts, share)),
            "rope_scaling": _read_scaling(scaling, published) if scaling else None,
        }
        if local:
            base = _first([(sliding, "rope_theta"), (published, local)], local_theta)
            fields["rope_theta_local"] = float(base) if base else None
        return fields

    def write(config: ModelConfig) -> Fields:
        written: Fields = {names[0]: config.rope_theta}
        if share is not None:
            written[names[1]] = config.rope_share
        if config.rope_scaling is not None:
            written["rope_scaling"] = _write_scaling(config.rope_scaling)
        return written | ({local: config.rope_theta_local} if local and config.rope_theta_local else {})

    return Rule(read, write)


def _first(places: Sequence[tuple[Published, str]], default: float | None) -> Any:
    return next((source[key] for source, key in places if source.get(key) is not None), default)


def _read_scaling(table: Published, published: Published) -> RopeScaling | None:
    kind: Any = table.get("rope_type") or table.get("type")
    kind = "longrope" if kind == "su" else kind
    if kind == "default":
        return None
    if kind not in get_args(ScalingKind):
        raise Inexpressible(f"the rotary scaling {kind!r} is not known; {', '.join(_SCALING)} are")
    own = {ours: table[theirs] for ours, theirs in _SCALING[kind] if table.get(theirs) is not None}
    longest = whole(published, "max_position_embeddings")
    original = published.get("original_max_position_embeddings") or table.get("original_max_position_embeddings")
    factor = float(table.get("factor") or (longest / original if original else 1.0))
    if kind == "yarn" and table.get("mscale") and table.get("mscale_all_dim") and "gain" not in own:
        own["gain"] = _temperature(factor, table["mscale"]) / _temperature(factor, table["mscale_all_dim"])
    own = {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
    return RopeScaling(kind, max(1.0, factor), original or longest, **own)


def _temperature(factor: float, scale: float) -> float:
    """Return YaRN's temperature as DeepSeek's files give it."""
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0


def _write_scaling(scaling: RopeScaling) -> Fields:
    own = {theirs: getattr(scaling, ours) for ours, theirs in _SCALING[scaling.kind]}
    shared = {"rope_type": scaling.kind, "type": scaling.kind, "factor": scaling.factor}
    if scaling.kind != "linear":
        shared["original_max_position_embeddings"] = scaling.original_length
    return shared | {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in own.items()
        if value not in (None, ())
    }
