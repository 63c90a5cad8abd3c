"""SentencePiece's normalization, exactly: its compiled table of replacements, spaces, and the space before a text.

The ``tokenizers`` library applies the same table to each grapheme, and so leaves decomposed Korean as it is, which
SentencePiece composes, and drops some marks, which SentencePiece keeps. Models are trained with SentencePiece's ids:
tokenizers with such a table (``Precompiled``) are normalized here, before the library sees the text.
A table is a double array trie (Yata et al. 2007; darts-clone) from UTF-8 to places in a list of replacements.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from seedbed.tokenizers.sentencepiece_model import damaged_tokenizer
from seedbed.tokenizers.tokenizer_json import steps_of

Step = Callable[[str], str]
_LONGEST_KEY, _MOST_NODES = 128, 2**22  # SentencePiece's own largest table has keys of 54 bytes and 640,000 nodes
# Unicode's White_Space, which the library strips; Python's own strip() takes four control characters more
_WHITE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


def text_normalizer(table: Mapping[str, Any], kept: Sequence[str]) -> Callable[..., str] | None:
    """Build the normalizer of a SentencePiece model, or None where ``table`` has another or none.

    It takes a whole text, and with ``begins=False`` one that does not begin a text: that gets no space before it.
    ``kept``: tokens whose own text is not touched.
    """
    if any(" " in one for one in kept):  # spaces are replaced before the library looks for tokens
        return None
    steps = steps_of(table, "normalizer")
    if not any(step["type"] in ("Precompiled", "Prepend") for step in steps):
        return None
    made = [(step["type"], found) for step in steps if (found := _step(step, kept))]

    def normalize(text: str, *, begins: bool = True) -> str:
        for kind, step in made:
            if begins or kind != "Prepend":
                text = step(text)
        return text

    return normalize if len(made) == len(steps) else None


def _step(entry: Mapping[str, Any], kept: Sequence[str]) -> Step | None:
    kind = entry["type"]
    if kind == "Precompiled":
        return CharacterMap(base64.b64decode(entry["precompiled_charsmap"] or ""), kept).replace
    if kind == "Prepend":
        return lambda text: entry["prepend"] + text if text else text
    if kind == "Strip":
        left, right = _WHITE * entry["strip_left"], _WHITE * entry["strip_right"]
        return lambda text: text.lstrip(left).rstrip(right)
    if kind == "Replace" and "String" in entry["pattern"]:
        return lambda text: text.replace(entry["pattern"]["String"], entry["content"])
    if kind == "Replace" and entry["pattern"]["Regex"] == _LAST_SPACES:
        return lambda text: text if (kept := text.rstrip("▁")) == text else kept + entry["content"]
    if kind == "Replace" and (pattern := _PATTERNS.get(entry["pattern"]["Regex"])):
        return lambda text: pattern.sub(entry["content"], text)
    return None


# the library's own patterns and ours; its engine is not Python's, so others are left to it
_PATTERNS = {" {2,}": re.compile(" {2,}"), r"\A +": re.compile(r"\A +")}
_LAST_SPACES = r"▁+\z"  # an expression would look from each "▁" of a run to its end: hours for a megabyte of them


class CharacterMap:
    """A compiled table of replacements: the longest known text at a place is replaced, other text stays."""

    def __init__(self, table: bytes, kept: Sequence[str] = ()) -> None:
        self._table, self._kept = table, sorted(kept, key=len, reverse=True)

    def replace(self, text: str) -> str:
        """Replace from left to right."""
        pattern = self._candidates(set(text)) if self._table else None
        if pattern is None:
            return text
        found: list[str] = []
        done = 0
        while match := pattern.search(text, done):
            place = match.start()
            key, value = (match[0], match[0]) if match.lastgroup else self._longest(text, place)
            found += text[done:place], value
            done = place + len(key)
        return "".join([*found, text[done:]])

    def _longest(self, text: str, place: int) -> tuple[str, str]:
        """Return the longest key at a place with its replacement, or the character there without one."""
        longest = self._starts[2]
        for size in range(min(longest, len(text) - place), 0, -1):
            if (key := text[place : place + size]) in self.mapping:
                return key, self.mapping[key]
        return text[place], text[place]

    def _candidates(self, alphabet: set[str]) -> re.Pattern[str] | None:
        """Return a pattern of the places where a text of these characters may change; None where it cannot.

        A set of only the characters that are there is much faster to look for than the table's thousands.
        """
        firsts, seconds, _ = self._starts
        singles, seconds = firsts & alphabet, seconds & alphabet
        if not singles and not seconds:
            return None
        kept = [f"(?P<kept>{'|'.join(map(re.escape, self._kept))})"] if self._kept else []
        single = [f"[{re.escape(''.join(sorted(singles)))}]"] if singles else []
        pair = [f".(?=[{re.escape(''.join(sorted(seconds)))}])"] if seconds else []
        return re.compile("|".join([*kept, *single, *pair]), re.DOTALL)

    @cached_property
    def _starts(self) -> tuple[set[str], set[str], int]:
        """Characters replaced on their own; second ones of longer keys (few: most are a mark); the longest key."""
        singles = {key for key in self.mapping if len(key) == 1}
        return singles, {key[1] for key in self.mapping if len(key) > 1}, max(map(len, self.mapping), default=0)

    @cached_property
    def mapping(self) -> dict[str, str]:
        """All texts it replaces, with their replacements; raises CorruptError where the table is damaged."""
        try:
            return _read(self._table)
        except (IndexError, ValueError) as error:
            raise damaged_tokenizer("the table of character replacements", str(error) or "it is damaged") from error


@lru_cache(maxsize=1)  # models of one family have one table, and are opened one after another
def _read(table: bytes) -> dict[str, str]:
    size = int.from_bytes(table[:4], "little")
    if size % 4 or size + 4 > len(table):
        raise ValueError(f"its {len(table)} bytes cannot hold a trie of {size}")
    units = np.frombuffer(table, "<u4", size // 4, 4).astype(np.int64)
    texts = table[4 + size :]
    labels = units & 0xFF
    # a unit with bit 31 holds a value; the child of a node with base b over byte c is unit b ^ c, labelled c
    children: dict[int, list[int]] = defaultdict(list)
    inner = np.flatnonzero((units >> 31 == 0) & (labels > 0))
    for unit, base in zip(inner.tolist(), (inner ^ labels[inner]).tolist(), strict=True):
        children[base].append(unit)
    values = units.tolist()
    found: dict[str, str] = {}
    waiting = [(0, b"")]
    seen = 0
    while waiting:
        node, key = waiting.pop()
        seen += 1
        if seen > _MOST_NODES or len(key) > _LONGEST_KEY:
            raise ValueError("its trie has no end")
        unit = values[node]
        base = node ^ ((unit >> 10) << ((unit & 0x200) >> 6))
        if unit >> 8 & 1:
            start = values[base] & 0x7FFFFFFF
            found[key.decode()] = texts[start : texts.index(b"\0", start)].decode()
        waiting += [(child, key + bytes([values[child] & 0xFF])) for child in children[base]]
    return found
