"""`seedbed run`: continue a prompt, or write a text from another, streaming it to standard output."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import click
from click.core import ParameterSource

from seedbed.cli import options
from seedbed.cli.common import print_json, read_text, visible
from seedbed.cli.sampling import sampling_options
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.inference.parameters import Sampling

_DRAWING = ("temperature", "top_k", "top_p", "min_p", "seed")  # who sets one of these wants tokens to be drawn


class TextPiece(Protocol):
    """A piece of a reply."""

    @property
    def text(self) -> str:
        """Return the text that it adds."""


@click.command("run")
@options.model
@click.argument("prompt")
@sampling_options
@options.common_flags
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
    text, artifact = read_text(prompt), Library().get(model, "model")  # before the slow import
    from seedbed.app.generate import generate_all, open_generation

    generation = open_generation(artifact, text)
    if generation.translates and not _is_given(*_DRAWING):
        sampling = replace(sampling, temperature=0.0)
    if as_json:
        print_json({"model": artifact.id, **generate_all(generation, sampling)})
        return
    started, count = time.perf_counter(), show(generation.write(sampling))
    say(f"{count} tokens, {count / (time.perf_counter() - started):.0f} tokens/s, seed {sampling.seed}")


def _is_given(*names: str) -> bool:
    """Return whether the user set one of these options."""
    context = click.get_current_context()
    return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)


def show(pieces: Iterator[TextPiece]) -> int:
    """Print a reply as it comes, and end its line even when it is interrupted. Returns the number of pieces."""
    count = 0
    try:
        for piece in pieces:
            count += 1
            sys.stdout.write(visible(piece.text))
            sys.stdout.flush()
    finally:
        print(flush=True)
    return count
