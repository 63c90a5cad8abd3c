"""A tokenizer as GGUF metadata, such that llama.cpp gives the same ids for the same text.

llama.cpp has its own code for each kind and knows byte-level cuts by name only, so not every tokenizer can be written:
those it could only approximate are refused, with two exceptions that are made for what is common. Tokenizers trained
here with ``bpe`` are written as "qwen35", whose cut differs where a combining mark follows two signs that are no
letters; and Unicode's normal form C is left out (Qwen), as in llama.cpp's own files.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.formats.gguf.tokenizer import ROLES
from seedbed.tokenizers import pretokenizers
from seedbed.tokenizers.sentencepiece_model import BYTES, SPACE, PieceType
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.tokenizer_json import steps_of
from seedbed.tokenizers.train import SPLIT

_PREFIX = "tokenizer.ggml."
_NEAREST: dict[tuple[str, ...], str] = {(SPLIT,): "qwen35"}


def gguf_tokenizer(tokenizer: Tokenizer, size: int | None = None) -> dict[str, Any]:
    """Return metadata to write: text, whole numbers, booleans, lists of these, and bytes (a list of 8-bit numbers).

    ``size``: rows of the model's embedding; ids that the tokenizer lacks become unused tokens. Raises UsageError where
    llama.cpp has no tokenizer that gives the same ids.
    """
    kind = tokenizer.model_kind
    if kind == "BPE" and tokenizer.table["model"]["unk_token"] is not None:
        kind = "SentencePiece BPE"
    own = _WRITERS.get(kind)
    if own is None:
        raise _refused(f"it has no tokenizers of kind {kind}")
    rows = max(size or 0, tokenizer.vocab_size)
    pieces, types = _vocabulary(tokenizer, rows)
    metadata = own(tokenizer, pieces, types)
    return {_PREFIX + key: value for key, value in metadata.items()} | _common(tokenizer, pieces, types)


def _vocabulary(tokenizer: Tokenizer, rows: int) -> tuple[list[str], list[int]]:
    """Return pieces and types by id."""
    pieces = [f"[PAD{index}]" for index in range(rows)]
    types = [int(PieceType.UNUSED)] * rows
    for piece, index in tokenizer.vocabulary.items():
        pieces[index], types[index] = piece, int(PieceType.NORMAL)
    for token in tokenizer.table["added_tokens"]:
        types[token["id"]] = int(PieceType.CONTROL if token["special"] else PieceType.USER_DEFINED)
    return pieces, types


def _common(tokenizer: Tokenizer, pieces: list[str], types: list[int]) -> dict[str, Any]:
    """Return the metadata of all kinds: pieces, special tokens, tokens around a text, chat templates."""
    before, after = tokenizer.wrap_ids
    if len(before) > 1 or len(after) > 1:
        raise _refused("it puts at most one token before a text and one after it")
    opening = tokenizer.encode_prompt("") if not before and tokenizer.begins_with_bos else before
    ids = {role: tokenizer.vocabulary[name] for role, name in tokenizer.names.items()}
    ids |= {} if tokenizer.unk_id is None else {"unk_token": tokenizer.unk_id}
    ids |= {"bos_token": opening[0]} if opening else {}
    ids |= {"eos_token": after[0]} if after and tokenizer.model_kind != "WordPiece" else {}
    metadata: dict[str, Any] = {
        "tokens": pieces,
        "token_type": types,
        **{ROLES[role]: index for role, index in ids.items()},
        "add_bos_token": bool(opening),
        "add_eos_token": bool(after) and tokenizer.model_kind != "WordPiece",
    }
    named = dict(tokenizer.chat_templates)
    templates = {"tokenizer.chat_template": named.pop("default")} if "default" in named else {}
    if named:
        templates |= {"tokenizer.chat_templates": list(named)}  # type: ignore[dict-item]
        templates |= {f"tokenizer.chat_template.{name}": text for name, text in named.items()}
    return {_PREFIX + key: value for key, value in metadata.items()} | templates


def _byte_level(tokenizer: Tokenizer, pieces: list[str], types: list[int]) -> dict[str, Any]:
    table = tokenizer.table
    normalizer = (table.get("normalizer") or {}).get("type")
    splits = pretokenizers.splits_of(table)
    if normalizer not in (None, "NFC") or splits is None:
        raise _refused("it knows byte-level BPE only on text that is not changed before it is cut")
    merges = [_text(merge) for merge in table["model"]["merges"]]
    if merges:
        name = pretokenizers.name_of(splits, whole_words=bool(table["model"]["ignore_merges"])) or _NEAREST.get(splits)
    else:  # single bytes are the same however words are cut; llama.cpp wants a merge, and no text has this one
        name, merges = "gpt-2", [" ".join(pieces[index] for index in sorted(tokenizer.special_ids)[:2])]
    if name is None:
        raise _refused(f"it has no name for words cut by {' then '.join(splits)}")
    return {"model": "gpt2", "pre": name, "merges": merges}


def _text(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def _sentencepiece_bpe(tokenizer: Tokenizer, pieces: list[str], types: list[int]) -> dict[str, Any]:
    """Return scores from the order of merges; bytes get back their names and types."""
    model = tokenizer.table["model"]
    kinds = {step["type"] for step in steps_of(tokenizer.table, "normalizer")}
    if (
        not model["byte_fallback"]
        or kinds - {"Prepend", "Replace"}
        or any(map(_collapses, steps_of(tokenizer.table, "normalizer")))
    ):
        raise _refused("its BPE works on bytes or falls back to them, and leaves the text as it is")
    merges = [_text(merge).split(" ", 1) for merge in model["merges"]]
    scores = [0.0] * len(pieces)
    for rank, (left, right) in reversed(list(enumerate(merges))):
        scores[tokenizer.vocabulary[left + right]] = -float(rank)
    _bytes_named(pieces)
    for index, piece in enumerate(pieces):
        if piece in _BYTE_NAMES:
            types[index] = int(PieceType.BYTE)
    if (unknown := tokenizer.unk_id) is not None:
        types[unknown] = int(PieceType.UNKNOWN)
    _check_merges(pieces, types, {(left, right) for left, right in merges})
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": _adds_space(tokenizer)}


_BYTE_NAMES = frozenset(BYTES)


def _bytes_named(pieces: list[str]) -> None:
    """Restore the names of bytes that were renamed to their character (see ``sentencepiece_model.py``)."""
    places = {piece: index for index, piece in enumerate(pieces)}
    for byte, name in enumerate(BYTES[:128]):
        if name not in places and chr(byte) in places:
            pieces[places[chr(byte)]] = name


def _check_merges(pieces: list[str], types: list[int], merges: set[tuple[str, str]]) -> None:
    """Refuse a vocabulary with too few merges: llama.cpp joins any two pieces whose union is a piece."""
    normal = {piece for piece, kind in zip(pieces, types, strict=True) if kind == PieceType.NORMAL}
    for piece in normal:
        for cut in range(1, len(piece)):
            if piece[:cut] in normal and piece[cut:] in normal and (piece[:cut], piece[cut:]) not in merges:
                raise _refused(f"it would join {piece[:cut]!r} and {piece[cut:]!r}, which this tokenizer keeps apart")


def _adds_space(tokenizer: Tokenizer) -> bool:
    return any(
        step["type"] == "Prepend" or step.get("prepend_scheme", "never") != "never"
        for step in (*steps_of(tokenizer.table, "normalizer"), *steps_of(tokenizer.table, "pre_tokenizer"))
    )


def _unigram(tokenizer: Tokenizer, pieces: list[str], types: list[int]) -> dict[str, Any]:
    model, unknown = tokenizer.table["model"], tokenizer.unk_id
    steps = (*steps_of(tokenizer.table, "normalizer"), *steps_of(tokenizer.table, "pre_tokenizer"))
    kinds = {step["type"] for step in steps}
    if unknown is None or model["byte_fallback"] or "ByteLevel" in kinds:
        raise _refused("its unigram models work on characters and have an unknown token, and no bytes")
    table = next((step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"), None)
    types[unknown] = int(PieceType.UNKNOWN)
    scores = [float(score) for _, score in model["vocab"]]
    trims = "WhitespaceSplit" in kinds or any(_collapses(step) for step in steps)
    return {
        "model": "t5",
        "pre": "default",
        "scores": scores + [0.0] * (len(pieces) - len(scores)),
        "add_space_prefix": _adds_space(tokenizer),
        "remove_extra_whitespaces": trims,
        **({"precompiled_charsmap": base64.b64decode(table)} if table else {}),
    }


def _collapses(step: Mapping[str, Any]) -> bool:
    return bool(step["type"] == "Replace" and step["pattern"].get("Regex") == " {2,}")


def _word_pieces(tokenizer: Tokenizer, pieces: list[str], types: list[int]) -> dict[str, Any]:
    normalizer = tokenizer.table.get("normalizer") or {}
    basic = (
        normalizer.get("type") == "BertNormalizer" and normalizer["clean_text"] and normalizer["handle_chinese_chars"]
    )
    if not basic or [step["type"] for step in steps_of(tokenizer.table, "pre_tokenizer")] != ["BertPreTokenizer"]:
        raise _refused("its WordPiece cleans text as BERT does, and this one does not")
    if not all(tokenizer.wrap_ids):
        raise _refused("its WordPiece always puts a token before a text and one after it")
    for index, piece in enumerate(pieces):
        if types[index] == PieceType.NORMAL:
            pieces[index] = _marked(piece)
    lower, accents = bool(normalizer["lowercase"]), normalizer["strip_accents"]
    return {
        "model": "bert",
        "pre": "default",
        "token_type_count": 2,
        "normalizer.lowercase": lower,
        "normalizer.strip_accents": lower if accents is None else bool(accents),
    }


def _marked(piece: str) -> str:
    """Return llama.cpp's spelling: a mark before words instead of inside them."""
    if piece.startswith("##"):
        return piece[2:]
    return piece if piece.startswith("[") and piece.endswith("]") else SPACE + piece


_Writer = Callable[[Tokenizer, list[str], list[int]], dict[str, Any]]
_WRITERS: dict[str, _Writer] = {
    "BPE": _byte_level,
    "SentencePiece BPE": _sentencepiece_bpe,
    "Unigram": _unigram,
    "WordPiece": _word_pieces,
}


def _refused(why: str) -> UsageError:
    return UsageError(
        "this tokenizer cannot be written for llama.cpp",
        why=why,
        fix="export to Hugging Face's format, or train with a tokenizer of kind bpe",
    )
