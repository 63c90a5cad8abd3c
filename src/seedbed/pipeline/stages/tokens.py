"""Encode the corpus with the tokenizer, as packed shards."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.artifacts import Artifact
from seedbed.corpus.pack import pack_corpus
from seedbed.pipeline.recipe import Stage, StageWork


@dataclass(frozen=True)
class TokensStage(Stage):
    """The corpus as token ids."""

    makes = "tokens"

    def make(self, work: StageWork) -> Artifact:
        """Encode every document."""
        return pack_corpus(work.latest("corpus"), work.latest("tokenizer"), work.library, work.called(self))
