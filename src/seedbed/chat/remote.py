"""A chat model behind a URL: any server with OpenAI's chat completions; ours and vLLM's can do more.

Ours and vLLM's tell a model's window, count its tokens (``/tokenize``, which also knows the chat template), and give
the log-probabilities of a prompt (``/v1/completions`` with echo), from which an answer is scored. Elsewhere tokens are
estimated as a third of the characters, rounded up (English has about four characters a token: the estimate is on the
safe side there, not for every script), the window must be given, and nothing can be scored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, Self, Unpack
from urllib.parse import urlsplit

from seedbed.chat.failures import RemoteError, refused
from seedbed.chat.messages import Delta, Message, Reply
from seedbed.chat.model import ReplyOptions
from seedbed.chat.options import end_data, given_options, start_data
from seedbed.chat.tracing import Trace, span
from seedbed.chat.transport import Retries, Transport
from seedbed.chat.wire import StreamedReply, body_of, reply_of
from seedbed.core.errors import NotFoundError, UsageError

CHARACTERS_A_TOKEN, TOKENS_A_MESSAGE = 3, 4
PATIENT = Retries()
_REMEMBERED = 4096  # texts whose counts are kept
_NO_ROUTE = (403, 405, 501)  # what gateways answer, besides 404, for a route that they do not have


class RemoteModel:
    """Answers with a server's model; implements ChatModel, and ScoringModel where :meth:`can_score`.

    Args:
        url: of the API, with its version (``https://host/v1``); ``/v1`` is added to a URL without a path.
        model: its name there; the only one there is unless given.
        key: sent with each request.
        window: tokens of prompt and reply, where the server does not say; a bound on what it says.
        timeout: longest silence of the server, in seconds.
        retries: how often to try.

    Raises UsageError where the URL is none, or the key cannot be sent.
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
        self.url, self._model, self._window = _checked(url), model, window
        if key is not None and not (key.isascii() and key.isprintable()):
            why = "a header holds ASCII only, without line breaks"
            raise UsageError("the key cannot be sent", why=why, fix="check how it was copied")
        self._transport = Transport(key, timeout, retries)
        self._tokenizes = True
        self._count_text = lru_cache(_REMEMBERED)(self._ask_count)

    @cached_property
    def name(self) -> str:
        """The model's name on the server. Raises UsageError where none was given, and there is not just one."""
        if self._model:
            return self._model
        names = [str(one.get("id")) for one in self._listed]
        if len(names) != 1:
            why = f"{self.url} has {', '.join(names[:10]) or 'none that it tells'}"
            raise UsageError("no model was named", why=why, fix="name one of the server's: URL#model")
        return names[0]

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have. Raises UsageError where neither server nor caller says."""
        known = [one for one in (self._told_window, self._window) if one is not None]
        if not known:
            why = f"{self.url} does not tell it, and none was given"
            raise UsageError(f"the window of {self.name} is unknown", why=why, fix="give it, in tokens")
        return min(known)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text, estimated where the server counts none."""
        return self._count_text(text)

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt; where it is estimated, 4 more a message."""
        wire = [message.to_wire() for message in messages]
        if (found := self._tokenize(messages=wire, add_generation_prompt=True)) is not None:
            return int(found["count"])
        return sum(TOKENS_A_MESSAGE + estimate(_written(message)) for message in messages)

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """The whole answer. Raises as :func:`refused`, and RemoteError where there is none."""
        given = given_options(options)
        body = body_of(self.name, messages, given)
        with span(given.get("trace"), "model", self.name, **start_data(messages, given)) as work:
            reply = reply_of(self._transport.request("POST", f"{self.url}/chat/completions", body))
            work.data.update(end_data(reply))
        return reply

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """The answer as it is written; raises as :meth:`reply`. Nothing is tried again once its first piece is here."""
        given = given_options(options)
        body = {**body_of(self.name, messages, given), "stream": True, "stream_options": {"include_usage": True}}
        return self._deltas(body, given.get("trace"), start_data(messages, given))

    def can_score(self) -> bool:
        """Return True when the server gives the data that :meth:`score` needs: ours does. Asked once."""
        return self._echoes

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Natural logarithms of the probability of each token of an answer; ``end`` as in :class:`ScoringModel`.

        Raises UsageError where the server gives no log-probabilities of a prompt, CapacityError where nothing fits.
        """
        wire = [message.to_wire() for message in messages]
        head = self._tokenize(messages=wire, add_generation_prompt=True)
        tail = self._tokenize(prompt=answer, add_special_tokens=False)
        if not head or not tail or not self.can_score():
            why = f"{self.url} tokenizes no messages, or gives no log-probabilities of a prompt"
            raise UsageError(f"{self.name} cannot score answers", why=why, fix="use a local model or our server")
        ids = [*tail["tokens"], *([self._end_id] if end else [])]
        return tuple(self._echo([*head["tokens"], *ids])[-len(ids) :]) if ids else ()

    def close(self) -> None:
        """Let go of the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask_count(self, text: str) -> int:
        found = self._tokenize(prompt=text, add_special_tokens=False)
        return estimate(text) if found is None else int(found["count"])

    def _deltas(self, body: dict[str, Any], trace: Trace | None, told: dict[str, object]) -> Iterator[Delta]:
        url, draft = f"{self.url}/chat/completions", StreamedReply()
        with span(trace, "model", self.name, **told) as work:
            with self._transport.events(url, body) as chunks:
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

    @cached_property
    def _told_window(self) -> int | None:
        said = [one.get("max_model_len") for one in self._listed if one.get("id") == self.name]
        if not (said and isinstance(said[0], int)):
            said = [(self._tokenize(prompt="a") or {}).get("max_model_len")]
        return said[0] if isinstance(said[0], int) and said[0] > 0 else None

    def _tokenize(self, **body: object) -> dict[str, Any] | None:
        """Ask for the tokens of a prompt or messages; None without such a route, which is asked only once."""
        if not self._tokenizes:
            return None
        try:
            url = self.url.removesuffix("/v1") + "/tokenize"
            found = self._transport.request("POST", url, {"model": self.name, **body})
        except (NotFoundError, RemoteError) as error:
            if isinstance(error, RemoteError) and error.status not in _NO_ROUTE:
                raise
            found = None
        self._tokenizes = isinstance(found, dict) and isinstance(found.get("count"), int)
        return found if self._tokenizes else None

    @cached_property
    def _echoes(self) -> bool:
        """True when it tokenizes messages and gives the log-probabilities of a prompt."""
        found = self._tokenize(messages=[{"role": "user", "content": "a"}], add_generation_prompt=True) or {}
        ids = found.get("tokens")
        if not isinstance(ids, list) or len(ids) < 2:
            return False
        try:
            return len(self._echo(ids)) == len(ids) - 1
        except (UsageError, NotFoundError):
            return False

    @cached_property
    def _end_id(self) -> int:
        """The token that ends a reply: what the chat template has after one. Raises UsageError where it has none."""
        asked: list[dict[str, str]] = [{"role": "user", "content": "a"}]
        bodies: list[dict[str, Any]] = [
            {"messages": asked, "add_generation_prompt": True},
            {"prompt": "b", "add_special_tokens": False},
            {"messages": [*asked, {"role": "assistant", "content": "b"}], "add_generation_prompt": False},
        ]
        head, reply, whole = ((self._tokenize(**body) or {}).get("tokens") or [] for body in bodies)
        before = [*head, *reply]
        if whole[: len(before)] != before or len(whole) == len(before):
            why = f"the chat template of {self.url} has no token after a reply"
            raise UsageError("the end of an answer cannot be scored", why=why, fix="use a local model or our server")
        return int(whole[len(before)])

    def _echo(self, ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of a prompt's tokens but the first. Raises UsageError where they are not given."""
        body = {"model": self.name, "prompt": list(ids), "echo": True, "logprobs": 0, "max_tokens": 0}
        found = self._transport.request("POST", f"{self.url}/completions", body)
        try:
            values = found["choices"][0]["logprobs"]["token_logprobs"]
            return [float(one) for one in values[1 : len(ids)]]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            why = f"{self.url}: {type(error).__name__}: {error}"
            raise UsageError("the server gives no log-probabilities of a prompt", why=why, fix="use ours") from error

    @cached_property
    def _listed(self) -> list[dict[str, Any]]:
        """The models as the server describes them; none where it does not list them."""
        try:
            found = self._transport.request("GET", f"{self.url}/models")
        except NotFoundError:
            return []
        entries = found.get("data") if isinstance(found, dict) else None
        return [one for one in entries or () if isinstance(one, dict)]


def estimate(text: str) -> int:
    """Tokens of a text whose tokenizer is not known."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def _written(message: Message) -> str:
    return message.role + message.text + "".join(call.name + call.arguments for call in message.tool_calls)


def _checked(url: str) -> str:
    """The URL of the API, without a slash at the end, with /v1 where it has no path."""
    try:
        parts = urlsplit(url)
        plain = not (parts.query or parts.fragment or parts.username is not None or parts.port == 0)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and plain
    except ValueError:
        right = False
    if not right:
        why = "it has a scheme (http or https) and a host, and neither user, query nor fragment"
        fix = "give one like http://127.0.0.1:8000/v1"
        raise UsageError(f"{url[:200]!r} is not the URL of an API", why=why, fix=fix)
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
