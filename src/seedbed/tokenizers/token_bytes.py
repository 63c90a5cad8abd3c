"""Bytes of the pieces of a vocabulary, derived from the decoder of a ``tokenizer.json``.

Streaming needs it (a piece may end inside a character), and so does anything that masks tokens by their text.
Covers byte-level (GPT-2's alphabet), WordPiece, Metaspace with byte fallback (SentencePiece) and literal vocabularies.
Left out: decoders that look at more than one piece at a time (CTC, BPE with an end-of-word suffix), which no causal
language model in use today needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.tokenizers.tokenizer_json import steps_of

_METASPACE = "▁"
_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_alphabet() -> dict[int, str]:
    """Return GPT-2's byte alphabet: printable Latin-1 stands for itself, the others follow from U+0100."""
    printable = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) if byte in printable else chr(256 + rest.index(byte)) for byte in range(256)}


BYTE_TO_CHARACTER = _byte_alphabet()
_CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}


@dataclass(frozen=True)
class Spelling:
    """The conversion of pieces to bytes, and whether a text's first space only marks a first word."""

    to_bytes: Callable[[str], bytes]
    drops_first_space: bool = False


def spelling_of(table: Mapping[str, Any]) -> Spelling:
    """Return the spelling that the ``decoder`` entry of a ``tokenizer.json`` describes."""
    kinds = {step["type"]: step for step in steps_of(table, "decoder")}
    if table.get("decoder") is None:  # the library joins such pieces with spaces
        return Spelling(lambda piece: b" " + piece.encode(), drops_first_space=True)
    if "ByteLevel" in kinds:
        return Spelling(_from_alphabet)
    if "WordPiece" in kinds:
        return Spelling(_word_piece(kinds["WordPiece"]["prefix"]), drops_first_space=True)
    if "Metaspace" in kinds:
        return Spelling(_from_metaspace, drops_first_space=kinds["Metaspace"].get("prepend_scheme") != "never")
    if "ByteFallback" in kinds or "Replace" in kinds:
        return Spelling(_from_metaspace, drops_first_space="Strip" in kinds)
    return Spelling(str.encode)


def _from_alphabet(piece: str) -> bytes:
    if all(character in _CHARACTER_TO_BYTE for character in piece):
        return bytes(_CHARACTER_TO_BYTE[character] for character in piece)
    return piece.encode()


def _from_metaspace(piece: str) -> bytes:
    byte = _BYTE_FALLBACK.fullmatch(piece)
    return bytes([int(byte.group(1), 16)]) if byte else piece.replace(_METASPACE, " ").encode()


def _word_piece(prefix: str) -> Callable[[str], bytes]:
    def to_bytes(piece: str) -> bytes:
        return piece.removeprefix(prefix).encode() if piece.startswith(prefix) else b" " + piece.encode()

    return to_bytes
