"""BLOOM (Le Scao et al. 2022): ALiBi in place of positions, a norm after the embedding, q, k, v interleaved by head."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Published, Rule, constant, fixed, same, together, whole
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import BLOCK, QKV, feedforward_rows, make_family, norm_rows
from seedbed.models.families.rules import tied
from seedbed.models.families.weight_mapping import Row, by_head, fused, layer

_THEIRS = "transformer.h.{i}."


def _hidden() -> Rule:
    """Set the hidden width, which is always four times the model's."""
    return Rule(lambda published: {"d_ff": 4 * whole(published, "hidden_size")}, lambda config: {})


def _length() -> Rule:
    """Read the context: ALiBi has no longest one; some files give the length of texts in training."""

    def read(published: Published) -> Fields:
        return {"max_length": published.get("seq_length") or 2048}

    return Rule(read, lambda config: {"seq_length": config.max_length})


def bloom_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``transformer.``"""
    rows = layer("embedding", "transformer.word_embeddings") + layer("norm", "transformer.ln_f", bias=True)
    rows += layer("embedding_norm", "transformer.word_embeddings_layernorm", bias=True)
    rows += decoder_head_rows(config, token="classifier")
    rows += fused(QKV, _THEIRS + "self_attention.query_key_value", bias=True, conversion=by_head(config.n_heads))
    rows += layer(BLOCK + "mixer.out", _THEIRS + "self_attention.dense", bias=True)
    rows += feedforward_rows("mlp.dense_h_to_4h", "mlp.dense_4h_to_h", _THEIRS)
    return rows + norm_rows("input_layernorm", "post_attention_layernorm", _THEIRS)


_BIASED = {"qkv_bias": True, "out_bias": True, "mlp_bias": True}
BLOOM = make_family(
    "bloom",
    "Bloom",
    together(
        same("vocab_size", "vocab_size"),
        same("d_model", "hidden_size"),
        same("n_layers", "n_layer"),
        same("n_heads", "n_head"),
        same("norm_eps", "layer_norm_epsilon", 1e-5),
        _hidden(),
        _length(),
        tied(True),
        constant(apply_residual_connection_post_layernorm=False),
        fixed(norm="layer", mlp="plain", activation="gelu_tanh", position="alibi", embedding_norm=True, **_BIASED),
    ),
    bloom_rows,
    prefix="transformer.",
    older={"n_embed": "hidden_size", "num_attention_heads": "n_head", "num_hidden_layers": "n_layer"},
)
