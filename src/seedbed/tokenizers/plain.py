"""Encode plain text: special tokens spelled in it stay text, and parts of a text are not first words.

The library can be told to leave special tokens in a text alone, but a vocabulary may still lead to them: unigram models
have them as pieces, some BPE vocabularies have merges that spell them. Such paths are closed here in a copy of the
tokenizer. SentencePiece's normalization is done here as well; ``charsmap.py`` says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import tokenizers
from seedbed.core.errors import DataError
from seedbed.core.library_errors import library_errors
from seedbed.tokenizers.charsmap import text_normalizer
from seedbed.tokenizers.tokenizer_json import steps_of


class PlainText:
    """An encoder of plain text for a ``tokenizer.json``, its whole ``table``.

    ``inner``: the library's tokenizer of it, which reads special tokens as text.
    """

    def __init__(self, table: Mapping[str, Any], inner: tokenizers.Tokenizer) -> None:
        added = table.get("added_tokens") or ()
        self._kept = [token["content"] for token in added if not token["special"]]
        self._normalize = text_normalizer(table, self._kept)
        self._table = _closed(table) if self._normalize is None else {**(_closed(table) or table), "normalizer": None}
        self._inner = inner if self._table is None else library_tokenizer(json.dumps(self._table))
        self._once = any(step.get("prepend_scheme") == "first" for step in steps_of(table, "pre_tokenizer"))
        self._original = table

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of whole texts; raises DataError for a lone surrogate, which is no Unicode text."""
        return self._run(self._inner, [self._normalize(text) for text in texts] if self._normalize else list(texts))

    def encode_part(self, text: str, *, first: bool, after_text: bool) -> list[int]:
        """Return the ids of a part of a text: the space before a text is put where the library would.

        ``first``: nothing comes before it; ``after_text``: plain text comes before it, no special token.
        """
        if first or not (after_text or self._once):
            return self.encode([text])[0]
        normalized = self._normalize(text, begins=False) if self._normalize else text
        return self._run(self._continuing, [normalized])[0]

    @cached_property
    def _continuing(self) -> tokenizers.Tokenizer:
        """The library's tokenizer without a space before the text."""
        if not any(map(_adds_space, steps_of(self._original, "pre_tokenizer"))):
            return self._inner
        table = self._table or self._original
        steps = [_without_space(step) for step in steps_of(table, "pre_tokenizer")]
        return library_tokenizer(json.dumps({**table, "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}}))

    def _run(self, inner: tokenizers.Tokenizer, texts: list[str]) -> list[list[int]]:
        with encoding_errors():
            return [found.ids for found in inner.encode_batch_fast(texts, add_special_tokens=False)]


@contextmanager
def encoding_errors() -> Iterator[None]:
    """Raise a DataError where the library refuses a text or fails at one: no Unicode, or too much for an expression."""
    try:
        with library_errors(_not_encoded):
            yield
    except DataError as error:
        if isinstance(error.__cause__, TypeError):
            error.why = "it holds a lone surrogate (half of a UTF-16 pair), which has no bytes"
            error.fix = "read the text as UTF-8 with errors='replace'"
        raise


def _not_encoded(why: str) -> DataError:
    fix = "change the text, or use a model with another tokenizer: this one fails at it"
    return DataError("a text cannot be encoded", why=why, fix=fix)


def library_tokenizer(text: str) -> tokenizers.Tokenizer:
    """Build the library's tokenizer, set to read special tokens in a text as plain text, and to cut and pad nothing.

    BPE dropout, which leaves merges out by chance while a model is trained (Provilkov et al. 2020), is off.
    """
    inner = tokenizers.Tokenizer.from_str(text)
    if getattr(inner.model, "dropout", None):
        inner.model.dropout = None
    inner.encode_special_tokens = True
    inner.no_truncation()
    inner.no_padding()
    return inner


def _closed(table: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a table in which no text leads to a special token; None where this one is such already."""
    model = table["model"]
    special = {token["content"] for token in table.get("added_tokens") or () if token["special"]}
    if model["type"] == "BPE":
        merges = [merge for merge in model["merges"] if _joined(merge) not in special]
        if len(merges) == len(model["merges"]):
            return None
        return {**table, "model": {**model, "merges": merges}}
    if model["type"] != "Unigram" or not any(piece in special for piece, _ in model["vocab"]):
        return None
    # no text has a space when it comes to the model: spaces are replaced, or it is cut there
    hidden = {piece: f" {index} " for index, (piece, _) in enumerate(model["vocab"]) if piece in special}
    vocab = [[hidden.get(piece, piece), score] for piece, score in model["vocab"]]
    added = [{**token, "content": hidden.get(token["content"], token["content"])} for token in table["added_tokens"]]
    return {**table, "added_tokens": added, "model": {**model, "vocab": vocab}}


def _joined(merge: str | Sequence[str]) -> str:
    """Return the piece a merge makes; older files write it as one string."""
    return merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)


def _adds_space(step: Mapping[str, Any]) -> bool:
    return bool(step.get("add_prefix_space")) or step.get("prepend_scheme", "never") != "never"


def _without_space(step: Mapping[str, Any]) -> dict[str, Any]:
    changed = dict(step)
    if step["type"] == "ByteLevel":
        changed["add_prefix_space"] = False
    elif step["type"] == "Metaspace":
        changed.pop("add_prefix_space", None)
        changed["prepend_scheme"] = "never"
    return changed
