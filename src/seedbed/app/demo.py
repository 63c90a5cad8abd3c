"""The demo: an assistant that answers from a text at once, models of one's own, and what each of them buys.

Where an open model cannot be fetched, the demo says so and goes on with quoted sentences and a model trained from
nothing. Each part that is left out is kept with its reason.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seedbed.app.assistant import (
    Assistant,
    first_answers,
    index_words,
    pull_embedder,
    pull_open_model,
    tuning_recipe,
)
from seedbed.app.beside import BackgroundEmbedding, served
from seedbed.app.comparison import HELD_OUT_BYTES, what_each_bought
from seedbed.core import files
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, NotFoundError, SeedbedError, UsageError
from seedbed.core.progress import say
from seedbed.core.units import bytes_text
from seedbed.evaluation.golden import Bought
from seedbed.evaluation.report import with_comparison
from seedbed.evaluation.right_answers import Share
from seedbed.pipeline.recipe import Recipe
from seedbed.pipeline.run import Outcome, run_recipe
from seedbed.rag.collection import Collection
from seedbed.rag.record import Answer
from seedbed.search.embedders import TFIDF

WAIT = 60.0
"""Seconds to wait, after training, for vectors that are not made yet."""
HEADERS = (
    "what did it buy?",
    "answers right",
    "F1",
    "“not in the documents” right",
    "bits per byte",
    "s an answer",
    "memory, about",
)


@dataclass(frozen=True)
class DemoPlan:
    """The wishes of a demo: the recipe with its text, what else to make, where the report goes."""

    recipe: Recipe
    output: Path
    serve: bool = True
    open_model: bool = True
    tune_minutes: float = 3.0
    questions: int = 100
    resume: bool = False
    command: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A part that could not be made, and why."""

    part: str
    what: str
    why: str


@dataclass
class Demo:
    """A demo on its way: what was made so far, and what was left out."""

    library: Library
    plan: DemoPlan
    assistant: Assistant = field(default_factory=lambda: Assistant("", None))
    page: str | None = None
    answers: list[Answer] = field(default_factory=list)
    first_answer_seconds: float = 0.0
    outcome: Outcome | None = None
    tuned: str | None = None
    bought: list[Bought] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    server: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def run(self, on_answer: Callable[[Answer], None]) -> Iterator[None]:
        """Run all of it; the server lives while the block does.

        Raises:
            DataError: there is no text to answer from.
            UsageError: the recipe makes no report.
        """
        began, plan = time.perf_counter(), self.plan
        self.assistant = Assistant(index_words(self.library, plan.recipe), None)
        if plan.open_model:
            with self._optional("the open model"):
                self.assistant = Assistant(self.assistant.collection, pull_open_model(self.library))
        with contextlib.ExitStack() as stack:
            self._serve(stack, plan.serve and self.assistant.model is not None)
            self._say_ready(time.perf_counter() - began)
            for answer in first_answers(self.library, plan.recipe, self.assistant):
                self.first_answer_seconds = self.first_answer_seconds or time.perf_counter() - began
                self.answers.append(answer)
                on_answer(answer)
            embedding = stack.enter_context(BackgroundEmbedding(self.assistant.collection, self._embedder()))
            self._train()
            self._wait_for(embedding)
            if self.outcome is not None:
                self._compare(self.outcome)
            self._serve(stack, plan.serve and self.server is None and self.outcome is not None)
            yield

    @property
    def model(self) -> str | None:
        """The best model to talk to."""
        return self.tuned or self.assistant.model or (self.plan.recipe.name if self.outcome else None)

    def _serve(self, stack: contextlib.ExitStack, wanted: bool) -> None:
        if running := stack.enter_context(served(wanted)):
            self.server, self.page = running

    def _say_ready(self, seconds: float) -> None:
        model = f" --model {self.assistant.model}" if self.assistant.model else ""
        ask = f'seedbed ask "…" --docs {self.assistant.collection}{model}'
        say(f"ready: {self.page or 'answers from your documents'}, after {seconds:.0f} s; also: {ask}")

    def _embedder(self) -> str:
        if self.plan.open_model:
            with self._optional("search by meaning"):
                return pull_embedder(self.library)
        return TFIDF

    def _train(self) -> None:
        """Train a model from nothing, then the open one on the text."""
        recipe, minutes = self.plan.recipe, self.plan.tune_minutes
        with self._optional("a model from nothing", DataError):  # a small text still has an assistant
            self.outcome = self._run(recipe)
        if self.outcome is not None and self.assistant.model and minutes:
            tuning = tuning_recipe(recipe, minutes)
            with self._optional("the open model, fine-tuned", DataError):
                self._run(tuning)
                self.tuned = tuning.name

    def _run(self, recipe: Recipe) -> Outcome:
        resume = self.plan.resume
        return run_recipe(recipe, self.library, resume=resume, restart=not resume, command=self.plan.command)

    def _wait_for(self, embedding: BackgroundEmbedding) -> None:
        name, began = self.assistant.collection, time.perf_counter()
        if embedding.done():
            return
        say(f"vectors of the documents: waiting up to {WAIT:.0f} s for the rest")
        done = embedding.finish(WAIT)
        with contextlib.closing(Collection.open(self.library, name)) as collection:
            lacking = collection.store.pending()
        if lacking:
            go_on = f"`seedbed docs embed {name}` goes on with them"
            self._leave_out("vectors", f"{lacking:,} passages have none, so documents are searched by words", go_on)
        elif done:
            say(f"vectors of the documents: all made, {time.perf_counter() - began:.0f} s after training")

    def _compare(self, outcome: Outcome) -> None:
        """Ask the golden questions, and write the report with them."""
        recipe, output = self.plan.recipe, self.plan.output
        with self._optional("golden questions", NotFoundError):
            self.bought = what_each_bought(
                self.library, recipe.name, outcome.last("corpus"), self.assistant, self.tuned, self.plan.questions
            )
        if not any(artifact.kind == "evaluation" for artifact in outcome.made.values()):
            what, fix = f"the recipe {recipe.name} makes no report", "add one"
            raise UsageError(what, why="it has no stage of kind evaluate", fix=fix)
        page = outcome.evaluation.file("report.html").read_text(encoding="utf-8")
        if self.bought:
            page = with_comparison(page, HEADERS, [cells(one) for one in self.bought], self.bought, remark(self.bought))
        files.write_text(output, page)
        files.open_to_others(output)

    @contextlib.contextmanager
    def _optional(self, part: str, kind: type[SeedbedError] = SeedbedError) -> Iterator[None]:
        """Leave a part out, with its reason, where it fails."""
        try:
            yield
        except kind as error:
            self._leave_out(part, error.what, error.why)

    def _leave_out(self, part: str, what: str, why: str) -> None:
        self.left_out.append(LeftOut(part, what, why))
        say(f"left out: {part}: {what} ({why})")


def cells(one: Bought) -> list[str]:
    """Return a row of the table."""
    long = f", {one.too_long} too long" if one.too_long else ""
    return [
        one.name,
        _share(one.right) + long,
        f"{one.f1:.2f}",
        _share(one.refused),
        "" if one.bits_per_byte is None else f"{one.bits_per_byte:.3f}",
        f"{one.seconds:.2f}",
        bytes_text(one.memory) if one.memory else "",
    ]


def remark(bought: list[Bought]) -> str:
    """Return what is to be known to read the table."""
    right, refused = bought[0].right.count, bought[0].refused.count
    kilobytes = HELD_OUT_BYTES // 1000
    return (
        f"{right} golden questions with short answers, made from held-out text, and {refused} about things that no "
        "document tells; 95 % intervals. Right: holds the answer, or shares half of its words; F1 tells a short answer "
        "from a sentence around it. A question longer than a model's window is wrong. Bits per byte: on the first "
        f"{kilobytes} kB of held-out text, in windows of 512 tokens. Seconds: median of questions asked alone; "
        "what quoting has embedded is not embedded again. Memory: weights, 1,024 tokens, search, and 0.4 GB of Python "
        "and PyTorch."
    )


def _share(share: Share) -> str:
    return f"{share.value:.0%} ({share.low:.0%}–{share.high:.0%})" if share.count else ""
