"""The demo: a recipe run on a text, a first answer of its model, and answers from the text itself with sources."""

from __future__ import annotations

import glob
from dataclasses import dataclass

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.core.artifacts import Library
from seedbed.core.files import read_json
from seedbed.documents.file_walk import STDLIB
from seedbed.inference.parameters import Sampling
from seedbed.models.store import load_model
from seedbed.pipeline.recipe import Recipe
from seedbed.pipeline.run import Outcome
from seedbed.pipeline.stages.corpus import CorpusStage
from seedbed.rag.answer import Answer, ask
from seedbed.rag.collection import Collection

STDLIB_QUESTIONS = (
    "How does copyfile copy the contents of a file?",
    "What does heappop return?",
    "How do I create a temporary directory?",
)
QUESTION = "What does `json.dumps` do?"


@dataclass(frozen=True)
class DemoAnswers:
    """A question to the model with its reply, and answers from the documents."""

    question: str
    reply: str
    documents: list[Answer]


def demo_answers(recipe: Recipe, library: Library, outcome: Outcome) -> DemoAnswers:
    """Ask a finished recipe's model one held-out question, and its text three."""
    question, reply = _first_answer(outcome)
    return DemoAnswers(question, reply, _answers_from_documents(recipe, library, outcome))


def _first_answer(outcome: Outcome) -> tuple[str, str]:
    """Return a held-out question, which the model was not trained on, and the reply."""
    asked = _held_out(outcome)
    question = asked[len(asked) // 2] if asked else QUESTION
    sampling = Sampling(max_tokens=80, temperature=0.0, repetition_penalty=1.2)
    model = LocalModel(load_model(outcome.model), sampling=sampling)
    return question, model.reply([Message("user", question)]).text


def _held_out(outcome: Outcome) -> list[str]:
    return [one["prompt"] for one in read_json(outcome.evaluation.file("results.json"))["questions"]]


def _answers_from_documents(recipe: Recipe, library: Library, outcome: Outcome) -> list[Answer]:
    """Index the recipe's text as the collection of its name, and ask it three questions.

    The answers are sentences of the documents: a model trained for minutes cannot write useful ones.
    """
    stages = [stage for stage in recipe.stage if isinstance(stage, CorpusStage)]
    paths = [source.path for stage in stages for source in stage.settings.sources]
    questions = STDLIB_QUESTIONS if paths == [STDLIB] else _held_out(outcome)[:3]
    collection = Collection.create(library, recipe.name)
    try:
        collection.add([found for path in paths for found in _files_of(path)])
        return [ask(question, collection.search, chain="extract") for question in questions]
    finally:
        collection.close()


def _files_of(path: str) -> list[str]:
    """Return a folder, a file or "stdlib" as it is, and the files that match a glob."""
    return sorted(glob.iglob(path, recursive=True)) if glob.has_magic(path) else [path]  # noqa: PTH207 (any root)
