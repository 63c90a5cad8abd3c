"""Rules between GGUF metadata and our configuration.

Read here are the metadata of one architecture without its prefix ("llama.block_count" → "block_count"), and
facts about the tensors under names that no metadata have: ``@names``, ``@vocab_size`` and ``@rope_factors``.
"""

from __future__ import annotations

import numpy as np

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule
from seedbed.nn.experts import ExpertsConfig

NAMES, VOCABULARY, FACTORS = "@names", "@vocab_size", "@rope_factors"


def shortest(number: float) -> float:
    """Return the decimal number that a float32 was meant to be: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def shape() -> Rule:
    """Map width, layers, heads, vocabulary and context."""

    def read(published: Published) -> Fields:
        heads = one_number(published, "attention.head_count")
        kv_heads = one_number(published, "attention.head_count_kv", heads)
        width, usual = published["embedding_length"], published["embedding_length"] // heads
        size = published.get("attention.key_length", usual)
        if published.get("attention.value_length", size) != size:
            raise Inexpressible("keys and values have heads of different sizes")
        return {
            "vocab_size": published[VOCABULARY],
            "d_model": width,
            "n_layers": published["block_count"],
            "n_heads": heads,
            "n_kv_heads": None if kv_heads == heads else kv_heads,
            "head_dim": None if size * heads == width else size,
            "d_ff": one_number(published, "feed_forward_length"),
            "max_length": published["context_length"],
            "tied": "output.weight" not in published[NAMES],
        }

    def write(config: ModelConfig) -> Fields:
        return {
            "vocab_size": config.vocab_size,
            "context_length": config.max_length,
            "embedding_length": config.d_model,
            "block_count": config.n_layers,
            "feed_forward_length": config.hidden,
            "attention.head_count": config.n_heads,
            "attention.head_count_kv": config.kv_heads,
            "attention.key_length": config.head_size,
            "attention.value_length": config.head_size,
        }

    return Rule(read, write)


def one_number(published: Published, key: str, default: int | None = None) -> int:
    """Return a number that some files give for every layer."""
    value = published[key] if default is None else published.get(key, default)
    different = set(value) if isinstance(value, list) else {value}
    if len(different) != 1:
        raise Inexpressible(f"{key} differs between layers")
    return int(different.pop())


def epsilon(kind: str) -> Rule:
    """Map the norms' epsilon; ``kind`` is "layer_norm_rms" or "layer_norm"."""
    key = f"attention.{kind}_epsilon"
    return Rule(lambda published: {"norm_eps": shortest(published[key])}, lambda config: {key: float(config.norm_eps)})


def biases(**tensors: str) -> Rule:
    """Map biases, which are there where their tensor is."""
    return Rule(lambda published: {ours: name in published[NAMES] for ours, name in tensors.items()})


def number(ours: str, theirs: str) -> Rule:
    """Map an optional number."""

    def read(published: Published) -> Fields:
        value = published.get(theirs)
        return {ours: shortest(value) if value else None}

    return Rule(read, lambda config: {theirs: float(getattr(config, ours))} if getattr(config, ours) else {})


def periodic_windows(default: int) -> Rule:
    """Map windows in all layers but every n-th, llama.cpp's pattern; ``default`` is n where a file states none."""

    def read(published: Published) -> Fields:
        window, layers = published.get("attention.sliding_window"), published["block_count"]
        pattern = published.get("attention.sliding_window_pattern", default)
        if not window:
            return {"mixers": ("attention",), "window": None}
        if isinstance(pattern, list):
            slides = [bool(sliding) for sliding in pattern]
        else:
            slides = [pattern == 0 or layer % pattern < pattern - 1 for layer in range(layers)]
        return {"mixers": tuple("sliding" if slide else "attention" for slide in slides), "window": window}

    def write(config: ModelConfig) -> Fields:
        slides = [config.mixer(layer) == "sliding" for layer in range(config.n_layers)]
        if not any(slides):
            return {}
        period = slides.index(False) + 1 if False in slides else 0
        fields: Fields = {"attention.sliding_window": config.window}
        return fields | ({"attention.sliding_window_pattern": period} if period != default else {})

    return Rule(read, write)


@Rule
def windows_unseen(published: Published) -> Fields:
    """Map windows in all layers or none: llama.cpp has none here, so the written context is no longer than a window."""
    window = published.get("attention.sliding_window")
    return {"mixers": ("sliding",) if window else ("attention",), "window": window or None}


def experts(hidden: str) -> Rule:
    """Map a mixture of experts in every layer."""

    def read(published: Published) -> Fields:
        count = published.get("expert_count", 0)
        if not count:
            return {"experts": None}
        width = None if hidden == "feed_forward_length" else published[hidden]
        return {"experts": ExpertsConfig(count, published["expert_used_count"], width, renormalize=True)}

    def write(config: ModelConfig) -> Fields:
        if config.experts is None:
            return {}
        width = config.experts.hidden or config.hidden
        return {"expert_count": config.experts.count, "expert_used_count": config.experts.active, hidden: width}

    return Rule(read, write)
