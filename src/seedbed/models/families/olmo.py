"""OLMo 1 (Groeneveld et al. 2024): LLaMA's shape and names, with LayerNorm that has neither gain nor bias.

Left out: ``clip_qkv``, which keeps queries, keys and values within a magnitude; a file that sets it is refused.
"""

from __future__ import annotations

from seedbed.models.families.base import flag, only
from seedbed.models.families.heads import NO_TOKENS
from seedbed.models.families.llama import decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, rope

OLMO = make_family(
    "olmo",
    "Olmo",
    decoder_rule(
        activation("hidden_act", GELU),
        rope(),
        flag("attention_bias", "qkv_bias", "out_bias"),
        only(clip_qkv=None),
        eps=None,
        head_dim=False,
        norm="bare",
        norm_eps=1e-5,
    ),
    heads=NO_TOKENS,
)
