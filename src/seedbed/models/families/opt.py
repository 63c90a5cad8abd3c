"""OPT (Zhang et al. 2022): learned positions whose table begins with two unused rows; norms before each part, in the
350 M model after it.

Left out: embeddings narrower than the blocks (the 350 M model's projections in and out).
"""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, constant, fixed, flag, together
from seedbed.models.families.heads import NO_TOKENS
from seedbed.models.families.llama import ATTENTION, DecoderNames, make_family
from seedbed.models.families.rules import GELU, activation, sizes, tied

_OUTER = {"embedding": "embed_tokens", "position": "embed_positions", "norm": "final_layer_norm"}
_NAMES = DecoderNames(  # a block's second norm and the last one share theirs
    {ours: f"decoder.{theirs}" for ours, theirs in _OUTER.items()},
    ATTENTION
    | {"mixer.out": "self_attn.out_proj", "feedforward.up": "fc1", "feedforward.down": "fc2"}
    | {"mixer_norm": "self_attn_layer_norm", "feedforward_norm": "final_layer_norm"},
    block="decoder.layers.{i}.",
)


def _norms() -> Rule:
    def read(published: Published) -> Fields:
        before = published.get("do_layer_norm_before") is not False
        last = before and not published.get("_remove_final_layer_norm")
        return {"norm_place": "pre" if before else "post", "final_norm": last}

    def write(config: ModelConfig) -> Fields:
        before = config.norm_place == "pre"
        return {"do_layer_norm_before": before, "_remove_final_layer_norm": before and not config.final_norm}

    return Rule(read, write)


def _projection() -> Rule:
    def read(published: Published) -> Fields:
        width = published.get("word_embed_proj_dim")
        if width not in (None, published.get("hidden_size")):
            raise Inexpressible(f"its embeddings have {width} channels and its blocks others, which is not known here")
        return {}

    return Rule(read, lambda config: {"word_embed_proj_dim": config.d_model})


OPT = make_family(
    "opt",
    "OPT",
    together(
        *sizes(d_ff="ffn_dim"),
        activation("activation_function", GELU, "relu"),
        tied(True),
        _norms(),
        flag("enable_bias", "qkv_bias", "out_bias", "mlp_bias", default=True),
        _projection(),
        constant(layer_norm_elementwise_affine=True),
        fixed(norm="layer", norm_eps=1e-5, mlp="plain", position="learned", position_offset=2),
    ),
    _NAMES,
    heads=NO_TOKENS,
)
