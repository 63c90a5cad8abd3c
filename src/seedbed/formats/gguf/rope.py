"""Rotary positions in GGUF: base, share and scaling in the metadata, the factors of some scalings as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from seedbed.formats.gguf.rules import FACTORS, one_number, shortest
from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule
from seedbed.nn.position import RopeScaling, llama3, longrope_gain

ROPE_FREQUENCIES, ROPE_LONG, ROPE_SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
_LOCAL = "rope.freq_base_swa"
_ORIGINAL = 8192  # context of Llama 3's first training, which its GGUF files do not name


def rope(local: float | None = None) -> Rule:
    """Map rotary positions and their scalings; ``local`` is the base of sliding layers where the file has none."""

    def read(published: Published) -> Fields:
        size = published.get(
            "attention.key_length", published["embedding_length"] // one_number(published, "attention.head_count")
        )
        fields: Fields = {
            "rope_theta": shortest(published.get("rope.freq_base", 10000.0)),
            "rope_share": published.get("rope.dimension_count", size) / size,
            "rope_scaling": _read_scaling(published),
        }
        return fields | ({"rope_theta_local": shortest(published.get(_LOCAL, local))} if local else {})

    def write(config: ModelConfig) -> Fields:
        fields: Fields = {"rope.freq_base": float(config.rope_theta), "rope.dimension_count": config.rotated}
        if local and config.rope_theta_local:
            fields[_LOCAL] = float(config.rope_theta_local)
        # what reading finds in the tensors that rope_tensors makes
        facts = {FACTORS: rope_tensors(config)}
        return fields | _write_scaling(config) | facts

    return Rule(read, write)


def _read_scaling(published: Published) -> RopeScaling | None:
    factors: Mapping[str, Tensor] = published.get(FACTORS, {})
    kind = published.get("rope.scaling.type", "none")
    factor = shortest(published.get("rope.scaling.factor", 1.0))
    original = published.get("rope.scaling.original_context_length", published["context_length"])
    if ROPE_LONG in factors:
        gain = shortest(published.get("rope.scaling.attn_factor", 1.0))
        usual = math.isclose(gain, longrope_gain(published["context_length"], original), rel_tol=1e-5)
        return RopeScaling(
            "longrope",
            max(1.0, published["context_length"] / original),
            original,
            gain=None if usual else gain,
            factors=_numbers(factors[ROPE_LONG]),
            short_factors=_numbers(factors.get(ROPE_SHORT, factors[ROPE_LONG])),
        )
    if ROPE_FREQUENCIES in factors:
        return _by_frequency(published, factors[ROPE_FREQUENCIES])
    if kind == "linear" and factor != 1:
        return RopeScaling("linear", factor, original)
    if kind == "yarn":
        return RopeScaling("yarn", factor, original)
    if kind in ("none", "linear"):
        return None
    raise Inexpressible(f"the rotary scaling {kind!r} is not known")


def _by_frequency(published: Published, factors: Tensor) -> RopeScaling:
    """Return Llama 3's scaling where the factors are its own, else the factors themselves."""
    theta = published.get("rope.freq_base", 10000.0)
    original = published.get("rope.scaling.original_context_length", _ORIGINAL)
    known = RopeScaling("llama3", round(float(factors.max())), original)
    if known.factor > 1 and torch.allclose(llama3_factors(known, theta, 2 * len(factors)), factors.float(), rtol=1e-4):
        return known
    numbers = _numbers(factors)
    return RopeScaling("longrope", 1.0, 1, gain=1.0, factors=numbers, short_factors=numbers)


def llama3_factors(scaling: RopeScaling, theta: float, size: int) -> Tensor:
    """Return the divisors of the frequencies (size / 2,), as ``seedbed.nn.position`` scales them."""
    frequency = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    return (frequency / llama3(frequency, theta, scaling, 0)[0]).float()


def rope_tensors(config: ModelConfig) -> dict[str, Tensor]:
    """Return the tensors that express a scaling."""
    scaling = config.rope_scaling
    if config.position != "rope" or scaling is None:
        return {}
    if scaling.kind == "llama3":
        return {ROPE_FREQUENCIES: llama3_factors(scaling, config.rope_theta, config.rotated)}
    if scaling.kind == "longrope":
        return {ROPE_LONG: torch.tensor(scaling.factors), ROPE_SHORT: torch.tensor(scaling.short_factors)}
    return {}


def _write_scaling(config: ModelConfig) -> Fields:
    scaling = config.rope_scaling
    if scaling is None:
        return {}
    fields: Fields = {"rope.scaling.original_context_length": scaling.original_length}
    if scaling.kind == "llama3":  # its factors are a tensor; llama.cpp would not know the name
        return fields
    fields["rope.scaling.type"] = scaling.kind
    if scaling.kind != "longrope":
        fields["rope.scaling.factor"] = float(scaling.factor)
    else:  # llama.cpp would stretch by a factor on top of the tensors'
        usual = longrope_gain(config.max_length, scaling.original_length)
        fields["rope.scaling.attn_factor"] = float(usual if scaling.gain is None else scaling.gain)
    return fields


def _numbers(tensor: Tensor) -> tuple[float, ...]:
    return tuple(shortest(value) for value in tensor.float().tolist())
