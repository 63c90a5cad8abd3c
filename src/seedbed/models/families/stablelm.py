"""StableLM (Bellagente et al. 2024): LLaMA's shape with LayerNorm and partly rotated heads. Persimmon (Elsen et al.
2023): the same with squared ReLU, norms on q and k, and q, k and v interleaved by head."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import choice, constant, same
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import (
    QKV,
    THEIRS,
    attention_rows,
    decoder_rule,
    feedforward_rows,
    make_family,
    norm_rows,
)
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation
from seedbed.models.families.weight_mapping import Row, by_head, fused, layer

_APART = tuple(f"{name}." for name in QKV)


def persimmon_rows(config: ModelConfig) -> list[Row]:
    """Return LLaMA's tensor names with parts of GPT-NeoX's."""
    rows = layer("embedding", "model.embed_tokens") + layer("norm", "model.final_layernorm", bias=True)
    attention = attention_rows(out="dense", norm="layernorm")
    rows += decoder_head_rows(config) + [row for row in attention if not row.ours[0].startswith(_APART)]
    rows += fused(QKV, THEIRS + "self_attn.query_key_value", bias=True, conversion=by_head(config.n_heads))
    rows += feedforward_rows("mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
    return rows + norm_rows("input_layernorm", "post_attention_layernorm")


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
        norm="layer",
        mlp="plain",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
    ),
    persimmon_rows,
)
