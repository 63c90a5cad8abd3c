"""The rule for rotary positions and their scalings, in all forms that files have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, get_args

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, whole
from seedbed.nn.position import RopeScaling, ScalingKind

_SCALING = {
    "linear": (),
    "llama3": (("low_frequency", "low_freq_factor"), ("high_frequency", "high_freq_factor")),
    "yarn": (("fast", "beta_fast"), ("slow", "beta_slow"), ("rounded", "truncate"), ("gain", "attention_factor")),
    "longrope": (("factors", "long_factor"), ("short_factors", "short_factor"), ("gain", "attention_factor")),
}


def rope(
    theta: float = 10000.0,
    share: float | None = None,
    *,
    local: str = "",
    local_theta: float | None = None,
    names: tuple[str, str] = ("rope_theta", "partial_rotary_factor"),
) -> Rule:
    """Map rotary positions, whether as one table (``rope_parameters``) or as older files have them.

    Args:
        theta, share: their values where a file has none; without ``share``, heads are rotated whole.
        local: the key of the base in sliding-window layers, where a family has one, with its default ``local_theta``.
        names: how the family calls base and share outside the table.
    """

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
