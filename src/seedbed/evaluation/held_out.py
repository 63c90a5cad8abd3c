"""Text for a model that is about to be changed: some to judge its parts by, other text to measure the result on.

From a file, or from the corpus the model was trained on. What is measured on is never what was judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError, NotFoundError
from seedbed.corpus.pack import TokenShards, TokenSplit, runs_of_size
from seedbed.evaluation.subject import find_subject
from seedbed.tokenizers.tokenizer import Tokenizer

_PART = 5
"""One in so many lines of a text is kept for measuring: the last ones."""
_DOCUMENT = 4000
"""Characters from which a document that is measured ends with its line, so that a long text need not be read whole."""


@dataclass(frozen=True)
class HeldOut:
    """Tokens to calibrate with, and documents to measure on."""

    calibration: Sequence[int]
    test: TokenSplit
    origin: str


def from_text(text: str, tokenizer: Tokenizer, origin: str) -> HeldOut:
    """Split the lines of a text: the last fifth is for measuring, in documents of a few thousand characters.

    Raises DataError where there are fewer than two lines with text.
    """
    lines = text.splitlines(keepends=True)
    cut = len(lines) - max(1, len(lines) // _PART)
    first, documents = "".join(lines[:cut]), ["".join(run) for run in runs_of_size(lines[cut:], len, _DOCUMENT)]
    if not first.strip() or not "".join(documents).strip():
        raise DataError(
            f"{origin} is too short", why="its lines are shared between judging and measuring", fix="give more text"
        )
    return HeldOut(tokenizer.encode(first), split_of(documents, tokenizer), origin)


def split_of(documents: Sequence[str], tokenizer: Tokenizer) -> TokenSplit:
    """Return the tokens of documents, each between the begin and the end token; at least one document."""
    encoded = [[tokenizer.bos_id, *ids, tokenizer.end_id] for ids in tokenizer.encode_batch(list(documents))]
    starts = np.cumsum([0, *(len(ids) for ids in encoded[:-1])])
    sizes = np.array([len(document.encode()) for document in documents])
    return TokenSplit((np.concatenate(encoded).astype(np.uint32),), starts, sizes)


def from_corpus(model: Artifact, library: Library, tokens: int) -> HeldOut | None:
    """Take the beginning of a model's training tokens and its test split; None where the library lacks them."""
    try:
        artifact = find_subject(model, library).tokens
    except NotFoundError:
        return None
    shards = TokenShards.open(artifact)
    first = shards.split("train").read(0, tokens)
    return HeldOut(first.tolist(), shards.split("test"), f"tokens {artifact.id[:12]}")
