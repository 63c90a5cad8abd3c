"""GPT-NeoX (Black et al. 2022) and Pythia (Biderman et al. 2023): partly rotated heads, attention and feed-forward
layer side by side behind two LayerNorms (or one after the other), q, k and v interleaved by head."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import choice, constant, flag
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import BLOCK, QKV, decoder_rule, feedforward_rows, make_family, norm_rows
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation
from seedbed.models.families.weight_mapping import Row, by_head, fused, layer

_THEIRS = "gpt_neox.layers.{i}."


def neox_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``gpt_neox.``; the output embedding's is outside."""
    rows = layer("embedding", "gpt_neox.embed_in") + layer("norm", "gpt_neox.final_layer_norm", bias=True)
    rows += decoder_head_rows(config, output="embed_out", token="classifier")
    rows += fused(QKV, _THEIRS + "attention.query_key_value", bias=True, conversion=by_head(config.n_heads))
    rows += layer(BLOCK + "mixer.out", _THEIRS + "attention.dense", bias=True)
    rows += feedforward_rows("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", _THEIRS)
    return rows + norm_rows("input_layernorm", "post_attention_layernorm", _THEIRS)


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
    neox_rows,
    prefix="gpt_neox.",
)
