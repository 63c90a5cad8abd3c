"""Train a tokenizer on the corpus, or take that of a model of the library."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting, to_dict
from seedbed.core.progress import say
from seedbed.corpus.store import Corpus
from seedbed.models.store import load_tokenizer
from seedbed.pipeline.recipe import Find, Stage, StageWork
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

SMALLEST_VOCABULARY = 320
"""The bytes, the special tokens, and a few pieces."""


@dataclass(frozen=True)
class TokenizerStage(Stage):
    """The tokenizer."""

    makes = "tokenizer"
    use: str = setting("", "a model of the library whose tokenizer is taken instead")
    settings: TokenizerSettings = setting(TokenizerSettings(), "how a tokenizer is trained")

    def check(self, find: Find) -> None:
        """Look for the model."""
        if self.use:
            find(self.use, "model")

    def make(self, work: StageWork) -> Artifact:
        """Train or take the tokenizer."""
        name = work.called(self)
        if self.use:
            model = work.find(self.use, "model")
            return load_tokenizer(model).store(work.library, parents=(model,), name=name)
        corpus = work.latest("corpus")
        opened = Corpus.open(corpus)
        settings = fitting(self.settings, opened.report["splits"]["train"]["bytes"])
        tokenizer = train_tokenizer((document.text for document in opened.documents("train")), settings)
        return tokenizer.store(work.library, parents=(corpus,), config=to_dict(settings), name=name)


def fitting(settings: TokenizerSettings, size: int) -> TokenizerSettings:
    """Return the vocabulary a text of ``size`` bytes supports: at most one piece for every 2,000 bytes.

    So a vocabulary in a recipe is an upper limit, and one recipe serves a folder of notes and a library.
    """
    most = max(SMALLEST_VOCABULARY, size // 2000 // 64 * 64)
    if settings.kind in ("char", "byte") or settings.vocab_size <= most:
        return settings
    say(f"the text is small: a vocabulary of {most} instead of {settings.vocab_size}")
    return replace(settings, vocab_size=most)
