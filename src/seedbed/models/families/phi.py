"""Phi-1, 1.5 and 2 (Gunasekar et al. 2023; Javaheripi et al. 2023): attention and feed-forward layer side by side
behind one LayerNorm. Phi-3 and 4 (Abdin et al. 2024): LLaMA's shape with fused projections and LongRoPE."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Rule, same
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import (
    BLOCK,
    QKV,
    THEIRS,
    attention_rows,
    decoder_rule,
    feedforward_rows,
    llama_rows,
    make_family,
)
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation, windows
from seedbed.models.families.weight_mapping import Row, fused, layer

_GELU_NEW = {**GELU, "gelu_tanh": "gelu_new"}


def phi_rows(config: ModelConfig) -> list[Row]:
    """Return LLaMA's tensor names, some of them changed."""
    rows = layer("embedding", "model.embed_tokens") + layer("norm", "model.final_layernorm", bias=True)
    rows += decoder_head_rows(config) + attention_rows(out="dense", norm="layernorm")
    rows += feedforward_rows("mlp.fc1", "mlp.fc2")
    return rows + layer(BLOCK + "mixer_norm", THEIRS + "input_layernorm", bias=True)


def phi3_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names; q, k and v are one matrix, gate and up another."""
    apart = ("mixer.q.", "mixer.k.", "mixer.v.", "feedforward.gate.", "feedforward.up.")
    rows = [row for row in llama_rows(config) if not row.ours[0].removeprefix(BLOCK).startswith(apart)]
    rows += fused(QKV, THEIRS + "self_attn.qkv_proj")
    return rows + fused((BLOCK + "feedforward.gate", BLOCK + "feedforward.up"), THEIRS + "mlp.gate_up_proj")


def _original_length() -> Rule:
    """Write the original length outside of the table of rotary settings, where it overrides the one inside."""

    def write(config: ModelConfig) -> Fields:
        scaling = config.rope_scaling
        if scaling is not None and scaling.kind != "longrope":
            raise Inexpressible(f"it has no rotary scaling {scaling.kind!r}")
        return {"original_max_position_embeddings": config.max_length if scaling is None else scaling.original_length}

    return Rule(lambda published: {}, write)


_BIASED = {"qkv_bias": True, "out_bias": True, "mlp_bias": True, "head_bias": True}
PHI = make_family(
    "phi",
    "Phi",
    decoder_rule(
        activation("hidden_act", _GELU_NEW, "gelu_new"),
        rope(share=0.5),
        same("qk_norm", "qk_layernorm", False),
        eps=("layer_norm_eps", 1e-5),
        head_dim=False,
        norm="layer",
        norm_place="shared",
        mlp="plain",
        **_BIASED,
    ),
    phi_rows,
)
PHI3 = make_family(
    "phi3",
    "Phi3",
    decoder_rule(
        activation("hidden_act", GELU),
        rope(share=1.0),
        windows(),
        _original_length(),
        eps=("rms_norm_eps", 1e-5),
        head_dim=False,
    ),
    phi3_rows,
)
