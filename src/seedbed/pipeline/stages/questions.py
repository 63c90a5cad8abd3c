"""Make conversations from the corpus or from files of them, or take pairs of the library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.core.errors import ConfigError
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import pairs_of_files, require_files
from seedbed.corpus.questions import QuestionSettings, build_questions
from seedbed.pipeline.recipe import Find, Stage, StageWork


@dataclass(frozen=True)
class QuestionsStage(Stage):
    """Questions and answers for fine-tuning."""

    makes = "questions"
    use: str = setting("", "pairs of the library (`seedbed pull hf:datasets/… --as pairs`) instead of questions made")
    files: tuple[str, ...] = setting((), "files of conversations (JSON Lines, JSON, CSV, TSV, Parquet) instead")
    licence: str = setting("unknown", "licence of the files' text (SPDX)")
    columns: Columns = setting(Columns(), "columns of the files, where their names do not say it")
    settings: QuestionSettings = setting(QuestionSettings(), "how questions are made")

    def check(self, find: Find) -> None:
        """Look for the pairs, or for the files."""
        if self.use and self.files:
            why = f"use is {self.use!r}, files are {', '.join(self.files)}"
            raise ConfigError(f"{self.title} has two sources of conversations", why=why, fix="leave one of them out")
        if self.use:
            find(self.use, "questions")
        require_files(list(map(Path, self.files)))

    def make(self, work: StageWork) -> Artifact:
        """Make the questions."""
        if self.use:
            return work.find(self.use, "questions")
        if self.files:
            paths = list(map(Path, self.files))
            return pairs_of_files(work.library, paths, work.called(self), self.columns, self.licence)
        return build_questions(work.latest("corpus"), work.library, self.settings, work.called(self))
