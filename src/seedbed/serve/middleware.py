"""Checks of every request (host, origin, key, size, shape), and additions to every answer (headers, a time limit).

Everything needs a key but ``/health`` and the page's files: what is not listed here is closed, unknown paths too. A
request ends with its client: when the connection goes, the work for it is cancelled, streamed or not.

Every body is read as JSON, whatever type it is declared to have (`curl -d` declares a form). That opens no door to
other sites' forms: browsers send an origin with them, which is checked. HEAD is answered as GET, without the body.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
from collections.abc import Collection
from contextlib import AsyncExitStack
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seedbed.core.errors import CorruptError, SeedbedError
from seedbed.serve.context import RequestContext, Server
from seedbed.serve.errors import ApiError, error_response, malformed
from seedbed.serve.json_body import read_json
from seedbed.serve.metrics import Metrics

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
_HOST = re.compile(r"(?P<name>[\w.-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?", re.ASCII)
_AT_ONCE = 4096  # bytes of a body that are read in the event loop: more would keep others waiting


class Gate:
    """An ASGI middleware around the whole app; ``open_paths`` are the page's files."""

    def __init__(self, app: ASGIApp, server: Server, open_paths: Collection[str]) -> None:
        self.app, self.server, self._open = app, server, {"/health", *open_paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # the server's own scope, a HEAD, keeps the body back
        status = 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *RAW_HEADERS]}
            async with asyncio.timeout(self.server.settings.send_seconds):
                await send(message)
            await asyncio.sleep(0)  # a connection that broke is noticed between two parts, and others have their turn

        self.server.in_flight += 1
        try:
            await self._pass(scope, receive, answer)
        except TimeoutError:
            self._metrics_of(scope).add("slow_readers")
            logging.getLogger(__name__).warning("a reader took nothing for too long: its connection is closed")
        finally:
            self.server.in_flight -= 1
            self._metrics_of(scope).answered(getattr(scope.get("route"), "path", "other"), status)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            try:
                owner = scope["seedbed.owner"] = self._admit(scope, Headers(scope=scope))
                body = await self._body(Headers(scope=scope), receive, owner, stack)
                if body:
                    scope["seedbed.json"] = await self._read(body, Headers(scope=scope), owner)
            except SeedbedError as error:
                await error_response(error)(scope, receive, send)
                return
            if body is None:
                return  # the client left
            if body:
                others = [pair for pair in scope["headers"] if pair[0] != b"content-type"]
                scope["headers"] = [*others, (b"content-type", b"application/json")]
            scope["seedbed.context"] = context = RequestContext(self.server, owner, stack)
            self.server.open_requests.add(context)
            stack.callback(self.server.open_requests.discard, context)
            if not await _while_connected(self.app, scope, body, receive, send):
                context.metrics.add("disconnects")

    def _metrics_of(self, scope: Scope) -> Metrics:
        """Return the counters of whoever asks; of all that is let in without a key, and of what is not, one."""
        return self.server.metrics.of(scope.get("seedbed.owner", ""))

    def _admit(self, scope: Scope, headers: Headers) -> str:
        """Return the owner of a request. Raises ApiError for one that is not allowed."""
        named = _HOST.fullmatch(headers.get("host", ""))
        if named is None or ("transfer-encoding" in headers and "content-length" in headers):
            raise malformed("the host is no name" if named is None else "a body has a length or comes in chunks")
        host = named["name"].strip("[]").lower()
        if not _is_address(host) and host not in {"localhost", *self.server.settings.hosts}:
            why = f"this server is not called {host[:100]!r}"
            raise ApiError(403, "wrong host", why=why, fix="start it with --allow-host", code="host_not_allowed")
        origin = headers.get("origin")
        if origin is not None and _place_of(origin) != headers.get("host"):
            why = "a browser asks for a page of another address"
            raise ApiError(403, "wrong origin", why=why, fix="use the server's own page", code="origin_not_allowed")
        if self.server.draining and scope["path"] != "/health":
            why = "it was told to stop"
            raise ApiError(503, "the server is shutting down", why=why, fix="try again later", code="shutting_down")
        if self.server.keys is None or (scope["path"] in self._open and scope["method"] == "GET"):
            return ""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        try:
            owner = self.server.keys.owner(key.strip()) if scheme.lower() == "bearer" else None
        except (CorruptError, OSError) as error:
            logging.getLogger(__name__).warning("the keys cannot be read: %s", error)
            why, fix = "the server cannot read its file of keys", "ask whoever runs it to restore the file"
            raise ApiError(503, "no key can be checked", why=why, fix=fix, code="keys_unreadable") from error
        if owner is None:
            fix = "send Authorization: Bearer KEY; `seedbed keys create NAME` makes one"
            raise ApiError(401, "no valid API key", why="none was sent, or not ours", fix=fix, code="invalid_api_key")
        return owner

    async def _body(self, headers: Headers, receive: Receive, owner: str, stack: AsyncExitStack) -> bytes | None:
        """Return the whole body, counted until the request ends; None where the client left.

        Raises ApiError for one that is too large or late, or beyond its owner's share.
        """
        limit, found, shares = self.server.settings.body_bytes, bytearray(), self.server.bodies
        try:
            async with asyncio.timeout(self.server.settings.body_seconds):
                more = int(headers.get("content-length", 0)) <= limit
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    if not shares.take(owner, len(part)):
                        why = "other requests of this key hold all that it may send at once"
                        fix = "send it again when they are answered"
                        raise ApiError(429, "too many large bodies", why=why, fix=fix, code="bodies_full")
                    stack.callback(shares.give_back, owner, len(part))
                    found += part
                    if len(found) > limit or not message.get("more_body"):
                        more = False
        except TimeoutError:
            why = f"{len(found)} bytes came in {self.server.settings.body_seconds:g} s"
            raise ApiError(408, "the body did not arrive", why=why, fix="send it faster", code="timeout") from None
        if len(found) > limit or int(headers.get("content-length", 0)) > limit:
            why = f"at most {limit} bytes are read"
            raise ApiError(413, "the body is too large", why=why, fix="send less", code="body_too_large")
        return bytes(found)

    async def _read(self, body: bytes, headers: Headers, owner: str) -> Any:
        """Return the value of a body. Raises ApiError as :func:`read_json`."""
        read = partial(read_json, body, self.server.settings.json_depth, headers.get("content-type", "no type"))
        return read() if len(body) <= _AT_ONCE else await self.server.executors.work.run(owner, read)


def _place_of(origin: str) -> str:
    """Return the host and port of an origin. Raises ApiError where it has no form of one."""
    try:
        return urlsplit(origin).netloc
    except ValueError as error:
        raise malformed("the origin is no address") from error


def _is_address(host: str) -> bool:
    """Return True for a plain address: no other site's name can point here."""
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return False


async def _while_connected(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> bool:
    """Run an app until it is done or its client is gone. Returns whether it was done."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return rest.pop() if rest else await asyncio.Event().wait() and {}

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def run() -> None:
        await app(scope, replay, send)

    work, watch = asyncio.create_task(run()), asyncio.create_task(gone())
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        done = work.done()
    finally:
        watch.cancel()
        work.cancel()
        [outcome] = await asyncio.gather(work, return_exceptions=True)
    if done and isinstance(outcome, Exception):
        raise outcome
    return done
