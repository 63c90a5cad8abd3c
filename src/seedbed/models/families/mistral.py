"""Mistral (Jiang et al. 2023) and Zephyr: LLaMA's shape with a window over all layers. Mixtral (Jiang et al. 2024): the
same with a mixture of experts."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Published, Rule, whole
from seedbed.models.families.llama import ATTENTION, NORMS, OUTER, DecoderNames, decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, rope, windows
from seedbed.nn.experts import ExpertsConfig

_EXPERTS = {
    f"feedforward.experts.{{e}}.{ours}": f"block_sparse_moe.experts.{{e}}.{theirs}"
    for ours, theirs in (("gate", "w1"), ("down", "w2"), ("up", "w3"))
}
_NAMES = DecoderNames(OUTER, NORMS | ATTENTION | {"feedforward.router": "block_sparse_moe.gate"} | _EXPERTS)


def _experts() -> Rule:
    def read(published: Published) -> Fields:
        count, active = whole(published, "num_local_experts"), whole(published, "num_experts_per_tok")
        return {"experts": ExpertsConfig(count, active)}

    def write(config: ModelConfig) -> Fields:
        experts = config.experts or ExpertsConfig()
        return {"num_local_experts": experts.count, "num_experts_per_tok": experts.active}

    return Rule(read, write)


MISTRAL = make_family("mistral", "Mistral", decoder_rule(activation("hidden_act", GELU), rope(), windows(default=4096)))
MIXTRAL = make_family(
    "mixtral",
    "Mixtral",
    decoder_rule(activation("hidden_act", GELU), rope(1e6), windows(), _experts(), eps=("rms_norm_eps", 1e-5)),
    _NAMES,
    older={"num_experts": "num_local_experts"},
)
