"""Encodings with character offsets: the ids of a text and the characters that each stands for.

Encoded by the library itself, as others' programs encode for the same models, with the model's own tokens around a text
or a pair of texts. Unlike :meth:`Tokenizer.encode` this needs the library to normalize too, because only it knows the
places of what it changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import tokenizers
from seedbed.core.errors import CapacityError
from seedbed.tokenizers.plain import unicode_errors
from seedbed.tokenizers.tokenizer import Tokenizer

Cut = Literal["longest_first", "only_second"]
"""The text that loses its end where two are too long together."""


class Marker:
    """Encodes texts and pairs of them for one model.

    Args:
        window: tokens the model reads at most.
    """

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        self._inner = tokenizers.Tokenizer.from_str(
            json.dumps({**tokenizer.table, "truncation": None, "padding": None})
        )
        self.window = window

    def whole(self, text: str, second: str | None = None, *, special: bool = False) -> tokenizers.Encoding:
        """Encode a text, or two, that the model can read at once.

        Args:
            special: special tokens spelled in the text are these tokens.

        Raises:
            CapacityError: it is longer than the window. DataError: it is no Unicode text.
        """
        self._inner.no_truncation()
        found = self._encode(text, second, special)
        if len(found.ids) > self.window:
            raise CapacityError(
                f"the text has {len(found.ids)} tokens, {self.window} are allowed",
                why="the model reads no more at once",
                fix="shorten the text",
            )
        return found

    def windows(
        self, text: str, second: str | None = None, *, overlap: int = 0, cut: Cut = "longest_first", most: int = 1 << 30
    ) -> Iterator[tuple[int, tokenizers.Encoding]]:
        """Encode a text of any length in windows that overlap by ``overlap`` tokens (or fewer).

        Yields:
            the index of a window's first token in the text that goes in windows, and the window.

        Args:
            cut: of two texts, the one that goes in windows. most: tokens of a window; the model's at most.

        Raises:
            CapacityError: the other text leaves no room. DataError: it is no Unicode text.
        """
        size = min(most, self.window)
        room = size - self._inner.num_special_tokens_to_add(second is not None)
        if second is not None and cut == "only_second":
            self._inner.no_truncation()
            room -= len(self._encode(text, None, special=False).ids) - self._inner.num_special_tokens_to_add(False)
        if room < 1:
            raise CapacityError(
                "there is no room for the text", why=f"the other text fills all {size} tokens", fix="shorten the other"
            )
        stride = min(overlap, room // 2)
        self._inner.enable_truncation(size, stride=stride, strategy=cut)
        first = self._encode(text, second, special=False)
        return ((number * (room - stride), one) for number, one in enumerate([first, *first.overflowing]))

    def id_of(self, token: str | None) -> int | None:
        """Return the id of a token by its text."""
        found: int | None = self._inner.token_to_id(token) if token else None
        return found

    def _encode(self, text: str, second: str | None, special: bool) -> tokenizers.Encoding:
        self._inner.encode_special_tokens = not special
        with unicode_errors():
            return self._inner.encode(text, second)
