"""`seedbed demo`: the main job. Text in; a model, its report, a chat page and an API out."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from seedbed.cli.common import common_flags, print_json

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
    """Train a small model on your text in minutes, measure it, and talk to it.

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
    if as_json:
        print_json(result | {"question": question, "answer": answer})
        return
    show_summary(result)
    print(f"\nyou     {question}\nmodel   {answer}\n\ntalk    seedbed chat {resolved.name}\n")
    if serve:
        from seedbed.cli.serve import serve_command

        serve_command.main([resolved.name], standalone_mode=False)


def _first_answer(outcome: object) -> tuple[str, str]:
    """A first turn of the chat: a question of the held-out ones, so that nothing is learned by heart."""
    from seedbed.core.files import read_json
    from seedbed.inference.parameters import Sampling
    from seedbed.inference.text import chat_reply
    from seedbed.models.store import load_model
    from seedbed.pipeline.run import Outcome

    assert isinstance(outcome, Outcome)
    asked = read_json(outcome.evaluation.file("results.json"))["questions"]
    question = asked[len(asked) // 2]["prompt"] if asked else QUESTION
    sampling = Sampling(max_tokens=80, temperature=0.0, repetition_penalty=1.2)
    return question, "".join(chat_reply(load_model(outcome.model), [{"role": "user", "content": question}], sampling))
