"""StarCoder 1 and SantaCoder (Li et al. 2023): GPT-2 with one head of keys and values, and matrices as usual."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, constant
from seedbed.models.families.gpt2 import GPT_SIZES, gpt2_rows, gpt_rule
from seedbed.models.families.llama import make_family
from seedbed.models.families.weight_mapping import SAME, STACKED, Row, by_head


def _one_head() -> Rule:
    def read(published: Published) -> Fields:
        return {"n_kv_heads": None if published.get("multi_query") is False else 1}

    def write(config: ModelConfig) -> Fields:
        if config.kv_heads not in (1, config.n_heads):
            raise Inexpressible(f"it has no {config.kv_heads} heads of keys and values")
        return {"multi_query": config.kv_heads == 1}

    return Rule(read, write)


def bigcode_rows(config: ModelConfig) -> list[Row]:
    """Return GPT-2's tensor names; nothing is transposed, and q, k, v are by head where each head has its own."""
    qkv = STACKED if config.kv_heads == 1 else by_head(config.n_heads)
    stacked = {1: SAME, 3: qkv}
    return [Row(row.ours, row.theirs, stacked[len(row.ours)]) for row in gpt2_rows(config)]


GPT_BIGCODE = make_family(
    "gpt_bigcode",
    "GPTBigCode",
    gpt_rule(
        *GPT_SIZES,
        _one_head(),
        constant(scale_attn_weights=True, add_cross_attention=False),
        act="gelu_pytorch_tanh",
        qkv_bias=True,
    ),
    bigcode_rows,
    prefix="transformer.",
)
