"""BERT (Devlin et al. 2019), MiniLM (Wang et al. 2020), RoBERTa (Liu et al. 2019), XLM-RoBERTa: encoders with norms
after each part, learned positions, and heads for masked tokens, classes, tags and answers. RoBERTa's table of positions
begins with rows for padding, and its heads are named and built a little otherwise. DistilBERT (Sanh et al. 2019) has no
kinds of segment, and ReLU before classes of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.families.base import (
    Family,
    Fields,
    Inexpressible,
    Published,
    Rule,
    checked,
    constant,
    fixed,
    only,
    same,
    together,
    whole,
)
from seedbed.models.families.heads import ENCODER, classes, labels, written_labels
from seedbed.models.families.llama import BLOCK
from seedbed.models.families.rules import GELU, PLAIN, activation, sizes, tied
from seedbed.models.families.weight_mapping import SAME, Row, layers

_SHAPE = PLAIN | {
    "causal": False,
    "norm_place": "post",
    "final_norm": False,
    "embedding_norm": True,
    "position": "learned",
}
_PARTS = {
    "mixer.q": "attention.self.query",
    "mixer.k": "attention.self.key",
    "mixer.v": "attention.self.value",
    "mixer.out": "attention.output.dense",
    "mixer_norm": "attention.output.LayerNorm",
    "feedforward.up": "intermediate.dense",
    "feedforward.down": "output.dense",
    "feedforward_norm": "output.LayerNorm",
}
_EMBEDDINGS = {
    "embedding": "word_embeddings",
    "position": "position_embeddings",
    "segment": "token_type_embeddings",
    "embedding_norm": "LayerNorm",
}
_DISTILLED_PARTS = {
    "mixer.q": "attention.q_lin",
    "mixer.k": "attention.k_lin",
    "mixer.v": "attention.v_lin",
    "mixer.out": "attention.out_lin",
    "mixer_norm": "sa_layer_norm",
    "feedforward.up": "ffn.lin1",
    "feedforward.down": "ffn.lin2",
    "feedforward_norm": "output_layer_norm",
}
_DISTILLED_SIZES = {"d_model": "dim", "n_layers": "n_layers", "n_heads": "n_heads", "d_ff": "hidden_dim"}
_NO_BUFFERS = r"\bposition_ids$"


def _head(published: Published, head: HeadKind, act: str) -> Fields:
    """Return the fields of a head; before the classes of a text is a layer with the activation ``act``."""
    sequence = head == "sequence"
    tie = {} if head == "mlm" else {"tied": False}
    shape = {"head": head, "head_bias": head != "none", "head_dense": sequence, "pool": "first"}
    return shape | {"head_activation": act if sequence else "tanh"} | tie | labels(published, head)


def _make_encoder(
    name: str,
    stem: str,
    rule: Rule,
    rows: Callable[[ModelConfig], list[Row]],
    *,
    act: str = "tanh",
    more: dict[str, HeadKind] | None = None,
    **family: Any,
) -> Family[ModelConfig]:
    """Build a family of encoders; ``more`` maps further classes to heads."""

    def read(published: Published, head: HeadKind) -> ModelConfig:
        return checked(rule.read(published) | _head(published, head, act))

    def write(config: ModelConfig) -> Fields:
        return rule.write(config) | written_labels(config)

    named = classes(stem, ENCODER) | (more or {})
    return Family(name, (name,), named, read, write, rows, **family)


def _body_rows(theirs: str) -> list[Row]:
    return layers(_EMBEDDINGS, theirs=f"{theirs}embeddings.") + layers(_PARTS, BLOCK, f"{theirs}encoder.layer.{{i}}.")


def bert_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``bert.``, and the heads'."""
    if config.head != "mlm":
        return _body_rows("bert.") + layers({"head.dense": "bert.pooler.dense", "head.output": _answer(config)})
    masked = {"head.dense": "transform.dense", "head.norm": "transform.LayerNorm", "head.output": "decoder"}
    return _body_rows("bert.") + _masked_rows(masked, "cls.predictions.", config)


def roberta_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``roberta.``, and the heads'."""
    rows = _body_rows("roberta.")
    if config.head == "sequence":
        return rows + layers({"head.dense": "dense", "head.output": "out_proj"}, theirs="classifier.")
    if config.head != "mlm":
        return rows + layers({"head.output": _answer(config)})
    masked = {"head.dense": "dense", "head.norm": "layer_norm", "head.output": "decoder"}
    return rows + _masked_rows(masked, "lm_head.", config)


def distilbert_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``distilbert.``, and the heads'."""
    rows = layers(_EMBEDDINGS, theirs="distilbert.embeddings.")
    rows += layers(_DISTILLED_PARTS, BLOCK, "distilbert.transformer.layer.{i}.")
    if config.head != "mlm":
        return rows + layers({"head.dense": "pre_classifier", "head.output": _answer(config)})
    masked = {"head.dense": "transform", "head.norm": "layer_norm", "head.output": "projector"}
    return rows + layers(masked, theirs="vocab_")


def _answer(config: ModelConfig) -> str:
    return "qa_outputs" if config.head == "span" else "classifier"


def _masked_rows(parts: dict[str, str], theirs: str, config: ModelConfig) -> list[Row]:
    """Return a masked head's rows; its bias may be there twice: with a tied table the one in ``decoder`` is a copy."""
    beside = [Row(("head.output.bias",), theirs + "bias", SAME)]
    rows = layers(parts, theirs=theirs)
    return beside + rows if config.tied else rows + beside


def _shared(*more: Rule) -> Rule:
    return together(
        *sizes(),
        same("segments", "type_vocab_size", 2),
        same("norm_eps", "layer_norm_eps", 1e-12),
        activation("hidden_act", GELU, "gelu"),
        tied(True),
        constant(is_decoder=False, add_cross_attention=False),
        only(position_embedding_type="absolute"),
        fixed(**_SHAPE),
        *more,
    )


def _padding_first() -> Rule:
    """Map positions, counted from the row after the padding's; ``max_position_embeddings`` counts all rows."""

    def read(published: Published) -> Fields:
        offset = published.get("pad_token_id", 1) + 1
        return {"position_offset": offset, "max_length": whole(published, "max_position_embeddings") - offset}

    def write(config: ModelConfig) -> Fields:
        rows = config.max_length + config.position_offset
        return {"max_position_embeddings": rows, "pad_token_id": config.position_offset - 1}

    return Rule(read, write)


@Rule
def _gelu_head(published: Published) -> Fields:
    """Refuse blocks without GELU under a masked head: RoBERTa's always has GELU."""
    masked = any(name.endswith("MaskedLM") for name in published.get("architectures") or ())
    if masked and published.get("hidden_act", "gelu") != "gelu":
        raise Inexpressible("the masked head has another activation than the blocks, which is not known here")
    return {}


BERT = _make_encoder(
    "bert",
    "Bert",
    _shared(),
    bert_rows,
    more={"BertForPreTraining": "mlm"},
    prefix="bert.",
    # Pooler and cls.seq_relationship tell whether one sentence follows another; only classes of a text use the former.
    ignored=_NO_BUFFERS + r"|^(bert\.)?pooler\.|^cls\.seq_relationship\.",
)
_ROBERTA = _shared(_padding_first(), _gelu_head)
_UNUSED = _NO_BUFFERS + r"|^(roberta\.)?pooler\."  # never trained
ROBERTA = _make_encoder("roberta", "Roberta", _ROBERTA, roberta_rows, prefix="roberta.", ignored=_UNUSED)
XLM_ROBERTA = _make_encoder("xlm-roberta", "XLMRoberta", _ROBERTA, roberta_rows, prefix="roberta.", ignored=_UNUSED)
DISTILBERT = _make_encoder(
    "distilbert",
    "DistilBert",
    together(
        same("vocab_size", "vocab_size"),
        same("max_length", "max_position_embeddings"),
        *(same(ours, theirs) for ours, theirs in _DISTILLED_SIZES.items()),
        activation("activation", GELU, "gelu"),
        tied(True),
        constant(sinusoidal_pos_embds=False),  # such a table would be stored in full, as a learned one
        fixed(norm_eps=1e-12, **_SHAPE),
    ),
    distilbert_rows,
    act="relu",
    prefix="distilbert.",
)
