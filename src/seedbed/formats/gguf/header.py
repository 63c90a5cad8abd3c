"""The header of a GGUF file: metadata and the place of each tensor, with every count and length checked.

Layout (the ggml project's ``docs/gguf.md``, versions 2 and 3): magic, version, number of tensors, number of metadata
entries; the entries (key, type, value); the tensors (name, axes innermost first, type, offset); padding; data.

The ``gguf`` package's own reader is not used, because it trusts what it reads: an array's or header's count runs a
loop past the end of the file, where it finds empty values and keeps them, without an end (0.19). Its constants and its
dequantization are. Big-endian files and arrays of arrays, which llama.cpp does not open either, are refused.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType

from seedbed.core import files
from seedbed.core.errors import CorruptError, UsageError
from seedbed.formats.mapped_file import MappedFile

HEADER_LIMIT = 100_000_000  # bytes before the tensors; the largest vocabularies take 20 MB
KEYS_LIMIT, TENSORS_LIMIT, ARRAY_LIMIT, AXES_LIMIT = 2**16, 2**20, 2**24, 4
ALIGNMENT = 32  # of tensors, in bytes, where the metadata do not say
_SCALARS: dict[GGUFValueType, np.dtype[Any]] = {
    kind: np.dtype(kind.name.lower()).newbyteorder("<")
    for kind in GGUFValueType
    if kind not in (GGUFValueType.STRING, GGUFValueType.ARRAY)
}


class Cursor:
    """A position in a file, read from front to back and never past the file's end or the limit."""

    def __init__(self, file: MappedFile, place: int = 0) -> None:
        self.file, self.place = file, place
        self._end = min(file.size, HEADER_LIMIT)

    def at(self, place: int) -> Cursor:
        """Return another cursor in the same file."""
        return Cursor(self.file, place)

    def skip(self, count: int) -> int:
        """Skip ``count`` bytes; return where they began."""
        if count > self._end - self.place:
            raise self.corrupt(
                "it ends early" if self.file.size <= HEADER_LIMIT else "its header does not end",
                f"byte {self.place} begins a value of {count} bytes, of {self._end} that there are or may be",
            )
        start, self.place = self.place, self.place + count
        return start

    def take(self, count: int) -> bytes:
        """Read the next bytes."""
        start = self.skip(count)
        return self.file.bytes(start, start + count)

    def number(self, code: str) -> int:
        """Read the next integer."""
        found: int = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]
        return found

    def count(self, limit: int, what: str) -> int:
        """Read the next 64-bit count."""
        found = self.number("Q")
        if found > limit:
            raise self.corrupt(f"{found} {what} are too many", f"at most {limit} are read")
        return found

    def text(self) -> str:
        """Read the next string."""
        found = self.take(self.number("Q"))
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt("a text in it is not UTF-8", str(error)) from error

    def corrupt(self, what: str, why: str) -> CorruptError:
        """Return an error about this file."""
        return CorruptError(
            f"{self.file.path} cannot be read: {what}", why=why, fix="fetch or copy the file again, or convert it anew"
        )


@dataclass(frozen=True)
class TensorInfo:
    """One tensor: its type, shape (outermost axis first), first byte in the file and number of bytes."""

    kind: GGMLQuantizationType
    shape: tuple[int, ...]
    start: int
    size: int


@dataclass(frozen=True)
class _Value:
    """The place of a metadata value; an array has a count."""

    kind: GGUFValueType
    start: int
    count: int | None


class Metadata(Mapping[str, Any]):
    """Metadata by key, decoded when they are asked for, so that opening a file builds no vocabulary.

    Access raises CorruptError where a text is not UTF-8.
    """

    def __init__(self, cursor: Cursor, values: Mapping[str, _Value]) -> None:
        self._cursor, self._values = cursor, values
        self._decoded: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        if key not in self._decoded:
            self._decoded[key] = self._decode(self._values[key])
        return self._decoded[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def _decode(self, value: _Value) -> Any:
        cursor = self._cursor.at(value.start)
        count = 1 if value.count is None else value.count
        if value.kind is GGUFValueType.STRING:
            found: list[Any] = [cursor.text() for _ in range(count)]
        else:
            number = _SCALARS[value.kind]
            found = np.frombuffer(cursor.take(count * number.itemsize), number).tolist()
        return found[0] if value.count is None else found


def read_header(file: MappedFile) -> tuple[Metadata, dict[str, TensorInfo]]:
    """Read metadata and tensors, in the file's order; raises as :func:`seedbed.formats.gguf.file.open_gguf`."""
    cursor = Cursor(file)
    _check_magic(cursor)
    tensors = cursor.count(TENSORS_LIMIT, "tensors")
    entries = cursor.count(KEYS_LIMIT, "metadata entries")
    values: dict[str, _Value] = {}
    for _ in range(entries):
        key = cursor.text()
        if key in values:
            raise cursor.corrupt(f"it has the key {key!r} twice", f"again before byte {cursor.place}")
        values[key] = _read_value(cursor)
    metadata = Metadata(cursor.at(0), values)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= 2**16 or alignment & (alignment - 1):
        raise cursor.corrupt("its alignment is wrong", f"general.alignment is {alignment!r}, not a power of two")
    return metadata, _read_tensors(cursor, tensors, alignment)


def _check_magic(cursor: Cursor) -> None:
    path = cursor.file.path
    if cursor.file.bytes(0, 4) != b"GGUF":
        why, fix = files.mistaken(path) or ("it does not begin with GGUF", "name a .gguf file")
        raise UsageError(f"{path} is no GGUF file", why=why, fix=fix)
    cursor.skip(4)
    version = cursor.number("I")
    if version not in (2, 3):
        reason = "it was written on a big-endian machine" if version & 0xFFFF == 0 else f"its version is {version}"
        raise UsageError(f"{path} is not read", why=f"{reason}; 2 and 3 are read", fix="convert the model again")


def _read_value(cursor: Cursor) -> _Value:
    kind = _value_kind(cursor)
    if kind is not GGUFValueType.ARRAY:
        return _Value(kind, _skip_values(cursor, kind, 1), None)
    kind = _value_kind(cursor)
    if kind is GGUFValueType.ARRAY:
        raise cursor.corrupt("it has an array of arrays", f"before byte {cursor.place}; llama.cpp reads none either")
    count = cursor.count(ARRAY_LIMIT, "elements of an array")
    return _Value(kind, _skip_values(cursor, kind, count), count)


def _value_kind(cursor: Cursor) -> GGUFValueType:
    number = cursor.number("I")
    try:
        return GGUFValueType(number)
    except ValueError:
        raise cursor.corrupt("a value in it has no known type", f"{number} before byte {cursor.place}") from None


def _skip_values(cursor: Cursor, kind: GGUFValueType, count: int) -> int:
    """Skip values of one type; return where they began."""
    if kind is not GGUFValueType.STRING:
        return cursor.skip(count * _SCALARS[kind].itemsize)
    start = cursor.place
    for _ in range(count):
        cursor.skip(cursor.number("Q"))
    return start


def _read_tensors(cursor: Cursor, count: int, alignment: int) -> dict[str, TensorInfo]:
    found: dict[str, TensorInfo] = {}
    for _ in range(count):
        name = cursor.text()
        if name in found:
            raise cursor.corrupt(f"it has the tensor {name!r} twice", f"again before byte {cursor.place}")
        found[name] = _read_info(cursor, name)
    begin = -(-cursor.place // alignment) * alignment
    placed = {name: TensorInfo(i.kind, i.shape, begin + i.start, i.size) for name, i in found.items()}
    end = begin
    for name, info in sorted(placed.items(), key=lambda pair: pair[1].start):
        if info.start < end or (info.start - begin) % alignment:
            raise cursor.corrupt(
                f"tensor {name!r} lies wrongly", f"it begins at byte {info.start}, in another or askew"
            )
        end = info.start + info.size
        if end > cursor.file.size:
            raise cursor.corrupt(
                "it ends early", f"it has {cursor.file.size} bytes; tensor {name!r} goes up to byte {end}"
            )
    return placed


def _read_info(cursor: Cursor, name: str) -> TensorInfo:
    """Read one tensor's entry; its start counts from where the data begin."""
    axes = cursor.number("I")
    if axes > AXES_LIMIT:
        raise cursor.corrupt(f"tensor {name!r} has {axes} axes", f"at most {AXES_LIMIT} are possible")
    shape = tuple(cursor.number("Q") for _ in range(axes))[::-1]
    number, start = cursor.number("I"), cursor.number("Q")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise cursor.corrupt(f"tensor {name!r} has no known type", f"{number} is none of the gguf package's") from None
    block, size = GGML_QUANT_SIZES[kind]
    elements = math.prod(shape)
    if not elements or (shape or (1,))[-1] % block:
        raise cursor.corrupt(f"tensor {name!r} has a wrong shape", f"{shape}, in blocks of {block}")
    return TensorInfo(kind, shape, start, elements // block * size)
