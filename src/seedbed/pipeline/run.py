"""Run a recipe: corpus → tokenizer → tokens → pretrain → questions → fine-tune → measure. Finished stages are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from seedbed.core.artifacts import Artifact, Library, check_name
from seedbed.core.config import to_dict
from seedbed.core.progress import say
from seedbed.corpus.build import build_corpus
from seedbed.corpus.pack import pack_corpus
from seedbed.corpus.questions import build_questions
from seedbed.corpus.store import Corpus
from seedbed.evaluation.evaluate import evaluate_model
from seedbed.models.store import load_tokenizer
from seedbed.pipeline.recipe import Recipe
from seedbed.pipeline.training import Stage, finetune, pretrain
from seedbed.pipeline.workspace import Workspace, workspace
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

SMALLEST_VOCABULARY = 320
"""The bytes, the special tokens, and a few pieces."""


@dataclass(frozen=True)
class Outcome:
    """What a recipe made."""

    model: Artifact
    evaluation: Artifact


def run_recipe(
    recipe: Recipe, library: Library, *, resume: bool = False, restart: bool = False, command: str = ""
) -> Outcome:
    """Run all stages of a recipe.

    Args:
        resume: go on with an unfinished run of this name.
        restart: begin again although there is an unfinished run of this name.
        command: how the user can do this again, for the report.

    Raises:
        InterruptedRun: Ctrl-C; a checkpoint was saved.
        UsageError: an unfinished run is in the way, or the recipe changed since.
    """
    check_name(recipe.name)
    with workspace(library, recipe.name, to_dict(recipe), command, resume=resume, restart=restart) as work:
        return Pipeline(recipe, library, work, resume).run()


def fitting(settings: TokenizerSettings, size: int) -> TokenizerSettings:
    """The vocabulary a text of ``size`` bytes supports: at most one piece for every 2,000 bytes, so that all are seen.

    A vocabulary is an upper limit in a recipe, so that one recipe serves a folder of notes and a library.
    """
    most = max(SMALLEST_VOCABULARY, size // 2000 // 64 * 64)
    if settings.kind in ("char", "byte") or settings.vocab_size <= most:
        return settings
    say(f"the text is small: a vocabulary of {most} instead of {settings.vocab_size}")
    return replace(settings, vocab_size=most)


class Pipeline:
    """The stages of one run, each done once."""

    def __init__(self, recipe: Recipe, library: Library, work: Workspace, resume: bool) -> None:
        self.recipe, self.library, self.work, self.resume = recipe, library, work, resume

    def run(self) -> Outcome:
        """All stages in order."""
        start = self._stage("start", self._start) if self.recipe.model.start else None
        corpus = self._stage("corpus", self._corpus)
        tokenizer = self._stage("tokenizer", lambda: self._tokenizer(corpus, start))
        tokens = self._stage("tokens", lambda: pack_corpus(corpus, tokenizer, self.library, self._name("tokens")))
        title = "base" if self.recipe.chat else ""
        if start is not None and not self.recipe.pretraining:
            model = base = start
        else:
            stage = self._training("pretrain", title)
            model = base = self._stage(
                "pretrain", lambda: pretrain(self.recipe, tokens, tokenizer, self.library, stage, start)
            )
        if self.recipe.chat:
            questions = self._stage("questions", lambda: self._questions(corpus))
            stage = self._training("finetune", "")
            model = self._stage("finetune", lambda: finetune(self.recipe, base, tokens, questions, self.library, stage))
        return Outcome(model, self._stage("evaluation", lambda: self._evaluation(model)))

    def _stage(self, title: str, make: Callable[[], Artifact]) -> Artifact:
        made = self.work.made(title, self.library)
        if made is not None:
            return made
        say(f"── {title}")
        return self.work.finish(title, make())

    def _corpus(self) -> Artifact:
        if self.recipe.use_corpus:
            return self.library.get(self.recipe.use_corpus, "corpus")
        return build_corpus(self.recipe.corpus, self.library, self._name("corpus"))

    def _start(self) -> Artifact:
        """The model to begin from; once begun, a run keeps it, whatever its name comes to mean."""
        return self.library.get(self.recipe.model.start, "model")

    def _tokenizer(self, corpus: Artifact, start: Artifact | None) -> Artifact:
        if start is not None:
            return load_tokenizer(start).store(self.library, parents=(start,), name=self._name("tokenizer"))
        opened = Corpus.open(corpus)
        settings = fitting(self.recipe.tokenizer, opened.report["splits"]["train"]["bytes"])
        tokenizer = train_tokenizer((document.text for document in opened.documents("train")), settings)
        return tokenizer.store(self.library, parents=(corpus,), config=to_dict(settings), name=self._name("tokenizer"))

    def _questions(self, corpus: Artifact) -> Artifact:
        if self.recipe.finetune.pairs:
            return self.library.get(self.recipe.finetune.pairs, "questions")
        return build_questions(corpus, self.library, self.recipe.finetune.questions, self._name("questions"))

    def _evaluation(self, model: Artifact) -> Artifact:
        return evaluate_model(
            model, self.library, baselines=self.recipe.baselines, command=self.work.command, name=self._name("report")
        )

    def _training(self, stage: str, suffix: str) -> Stage:
        config = {"recipe": to_dict(self.recipe), "stage": stage, "command": self.work.command}
        name = self._name(suffix) if suffix else self.recipe.name
        return Stage(stage, self.work.folder / stage, name, self.resume, config)

    def _name(self, part: str) -> str:
        return f"{self.recipe.name}-{part}"
