"""Make conversations from the corpus, or take pairs of the library."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.corpus.questions import QuestionSettings, build_questions
from seedbed.pipeline.recipe import Find, Stage, StageWork


@dataclass(frozen=True)
class QuestionsStage(Stage):
    """Questions and answers for fine-tuning."""

    makes = "questions"
    use: str = setting("", "pairs of the library (`seedbed pull hf:datasets/… --as pairs`) instead of questions made")
    settings: QuestionSettings = setting(QuestionSettings(), "how questions are made")

    def check(self, find: Find) -> None:
        """Look for the pairs."""
        if self.use:
            find(self.use, "questions")

    def make(self, work: StageWork) -> Artifact:
        """Make the questions."""
        if self.use:
            return work.find(self.use, "questions")
        return build_questions(work.latest("corpus"), work.library, self.settings, work.called(self))
