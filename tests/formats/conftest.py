"""The tokenizers that tests of published files share with those of tokenizers."""

from __future__ import annotations

from trained_tokenizers import bpe, texts, trained

__all__ = ["bpe", "texts", "trained"]
