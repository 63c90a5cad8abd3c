"""Text that continues a prompt, or, with an encoder–decoder, another text written from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from seedbed.chat.local import continue_text
from seedbed.chat.messages import Delta
from seedbed.chat.reply_builder import ReplyBuilder, deltas_of
from seedbed.core.artifacts import Artifact
from seedbed.inference.parameters import Sampling
from seedbed.inference.seq2seq import Seq2Seq
from seedbed.models.config import EncoderDecoderConfig
from seedbed.models.store import load_any, load_model, read_config, read_description


@dataclass(frozen=True)
class Generation:
    """A model with a prompt of so many tokens.

    Attributes:
        write: yields the pieces of the reply.
        translates: whether it is an encoder–decoder, which writes another text.
    """

    prompt_tokens: int
    write: Callable[[Sampling], Iterator[Delta]]
    translates: bool = False


def open_generation(artifact: Artifact, text: str) -> Generation:
    """Load a model and read its prompt. Raises UsageError where the model does not write text."""
    if isinstance(read_config(read_description(artifact)["model"]), EncoderDecoderConfig):
        writer = Seq2Seq(load_any(artifact))
        source = writer.source(text)

        def write(sampling: Sampling) -> Iterator[Delta]:
            return deltas_of(writer.stream(source, sampling), ReplyBuilder(writer.tokenizer, sampling.stop))

        return Generation(len(source), write, translates=True)
    loaded = load_model(artifact)
    ids = loaded.tokenizer.encode_prompt(text)
    return Generation(len(ids), partial(continue_text, loaded, ids))
