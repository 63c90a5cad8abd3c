"""The application (routes, the page's files, the gate around them) and its process: uvicorn, and a graceful end.

When told to stop it first answers what is running, and everything new with 503, so that a load balancer can take it
out; a second signal, or the end of ``drain_seconds``, ends what is left.
"""

from __future__ import annotations

import asyncio
import mimetypes
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from seedbed.core.version import __version__
from seedbed.serve import chat, completions, errors, responses, routes
from seedbed.serve.context import Server
from seedbed.serve.errors import error_response, malformed
from seedbed.serve.middleware import RAW_HEADERS, Gate

SWITCH_SECONDS = 0.0005
"""Time a thread keeps Python's lock while another waits: the event loop asks for it many times a request."""


async def run(server: Server, listening: socket.socket, models: Sequence[str], ready: Callable[[], None]) -> None:
    """Load ``models``, call ``ready``, and serve until told to stop."""
    sys.setswitchinterval(SWITCH_SECONDS)
    for name in models:
        async with server.pool.lease(name):
            pass
    ready()
    await HttpServer(server).serve([listening])


class HttpServer(uvicorn.Server):
    """Drains before it exits."""

    def __init__(self, server: Server) -> None:
        config = uvicorn.Config(
            create_app(server),
            http=GuardedProtocol,
            ws="none",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # whoever connects is who asks
            limit_concurrency=1000,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self._state, self._until = server, 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; stop at once when told twice."""
        self.should_exit = self._state.draining
        self._state.draining = True
        self._until = time.monotonic() + self._state.settings.drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """End what removed keys have running. Return True to stop now; called ten times a second."""
        self._state.end_removed()
        idle = not self._state.in_flight
        if self._state.draining and (idle or time.monotonic() > self._until):
            self.should_exit = True
        return await super().on_tick(counter)


class GuardedProtocol(H11Protocol):
    """Closes connections whose headers take too long, and answers what is no HTTP in the one shape of errors.

    uvicorn limits only the pause between requests, and refuses in plain text.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect headers, and send what is small at once: asyncio sees to that only for sockets it made itself."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_headers(True)

    def handle_events(self) -> None:
        """Stop waiting once a request is there."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._expect_headers(False)

    def on_response_complete(self) -> None:
        """Expect the next headers."""
        self._expect_headers(True)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, and close the connection."""
        refused = error_response(malformed(msg))
        headers = [*refused.raw_headers, *RAW_HEADERS]
        parts = (h11.Response(status_code=400, headers=headers), h11.Data(data=bytes(refused.body)), h11.EndOfMessage())
        for part in parts:
            self.transport.write(self.conn.send(part) or b"")
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._expect_headers(False)
        super().connection_lost(exc)

    def _expect_headers(self, wanted: bool) -> None:
        if self._due is not None:
            self._due.cancel()
        seconds = self.config.app.server.settings.header_seconds  # type: ignore[union-attr]
        self._due = self.loop.call_later(seconds, self.timeout_keep_alive_handler) if wanted else None


def create_app(server: Server) -> Gate:
    """An ASGI application over a server's state; its models and collections are closed when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await server.pool.close()
        server.executors.close()
        server.collections.close()

    off: dict[str, Any] = {"docs_url": None, "redoc_url": None, "redirect_slashes": False}
    app = FastAPI(title="seedbed", version=__version__, lifespan=lifespan, **off)
    errors.install(app)
    for module in (chat, completions, responses, routes):
        app.include_router(module.router)
    pages = {path.name: path.read_bytes() for path in (files("seedbed.serve") / "page").iterdir() if path.is_file()}
    for name, content in pages.items():
        path = "/" if name == "index.html" else f"/{name}"
        app.add_api_route(path, _sender(name, content), methods=["GET", "HEAD"], include_in_schema=False)
    return Gate(app, server, {"/", *(f"/{name}" for name in pages)})


def _sender(name: str, content: bytes) -> Callable[[], Response]:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return lambda: Response(content, media_type=kind)
