"""Bits per byte of a model on a text that the user names, for models whose corpus is not in the library.

Each document is read whole, from its begin token to its end token, in windows that overlap by half, as the test split
of a corpus is. There are no baselines: they would need the text that the model learned from. Nothing is known about
that here, so a text that a published model has seen gives it a better figure than a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seedbed.core.errors import DataError
from seedbed.documents.reading import read
from seedbed.evaluation.bits_per_byte import measure
from seedbed.evaluation.held_out import split_of
from seedbed.evaluation.table import known
from seedbed.models.store import LoadedModel

CONTEXT = 2048
"""Tokens of a window at most: models with long windows would need a lot of memory and gain little."""


@dataclass(frozen=True)
class OwnTextBits:
    """A model's figure on a text.

    Attributes:
        standard_error: of the bits per byte, over the documents; None for a single one.
        lossless: the tokenizer can spell every text; else what it drops costs nothing.
    """

    bits_per_byte: float
    standard_error: float | None
    documents: int
    bytes: int
    tokens: int
    context: int
    lossless: bool


def measure_own_text(loaded: LoadedModel, source: Path) -> OwnTextBits:
    """Measure a model on a file, or on all files of a folder, of any kind that a corpus reads.

    Raises:
        NotFoundError: there is no such file.
        DataError: it is damaged, or there is no text in it.
    """
    texts = [document.text for document in read(source) if document.text.strip()]
    if not texts:
        raise DataError(f"there is no text in {source}", why="nothing of it could be read", fix="name another file")
    context = min(loaded.model.config.max_length, CONTEXT)
    found = measure(loaded.model, split_of(texts, loaded.tokenizer), context=context)
    error, lossless = known(found.standard_error), loaded.tokenizer.is_lossless
    return OwnTextBits(found.value, error, len(texts), found.bytes, found.tokens, context, lossless)
