"""GGUF's names of our parameters, and the changes llama.cpp makes to the numbers.

Two changes, both undone on reading: where an architecture turns neighbouring channels (0, 1), (2, 3) … ("llama"), rows
of q and k are put in that order, since ours turn i and i + D/2; and norms that multiply by 1 + weight (Gemma) are
written as what they multiply with, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seedbed.models.config import ModelConfig
from seedbed.models.families.weight_mapping import SAME, STACKED, Conversion, Row, Shapes, fused, layer

OURS, THEIRS = "blocks.{i}.", "blk.{i}."
_QKV = tuple(f"{OURS}mixer.{part}" for part in "qkv")
_NORMS = {
    "norm": "output_norm",
    "embedding_norm": "token_embd_norm",
    OURS + "mixer_norm": THEIRS + "attn_norm",
    OURS + "feedforward_norm": THEIRS + "ffn_norm",
    OURS + "mixer_end_norm": THEIRS + "post_attention_norm",
    OURS + "feedforward_end_norm": THEIRS + "post_ffw_norm",
    OURS + "mixer.q_norm": THEIRS + "attn_q_norm",
    OURS + "mixer.k_norm": THEIRS + "attn_k_norm",
}
_POST_NORMS = {
    OURS + "mixer_norm": THEIRS + "attn_output_norm",
    OURS + "feedforward_norm": THEIRS + "layer_output_norm",
}
PLUS_ONE = Conversion(lambda theirs, shapes: [theirs.float() - 1], lambda ours: ours[0].float() + 1)
EXPERTS = Conversion(lambda theirs, shapes: theirs.unbind(0), lambda ours: torch.stack(list(ours)))


def gguf_rows(
    config: ModelConfig, *, interleaved: bool = False, fused_qkv: bool = False, fused_gate: bool = False
) -> list[Row]:
    """Return the table of a decoder or encoder; rows without a parameter in the model are skipped when it is used.

    Args:
        interleaved: rotary pairs are neighbours.
        fused_qkv: q, k and v are one tensor. Either way is read.
        fused_gate: gate and up are one tensor.
    """
    norm = PLUS_ONE if config.norm == "rms1" else SAME
    norms = _NORMS | (_POST_NORMS if config.norm_place == "post" else {})
    rows = [row for ours, theirs in norms.items() for row in layer(ours, theirs, bias=True, conversion=norm)]
    rows += layer("embedding", "token_embd") + layer("segment", "token_types")
    rows += layer("position", "position_embd", conversion=_without(config.position_offset))
    rows += layer("output", "output", bias=True) + layer(OURS + "mixer.out", THEIRS + "attn_output", bias=True)
    together, apart = fused(_QKV, THEIRS + "attn_qkv", bias=True), _separate(config, interleaved)
    rows += together + apart if fused_qkv else apart + ([] if interleaved else together)
    if fused_gate:
        rows += fused(
            (OURS + "feedforward.gate", OURS + "feedforward.up"), THEIRS + "ffn_up", bias=True, conversion=STACKED
        )
    for part in ("gate", "up", "down"):
        rows += layer(OURS + f"feedforward.{part}", THEIRS + f"ffn_{part}", bias=True)
    return rows + _expert_rows(config)


def _separate(config: ModelConfig, interleaved: bool) -> list[Row]:
    rows = layer(OURS + "mixer.v", THEIRS + "attn_v", bias=True)
    for part, heads in (("q", config.n_heads), ("k", config.kv_heads)):
        conversion = pairs(heads, config.rotated) if interleaved else SAME
        rows += layer(OURS + f"mixer.{part}", THEIRS + f"attn_{part}", bias=True, conversion=conversion)
    return rows


def _expert_rows(config: ModelConfig) -> list[Row]:
    """Return the rows of the router, and of all experts of a layer as one tensor."""
    if config.experts is None:
        return []
    rows = layer(OURS + "feedforward.router", THEIRS + "ffn_gate_inp")
    for part in ("gate", "up", "down"):
        names = tuple(f"{OURS}feedforward.experts.{number}.{part}" for number in range(config.experts.count))
        rows += fused(names, THEIRS + f"ffn_{part}_exps", conversion=EXPERTS)
    return rows


def _without(first: int) -> Conversion:
    """Convert the position table by leaving out the rows before position 0 (RoBERTa)."""
    return Conversion(lambda theirs, shapes: [theirs], lambda ours: ours[0][first:])


def pairs(heads: int, rotated: int) -> Conversion:
    """Reorder rows of q or k: the channels of a rotary pair are neighbours in theirs, half a head apart in ours."""

    def reorder(tensor: Tensor, axes: tuple[int, int]) -> Tensor:
        by_head = tensor.view(heads, -1, *tensor.shape[1:])  # (H, D, …)
        turned = by_head[:, :rotated].reshape(heads, *axes, *tensor.shape[1:]).transpose(1, 2).flatten(1, 2)
        return torch.cat([turned, by_head[:, rotated:]], 1).flatten(0, 1)

    def split(theirs: Tensor, shapes: Shapes) -> Sequence[Tensor]:
        return [reorder(theirs, (rotated // 2, 2))]

    return Conversion(split, lambda ours: reorder(ours[0], (2, rotated // 2)))
