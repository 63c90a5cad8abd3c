"""Bounds of a ``tokenizer.json``, checked whenever one is loaded: the forms that we read, and the work for one text.

A tokenizer is a program. Five replacements of one character by a thousand, one after the other, make a million of
million characters of each, and the library ends its process where there is no memory for them. So the growth of each
step is known from the table, and their product has a limit. A word that is looked up piece by piece, and a long piece
that is compared at every place, take time by the square of their length: these have limits too. Regular expressions are
not judged; the library stops each search (``trial.py`` tries the foreign ones).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

MOST_BYTES = 64_000_000
"""Of a ``tokenizer.json``; 262,144 pieces with 515,000 merges take 35 MB. Hostile JSON takes 26 times it in memory."""
MOST_GROWTH = 1_500
"""Characters that one may become by all steps of a normalizer together, at most by their form. ALBERT's could be 648:
18 of compatibility forms, 2 of lower case, 18 of its own table."""
MOST_PUT_BEFORE = 10_000  # characters put before a text
LONGEST_WORD = 1_000  # characters of a word that WordPiece looks up; BERT's is 100
LONGEST_PIECE = 1_000  # characters of a unigram model's or of SentencePiece's piece; its trainer's default is 16
MOST_AROUND = 1_000  # tokens around a text
_FREE_IDS = 65_536  # numbers that may be missing, beyond three for each piece

_COMPATIBILITY, _CANONICAL, _LOWER, _CLEANED = 18, 4, 2, 3  # Unicode's longest; BERT's spaces around Chinese characters
_GROWTH = {"NFKC": _COMPATIBILITY, "NFKD": _COMPATIBILITY, "NFC": _CANONICAL, "NFD": _CANONICAL, "Lowercase": _LOWER}
_GROWTH |= {"BertNormalizer": _CANONICAL * _LOWER * _CLEANED, "ByteLevel": 4}
_NEVER_EMPTY = (" {2,}", r"\A +", r"▁+\z")  # patterns of SentencePiece's models, which match at least a character


def check_table(table: Any) -> None:
    """Raise ValueError, with the reason, for a ``tokenizer.json`` that is of another form or breaks a bound."""
    if not isinstance(table, dict) or not isinstance(model := table.get("model"), dict):
        raise ValueError("it is no table with a model")
    if not isinstance(model.get("type"), str):
        raise ValueError("its model has no type")
    _check_added(table.get("added_tokens") or [])
    _check_vocabulary(table, model)
    for key in ("normalizer", "pre_tokenizer", "decoder"):
        if untyped := next((step for step in all_steps(table, key) if not isinstance(step.get("type"), str)), None):
            raise ValueError(f"a step of its {key} has no type: {untyped!s:.80}")
    _check_normalizer(table)
    if (around := sum(_tokens_around(table.get("post_processor")))) > MOST_AROUND:
        raise ValueError(f"it puts {around} tokens around a text, at most {MOST_AROUND} may be")
    if model["type"] == "WordPiece" and (longest := model.get("max_input_chars_per_word", 100)) > LONGEST_WORD:
        raise ValueError(f"it looks up words of {longest} characters, at most {LONGEST_WORD} may be")


def check_ids(ids: Collection[int]) -> None:
    """Raise ValueError for ids of which far more are missing than are there: each takes a row of a model."""
    lowest, highest = min(ids, default=0), max(ids, default=0)
    if lowest < 0 or highest >= 4 * len(ids) + _FREE_IDS:
        raise ValueError(f"its {len(ids)} ids go from {lowest} to {highest}")


def check_lengths(pieces: Iterable[str]) -> None:
    """Raise ValueError for a piece that is too long to be compared at every place of a text."""
    if long := next((piece for piece in pieces if len(piece) > LONGEST_PIECE), None):
        raise ValueError(f"the piece {long[:20]!r}… has {len(long)} characters, at most {LONGEST_PIECE} may be")


def all_steps(table: Mapping[str, Any], key: str) -> Iterator[Mapping[str, Any]]:
    """Yield the steps of the entry "normalizer", "pre_tokenizer" or "decoder", those of sequences in sequences too."""
    waiting = [table.get(key)]
    while waiting:
        entry = waiting.pop()
        if entry is None:
            continue
        if not isinstance(entry, dict):
            raise ValueError(f"a step of its {key} is no table: {entry!s:.80}")
        if entry.get("type") != "Sequence":
            yield entry
            continue
        inner = entry.get(f"{key}s".replace("_", ""))
        if not isinstance(inner, list) or None in inner:
            raise ValueError(f"a sequence of its {key} has no steps")
        waiting += reversed(inner)


def _check_added(added: Any) -> None:
    if not isinstance(added, list):
        raise ValueError("its added_tokens are no list")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise ValueError(f"an added token has no content: {token!s:.80}")
        if type(token.get("id")) is not int or not isinstance(token.get("special"), bool):
            raise ValueError(f"the added token {token['content']!r:.80} needs an id and to be special or not")


def _check_vocabulary(table: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    pieces = model.get("vocab")
    if not isinstance(pieces, list | dict):
        raise ValueError("its model has no vocab")
    if isinstance(pieces, list):
        if wrong := next((one for one in pieces if not _is_scored(one)), None):
            raise ValueError(f"a piece has no text and score: {wrong!s:.80}")
        check_lengths(piece for piece, _ in pieces)
    elif wrong := next((one for one, index in pieces.items() if type(index) is not int), None):
        raise ValueError(f"the piece {wrong!r:.80} has no number")
    own = range(len(pieces)) if isinstance(pieces, list) else pieces.values()
    check_ids([*own, *(token["id"] for token in table.get("added_tokens") or ())])


def _is_scored(entry: Any) -> bool:
    is_pair = isinstance(entry, list) and len(entry) == 2
    return is_pair and isinstance(entry[0], str) and type(entry[1]) in (int, float)


def _check_normalizer(table: Mapping[str, Any]) -> None:
    steps = list(all_steps(table, "normalizer"))
    spelled = sum(step["type"] == "ByteLevel" for step in all_steps(table, "pre_tokenizer"))
    growth = math.prod(map(_growth, steps)) * 2 ** max(0, spelled - 1)  # bytes of bytes' letters, and so on
    if growth > MOST_GROWTH:
        raise ValueError(f"its normalizer and cut make up to {growth:.3g} characters of one, {MOST_GROWTH} may be")
    before = growth * sum(len(step["prepend"]) for step in steps if step["type"] == "Prepend")
    if before > MOST_PUT_BEFORE:
        raise ValueError(f"its normalizer puts {before:.0f} characters before a text, at most {MOST_PUT_BEFORE} may be")


def _growth(step: Mapping[str, Any]) -> float:
    """Return the characters that a step makes of one at most, 1 or more."""
    if step["type"] == "Precompiled":
        return _longest_replacement(base64.b64decode(step["precompiled_charsmap"] or ""))
    if step["type"] != "Replace":
        return _GROWTH.get(step["type"], 1)
    made, pattern = len(step["content"]), step["pattern"]
    if text := pattern.get("String"):
        return max(1.0, made / len(text))
    return max(1, made) if pattern.get("Regex") in _NEVER_EMPTY else 1 + made  # an empty match between any two


def _longest_replacement(charsmap: bytes) -> int:
    """Return the characters of the longest text in SentencePiece's compiled table of replacements."""
    texts = charsmap[4 + int.from_bytes(charsmap[:4], "little") :]
    return max((len(text.decode(errors="replace")) for text in texts.split(b"\0")), default=0) or 1


def _tokens_around(processor: Any) -> Iterator[int]:
    waiting = [processor]
    while waiting:
        entry = waiting.pop()
        if not isinstance(entry, dict):
            continue
        waiting += entry.get("processors") or []
        known = entry.get("special_tokens") or {}
        for part in (*(entry.get("single") or []), *(entry.get("pair") or [])):
            name = (part.get("SpecialToken") or {}).get("id")
            yield len(known[name]["ids"]) if name in known else 1
