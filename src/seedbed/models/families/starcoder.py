"""StarCoder 1 and SantaCoder (Li et al. 2023): GPT-2 with one head of keys and values, and matrices as usual. StarCoder
2 (Lozhkov et al. 2024): LLaMA's shape with LayerNorm, biases and a plain feed-forward layer."""

from __future__ import annotations

from dataclasses import replace

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, constant, flag
from seedbed.models.families.gpt2 import GPT2_NAMES, GPT_SIZES, MLP, gpt_rule
from seedbed.models.families.llama import LLAMA_NAMES, decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, rope, windows
from seedbed.models.families.weight_mapping import SAME, STACKED, by_head


def _one_head() -> Rule:
    def read(published: Published) -> Fields:
        return {"n_kv_heads": None if published.get("multi_query") is False else 1}

    def write(config: ModelConfig) -> Fields:
        if config.kv_heads not in (1, config.n_heads):
            raise Inexpressible(f"it has no {config.kv_heads} heads of keys and values")
        return {"multi_query": config.kv_heads == 1}

    return Rule(read, write)


GPT_BIGCODE = make_family(
    "gpt_bigcode",
    "GPTBigCode",
    gpt_rule(
        *GPT_SIZES,
        _one_head(),
        constant(scale_attn_weights=True, add_cross_attention=False),
        act="gelu_pytorch_tanh",
    ),
    replace(GPT2_NAMES, alone=SAME, fused=lambda config: STACKED if config.kv_heads == 1 else by_head(config.n_heads)),
    prefix="transformer.",
)
STARCODER2 = make_family(
    "starcoder2",
    "Starcoder2",
    decoder_rule(
        activation("hidden_act", GELU, "gelu_pytorch_tanh"),
        rope(),
        windows(),
        flag("use_bias", "qkv_bias", "out_bias", "mlp_bias", default=True),
        tie=True,
        eps=("norm_epsilon", 1e-5),
        head_dim=False,
        norm="layer",
        mlp="plain",
    ),
    replace(LLAMA_NAMES, inner=LLAMA_NAMES.inner | MLP),
)
