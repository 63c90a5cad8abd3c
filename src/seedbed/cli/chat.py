"""`seedbed chat`: a conversation in the terminal, from a pipe (one line a turn), or one question for a script."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from seedbed.cli.common import common_flags, print_json
from seedbed.cli.run import load, report, show
from seedbed.cli.sampling import sampling_options
from seedbed.core.errors import SeedbedError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.inference.generate import Generator
    from seedbed.inference.parameters import Sampling
    from seedbed.inference.text import Piece
    from seedbed.models.store import LoadedModel

HELP = """\
/help           this list
/reset          forget the conversation; the system message stays
/system TEXT    set the system message and start again; without TEXT, remove it
/quit           leave (also Ctrl-D)
Ctrl-C stops an answer; what was said so far stays in the conversation."""


@click.command("chat")
@click.argument("model")
@click.option("--once", metavar="QUESTION", help="Answer one question and leave.")
@click.option("--system", metavar="TEXT", default="", help="What the model is told before the conversation.")
@sampling_options
@common_flags
def chat_command(model: str, once: str | None, system: str, sampling: Sampling, as_json: bool) -> None:
    """Talk to MODEL, a name or id. From a pipe, each line is a turn.

    Answers go to standard output, everything else to standard error. A conversation that outgrows the model's window
    loses its oldest turns, and a line says so. /help lists the commands.

    \b
    Example:
      seedbed chat quickstart
      seedbed chat quickstart --once "What does json.dumps do?" --temperature 0
    """
    conversation = Conversation(load(model), sampling, system, as_json)
    if once is not None:
        conversation.turn(once)
        return
    terminal = sys.stdin.isatty()
    if terminal:
        say("Ask something; /help lists the commands, Ctrl-D leaves.")
    for line in read_lines(terminal):
        if line == "/quit":
            return
        try:
            conversation.command(line) if line.startswith("/") else conversation.turn(line)
        except SeedbedError as error:
            if not terminal:
                raise
            print(error, file=sys.stderr)  # the conversation is as it was before the turn


class Conversation:
    """The messages so far, and how the next one is answered."""

    def __init__(self, loaded: LoadedModel, sampling: Sampling, system: str, as_json: bool) -> None:
        self.loaded, self.sampling, self.as_json = loaded, sampling, as_json
        self.generator: Generator | None = None  # kept, so that each turn finds the conversation so far computed
        self.messages: list[dict[str, str]] = []
        self.reset(system)

    def reset(self, system: str) -> None:
        """Start again with that system message, or with none where it is empty."""
        self.messages = [{"role": "system", "content": system}] if system else []

    def command(self, line: str) -> None:
        """Do what a line that begins with a slash says."""
        name, _, text = line.partition(" ")
        if name == "/reset":
            self.reset(self.messages[0]["content"] if self.messages and self.messages[0]["role"] == "system" else "")
            say("(the conversation is forgotten)")
        elif name == "/system":
            self.reset(text.strip())
            say("(the system message is set; the conversation starts again)")
        else:
            say(HELP if name == "/help" else f"there is no command {name}\n{HELP}")

    def turn(self, question: str) -> None:
        """Ask, print the answer and remember both.

        Raises:
            CapacityError: the question alone does not fit in the window; it is not remembered.
        """
        from seedbed.inference.text import fit_conversation, make_generator, stream_pieces

        messages = [*self.messages, {"role": "user", "content": question}]
        window = self.loaded.model.config.max_length
        ids, cut = fit_conversation(self.loaded.tokenizer, messages, window, self.sampling.max_tokens)
        if cut:
            say(f"(the oldest {cut} messages no longer fit in the window of {window} tokens and were left out)")
        started = time.perf_counter()
        self.generator = self.generator or make_generator(self.loaded)
        pieces = stream_pieces(self.loaded, ids, self.sampling, self.generator)
        if self.as_json:
            values = report(pieces, len(ids), self.sampling, started)
            print_json({**values, "messages_left_out": cut})
            answer = str(values["text"])
        else:
            answer = answer_of(pieces)
        self.messages = [*messages, {"role": "assistant", "content": answer}]


def answer_of(pieces: Iterator[Piece]) -> str:
    """Print an answer as it comes; Ctrl-C ends it early. Returns what was shown."""
    shown: list[str] = []
    try:
        show(pieces, shown)
    except KeyboardInterrupt:
        say("(stopped)")
    return "".join(shown)


def read_lines(terminal: bool) -> Iterator[str]:
    """The user's lines without surrounding space, empty ones left out, until the end of input."""
    if not terminal:
        yield from filter(None, map(str.strip, sys.stdin))
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
