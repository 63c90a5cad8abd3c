"""Phi-1, 1.5 and 2 (Gunasekar et al. 2023; Javaheripi et al. 2023): attention and feed-forward layer side by side
behind one LayerNorm. Phi-3 and 4 (Abdin et al. 2024): LLaMA's shape with fused projections and LongRoPE."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Rule, same
from seedbed.models.families.llama import ATTENTION, NORMS, OUTER, QKV, DecoderNames, decoder_rule, make_family
from seedbed.models.families.rules import GELU, PLAIN, activation, rope, windows

_GELU_NEW = {**GELU, "gelu_tanh": "gelu_new"}
_PHI_NAMES = DecoderNames(
    OUTER | {"norm": "final_layernorm"},
    ATTENTION
    | {"mixer_norm": "input_layernorm", "mixer.out": "self_attn.dense"}
    | {"mixer.q_norm": "self_attn.q_layernorm", "mixer.k_norm": "self_attn.k_layernorm"}
    | {"feedforward.up": "mlp.fc1", "feedforward.down": "mlp.fc2"},
)
_PHI3_NAMES = DecoderNames(
    OUTER,
    NORMS
    | {QKV: "self_attn.qkv_proj", "mixer.out": "self_attn.o_proj"}
    | {"feedforward.gate feedforward.up": "mlp.gate_up_proj", "feedforward.down": "mlp.down_proj"},
)


def _original_length(config: ModelConfig) -> Fields:
    """Write the original length outside of the table of rotary settings, where it overrides the one inside."""
    scaling = config.rope_scaling
    if scaling is not None and scaling.kind != "longrope":
        raise Inexpressible(f"it has no rotary scaling {scaling.kind!r}")
    return {"original_max_position_embeddings": config.max_length if scaling is None else scaling.original_length}


PHI = make_family(
    "phi",
    "Phi",
    decoder_rule(
        activation("hidden_act", _GELU_NEW, "gelu_new"),
        rope(share=0.5),
        same("qk_norm", "qk_layernorm", False),
        eps=("layer_norm_eps", 1e-5),
        head_dim=False,
        norm_place="shared",
        head_bias=True,
        **PLAIN,
    ),
    _PHI_NAMES,
)
PHI3 = make_family(
    "phi3",
    "Phi3",
    decoder_rule(
        activation("hidden_act", GELU),
        rope(share=1.0),
        windows(),
        Rule(lambda published: {}, _original_length),
        eps=("rms_norm_eps", 1e-5),
        head_dim=False,
    ),
    _PHI3_NAMES,
)
