"""A chat model in this process: messages through the tokenizer's template to the engine, its tokens back to text.

Replies follow their grammar and call tools by masking tokens. Answers of the caller's are scored by the engine's echo,
so that a score is the same sum the engine would report had it written the answer itself. One thread uses a model at a
time, and streams read in turns are computed together; with a client of an engine thread any number of threads may.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from seedbed.chat.messages import Delta, Message, Reply
from seedbed.chat.model import ReplyOptions
from seedbed.chat.options import end_data, given_options, guarded, sampling_of, start_data, toolbox_of
from seedbed.chat.rendering import PromptEncoder, reply_grammar, unenforced
from seedbed.chat.reply_builder import ReplyBuilder, deltas_of
from seedbed.chat.tracing import Trace, span
from seedbed.core.artifacts import Library
from seedbed.inference.engine_client import EngineClient, make_client, sampling_of_publishers
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Token
from seedbed.models.store import LoadedModel, load_model

DEFAULT = Sampling()
"""Options that neither the call, nor the model's owner, nor its publishers give."""


def continue_text(
    loaded: LoadedModel,
    prompt: str | Sequence[int],
    sampling: Sampling,
    client: EngineClient | None = None,
    *,
    answers: bool = False,
) -> Iterator[Delta]:
    """Continue a prompt, given as text or as ids, up to the first stop string; raises as :meth:`EngineClient.stream`.

    Args:
        client: from ``make_client``; a new one unless given.
        answers: the prompt is a chat's, and what follows is a text of its own.
    """
    ids = loaded.tokenizer.encode_prompt(prompt) if isinstance(prompt, str) else prompt
    tokens = (client or make_client(loaded)).stream(ids, sampling)
    text = () if answers else ids
    return deltas_of(tokens, ReplyBuilder(loaded.tokenizer, sampling.stop, prompt_tokens=len(ids), continues=text))


class LocalModel:
    """Answers with a loaded model; implements ChatModel and ScoringModel.

    Args:
        client: of the engine that runs it; made on first use unless given.
        name: its name in traces and replies; the beginning of its id unless given.
        sampling: the options that a call leaves out; unless given, those that its publishers state, then ours. The
            seed is drawn anew for each reply unless it is set.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        client: EngineClient | None = None,
        *,
        name: str = "",
        sampling: Sampling | None = None,
    ) -> None:
        self.loaded, self.tokenizer = loaded, loaded.tokenizer
        self.sampling = sampling or sampling_of_publishers(loaded).over(DEFAULT)
        self.name = name or loaded.artifact.id[:12]
        self._client = client
        self.prompts = PromptEncoder(loaded.tokenizer, self.context_window)

    @classmethod
    def open(cls, reference: str, library: Library | None = None, *, sampling: Sampling | None = None) -> LocalModel:
        """Open the model of that name or id in a library. Raises NotFoundError or CorruptError where it cannot."""
        artifact = (library or Library()).get(reference, "model")
        return cls(load_model(artifact), name=reference, sampling=sampling)

    @cached_property
    def client(self) -> EngineClient:
        """The client of its engine. Kept, so that a reply finds what prompts share already computed."""
        return self._client or make_client(self.loaded)

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have."""
        return self.loaded.model.config.max_length

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self.tokenizer.encode(text))

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, template and all."""
        return self.prompts.count_prompt(messages)

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """Return the whole answer, trimmed where it repeated itself; raises as :meth:`stream`."""
        *_, last = self.stream(messages, **options)
        assert last.reply is not None  # on the last part
        return last.reply.trimmed()

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """Yield the answer as it is written. Errors of the call are raised at once, not at the first part.

        Raises:
            UsageError: an option is unknown or out of range, or the template refuses these messages.
            DataError: a message cannot be read. CapacityError: the messages do not fit in the window.
        """
        given = given_options(options)
        toolbox = toolbox_of(given)
        sampling = sampling_of(given, self.sampling, reply_grammar(given.get("grammar"), toolbox))
        ids = PromptEncoder(self.tokenizer, self.context_window, toolbox).encode(messages)
        watched = guarded(sampling, given.get("repetition_guard"))
        logprobs = bool(given.get("logprobs"))
        builder = ReplyBuilder(self.tokenizer, sampling.stop, bool(toolbox), logprobs, len(ids), watched)
        tokens = self.client.stream(ids, sampling)
        left = unenforced(toolbox)
        told = start_data(messages, given) | ({"unenforced": ", ".join(left)} if left else {})
        return self._deltas(tokens, builder, given.get("trace"), told)

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Return natural logarithms of the probability of each token of an answer, before temperature and filters.

        ``end``: as in :class:`ScoringModel`. Raises CapacityError where messages and answer do not fit in the window.
        """
        tail = [*self.tokenizer.encode(answer), *([self.tokenizer.end_id] if end else [])]
        if not tail:
            return ()
        return tuple(self.client.prompt_logprobs([*self.prompts.encode(messages), *tail])[-len(tail) :])

    def embed(self, text: str) -> NDArray[np.float32]:
        """Return the mean of a text's last hidden states, of length 1: (D,). As a server's ``/v1/embeddings`` gives it.

        Raises CapacityError for a text that does not fit in the window.
        """
        mean = self.client.embed(self.tokenizer.encode_prompt(text))
        found = np.asarray(mean.float().cpu(), np.float32)
        return np.asarray(found / max(float(np.linalg.norm(found)), 1e-12), np.float32)

    def _deltas(
        self, tokens: Iterator[Token], builder: ReplyBuilder, trace: Trace | None, told: dict[str, object]
    ) -> Iterator[Delta]:
        with span(trace, "model", self.name, **told) as work:
            for delta in deltas_of(tokens, builder):
                if delta.text:
                    work.tell("token", {"content": delta.text})
                if delta.text or delta.tool_calls:
                    yield delta
            reply = builder.reply(self.name)
            work.data.update(end_data(reply))
        yield Delta(reply=reply)
