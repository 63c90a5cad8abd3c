"""DistilBERT (Sanh et al. 2019): BERT's blocks without kinds of segment, and ReLU before classes of a text."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import constant, fixed, same, together
from seedbed.models.families.bert import ENCODER_SHAPE, encoder_rows, make_encoder
from seedbed.models.families.llama import BLOCK
from seedbed.models.families.rules import GELU, activation, tied
from seedbed.models.families.weight_mapping import Row

_PARTS = {
    "mixer.q": "attention.q_lin",
    "mixer.k": "attention.k_lin",
    "mixer.v": "attention.v_lin",
    "mixer.out": "attention.out_lin",
    "mixer_norm": "sa_layer_norm",
    "feedforward.up": "ffn.lin1",
    "feedforward.down": "ffn.lin2",
    "feedforward_norm": "output_layer_norm",
}
_EMBEDDINGS = {"embedding": "word_embeddings", "position": "position_embeddings", "embedding_norm": "LayerNorm"}
_SIZES = {"d_model": "dim", "n_layers": "n_layers", "n_heads": "n_heads", "d_ff": "hidden_dim"}


def distilbert_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``distilbert.``, and the heads'."""
    rows = encoder_rows(_EMBEDDINGS, "distilbert.embeddings.")
    rows += encoder_rows({BLOCK + ours: theirs for ours, theirs in _PARTS.items()}, "distilbert.transformer.layer.{i}.")
    if config.head != "mlm":
        answer = "qa_outputs" if config.head == "span" else "classifier"
        return rows + encoder_rows({"head.dense": "pre_classifier", "head.output": answer}, "")
    masked = {"head.dense": "transform", "head.norm": "layer_norm", "head.output": "projector"}
    return rows + encoder_rows(masked, "vocab_")


DISTILBERT = make_encoder(
    "distilbert",
    ("DistilBert",),
    together(
        same("vocab_size", "vocab_size"),
        same("max_length", "max_position_embeddings"),
        *(same(ours, theirs) for ours, theirs in _SIZES.items()),
        activation("activation", GELU, "gelu"),
        tied(True),
        constant(sinusoidal_pos_embds=False),  # such a table would be stored in full, as a learned one
        fixed(norm_eps=1e-12, **ENCODER_SHAPE),
    ),
    distilbert_rows,
    act="relu",
    prefix="distilbert.",
)
