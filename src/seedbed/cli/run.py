"""`seedbed run`: continue a prompt, or write a text from another, streaming it to standard output."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from seedbed.cli import options
from seedbed.cli.common import print_json, read_text
from seedbed.cli.sampling import Given, chosen_sampling, sampling_options
from seedbed.core.artifacts import Library
from seedbed.core.progress import say, track
from seedbed.core.terminal import echo

if TYPE_CHECKING:
    from seedbed.chat.messages import Delta

_DRAWING = ("temperature", "top_k", "top_p", "min_p", "seed")  # who sets one of these wants tokens to be drawn


@dataclass
class TimedReply:
    """A reply as it comes, timed by ``time.perf_counter()``."""

    pieces: list[Delta] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)
    first: float = 0.0

    def read(self, deltas: Iterator[Delta]) -> Generator[Delta]:
        """Yield the same pieces. Closing it ends the reply."""
        try:
            for delta in deltas:
                self.first = self.first or time.perf_counter()
                self.pieces.append(delta)
                yield delta
        finally:
            if isinstance(deltas, Generator):
                deltas.close()

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(piece.text for piece in self.pieces)

    def times(self, tokens: int) -> dict[str, float]:
        """Return the seconds that so many tokens took, until now."""
        seconds = time.perf_counter() - self.started
        return {
            "seconds_to_first_token": round(self.first - self.started, 4),
            "seconds": round(seconds, 4),
            "tokens_per_second": round(tokens / seconds, 1),
        }


@click.command("run")
@options.model
@click.argument("prompt")
@sampling_options()
@options.common_flags
def run_command(model: str, prompt: str, given: Given, as_json: bool) -> None:
    """Continue PROMPT with MODEL, a name or id; `-` reads the prompt from standard input.

    Only the continuation is printed. With --json: its tokens with their log-probabilities, why it ended, the seed
    and the time. An encoder–decoder (T5, BART, Marian) writes another text from PROMPT, such as a translation; it takes
    the best token each time unless an option asks it to draw.

    $ seedbed run quickstart "The module" --max-tokens 40 --seed 1
    $ seedbed run t5-small "translate English to German: The house is small." --beams 4
    """
    text, artifact = read_text(prompt), Library().get(model, "model")  # before the slow import
    from seedbed.app.generate import open_generation

    generation, source = open_generation(artifact, text), click.get_current_context().get_parameter_source
    sampling = chosen_sampling(given)
    if generation.translates and not any(source(name) is ParameterSource.COMMANDLINE for name in _DRAWING):
        sampling = replace(sampling, temperature=0.0)
    reply = TimedReply()
    pieces = reply.read(generation.write(sampling))
    if not as_json:
        show(pieces)
        count = len(reply.pieces)
        say(f"{count} tokens, {reply.times(count)['tokens_per_second']:.0f} tokens/s, seed {sampling.seed}")
        return
    for _ in track(pieces, "generating", sampling.max_tokens, "tokens"):
        pass
    print_json({"model": artifact.id, **_report(reply, sampling.seed, generation.prompt_tokens)})


def _report(reply: TimedReply, seed: int | None, prompt_tokens: int) -> dict[str, Any]:
    tokens = [piece.token for piece in reply.pieces if piece.token]
    return {
        "text": reply.text,
        "finish": tokens[-1].finish,
        "seed": seed,
        "prompt_tokens": prompt_tokens,
        "tokens": [{"id": token.id, "logprob": token.logprob} for token in tokens],
        **reply.times(len(tokens)),
    }


def show(pieces: Iterator[Delta]) -> None:
    """Print a reply as it comes, and end its line even when it is interrupted."""
    try:
        for piece in pieces:
            echo(piece.text, end="", flush=True)
    finally:
        echo(flush=True)
