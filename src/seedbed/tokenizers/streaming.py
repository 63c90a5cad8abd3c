"""Text from tokens as they come: what is shown is never taken back.

A token may end inside a character, so bytes wait until the character is whole. The pieces joined are exactly
``Tokenizer.decode`` of all ids, including what bytes that are no UTF-8 become (U+FFFD).
"""

from __future__ import annotations

import codecs

from seedbed.tokenizers.tokenizer import Tokenizer


class StreamDecoder:
    """Decodes one sequence, a token at a time."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = tokenizer.drops_first_space

    def push(self, token: int) -> str:
        """Take one id and return the text that is complete now ("" for a special token)."""
        data = self._tokenizer.token_bytes(token)
        if self._at_start and data:
            data, self._at_start = data.removeprefix(b" "), False
        return self._decoder.decode(data)

    def flush(self) -> str:
        """The rest at the end of the sequence: U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)
