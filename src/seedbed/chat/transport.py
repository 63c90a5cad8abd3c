"""HTTP to a model's server: one client, retries with backoff, sizes that are bounded, errors as our own, event streams.

What failed before anything of an answer was read is tried again where that may help (no connection, 429, 5xx), after
a random part of a growing time ("full jitter", Brooker 2015) or after what the server asks for. Generating twice
changes nothing but the bill. No proxy of the environment is used and no redirect followed: the key goes where it was
meant to go.

Of server-sent events (WHATWG HTML, 9.2) only their data is read. Lines end with a line feed, before which a carriage
return may stand: the line ends of Unicode, at which some clients cut, may stand inside a JSON text.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from seedbed.chat.failures import RemoteError, refused, retry_after, strange
from seedbed.core.errors import UsageError

T = TypeVar("T")
MAX_BODY, MAX_LINE = 64 << 20, 16 << 20  # bytes of an answer, and of a line of a stream

_JSON = {"Content-Type": "application/json"}
_AGAIN = (httpx.NetworkError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Retries:
    """The number of tries, and the pauses between them, in seconds."""

    attempts: int = 4
    first: float = 0.5  # the longest first pause, which doubles up to ``most``
    most: float = 20.0
    patience: float = 60.0  # a server that asks for more is not waited for
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, asked: float | None) -> float | None:
        """Seconds to wait after attempt number ``attempt`` (from 1); None: give up."""
        if attempt >= self.attempts or (asked or 0) > self.patience:
            return None
        return asked if asked is not None else random.uniform(0, min(self.most, self.first * 2 ** (attempt - 1)))


class Transport:
    """Talks to one server."""

    def __init__(self, key: str | None, timeout: float, retries: Retries) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Timeout(timeout, connect=min(10.0, timeout))
        self._client = httpx.Client(headers=headers, timeout=limits, trust_env=False)
        self._retries = retries

    def request(self, method: str, url: str, body: object = None) -> Any:
        """The JSON of an answer. Raises as :func:`refused`, and RemoteError where there is none or something else."""
        return self._retrying(lambda: self._read(method, url, body))

    @contextmanager
    def events(self, url: str, body: object) -> Iterator[Iterator[Any]]:
        """The JSON values of a stream of server-sent events up to ``[DONE]``; raises as :meth:`request`."""
        response = self._retrying(lambda: self._open("POST", url, body))
        with closing(response), _failures(url):
            texts = sse_data(response.iter_bytes())
            yield (_parse(text, url) for text in iter(lambda: next(texts, "[DONE]"), "[DONE]"))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _retrying(self, call: Callable[[], T]) -> T:
        attempt = 1
        while True:
            try:
                return call()
            except RemoteError as error:
                wait = self._retries.wait(attempt, error.retry_after) if error.transient else None
                if wait is None:
                    raise
                self._retries.sleep(wait)
                attempt += 1

    def _read(self, method: str, url: str, body: object) -> Any:
        with closing(self._open(method, url, body)) as response, _failures(url):
            return _parse(_body(response, url), url)

    def _open(self, method: str, url: str, body: object) -> httpx.Response:
        sent: dict[str, Any] = {} if body is None else {"content": _dump(body), "headers": _JSON}
        with _failures(url):
            request = self._client.build_request(method, url, **sent)
            response = self._client.send(request, stream=True)
            if response.status_code == 200:
                return response
            with closing(response):
                text = _body(response, url)
        raise refused(response.status_code, text, url, retry_after(response.headers.get("Retry-After")))


@contextmanager
def _failures(url: str) -> Iterator[None]:
    """Turn httpx's errors into ours."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        what = f"{type(error).__name__}: {error}"
        if isinstance(error, (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.InvalidURL)):
            raise UsageError(f"{url} cannot be asked", why=what, fix="check the URL and the key") from error
        fix = "check that the server runs and the URL is right"
        if isinstance(error, httpx.ReadTimeout):
            fix = "set a longer timeout, or ask for less"
        failed = RemoteError(f"{url} does not answer", why=what, fix=fix)
        failed.transient = isinstance(error, _AGAIN)
        raise failed from error


def _body(response: httpx.Response, url: str) -> str:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_BODY:
            raise strange(url, f"more than {MAX_BODY >> 20} MiB")
    return data.decode("utf-8", "replace")


def _dump(body: object) -> str:
    try:
        return json.dumps(body, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError("the request cannot be sent", why=f"it is no JSON: {error}", fix="correct it") from error


def _parse(text: str, url: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise strange(url, f"no JSON: {text[:80]!r}") from error


def sse_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event. One that does not end with an empty line was cut off and is none.

    Raises RemoteError for a line longer than anything a model writes.
    """
    data: list[str] = []
    for line in _lines(chunks):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(held) > MAX_LINE:
            raise strange("the stream", f"a line of more than {MAX_LINE >> 20} MiB")
    if held:
        yield held
