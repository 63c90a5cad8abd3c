"""Parts of a ``tokenizer.json``: build them, and read the tokens around a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def tokenizer_table(
    model: Mapping[str, Any],
    *,
    added: Sequence[Mapping[str, Any]] = (),
    normalizer: Mapping[str, Any] | None = None,
    pre_tokenizer: Mapping[str, Any] | None = None,
    post_processor: Mapping[str, Any] | None = None,
    decoder: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build a whole ``tokenizer.json``."""
    return {
        "version": "1.0",
        "added_tokens": list(added),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": dict(model),
    }


def added_token(
    index: int, content: str, *, special: bool, lstrip: bool = False, rstrip: bool = False, normalized: bool = False
) -> dict[str, Any]:
    """Build the entry of a token that is found in a text before anything else."""
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": lstrip,
        "rstrip": rstrip,
        "normalized": normalized,
        "special": special,
    }


def bpe_model(
    vocabulary: Mapping[str, int],
    merges: Sequence[Sequence[str]],
    *,
    ignore_merges: bool = False,
    unknown: str | None = None,
    byte_fallback: bool = False,
) -> dict[str, Any]:
    """Build a BPE model; a byte-level one can spell every text, so it has no unknown token."""
    return {
        "type": "BPE",
        "unk_token": unknown,
        "fuse_unk": unknown is not None,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": dict(vocabulary),
        "merges": [list(merge) for merge in merges],
    }


def split(pattern: Mapping[str, str], behavior: str = "Isolated") -> dict[str, Any]:
    """Build a pre-tokenizer that splits at a {"Regex": …} or {"String": …}."""
    return {"type": "Split", "pattern": dict(pattern), "behavior": behavior, "invert": False}


def byte_level(*, use_regex: bool = True) -> dict[str, Any]:
    """Build GPT-2's byte alphabet, as pre-tokenizer or decoder; ``use_regex`` cuts words as GPT-2 does."""
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def byte_fallback_decoder(*, strip: bool) -> dict[str, Any]:
    """Build SentencePiece's decoder: "▁" is a space, bytes are joined, an added first space is removed."""
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if strip:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def steps_of(table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the steps of the entry "normalizer", "pre_tokenizer" or "decoder", whether a sequence, one or none."""
    entry = table.get(key)
    if entry is None:
        return []
    return list(entry[f"{key}s".replace("_", "")]) if entry["type"] == "Sequence" else [dict(entry)]


def template_processing(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> dict[str, Any] | None:
    """Build a post-processor that puts tokens, each a name and an id, around a text, or around each of a pair."""
    if not before and not after:
        return None

    def side(sequence: str, kind: int) -> list[dict[str, Any]]:
        tokens = [[{"SpecialToken": {"id": name, "type_id": kind}} for name, _ in part] for part in (before, after)]
        return [*tokens[0], {"Sequence": {"id": sequence, "type_id": kind}}, *tokens[1]]

    second = side("B", 1)
    if len(before) == len(after) == 1 and before != after:  # BERT: the second text has no beginning of its own
        second = second[1:]
    tokens = {name: {"id": name, "ids": [index], "tokens": [name]} for name, index in (*before, *after)}
    return {
        "type": "TemplateProcessing",
        "single": side("A", 0),
        "pair": [*side("A", 0), *second],
        "special_tokens": tokens,
    }


def processor_ids(post_processor: Mapping[str, Any] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that a post-processor puts before and after a single text."""
    if post_processor is None:
        return (), ()
    kind = post_processor["type"]
    if kind == "Sequence":
        before: tuple[int, ...] = ()
        after: tuple[int, ...] = ()
        for step in post_processor["processors"]:
            outer = processor_ids(step)
            before, after = outer[0] + before, after + outer[1]
        return before, after
    if kind in ("BertProcessing", "RobertaProcessing"):
        return (int(post_processor["cls"][1]),), (int(post_processor["sep"][1]),)
    if kind != "TemplateProcessing":
        return (), ()
    ids = {name: tuple(entry["ids"]) for name, entry in post_processor["special_tokens"].items()}
    place = next(at for at, part in enumerate(post_processor["single"]) if "Sequence" in part)
    parts = [ids[part["SpecialToken"]["id"]] if "SpecialToken" in part else () for part in post_processor["single"]]
    return sum(parts[:place], ()), sum(parts[place + 1 :], ())


def keeps_text(step: Mapping[str, Any]) -> bool:
    """Return whether a pre-tokenizer neither adds nor drops characters."""
    if step["type"] == "ByteLevel":
        return not bool(step["add_prefix_space"])
    return step["type"] == "Digits" or (step["type"] == "Split" and bool(step["behavior"] != "Removed"))
