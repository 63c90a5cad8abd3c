"""Heads: the one each published class has, and the number of its labels."""

from __future__ import annotations

from collections.abc import Mapping

from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.families.base import Fields, Published

DECODER: dict[str, HeadKind] = {
    "ForCausalLM": "lm",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "Model": "none",
}
NO_TOKENS: dict[str, HeadKind] = {ending: head for ending, head in DECODER.items() if head != "token"}
"""Heads of families without a class for token classification."""
ENCODER: dict[str, HeadKind] = {
    "ForMaskedLM": "mlm",
    "ForSequenceClassification": "sequence",
    "ForTokenClassification": "token",
    "ForQuestionAnswering": "span",
    "Model": "none",
}


def classes(stem: str, endings: Mapping[str, HeadKind]) -> dict[str, HeadKind]:
    """Return the published class names of a family: "Llama" → LlamaForCausalLM …"""
    return {f"{stem}{ending}": head for ending, head in endings.items()}


def decoder_head(published: Published, head: HeadKind) -> Fields:
    """Return the fields of a decoder's head: next tokens, or classes from the last position."""
    if head == "lm":
        return {"head": "lm"}
    shape = {"head": head, "pool": "last", "head_bias": head == "token", "tied": False}
    return shape | {"logit_scale": None, "logit_cap": None} | labels(published, head)


def labels(published: Published, head: HeadKind) -> Fields:
    """Return the number of classes, from their names or their count."""
    if head not in ("sequence", "token"):
        return {}
    return {"labels": len(published.get("id2label") or ()) or published.get("num_labels") or 2}


def written_labels(config: ModelConfig) -> Fields:
    """Return names for the classes, by which a published configuration counts them."""
    if config.head not in ("sequence", "token"):
        return {}
    names = {str(number): f"LABEL_{number}" for number in range(config.labels)}
    return {"id2label": names, "label2id": {name: int(number) for number, name in names.items()}}
