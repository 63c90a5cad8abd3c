"""A chat model in this process: messages through the tokenizer's template to the engine, its tokens back to text.

Replies follow their grammar and call tools by masking tokens. Answers of the caller's are scored by the engine's echo,
so that a score is the same sum the engine would report had it written the answer itself. One thread uses a model at a
time, and streams read in turns are computed together; over a ``ThreadedGenerator`` any number of threads do.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from seedbed.chat.messages import Delta, Finish, Message, Reply, ToolCall, Usage
from seedbed.chat.model import ReplyOptions
from seedbed.chat.options import end_data, given_options, sampling_of, start_data
from seedbed.chat.rendering import Toolbox, plain_messages, reply_grammar
from seedbed.chat.tracing import Trace, span
from seedbed.core.artifacts import Library
from seedbed.inference.generate import TokenSource
from seedbed.inference.parameters import Sampling
from seedbed.inference.text import Piece, make_generator, prompt_ids, stream_pieces
from seedbed.models.store import LoadedModel, load_model
from seedbed.tokenizers.tools import CallReader

DEFAULT = Sampling()
"""What options are that neither the call nor the model's owner gives."""


class LocalModel:
    """Answers with a loaded model; implements ChatModel and ScoringModel.

    Args:
        loaded: from ``load_model``.
        generator: from ``make_generator``, or a ``ThreadedGenerator``; made on first use unless given.
        name: how it is called in traces and replies; the beginning of its id unless given.
        sampling: what options that a call leaves out are; the seed is drawn anew for each reply unless it is set.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        generator: TokenSource | None = None,
        *,
        name: str = "",
        sampling: Sampling = DEFAULT,
    ) -> None:
        self.loaded, self.tokenizer, self.sampling = loaded, loaded.tokenizer, sampling
        self.name = name or loaded.artifact.id[:12]
        self._given = generator

    @classmethod
    def open(cls, reference: str, library: Library | None = None, *, sampling: Sampling = DEFAULT) -> LocalModel:
        """The model of that name or id in a library.

        Raises:
            NotFoundError: there is none. CorruptError: its files are damaged.
        """
        artifact = (library or Library()).get(reference, "model")
        return cls(load_model(artifact), name=reference, sampling=sampling)

    @cached_property
    def generator(self) -> TokenSource:
        """Kept, so that a reply finds what its prompt shares with earlier ones already computed."""
        return self._given or make_generator(self.loaded)

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have."""
        return self.loaded.model.config.max_length

    def count_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self.tokenizer.encode(text))

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """How many tokens a prompt of these messages has, template and all."""
        return len(self._encode(messages))

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """The whole answer; raises as :meth:`stream`."""
        *_, last = self.stream(messages, **options)
        assert last.reply is not None  # on the last piece
        return last.reply

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """The answer as it is written. Errors of the call are raised at once, not at the first piece.

        Raises:
            UsageError: an option is unknown or out of range, or the template refuses these messages.
            DataError: a message cannot be read. CapacityError: the messages do not fit in the window.
        """
        given = given_options(options)
        toolbox = Toolbox.of(given.get("tools", ()), given.get("tool_choice"))
        sampling = sampling_of(given, self.sampling, reply_grammar(given.get("grammar"), toolbox))
        ids = self._encode(messages, toolbox)
        pieces = stream_pieces(self.loaded, ids, sampling, self.generator)
        draft = _Draft(self.name, len(ids), bool(given.get("logprobs")), CallReader() if toolbox else None)
        return self._deltas(pieces, draft, given.get("trace"), start_data(messages, given))

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Natural logarithms of the probability of each token of an answer, before temperature and filters.

        Args:
            end: count the end token too: the probability that this is the whole answer, not how one begins.

        Raises:
            CapacityError: messages and answer do not fit in the window.
        """
        tail = [*self.tokenizer.encode(answer), *([self.tokenizer.end_id] if end else [])]
        if not tail:
            return ()
        return tuple(self.generator.prompt_logprobs([*self._encode(messages), *tail])[-len(tail) :])

    def embed(self, text: str) -> NDArray[np.float32]:
        """The mean of a text's last hidden states, of length 1: (D,). As a server's ``/v1/embeddings`` gives it.

        Raises:
            CapacityError: the text does not fit in the window.
        """
        mean = self.generator.embed(prompt_ids(self.tokenizer, text))
        found = np.asarray(mean.float().cpu(), np.float32)
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12), np.float32)

    def _encode(self, messages: Sequence[Message], toolbox: Toolbox | None = None) -> list[int]:
        plain = plain_messages(messages)
        ids, _ = self.tokenizer.encode_chat(toolbox.describe(plain) if toolbox else plain, add_generation_prompt=True)
        return ids

    def _deltas(
        self, pieces: Iterator[Piece], draft: _Draft, trace: Trace | None, told: dict[str, object]
    ) -> Iterator[Delta]:
        with span(trace, "model", self.name, **told) as work:
            for piece in pieces:
                if fresh := draft.add(piece):
                    work.tell("token", {"content": fresh})
                    yield Delta(fresh)
            reply = draft.reply()
            work.data.update(end_data(reply))
        yield Delta(reply=reply)


@dataclass
class _Draft:
    """A reply as it grows."""

    model: str
    prompt_tokens: int
    wants_logprobs: bool
    reader: CallReader | None
    written: int = 0
    finish: Finish = "stop"
    texts: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def add(self, piece: Piece) -> str:
        """Take the next piece. Returns the text to show. The end token belongs to no text: it has no logprob here."""
        self.written += 1
        shown = piece.text
        if self.reader:
            shown, _, arguments = self.reader.push(piece.text, bool(piece.finish))
            self.arguments.append(arguments)
        self.texts.append(shown)
        if piece.finish != "end":
            self.logprobs.append(piece.token.logprob)
        if piece.finish:
            self.finish = "length" if piece.finish == "length" else "stop"
            self.finish = "tool_calls" if piece.finish == "end" and self.reader and self.reader.name else self.finish
        return shown

    def reply(self) -> Reply:
        """The whole of it; a call that was cut off is there with what it has."""
        name = self.reader.name if self.reader else ""
        calls = (ToolCall(f"call_{secrets.token_hex(12)}", name, "".join(self.arguments)),) if name else ()
        logprobs = tuple(self.logprobs) if self.wants_logprobs else None
        usage = Usage(self.prompt_tokens, self.written)
        return Reply("".join(self.texts), calls, usage, self.finish, logprobs, self.model)
