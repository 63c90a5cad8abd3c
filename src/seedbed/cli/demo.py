"""`seedbed demo`: the main job. Text in; a model, its report, cited answers, a chat page and an API out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedbed.cli import options
from seedbed.cli.common import copy_report, print_json, visible
from seedbed.core.artifacts import Library

if TYPE_CHECKING:
    from seedbed.rag.answer import Answer


@click.command("demo")
@click.option("--corpus", default="stdlib", show_default=True, help="A folder, glob or file of text, or 'stdlib'.")
@click.option("--recipe", default="quickstart", show_default=True, help="The recipe to run.")
@options.settings
@options.output("A copy of the report.", "report.html")
@click.option("--serve/--no-serve", default=True, help="End by serving the model: a chat page and an API.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted demo.")
@options.common_flags
def demo_command(
    corpus: str, recipe: str, overrides: tuple[str, ...], output: Path, serve: bool, resume: bool, as_json: bool
) -> None:
    """Train a small model on your text in minutes, measure it, talk to it, and get answers from the text with sources.

    $ seedbed demo --corpus path/to/folder
    $ seedbed demo --no-serve --json
    """
    from seedbed.core.allocator import keep_pages

    keep_pages()  # before torch allocates
    from seedbed.app.demo import demo_answers
    from seedbed.cli.recipes import execute, load_with_corpus, show_summary, summary

    resolved = load_with_corpus(recipe, overrides, corpus)
    library = Library()
    outcome = execute(resolved, library, resume=resume, restart=not resume)
    result = summary(resolved, outcome)
    copy_report(Path(result["report"]), output)
    result["report"] = str(output.absolute())
    told = demo_answers(resolved, library, outcome)
    if as_json:
        documents = {"collection": resolved.name, "answers": [one.to_json() for one in told.documents]}
        print_json(result | {"question": told.question, "answer": told.reply, "documents": documents})
        return
    show_summary(result)
    print(f"\nyou     {told.question}\nmodel   {told.reply}\n\ntalk    seedbed chat {resolved.name}")
    _show_answers(told.documents, resolved.name)
    if serve:
        from seedbed.cli.serve import serve_command

        serve_command.main([resolved.name], standalone_mode=False)


def _show_answers(answers: list[Answer], name: str) -> None:
    from seedbed.cli.ask import answer_lines

    for answer in answers:
        lines = [line for line in "\n".join(answer_lines(answer)).splitlines() if line]
        print(visible(f"\nyou     {answer.question}\ntext    " + "\n        ".join(lines)))
    print(f'\nask     seedbed ask "…" --docs {name}\n')
