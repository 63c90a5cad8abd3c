"""SentencePiece's two models, BPE and unigram, as a ``tokenizer.json``.

A ``.model`` file and a GGUF file hold the same: pieces in the order of their ids, a score and a type for each, and the
normalization of text. The types' numbers are those of both formats.

Merges are not stored: SentencePiece joins the neighbours whose union is the piece with the highest score, so every
way to cut a piece in two pieces is a merge, in the order of scores. Where two ways to make one piece overlap,
SentencePiece takes the left one; here the one with the shorter left part comes first, which is the same for all
texts that greedy merging can reach.

Left out: models of words and of characters, spaces as suffixes, unescaped spaces (no published language model has
them), and a piece with a character that is no piece itself, unless it is ASCII: the ``tokenizers`` library cannot reach
it. Sources: Kudo and Richardson 2018; https://github.com/google/sentencepiece (bpe_model.cc, unigram_model.cc).
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

from seedbed.core import files
from seedbed.core.errors import CorruptError
from seedbed.core.library_errors import library_errors
from seedbed.tokenizers.bounds import check_lengths
from seedbed.tokenizers.tokenizer_json import added_token, bpe_model, byte_fallback_decoder, split, tokenizer_table

SPACE = "▁"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
_NO_BYTE_NAME = r"<(?=0x[0-9A-F]{2}>)"


class PieceType(IntEnum):
    """The type of a piece."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class PieceModel:
    """One model; ``pieces``, ``scores`` and ``types`` go by id."""

    kind: Literal["bpe", "unigram"]
    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]
    unk_id: int
    charsmap: bytes = b""  # SentencePiece's compiled table of replacements; b"" replaces nothing
    add_prefix: bool = True  # put a space before the text (``add_dummy_prefix``)
    trim: bool = False  # drop spaces at both ends and all but one of a run (``remove_extra_whitespaces``)
    byte_fallback: bool = False

    def of_type(self, *types: PieceType) -> list[int]:
        """Return the ids of these types."""
        return [index for index, kind in enumerate(self.types) if kind in types]


def piece_tokenizer(model: PieceModel, origin: str) -> dict[str, Any]:
    """Build the ``tokenizer.json`` of a model.

    Raises CorruptError where a piece is there twice, numbers do not fit, or bytes are missing.
    """
    with library_errors(lambda why: damaged_tokenizer(origin, why)):
        _check(model, origin)
    added = [
        added_token(index, model.pieces[index], special=model.types[index] != PieceType.USER_DEFINED)
        for index in model.of_type(PieceType.CONTROL, PieceType.UNKNOWN, PieceType.UNUSED, PieceType.USER_DEFINED)
    ]
    build = _bpe if model.kind == "bpe" else _unigram
    return tokenizer_table(
        build(model),
        added=added,
        normalizer=_normalizer(model),
        pre_tokenizer=_pre_tokenizer(model),
        decoder=byte_fallback_decoder(strip=model.add_prefix),
    )


def _bpe(model: PieceModel) -> dict[str, Any]:
    normal = {
        piece: score
        for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True)
        if kind == PieceType.NORMAL
    }
    names = _reachable(model, normal)
    parts = normal.keys() | names.values()
    merges = [
        (-score, cut, piece)
        for piece, score in normal.items()
        for cut in range(1, len(piece))
        if piece[:cut] in parts and piece[cut:] in parts
    ]
    merges.sort(key=lambda merge: merge[:2])
    return bpe_model(
        {names.get(piece, piece): index for index, piece in enumerate(model.pieces)},
        [[piece[:cut], piece[cut:]] for _, cut, piece in merges],
        unknown=model.pieces[model.unk_id],
        byte_fallback=model.byte_fallback,
    )


def _reachable(model: PieceModel, normal: dict[str, float]) -> dict[str, str]:
    """Rename the bytes of ASCII characters that occur in pieces but are no pieces themselves (Gemma's tab)."""
    if not model.byte_fallback:
        return {}
    made_of = {character for piece in normal for character in piece if character.isascii()}
    return {BYTES[ord(character)]: character for character in sorted(made_of - set(model.pieces))}


def _unigram(model: PieceModel) -> dict[str, Any]:
    """Build the unigram model; pieces that no text is cut into score 0, as the unknown's score follows the lowest."""
    return {
        "type": "Unigram",
        "unk_id": model.unk_id,
        "vocab": [
            [piece, score if kind == PieceType.NORMAL else 0.0]
            for piece, score, kind in zip(model.pieces, model.scores, model.types, strict=True)
        ],
        "byte_fallback": model.byte_fallback,
    }


def _normalizer(model: PieceModel) -> dict[str, Any] | None:
    steps: list[dict[str, Any]] = []
    if model.charsmap:
        table = base64.b64encode(model.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": table})
    if model.trim:
        steps += [_replace({"Regex": r"\A +"}, ""), _replace({"Regex": " {2,}"}, " ")]
    if model.add_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    steps.append(_replace({"String": " "}, SPACE))
    if model.trim:
        steps.append(_replace({"Regex": rf"{SPACE}+\z"}, ""))
    return {"type": "Sequence", "normalizers": steps}


def _replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def _pre_tokenizer(model: PieceModel) -> dict[str, Any] | None:
    """Split before spaces where no piece crosses one: the same pieces, and words can be remembered.

    A byte spelled in a text ("<0x41>") is cut from what is before it and loses its first character, as the library's
    unigram model would take it for the byte; BPE has no merges that lead there.
    """
    splits = []
    if model.kind == "unigram" and model.byte_fallback:
        splits.append(split({"Regex": _NO_BYTE_NAME}, "Isolated"))
    if not any(SPACE in piece[1:] for piece in model.pieces):
        splits.append(split({"String": SPACE}, "MergedWithNext"))
    return {"type": "Sequence", "pretokenizers": splits} if splits else None


def _check(model: PieceModel, origin: str) -> None:
    size = len(model.pieces)
    if not size or not size == len(model.scores) == len(model.types):
        raise damaged_tokenizer(origin, f"{size} pieces have {len(model.scores)} scores and {len(model.types)} types")
    if not 0 <= model.unk_id < size:
        raise damaged_tokenizer(origin, f"the unknown piece is number {model.unk_id} of {size}")
    check_lengths(model.pieces[index] for index in model.of_type(PieceType.NORMAL))
    if len(set(model.pieces)) < size:
        raise damaged_tokenizer(origin, f"the piece {Counter(model.pieces).most_common(1)[0][0]!r} is there twice")
    trie = int.from_bytes(model.charsmap[:4], "little")
    if model.charsmap and (trie % 4 or trie + 4 > len(model.charsmap)):
        why = f"its table of replacements has {len(model.charsmap)} bytes, which cannot hold a trie of {trie}"
        raise damaged_tokenizer(origin, why)
    if model.byte_fallback and (missing := set(BYTES) - set(model.pieces)):
        raise damaged_tokenizer(origin, f"it falls back to bytes, and {min(missing)} is no piece")


def damaged_tokenizer(origin: str, why: str) -> CorruptError:
    """Return the error of a vocabulary that cannot be used."""
    why, fix = files.mistaken(Path(origin)) or (why, "fetch it again from where it was published")
    return CorruptError(f"{origin} is not a tokenizer", why=why, fix=fix)
