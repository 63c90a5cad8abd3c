"""GPT-2 (Radford et al. 2019): learned positions, LayerNorm, biases everywhere; its matrices are stored transposed."""

from __future__ import annotations

from typing import Any

from seedbed.models.families.base import Rule, constant, fixed, same, together
from seedbed.models.families.llama import QKV, DecoderNames, make_family
from seedbed.models.families.rules import PLAIN, activation, hidden, tied
from seedbed.models.families.weight_mapping import STACKED_TRANSPOSED, TRANSPOSED

_SIZES = {"n_embd": "d_model", "n_layer": "n_layers", "n_head": "n_heads", "n_positions": "max_length"}
_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
OUTER = {"embedding": "wte", "position": "wpe", "norm": "ln_f"}
NORMS = {"mixer_norm": "ln_1", "feedforward_norm": "ln_2"}
MLP = {"feedforward.up": "mlp.c_fc", "feedforward.down": "mlp.c_proj"}
GPT2_NAMES = DecoderNames(
    OUTER,
    NORMS | {QKV: "attn.c_attn", "mixer.out": "attn.c_proj"} | MLP,
    block="h.{i}.",
    token="classifier",
    alone=TRANSPOSED,
    fused=lambda config: STACKED_TRANSPOSED,
)


def gpt_rule(*more: Rule, act: str = "gelu_new", **unlike: Any) -> Rule:
    """Combine the rules that GPT-2 shares with its relatives; ``act`` is the default activation of their files."""
    return together(
        same("vocab_size", "vocab_size"),
        same("norm_eps", "layer_norm_epsilon", 1e-5),
        activation("activation_function", _ACTIVATIONS, act),
        tied(True),
        fixed(position="learned", **PLAIN | unlike),
        *more,
    )


GPT_SIZES = (*(same(ours, theirs) for theirs, ours in _SIZES.items()), hidden("n_inner", "n_embd"))
GPT2 = make_family(
    "gpt2",
    "GPT2",
    gpt_rule(
        *GPT_SIZES,
        constant(scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False),
    ),
    GPT2_NAMES,
    prefix="transformer.",
    lm="LMHeadModel",
)
