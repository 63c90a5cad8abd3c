"""StableLM (Bellagente et al. 2024): LLaMA's shape with LayerNorm and partly rotated heads. Persimmon (Elsen et al.
2023): the same with squared ReLU, norms on q and k, and q, k and v interleaved by head."""

from __future__ import annotations

from seedbed.models.families.base import choice, constant, same
from seedbed.models.families.gpt_neox import MLP_4H
from seedbed.models.families.llama import NORMS, OUTER, QKV, DecoderNames, decoder_rule, make_family
from seedbed.models.families.rules import GELU, PLAIN, activation, rope
from seedbed.models.families.weight_mapping import by_head

_PERSIMMON_NAMES = DecoderNames(
    OUTER | {"norm": "final_layernorm"},
    NORMS
    | {QKV: "self_attn.query_key_value", "mixer.out": "self_attn.dense"}
    | {"mixer.q_norm": "self_attn.q_layernorm", "mixer.k_norm": "self_attn.k_layernorm"}
    | MLP_4H,
    fused=lambda config: by_head(config.n_heads),
)
STABLELM = make_family(
    "stablelm",
    "StableLm",
    decoder_rule(
        activation("hidden_act", GELU),
        rope(share=0.25),
        choice("norm_place", "use_parallel_residual", "shared", "pre"),
        same("qkv_bias", "use_qkv_bias", False),
        constant(qk_layernorm=False),  # each head would have a norm of its own
        eps=("layer_norm_eps", 1e-5),
        head_dim=False,
        norm="layer",
    ),
)
PERSIMMON = make_family(
    "persimmon",
    "Persimmon",
    decoder_rule(
        activation("hidden_act", GELU, "relu2"),
        rope(share=0.5),
        same("qk_norm", "qk_layernorm", True),
        eps=("layer_norm_eps", 1e-5),
        groups=False,
        **PLAIN,
    ),
    _PERSIMMON_NAMES,
)
