"""BERT (Devlin et al. 2019), MiniLM (Wang et al. 2020), RoBERTa (Liu et al. 2019), XLM-RoBERTa: encoders with norms
after each part, learned positions, and heads for masked tokens, classes, tags and answers. RoBERTa's table of positions
begins with rows for padding, and its heads are named and built a little otherwise."""

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
from seedbed.models.families.rules import GELU, activation, sizes, tied
from seedbed.models.families.weight_mapping import SAME, Row, layer

ENCODER_SHAPE: dict[str, Any] = {
    "causal": False,
    "norm": "layer",
    "norm_place": "post",
    "final_norm": False,
    "embedding_norm": True,
    "mlp": "plain",
    "position": "learned",
    "qkv_bias": True,
    "out_bias": True,
    "mlp_bias": True,
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
_NO_BUFFERS = r"\bposition_ids$"


def encoder_head(published: Published, head: HeadKind, *, dense: bool, act: str = "tanh") -> Fields:
    """Return the fields of an encoder's head; ``dense``: a layer with the activation ``act`` before its classes."""
    sequence = head == "sequence"
    tie = {} if head == "mlm" else {"tied": False}
    shape = {"head": head, "head_bias": head != "none", "head_dense": sequence and dense, "pool": "first"}
    return shape | {"head_activation": act if sequence and dense else "tanh"} | tie | labels(published, head)


def encoder_rows(parts: dict[str, str], theirs: str) -> list[Row]:
    """Return the rows of several layers with biases."""
    return [row for ours, name in parts.items() for row in layer(ours, theirs + name, bias=True)]


def make_encoder(
    name: str,
    stems: tuple[str, ...],
    rule: Rule,
    rows: Callable[[ModelConfig], list[Row]],
    *,
    model_types: tuple[str, ...] = (),
    act: str = "tanh",
    more: dict[str, HeadKind] | None = None,
    **family: Any,
) -> Family[ModelConfig]:
    """Build a family of encoders; ``more`` maps further classes to heads."""

    def read(published: Published, head: HeadKind) -> ModelConfig:
        return checked(rule.read(published) | encoder_head(published, head, dense=True, act=act))

    named = {name: head for stem in stems for name, head in classes(stem, ENCODER).items()} | (more or {})
    write = lambda config: rule.write(config) | written_labels(config)  # noqa: E731
    return Family(name, model_types or (name,), named, read, write, rows, **family)


def bert_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``bert.``, and the heads'."""
    rows = encoder_rows(_EMBEDDINGS, "bert.embeddings.")
    rows += encoder_rows({BLOCK + ours: theirs for ours, theirs in _PARTS.items()}, "bert.encoder.layer.{i}.")
    if config.head != "mlm":
        answer = "qa_outputs" if config.head == "span" else "classifier"
        return rows + encoder_rows({"head.dense": "bert.pooler.dense", "head.output": answer}, "")
    masked = {"head.dense": "transform.dense", "head.norm": "transform.LayerNorm", "head.output": "decoder"}
    return rows + masked_rows(masked, "cls.predictions.", config)


def roberta_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``roberta.``, and the heads'."""
    shared = [row for row in bert_rows(config) if row.theirs.startswith("bert.")]
    rows = [Row(row.ours, "roberta." + row.theirs.removeprefix("bert."), row.conversion) for row in shared]
    if config.head == "sequence":
        rows = [row for row in rows if "pooler" not in row.theirs]
        return rows + encoder_rows({"head.dense": "dense", "head.output": "out_proj"}, "classifier.")
    if config.head != "mlm":
        return rows + encoder_rows({"head.output": "qa_outputs" if config.head == "span" else "classifier"}, "")
    masked = {"head.dense": "dense", "head.norm": "layer_norm", "head.output": "decoder"}
    return rows + masked_rows(masked, "lm_head.", config)


def masked_rows(parts: dict[str, str], theirs: str, config: ModelConfig) -> list[Row]:
    """Return a masked head's rows; its bias may be there twice: with a tied table the one in ``decoder`` is a copy."""
    beside = [Row(("head.output.bias",), theirs + "bias", SAME)]
    rows = encoder_rows(parts, theirs)
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
        fixed(**ENCODER_SHAPE),
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


def _gelu_head() -> Rule:
    """Refuse blocks without GELU under a masked head: RoBERTa's always has GELU."""

    def read(published: Published) -> Fields:
        masked = any(name.endswith("MaskedLM") for name in published.get("architectures") or ())
        if masked and published.get("hidden_act", "gelu") != "gelu":
            raise Inexpressible("the masked head has another activation than the blocks, which is not known here")
        return {}

    return Rule(read, lambda config: {})


BERT = make_encoder(
    "bert",
    ("Bert",),
    _shared(),
    bert_rows,
    more={"BertForPreTraining": "mlm"},
    prefix="bert.",
    # Pooler and cls.seq_relationship tell whether one sentence follows another; only classes of a text use the former.
    ignored=_NO_BUFFERS + r"|^(bert\.)?pooler\.|^cls\.seq_relationship\.",
)
_ROBERTA = _shared(_padding_first(), _gelu_head())
_UNUSED = _NO_BUFFERS + r"|^(roberta\.)?pooler\."  # never trained
ROBERTA = make_encoder("roberta", ("Roberta",), _ROBERTA, roberta_rows, prefix="roberta.", ignored=_UNUSED)
XLM_ROBERTA = make_encoder("xlm-roberta", ("XLMRoberta",), _ROBERTA, roberta_rows, prefix="roberta.", ignored=_UNUSED)
