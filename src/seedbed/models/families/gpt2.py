"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases everywhere; its matrices are stored transposed."""

from __future__ import annotations

from typing import Any

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Rule, constant, fixed, same, together
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import QKV, make_family, norm_rows
from seedbed.models.families.rules import activation, hidden, tied
from seedbed.models.families.weight_mapping import STACKED_TRANSPOSED, TRANSPOSED, Row, fused, layer

_NAMES = {"n_embd": "d_model", "n_layer": "n_layers", "n_head": "n_heads", "n_positions": "max_length"}
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}


def gpt2_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``transformer.``"""
    ours, theirs = "blocks.{i}.", "transformer.h.{i}."
    rows = layer("embedding", "transformer.wte") + layer("position", "transformer.wpe")
    rows += layer("norm", "transformer.ln_f", bias=True) + decoder_head_rows(config, token="classifier")
    rows += fused(QKV, theirs + "attn.c_attn", bias=True, conversion=STACKED_TRANSPOSED)
    rows += layer(ours + "mixer.out", theirs + "attn.c_proj", bias=True, conversion=TRANSPOSED)
    rows += layer(ours + "feedforward.up", theirs + "mlp.c_fc", bias=True, conversion=TRANSPOSED)
    rows += layer(ours + "feedforward.down", theirs + "mlp.c_proj", bias=True, conversion=TRANSPOSED)
    return rows + norm_rows("ln_1", "ln_2", theirs)


def gpt_rule(*more: Rule, act: str = "gelu_new", **unlike: Any) -> Rule:
    """Combine the rules that GPT-2 shares with its relatives; ``act`` is the default activation of their files."""
    shape = {"norm": "layer", "mlp": "plain", "position": "learned", "out_bias": True, "mlp_bias": True} | unlike
    return together(
        same("vocab_size", "vocab_size"),
        same("norm_eps", "layer_norm_epsilon", 1e-5),
        activation("activation_function", _ACTIVATIONS, act),
        tied(True),
        fixed(**shape),
        *more,
    )


GPT_SIZES = (*(same(ours, theirs) for theirs, ours in _NAMES.items()), hidden("n_inner", "n_embd"))
GPT2 = make_family(
    "gpt2",
    "GPT2",
    gpt_rule(
        *GPT_SIZES,
        constant(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False),
        qkv_bias=True,
    ),
    gpt2_rows,
    prefix="transformer.",
    lm="LMHeadModel",
)
