"""Settings of a tokenizer's training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedbed.core.config import setting

Kind = Literal["bpe", "unigram", "wordpiece", "word", "char", "byte"]


@dataclass(frozen=True)
class TokenizerSettings:
    """Settings of one tokenizer."""

    kind: Kind = setting(
        "bpe", "How text is cut: byte-level BPE, byte-level unigram, WordPiece, words, characters, bytes."
    )
    vocab_size: int = setting(
        4096, "Pieces in all, special tokens included; char and byte have as many as they need.", at_least=8
    )
    mask: bool = setting(False, "Add a mask token after the others, which masked language models need.")
    sentinels: int = setting(
        0, "Add so many tokens after the others that stand for removed spans (T5).", at_least=0, at_most=1000
    )
    min_frequency: int = setting(2, "Times a pair or a word must occur to become a piece (not unigram).", at_least=1)
    max_bytes: int = setting(
        2**26, "Text to train on, an evenly spread sample; 0 reads all.", unit="bytes of UTF-8", at_least=0
    )
