"""Mistral (Jiang et al. 2023) and Zephyr: LLaMA's shape with a window over all layers. Mixtral (Jiang et al. 2024): the
same with a mixture of experts."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Published, Rule, whole
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import BLOCK, THEIRS, attention_rows, decoder_rule, make_family, norm_rows
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation, windows
from seedbed.models.families.weight_mapping import Row, layer
from seedbed.nn.experts import ExpertsConfig

_EXPERT_PARTS = {"gate": "w1", "down": "w2", "up": "w3"}


def _experts() -> Rule:
    def read(published: Published) -> Fields:
        count, active = whole(published, "num_local_experts"), whole(published, "num_experts_per_tok")
        return {"experts": ExpertsConfig(count, active)}

    def write(config: ModelConfig) -> Fields:
        experts = config.experts or ExpertsConfig()
        return {"num_local_experts": experts.count, "num_experts_per_tok": experts.active}

    return Rule(read, write)


def mixtral_rows(config: ModelConfig) -> list[Row]:
    """Return LLaMA's tensor names but for the experts."""
    rows = layer("embedding", "model.embed_tokens") + layer("norm", "model.norm") + decoder_head_rows(config)
    rows += attention_rows() + norm_rows("input_layernorm", "post_attention_layernorm")
    rows += layer(BLOCK + "feedforward.router", THEIRS + "block_sparse_moe.gate")
    for ours, theirs in _EXPERT_PARTS.items():
        rows += layer(BLOCK + f"feedforward.experts.{{e}}.{ours}", THEIRS + f"block_sparse_moe.experts.{{e}}.{theirs}")
    return rows


MISTRAL = make_family("mistral", "Mistral", decoder_rule(activation("hidden_act", GELU), rope(), windows(default=4096)))
MIXTRAL = make_family(
    "mixtral",
    "Mixtral",
    decoder_rule(activation("hidden_act", GELU), rope(1e6), windows(), _experts(), eps=("rms_norm_eps", 1e-5)),
    mixtral_rows,
    older={"num_experts": "num_local_experts"},
)
