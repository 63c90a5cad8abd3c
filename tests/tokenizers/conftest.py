"""Tokenizers trained on text that every machine has."""

from __future__ import annotations

from trained_tokenizers import bpe, texts, trained

__all__ = ["bpe", "texts", "trained"]
