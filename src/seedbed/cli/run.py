"""`seedbed run`: continue a prompt, streaming the text to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import click

from seedbed.cli.common import common_flags, print_json
from seedbed.cli.sampling import sampling_options
from seedbed.core.errors import UsageError
from seedbed.core.progress import say, track

if TYPE_CHECKING:
    from seedbed.inference.parameters import Sampling
    from seedbed.inference.text import Piece
    from seedbed.models.store import LoadedModel

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Shown(Protocol):
    """A piece of a reply."""

    @property
    def text(self) -> str:
        """What it adds."""


@click.command("run")
@click.argument("model")
@click.argument("prompt")
@sampling_options
@common_flags
def run_command(model: str, prompt: str, sampling: Sampling, as_json: bool) -> None:
    """Continue PROMPT with MODEL, a name or id; `-` reads the prompt from standard input.

    Only the continuation is printed. With --json: its tokens with their log-probabilities, why it ended, the seed
    and the time.

    \b
    Example:
      seedbed run quickstart "The module" --max-tokens 40 --seed 1
    """
    from seedbed.inference.text import prompt_ids, stream_pieces

    text = read_prompt(prompt)
    loaded = load(model)
    ids = prompt_ids(loaded.tokenizer, text)
    started = time.perf_counter()
    pieces = stream_pieces(loaded, ids, sampling)
    if as_json:
        print_json({"model": loaded.artifact.id, **report(pieces, len(ids), sampling, started)})
        return
    shown: list[str] = []
    show(pieces, shown)
    rate = len(shown) / (time.perf_counter() - started)
    say(f"{len(shown)} tokens, {rate:.0f} tokens/s, seed {sampling.seed}")


def read_prompt(prompt: str) -> str:
    """The prompt itself, or all of standard input for ``-``.

    Raises:
        UsageError: standard input is not UTF-8 text.
    """
    if prompt != "-":
        return prompt
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("the prompt on standard input is not text", why=str(error), fix="give UTF-8 text") from error


def load(name: str) -> LoadedModel:
    """The model of that name or id, from the library.

    Raises:
        NotFoundError: there is none.
    """
    from seedbed.core.artifacts import Library

    artifact = Library().get(name, "model")  # before the slow import, so that a wrong name is answered at once
    from seedbed.models.store import load_model

    return load_model(artifact)


def show(pieces: Iterator[Shown], shown: list[str]) -> None:
    """Print a reply as it comes, keep its pieces in ``shown``, and end its line even when it is interrupted.

    On a terminal, control characters are shown as U+FFFD: a model must not steer the terminal.
    """
    hidden = _CONTROLS if sys.stdout.isatty() else {}
    try:
        for piece in pieces:
            shown.append(piece.text)
            print(piece.text.translate(hidden), end="", flush=True)
    finally:
        print(flush=True)


def report(pieces: Iterator[Piece], prompt_tokens: int, sampling: Sampling, started: float) -> dict[str, Any]:
    """A whole reply as JSON values; times are seconds since ``started``."""
    collected, first = [], 0.0
    for piece in track(pieces, "generating", sampling.max_tokens, "tokens"):
        first = first or time.perf_counter() - started
        collected.append(piece)
    seconds = time.perf_counter() - started
    return {
        "text": "".join(piece.text for piece in collected),
        "finish": collected[-1].finish,
        "seed": sampling.seed,
        "prompt_tokens": prompt_tokens,
        "tokens": [{"id": piece.token.id, "logprob": piece.token.logprob} for piece in collected],
        "seconds_to_first_token": round(first, 4),
        "seconds": round(seconds, 4),
        "tokens_per_second": round(len(collected) / seconds, 1),
    }
