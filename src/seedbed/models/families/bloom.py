"""BLOOM (Le Scao et al. 2022): ALiBi in place of positions, a norm after the embedding, q, k, v interleaved by head."""

from __future__ import annotations

from seedbed.models.families.base import Rule, constant, fixed, same, together, whole
from seedbed.models.families.gpt_neox import MLP_4H
from seedbed.models.families.llama import NORMS, QKV, DecoderNames, make_family
from seedbed.models.families.rules import PLAIN, tied
from seedbed.models.families.weight_mapping import by_head

_NAMES = DecoderNames(
    {"embedding": "word_embeddings", "embedding_norm": "word_embeddings_layernorm", "norm": "ln_f"},
    NORMS | {QKV: "self_attention.query_key_value", "mixer.out": "self_attention.dense"} | MLP_4H,
    block="h.{i}.",
    token="classifier",
    fused=lambda config: by_head(config.n_heads),
)
# ALiBi has no longest context; some files give the length of texts in training
_LENGTH = Rule(
    lambda published: {"max_length": published.get("seq_length") or 2048},
    lambda config: {"seq_length": config.max_length},
)
BLOOM = make_family(
    "bloom",
    "Bloom",
    together(
        same("vocab_size", "vocab_size"),
        same("d_model", "hidden_size"),
        same("n_layers", "n_layer"),
        same("n_heads", "n_head"),
        same("norm_eps", "layer_norm_epsilon", 1e-5),
        Rule(lambda published: {"d_ff": 4 * whole(published, "hidden_size")}),
        _LENGTH,
        tied(True),
        constant(apply_residual_connection_post_layernorm=False),
        fixed(activation="gelu_tanh", position="alibi", embedding_norm=True, **PLAIN),
    ),
    _NAMES,
    prefix="transformer.",
    older={"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"},
)
