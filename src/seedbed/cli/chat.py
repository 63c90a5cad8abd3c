"""`seedbed chat`: a conversation in the terminal, from a pipe (one line a turn), or one question for a script."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from seedbed.cli import options
from seedbed.cli.common import input_text
from seedbed.cli.sampling import OF_MODEL, Given, repetition_guard, sampling_options
from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError, UsageError
from seedbed.core.progress import say
from seedbed.core.terminal import echo

if TYPE_CHECKING:
    from seedbed.cli.conversation import Conversation

TURNS = 4
"""Of a window whose size is not given."""
_MEMORIES = ("buffer", "window", "tokens", "summary")
_MEMORY = """Earlier turns that the model sees: all (buffer), the latest (window), as many as fit in a number of tokens,
or these and a summary of those before. Default: buffer."""
_SIZE = f"Turns of a window (default: {TURNS}), or tokens (default: half the model's window; summary: a quarter)."


@click.command("chat")
@options.model
@click.option("--docs", "documents", type=options.COLLECTION, help="Answer from this collection of documents.")
@click.option("--once", metavar="QUESTION", help="Answer one question and leave.")
@click.option("--system", metavar="TEXT", default="", help="The system message.")
@options.choice("--memory", of=_MEMORIES, text=_MEMORY, default="buffer")
@click.option("--memory-size", metavar="N", type=int, help=_SIZE)
@click.option("--save", metavar="NAME", help="Save the conversation under a new name.")
@click.option("--continue", "saved", metavar="NAME", help="Go on with a saved conversation (`seedbed chats ls`).")
@click.option("--trace", is_flag=True, help="Log what happens, without texts, for `seedbed runs traces`.")
@click.option("--trace-content", is_flag=True, help="Log it with prompts and replies.")
@options.context("Of a model on a server that does not tell its window.")
@repetition_guard
@sampling_options(defaults=OF_MODEL)
@options.common_flags
def chat_command(
    model: str,
    documents: str | None,
    once: str | None,
    system: str,
    memory: str,
    memory_size: int | None,
    save: str | None,
    saved: str | None,
    trace: bool,
    trace_content: bool,
    context: int | None,
    repetition_guard: bool,
    given: Given,
    as_json: bool,
) -> None:
    """Talk to MODEL, a name, an id, or the URL of an OpenAI-compatible server.

    From a pipe, each line is a turn. A server with several models is URL#NAME; its key is in SEEDBED_KEY.

    Answers go to standard output, everything else to standard error. A conversation that outgrows the model's window
    loses its oldest turns, and a line says so. /help lists the commands. With --docs each question is answered from
    documents, as `seedbed ask` does; a follow-up ("and the second one?") is rewritten as a question of its own first.
    Options that are not given are as the model's publishers state them (`seedbed show MODEL`).

    $ seedbed chat quickstart
    $ seedbed chat quickstart --once "What does json.dumps do?" --temperature 0
    $ seedbed chat quickstart --save notes
    $ seedbed chat quickstart --docs guide
    $ seedbed chat http://127.0.0.1:8000 --continue notes --memory summary
    """
    if saved is not None and (system or save is not None):
        other = "--system" if system else "--save"
        why = "a saved conversation has a system message and a name already"
        raise UsageError(f"--continue and {other} contradict each other", why=why, fix=f"leave out {other}")
    from seedbed.chat.trace_log import TraceLog
    from seedbed.cli.chat_model import make_memory, open_chat_model
    from seedbed.cli.conversation import Conversation
    from seedbed.rag.collection import Collection

    found, wanted, sampling = open_chat_model(model, given, context)
    if as_json:
        wanted["logprobs"] = True
    if not repetition_guard:
        wanted["repetition_guard"] = False
    remembers = make_memory(memory, memory_size, found.context_window, TURNS)
    with contextlib.ExitStack() as opened:
        traced = trace or trace_content
        log = opened.enter_context(TraceLog.of(Library(), content=trace_content)) if traced else None
        conversation = Conversation(found, remembers, wanted, sampling, as_json, system=system, trace=log)
        if documents is not None:
            conversation.documents = opened.enter_context(closing(Collection.open(Library(), documents)))
        opened.callback(conversation.close)
        if save is not None:
            conversation.begin(save)
        if saved is not None:
            conversation.resume(saved)
        talk(conversation, once)
    if log is not None:
        say("traced: see `seedbed runs traces`")


def talk(conversation: Conversation, once: str | None) -> None:
    """Answer one question, or each line until the end."""
    if once is not None:
        conversation.turn(once)
        return
    terminal = sys.stdin.isatty()
    if terminal:
        say("Write a message; /help lists the commands, Ctrl-D leaves.")
    for line in read_lines(terminal):
        if line == "/quit":
            return
        try:
            conversation.command(line) if line.startswith("/") else conversation.turn(line)
        except SeedbedError as error:
            if not terminal:
                raise
            echo(error, file=sys.stderr)  # the conversation is as it was before the turn


def read_lines(terminal: bool) -> Iterator[str]:
    """Yield the user's lines without surrounding space, until the end of input; empty ones are skipped."""
    if not terminal:
        yield from filter(None, (input_text(line).strip() for line in sys.stdin.buffer))
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (importing it gives `input` editing and history)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            say("")
            return
        except KeyboardInterrupt:
            say("\n(Ctrl-D or /quit leaves)")
            continue
        if line:
            yield line
