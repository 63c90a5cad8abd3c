"""The special tokens of every tokenizer trained here; their ids are 0, 1, 2 … in this order."""

from __future__ import annotations

BOS = "<|bos|>"
"""Begins a document and a chat."""
END = "<|end|>"
"""Ends a document and a chat turn: the end-of-sequence token."""
PAD = "<|pad|>"
"""Fills a batch; never read and never predicted."""
SYSTEM = "<|system|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"

SPECIAL_TOKENS = (BOS, END, PAD, SYSTEM, USER, ASSISTANT)
UNKNOWN = "<|unk|>"
"""Stands for what the vocabulary lacks; only word, wordpiece and char tokenizers have it."""
