"""Build a corpus, or take one of the library."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.corpus.build import build_corpus
from seedbed.corpus.settings import CorpusSettings
from seedbed.documents.file_walk import source_files
from seedbed.pipeline.recipe import Find, Stage, StageWork


@dataclass(frozen=True)
class CorpusStage(Stage):
    """The text: cleaned, without near-duplicates, split."""

    makes = "corpus"
    use: str = setting("", "a corpus of the library instead, such as one that was pulled")
    settings: CorpusSettings = setting(CorpusSettings(), "how text becomes a corpus")

    def check(self, find: Find) -> None:
        """Look for the corpus, or for the sources' files."""
        if self.use:
            find(self.use, "corpus")
            return
        for source in self.settings.sources:
            next(source_files(source.path, source.rules))

    def make(self, work: StageWork) -> Artifact:
        """Build the corpus."""
        if self.use:
            return work.find(self.use, "corpus")
        return build_corpus(self.settings, work.library, work.called(self))
