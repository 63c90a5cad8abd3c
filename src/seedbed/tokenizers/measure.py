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
        self.used, self.tokens = len(self.counts), self.counts.total()  # different tokens that occur, and all
        self.unknown = 0 if tokenizer.unk_id is None else self.counts[tokenizer.unk_id]
        self.bytes_per_token = self.bytes / self.tokens if self.tokens else 0.0  # UTF-8: how much text a context holds
        self.tokens_per_word = self.tokens / self.words if self.words else 0.0  # words between spaces (fertility)
        self.unknown_share = self.unknown / self.tokens if self.tokens else 0.0  # of what the vocabulary lacks
