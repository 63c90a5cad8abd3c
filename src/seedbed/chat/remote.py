"""A chat model behind a URL: any server with OpenAI's chat completions; ours and vLLM's can do more.

Ours and vLLM's tell a model's window, count its tokens, and give the log-probabilities of a prompt, from which an
answer is scored. Elsewhere tokens are estimated as a third of the characters, rounded up (English has about four
characters a token: the estimate is on the safe side there, not for every script), the window must be given, and
nothing can be scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, Unpack

from seedbed.chat.api_client import ModelServer
from seedbed.chat.failures import RemoteError, refused
from seedbed.chat.messages import Delta, Message, Reply
from seedbed.chat.model import ReplyOptions
from seedbed.chat.options import end_data, given_options, start_data
from seedbed.chat.tracing import Trace, span
from seedbed.chat.transport import Retries
from seedbed.chat.wire import StreamedReply, body_of, reply_of
from seedbed.core.errors import UsageError

CHARACTERS_A_TOKEN, TOKENS_A_MESSAGE = 3, 4
PATIENT = Retries()
_REMEMBERED = 4096  # texts whose counts are kept


class RemoteModel:
    """Answers with a server's model; implements ChatModel, and ScoringModel where :meth:`can_score`.

    Args:
        url: of the API, with its version (``https://host/v1``); ``/v1`` is added to a URL without a path.
        model: its name there; the only one there is unless given.
        key: sent with each request.
        window: tokens of prompt and reply, where the server does not say; a bound on what it says.
        timeout: longest silence of the server, in seconds.
        retries: how often to try.

    Raises:
        UsageError: the URL is none, or the key cannot be sent.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        key: str | None = None,
        *,
        window: int | None = None,
        timeout: float = 300.0,
        retries: Retries = PATIENT,
    ) -> None:
        self._server = ModelServer(url, model, key, timeout, retries)
        self.url, self._window = self._server.url, window
        self._count_text = lru_cache(_REMEMBERED)(self._ask_count)

    @property
    def name(self) -> str:
        """The model's name on the server. Raises UsageError where none was given, and there is not just one."""
        return self._server.model

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have. Raises UsageError where neither server nor caller says."""
        known = [one for one in (self._server.window, self._window) if one is not None]
        if not known:
            why = f"{self.url} does not tell it, and none was given"
            raise UsageError(f"the window of {self.name} is unknown", why=why, fix="give it, in tokens")
        return min(known)

    def counts_exactly(self) -> bool:
        """Return True when the server counts tokens; they are estimated otherwise."""
        return self._server.tokenize(prompt="a") is not None

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text; see :meth:`counts_exactly`."""
        return self._count_text(text)

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt; where it is estimated, 4 more a message."""
        wire = [message.to_wire() for message in messages]
        if (found := self._server.tokenize(messages=wire, add_generation_prompt=True)) is not None:
            return int(found["count"])
        return sum(TOKENS_A_MESSAGE + estimate(_written(message)) for message in messages)

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """The whole answer.

        Raises:
            UsageError, CapacityError, NotFoundError: the server refuses the request.
            RemoteError: it does not answer, or cannot.
        """
        given = given_options(options)
        body = body_of(self.name, messages, given)
        with span(given.get("trace"), "model", self.name, **start_data(messages, given)) as work:
            reply = reply_of(self._server.transport.request("POST", f"{self.url}/chat/completions", body))
            work.data.update(end_data(reply))
        return reply

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """The answer as it is written; raises as :meth:`reply`. Nothing is tried again once its first piece is here."""
        given = given_options(options)
        body = {**body_of(self.name, messages, given), "stream": True, "stream_options": {"include_usage": True}}
        return self._deltas(body, given.get("trace"), start_data(messages, given))

    def can_score(self) -> bool:
        """Return True when the server gives the data that :meth:`score` needs: ours does. Asked once."""
        return self._server.echoes

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Natural logarithms of the probability of each token of an answer.

        Args:
            end: count the end token too: the probability that this is the whole answer, not how one begins.

        Raises:
            UsageError: the server does not give the log-probabilities of a prompt.
            CapacityError: messages and answer do not fit in the window.
        """
        wire = [message.to_wire() for message in messages]
        head = self._server.tokenize(messages=wire, add_generation_prompt=True)
        tail = self._server.tokenize(prompt=answer, add_special_tokens=False)
        if not head or not tail or not self.can_score():
            why = f"{self.url} tokenizes no messages, or gives no log-probabilities of a prompt"
            raise UsageError(f"{self.name} cannot score answers", why=why, fix="use a local model or our server")
        ids = [*tail["tokens"], *([self._server.end_id] if end else [])]
        return tuple(self._server.echo([*head["tokens"], *ids])[-len(ids) :]) if ids else ()

    def close(self) -> None:
        """Let go of the connections."""
        self._server.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask_count(self, text: str) -> int:
        found = self._server.tokenize(prompt=text, add_special_tokens=False)
        return estimate(text) if found is None else int(found["count"])

    def _deltas(self, body: dict[str, Any], trace: Trace | None, told: dict[str, object]) -> Iterator[Delta]:
        url, draft = f"{self.url}/chat/completions", StreamedReply()
        with span(trace, "model", self.name, **told) as work:
            with self._server.transport.events(url, body) as chunks:
                for chunk in chunks:
                    if isinstance(chunk, dict) and chunk.get("error"):
                        raise refused(200, json.dumps(chunk), url)
                    if fresh := draft.add(chunk):
                        work.tell("token", {"content": fresh})
                        yield Delta(fresh)
            if draft.finish is None:
                why = f"{url} ended it without saying why"
                raise RemoteError("the reply broke off", why=why, fix="ask again; the server's log may say more")
            reply = draft.reply()
            work.data.update(end_data(reply))
        yield Delta(reply=reply)


def estimate(text: str) -> int:
    """Tokens of a text whose tokenizer is not known."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def _written(message: Message) -> str:
    return message.role + message.text + "".join(call.name + call.arguments for call in message.tool_calls)
