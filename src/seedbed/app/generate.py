"""Text that continues a prompt, or, with an encoder–decoder, another text written from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from seedbed.core.artifacts import Artifact
from seedbed.core.progress import track
from seedbed.inference.parameters import Sampling
from seedbed.inference.seq2seq import Seq2Seq
from seedbed.inference.text import Piece, prompt_ids, stream_pieces
from seedbed.models.config import EncoderDecoderConfig
from seedbed.models.store import load_any, load_model, read_config, read_description


@dataclass(frozen=True)
class Generation:
    """A model with a prompt.

    Attributes:
        prompt_tokens: how many tokens the prompt has.
        write: yields the pieces of the reply.
        translates: whether it is an encoder–decoder, which writes another text.
    """

    prompt_tokens: int
    write: Callable[[Sampling], Iterator[Piece]]
    translates: bool = False


def open_generation(artifact: Artifact, text: str) -> Generation:
    """Load a model and read its prompt.

    Raises:
        UsageError: the model does not write text.
    """
    if isinstance(read_config(read_description(artifact)["model"]), EncoderDecoderConfig):
        writer = Seq2Seq(load_any(artifact))
        return Generation(len(writer.source(text)), partial(writer.write, text), translates=True)
    loaded = load_model(artifact)
    ids = prompt_ids(loaded.tokenizer, text)
    return Generation(len(ids), partial(stream_pieces, loaded, ids))


def generate_all(generation: Generation, sampling: Sampling) -> dict[str, Any]:
    """Return a whole reply as JSON values; times in seconds."""
    started, first, collected = time.perf_counter(), 0.0, []
    for piece in track(generation.write(sampling), "generating", sampling.max_tokens, "tokens"):
        first = first or time.perf_counter() - started
        collected.append(piece)
    seconds = time.perf_counter() - started
    return {
        "text": "".join(piece.text for piece in collected),
        "finish": collected[-1].finish,
        "seed": sampling.seed,
        "prompt_tokens": generation.prompt_tokens,
        "tokens": [{"id": piece.token.id, "logprob": piece.token.logprob} for piece in collected],
        "seconds_to_first_token": round(first, 4),
        "seconds": round(seconds, 4),
        "tokens_per_second": round(len(collected) / seconds, 1),
    }
