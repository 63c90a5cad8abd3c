"""`seedbed demo`: the main job. Text in; a model, its report, cited answers, a chat page and an API out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import common_flags, print_json

if TYPE_CHECKING:
    from seedbed.core.artifacts import Library
    from seedbed.pipeline.recipe import Recipe
    from seedbed.pipeline.run import Outcome
    from seedbed.rag.answer import Answer

STDLIB_QUESTIONS = (
    "How does copyfile copy the contents of a file?",
    "What does heappop return?",
    "How do I create a temporary directory?",
)
QUESTION = "What does `json.dumps` do?"


@click.command("demo")
@click.option("--corpus", default="stdlib", show_default=True, help="A folder, glob or file of text, or 'stdlib'.")
@click.option("--recipe", default="quickstart", show_default=True, help="The recipe to run.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; may be repeated.")
@click.option("--report", default="report.html", show_default=True, help="Where to put a copy of the report.")
@click.option("--serve/--no-serve", default=True, help="End by serving the model: a chat page and an API.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted demo.")
@common_flags
def demo_command(
    corpus: str, recipe: str, overrides: tuple[str, ...], report: str, serve: bool, resume: bool, as_json: bool
) -> None:
    """Train a small model on your text in minutes, measure it, talk to it, and ask the text itself.

    \b
    Example:
      seedbed demo --corpus path/to/folder
      seedbed demo --no-serve --json
    """
    from seedbed.core.allocator import keep_pages

    keep_pages()  # before torch allocates
    from seedbed.cli.recipes import execute, load_with_corpus, show_summary, summary
    from seedbed.core.artifacts import Library

    resolved = load_with_corpus(recipe, overrides, corpus)
    library = Library()
    outcome = execute(resolved, library, resume=resume, restart=not resume)
    result = summary(resolved, outcome)
    shutil.copyfile(result["report"], report)
    result["report"] = str(Path(report).absolute())
    question, answer = _first_answer(outcome)
    answers = _answers_from_documents(resolved, library, outcome)
    if as_json:
        documents = {"collection": resolved.name, "answers": [one.to_json() for one in answers]}
        print_json(result | {"question": question, "answer": answer, "documents": documents})
        return
    show_summary(result)
    print(f"\nyou     {question}\nmodel   {answer}\n\ntalk    seedbed chat {resolved.name}")
    _show_answers(answers, resolved.name)
    if serve:
        from seedbed.cli.serve import serve_command

        serve_command.main([resolved.name], standalone_mode=False)


def _first_answer(outcome: Outcome) -> tuple[str, str]:
    """A first turn of the chat: a question of the held-out ones, so that nothing is learned by heart."""
    from seedbed.chat.local import LocalModel
    from seedbed.chat.messages import Message
    from seedbed.inference.parameters import Sampling
    from seedbed.models.store import load_model

    asked = _held_out(outcome)
    question = asked[len(asked) // 2] if asked else QUESTION
    sampling = Sampling(max_tokens=80, temperature=0.0, repetition_penalty=1.2)
    model = LocalModel(load_model(outcome.model), sampling=sampling)
    return question, model.reply([Message("user", question)]).text


def _held_out(outcome: Outcome) -> list[str]:
    from seedbed.core.files import read_json

    return [one["prompt"] for one in read_json(outcome.evaluation.file("results.json"))["questions"]]


def _answers_from_documents(recipe: Recipe, library: Library, outcome: Outcome) -> list[Answer]:
    """Index the recipe's text as the collection of its name, and ask it three questions.

    The answers are sentences of the documents: what a model of a few minutes writes of them is no use.
    """
    from seedbed.documents.file_walk import STDLIB
    from seedbed.pipeline.stages.corpus import CorpusStage
    from seedbed.rag.answer import ask
    from seedbed.rag.collection import Collection

    stages = [stage for stage in recipe.stage if isinstance(stage, CorpusStage)]
    paths = [source.path for stage in stages for source in stage.settings.sources]
    questions: Any = STDLIB_QUESTIONS if paths == [STDLIB] else _held_out(outcome)[:3]
    collection = Collection.create(library, recipe.name)
    try:
        collection.add([found for path in paths for found in _files_of(path)])
        return [ask(question, collection.search, chain="extract") for question in questions]
    finally:
        collection.close()


def _files_of(path: str) -> list[str]:
    """A folder, a file or "stdlib" as it is; what a glob fits."""
    import glob

    return sorted(glob.iglob(path, recursive=True)) if glob.has_magic(path) else [path]  # noqa: PTH207 (any root)


def _show_answers(answers: list[Answer], name: str) -> None:
    from seedbed.cli.ask import answer_lines, show

    for answer in answers:
        lines = [line for line in "\n".join(answer_lines(answer)).splitlines() if line]
        show(f"\nyou     {answer.question}\ntext    " + "\n        ".join(lines))
    print(f'\nask     seedbed ask "…" --docs {name}\n')
