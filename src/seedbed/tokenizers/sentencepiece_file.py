"""SentencePiece's ``.model`` files, read as protocol buffers.

Only the fields that decide ids are read; the ``sentencepiece`` package is not needed.
Sources: https://protobuf.dev/programming-guides/encoding; sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from seedbed.core.errors import UsageError
from seedbed.tokenizers.sentencepiece_model import PieceModel, PieceType, damaged_tokenizer

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTE_FALLBACK, _UNK_ID = 3, 24, 35, 40
_CHARSMAP, _PREFIX, _TRIM, _ESCAPE = 2, 3, 4, 5
_KINDS: dict[int, Literal["bpe", "unigram"]] = {1: "unigram", 2: "bpe"}

Value = int | bytes


def read_sentencepiece(data: bytes, origin: str) -> PieceModel:
    """Parse a ``.model`` file's bytes.

    Raises:
        CorruptError: it is no such file, or a damaged one. UsageError: it is of a kind that no language model has.
    """
    try:
        return _model(data, origin)
    except (ValueError, IndexError, struct.error) as error:
        raise damaged_tokenizer(origin, f"it is no SentencePiece model, or part of it is missing ({error})") from error


def _model(data: bytes, origin: str) -> PieceModel:
    pieces: list[str] = []
    scores: list[float] = []
    types: list[int] = []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    for field, value in _fields(data):
        if field == _PIECES:
            entry = dict(_fields(_bytes(value)))
            pieces.append(_bytes(entry.get(_PIECE, b"")).decode())
            scores.append(struct.unpack("<f", _bytes(entry.get(_SCORE, bytes(4))))[0])
            types.append(_number(entry.get(_TYPE, PieceType.NORMAL)))
        elif field == _TRAINER:
            trainer |= _fields(_bytes(value))
        elif field == _NORMALIZER:
            normalizer |= _fields(_bytes(value))
    kind = _KINDS.get(_number(trainer.get(_MODEL_TYPE, 1)))
    if kind is None or trainer.get(_SUFFIX) or not normalizer.get(_ESCAPE, 1):
        raise UsageError(
            f"{origin} cannot be used",
            why="it cuts text into words or characters, or keeps spaces in another way than language models do",
            fix="use a SentencePiece model of kind BPE or unigram",
        )
    stated = _number(trainer.get(_UNK_ID, 0))  # outdated in some files, where one piece has the type
    unknown = types.index(PieceType.UNKNOWN) if PieceType.UNKNOWN in types else stated
    return PieceModel(
        kind,
        pieces,
        scores,
        types,
        unk_id=unknown,
        charsmap=_bytes(normalizer.get(_CHARSMAP, b"")),
        add_prefix=bool(normalizer.get(_PREFIX, 1)),
        trim=bool(normalizer.get(_TRIM, 1)),
        byte_fallback=bool(trainer.get(_BYTE_FALLBACK, 0)),
    )


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield a message's fields in their order: numbers, or the bytes of strings and of fixed-size numbers."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        wire = key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire not in (_LENGTH, _FOUR_BYTES, _EIGHT_BYTES):
            raise ValueError(f"wire type {wire} at byte {place}")
        size = {_FOUR_BYTES: 4, _EIGHT_BYTES: 8}.get(wire)
        if size is None:
            size, place = _varint(data, place)
        if place + size > len(data):
            raise ValueError(f"it ends after {len(data)} bytes, inside a field of {size}")
        yield key >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a number in groups of seven bits, and return it with its end."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number too long at byte {place}")


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where text was expected")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise ValueError("text where a number was expected")
    return value
