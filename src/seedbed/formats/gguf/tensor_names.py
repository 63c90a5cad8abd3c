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
from seedbed.models.families.weight_mapping import SAME, Conversion, Row, Shapes, layers

_BLOCK = ("blocks.{i}.", "blk.{i}.")
_NORMS = {
    "mixer_norm": "attn_norm",
    "feedforward_norm": "ffn_norm",
    "mixer_end_norm": "post_attention_norm",
    "feedforward_end_norm": "post_ffw_norm",
    "mixer.q_norm": "attn_q_norm",
    "mixer.k_norm": "attn_k_norm",
}
_POST_NORMS = {"mixer_norm": "attn_output_norm", "feedforward_norm": "layer_output_norm"}
_FEEDFORWARD = {f"feedforward.{part}": f"ffn_{part}" for part in ("gate", "up", "down")}
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
    rows = layers({"norm": "output_norm", "embedding_norm": "token_embd_norm"}, alone=norm)
    rows += layers(norms, *_BLOCK, alone=norm)
    rows += layers({"embedding": "token_embd", "segment": "token_types", "output": "output"})
    # RoBERTa's table has rows before position 0
    positions = Conversion(lambda theirs, shapes: [theirs], lambda ours: ours[0][config.position_offset :])
    rows += layers({"position": "position_embd"}, alone=positions)
    together, apart = layers({"mixer.q mixer.k mixer.v": "attn_qkv"}, *_BLOCK), _separate(config, interleaved)
    rows += together + apart if fused_qkv else apart + ([] if interleaved else together)
    inner = {"mixer.out": "attn_output"} | ({"feedforward.gate feedforward.up": "ffn_up"} if fused_gate else {})
    return rows + layers(inner | _FEEDFORWARD, *_BLOCK) + _expert_rows(config)


def _separate(config: ModelConfig, interleaved: bool) -> list[Row]:
    rows = layers({"mixer.v": "attn_v"}, *_BLOCK)
    for part, heads in (("q", config.n_heads), ("k", config.kv_heads)):
        conversion = pairs(heads, config.rotated) if interleaved else SAME
        rows += layers({f"mixer.{part}": f"attn_{part}"}, *_BLOCK, alone=conversion)
    return rows


def _expert_rows(config: ModelConfig) -> list[Row]:
    """Return the rows of the router, and of all experts of a layer as one tensor."""
    if config.experts is None:
        return []
    rows = layers({"feedforward.router": "ffn_gate_inp"}, *_BLOCK)
    for part in ("gate", "up", "down"):
        experts = " ".join(f"feedforward.experts.{number}.{part}" for number in range(config.experts.count))
        rows += layers({experts: f"ffn_{part}_exps"}, *_BLOCK, alone=EXPERTS, fused=EXPERTS)
    return rows


def pairs(heads: int, rotated: int) -> Conversion:
    """Reorder rows of q or k: the channels of a rotary pair are neighbours in theirs, half a head apart in ours."""

    def reorder(tensor: Tensor, axes: tuple[int, int]) -> Tensor:
        by_head = tensor.view(heads, -1, *tensor.shape[1:])  # (H, D, …)
        turned = by_head[:, :rotated].reshape(heads, *axes, *tensor.shape[1:]).transpose(1, 2).flatten(1, 2)
        return torch.cat([turned, by_head[:, rotated:]], 1).flatten(0, 1)

    def split(theirs: Tensor, shapes: Shapes) -> Sequence[Tensor]:
        return [reorder(theirs, (rotated // 2, 2))]

    return Conversion(split, lambda ours: reorder(ours[0], (2, rotated // 2)))
