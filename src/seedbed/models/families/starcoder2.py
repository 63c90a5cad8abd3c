"""StarCoder 2 (Lozhkov et al. 2024): grouped-query attention and rotary positions with LayerNorm, biases and a plain
feed-forward layer."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import flag
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import attention_rows, decoder_rule, feedforward_rows, make_family, norm_rows
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation, windows
from seedbed.models.families.weight_mapping import Row, layer


def starcoder2_rows(config: ModelConfig) -> list[Row]:
    """Return LLaMA's tensor names but for the feed-forward layer."""
    rows = layer("embedding", "model.embed_tokens") + layer("norm", "model.norm", bias=True)
    rows += decoder_head_rows(config) + attention_rows() + feedforward_rows("mlp.c_fc", "mlp.c_proj")
    return rows + norm_rows("input_layernorm", "post_attention_layernorm")


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
    starcoder2_rows,
)
