"""GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023): partly rotated heads, attention and feed-forward
layer side by side behind two LayerNorms (or one after the other), q, k and v interleaved by head."""

from __future__ import annotations

from seedbed.models.families.base import choice, constant, flag
from seedbed.models.families.llama import NORMS, QKV, DecoderNames, decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, rope
from seedbed.models.families.weight_mapping import by_head

MLP_4H = {"feedforward.up": "mlp.dense_h_to_4h", "feedforward.down": "mlp.dense_4h_to_h"}
_NAMES = DecoderNames(
    {"embedding": "embed_in", "norm": "final_layer_norm"},
    NORMS | {QKV: "attention.query_key_value", "mixer.out": "attention.dense"} | MLP_4H,
    output="embed_out",
    token="classifier",
    fused=lambda config: by_head(config.n_heads),
)
GPT_NEOX = make_family(
    "gpt_neox",
    "GPTNeoX",
    decoder_rule(
        activation("hidden_act", GELU, "gelu"),
        rope(share=0.25, names=("rotary_emb_base", "rotary_pct")),
        choice("norm_place", "use_parallel_residual", "parallel", "pre", default=True),
        flag("attention_bias", "qkv_bias", "out_bias", default=True),
        constant(is_decoder=False),
        eps=("layer_norm_eps", 1e-5),
        groups=False,
        norm="layer",
        mlp="plain",
        mlp_bias=True,
    ),
    _NAMES,
    prefix="gpt_neox.",
)
