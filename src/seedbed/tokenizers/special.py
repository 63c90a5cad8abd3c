"""The special tokens of every tokenizer trained here; their ids are 0, 1, 2 … in this order."""

from __future__ import annotations

BOS = "<|bos|>"  # begins a document and a chat
END = "<|end|>"  # ends a document and a chat turn: the end-of-sequence token
PAD = "<|pad|>"  # fills a batch; never read and never predicted
SYSTEM = "<|system|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"

MASK = "<|mask|>"
"""Stands for a token that a masked language model fills in; only tokenizers made with ``mask`` have it."""
SENTINEL = "<extra_id_{}>"
"""Stands for a removed span, by number; named as T5 names them, and only where ``sentinels`` asks for some."""

SPECIAL_TOKENS = (BOS, END, PAD, SYSTEM, USER, ASSISTANT)
UNKNOWN = "<|unk|>"  # stands for what the vocabulary lacks; only word, wordpiece and char tokenizers have it
