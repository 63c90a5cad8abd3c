"""Fit of a tokenizer to a text: bytes per token, tokens per word, share of unknowns, most frequent pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from seedbed.tokenizers.sample import chunks
from seedbed.tokenizers.tokenizer import Tokenizer

_BATCH = 64


class Fit:
    """Counts over a text; the ratios are 0 for an empty one."""

    def __init__(self, tokenizer: Tokenizer, texts: Iterable[str]) -> None:
        """Encode ``texts`` a batch at a time and count."""
        self.bytes = self.words = 0
        self.counts: Counter[int] = Counter()
        pieces = chunks(texts)
        while batch := list(islice(pieces, _BATCH)):
            self.bytes += sum(len(text.encode()) for text in batch)
            self.words += sum(len(text.split()) for text in batch)
            for ids in tokenizer.encode_batch(batch):
                self.counts.update(ids)
        self.tokens = self.counts.total()
        self.unknown = 0 if tokenizer.unk_id is None else self.counts[tokenizer.unk_id]

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 per token: how much text a context holds."""
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def tokens_per_word(self) -> float:
        """Tokens per word between spaces (fertility)."""
        return self.tokens / self.words if self.words else 0.0

    @property
    def unknown_share(self) -> float:
        """Share of tokens that stand for something the vocabulary lacks."""
        return self.unknown / self.tokens if self.tokens else 0.0

    @property
    def used(self) -> int:
        """Different tokens that occur."""
        return len(self.counts)
