"""Client of a model server's other routes: its models, their windows, their tokens, log-probabilities of a text.

Ours and vLLM's have all of it: ``/tokenize``, which also knows the chat template, and ``/v1/completions`` with echo.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from seedbed.chat.failures import RemoteError
from seedbed.chat.transport import Retries, Transport
from seedbed.core.errors import NotFoundError, UsageError

_NO_ROUTE = (403, 405, 501)  # what gateways answer, besides 404, for a route that they do not have


class ModelServer:
    """One model of a server with OpenAI's routes.

    Raises:
        UsageError: the URL is none, or the key cannot be sent.
    """

    def __init__(self, url: str, model: str | None, key: str | None, timeout: float, retries: Retries) -> None:
        self.url, self._model = _checked(url), model
        if key is not None and not (key.isascii() and key.isprintable()):
            why = "a header holds ASCII only, without line breaks"
            raise UsageError("the key cannot be sent", why=why, fix="check how it was copied")
        self.transport = Transport(key, timeout, retries)
        self._tokenizes = True

    @cached_property
    def model(self) -> str:
        """The model's name, or the only one there is. Raises UsageError where that says nothing."""
        if self._model:
            return self._model
        names = [str(one.get("id")) for one in self._listed]
        if len(names) != 1:
            why = f"{self.url} has {', '.join(names[:10]) or 'none that it tells'}"
            raise UsageError("no model was named", why=why, fix="name one of the server's: URL#model")
        return names[0]

    @cached_property
    def window(self) -> int | None:
        """Tokens of prompt and reply, where the server says."""
        said = [one.get("max_model_len") for one in self._listed if one.get("id") == self.model]
        if not (said and isinstance(said[0], int)):
            said = [(self.tokenize(prompt="a") or {}).get("max_model_len")]
        return said[0] if isinstance(said[0], int) and said[0] > 0 else None

    def tokenize(self, **body: object) -> dict[str, Any] | None:
        """Ask for the tokens of a prompt or messages; None without such a route, which is asked only once."""
        if not self._tokenizes:
            return None
        try:
            url = self.url.removesuffix("/v1") + "/tokenize"
            found = self.transport.request("POST", url, {"model": self.model, **body})
        except (NotFoundError, RemoteError) as error:
            if isinstance(error, RemoteError) and error.status not in _NO_ROUTE:
                raise
            found = None
        self._tokenizes = isinstance(found, dict) and isinstance(found.get("count"), int)
        return found if self._tokenizes else None

    @cached_property
    def echoes(self) -> bool:
        """True when it tokenizes messages and gives the log-probabilities of a prompt."""
        found = self.tokenize(messages=[{"role": "user", "content": "a"}], add_generation_prompt=True) or {}
        ids = found.get("tokens")
        if not isinstance(ids, list) or len(ids) < 2:
            return False
        try:
            return len(self.echo(ids)) == len(ids) - 1
        except (UsageError, NotFoundError):
            return False

    @cached_property
    def end_id(self) -> int:
        """The token that ends a reply: what the chat template has after one. Raises UsageError where it has none."""
        asked: list[dict[str, str]] = [{"role": "user", "content": "a"}]
        told = {"add_generation_prompt": False, "messages": [*asked, {"role": "assistant", "content": "b"}]}
        parts = (
            self.tokenize(messages=asked, add_generation_prompt=True),
            self.tokenize(prompt="b", add_special_tokens=False),
            self.tokenize(**told),
        )
        head, reply, whole = ((part or {}).get("tokens") or [] for part in parts)
        before = [*head, *reply]
        if whole[: len(before)] != before or len(whole) == len(before):
            why = f"the chat template of {self.url} has no token after a reply"
            raise UsageError("the end of an answer cannot be scored", why=why, fix="use a local model or our server")
        return int(whole[len(before)])

    def echo(self, ids: Sequence[int]) -> list[float]:
        """Natural log-probabilities of a prompt's tokens but the first. Raises UsageError where they are not given."""
        body = {"model": self.model, "prompt": list(ids), "echo": True, "logprobs": 0, "max_tokens": 0}
        found = self.transport.request("POST", f"{self.url}/completions", body)
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
            found = self.transport.request("GET", f"{self.url}/models")
        except NotFoundError:
            return []
        entries = found.get("data") if isinstance(found, dict) else None
        return [one for one in entries or () if isinstance(one, dict)]


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
        raise UsageError(
            f"{url[:200]!r} is not the URL of an API", why=why, fix="give one like http://127.0.0.1:8000/v1"
        )
    return url.rstrip("/") + ("" if parts.path.strip("/") else "/v1")
