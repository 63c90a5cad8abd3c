"""`seedbed run`: continue a prompt, or write a text from another, streaming it to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import click
from click.core import ParameterSource

from seedbed.cli.common import common_flags, print_json
from seedbed.cli.sampling import sampling_options
from seedbed.core.errors import UsageError
from seedbed.core.progress import say, track

if TYPE_CHECKING:
    from seedbed.chat.messages import Delta
    from seedbed.core.artifacts import Artifact
    from seedbed.inference.parameters import Sampling
    from seedbed.models.store import LoadedModel

    Write = Callable[[Sampling], Iterator[Delta]]

_DRAWING = ("temperature", "top_k", "top_p", "min_p", "seed")  # who sets one of these wants tokens to be drawn
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
    and the time. An encoder–decoder (T5, BART, Marian) writes another text from PROMPT, such as a translation; it takes
    the best token each time unless an option asks it to draw.

    \b
    Example:
      seedbed run quickstart "The module" --max-tokens 40 --seed 1
      seedbed run t5-small "translate English to German: The house is small." --beams 4
    """
    text, artifact = read_prompt(prompt), find(model)
    if is_pair(artifact):
        read, write = _pair(artifact, text)
        sampling = sampling if _is_given(*_DRAWING) else replace(sampling, temperature=0.0)
    else:
        read, write = _decoder(artifact, text)
    started = time.perf_counter()
    pieces = write(sampling)
    if as_json:
        print_json({"model": artifact.id, **report(pieces, read, sampling, started)})
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
    """The decoder of that name or id, from the library.

    Raises:
        NotFoundError: there is none. UsageError: the model is no decoder.
    """
    artifact = find(name)  # before the slow import, so that a wrong name is answered at once
    from seedbed.models.store import load_model

    return load_model(artifact)


def find(name: str) -> Artifact:
    """The model of that name or id, in the library; not loaded yet.

    Raises:
        NotFoundError: there is none.
    """
    from seedbed.core.artifacts import Library

    return Library().get(name, "model")


def is_pair(artifact: Artifact) -> bool:
    """Whether a model is an encoder–decoder."""
    from seedbed.models.config import EncoderDecoderConfig
    from seedbed.models.store import read_config, read_description

    return isinstance(read_config(read_description(artifact)["model"]), EncoderDecoderConfig)


def _decoder(artifact: Artifact, text: str) -> tuple[int, Write]:
    """How many tokens a text has, and what continues it."""
    from seedbed.chat.local import continue_text
    from seedbed.models.store import load_model

    loaded = load_model(artifact)
    ids = loaded.tokenizer.encode_prompt(text)
    return len(ids), partial(continue_text, loaded, ids)


def _pair(artifact: Artifact, text: str) -> tuple[int, Write]:
    """How many tokens a text has, and what writes another from it."""
    from seedbed.chat.reply_builder import ReplyBuilder, deltas_of
    from seedbed.inference.seq2seq import Seq2Seq
    from seedbed.models.store import load_any

    writer = Seq2Seq(load_any(artifact))
    source = writer.source(text)

    def write(sampling: Sampling) -> Iterator[Delta]:
        return deltas_of(writer.stream(source, sampling), ReplyBuilder(writer.tokenizer, sampling.stop))

    return len(source), write


def _is_given(*names: str) -> bool:
    """Whether the user set one of these options."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


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


def plain_line(text: str) -> str:
    """A text in one line, without control characters."""
    return " ".join(text.split()).translate(_CONTROLS)


def report(pieces: Iterator[Delta], prompt_tokens: int, sampling: Sampling, started: float) -> dict[str, Any]:
    """A whole reply as JSON values; times are seconds since ``started``."""
    tokens, texts, first = [], [], 0.0
    for piece in track(pieces, "generating", sampling.max_tokens, "tokens"):
        first = first or time.perf_counter() - started
        texts.append(piece.text)
        tokens += [piece.token] if piece.token else []
    seconds = time.perf_counter() - started
    return {
        "text": "".join(texts),
        "finish": tokens[-1].finish,
        "seed": sampling.seed,
        "prompt_tokens": prompt_tokens,
        "tokens": [{"id": token.id, "logprob": token.logprob} for token in tokens],
        "seconds_to_first_token": round(first, 4),
        "seconds": round(seconds, 4),
        "tokens_per_second": round(len(tokens) / seconds, 1),
    }
