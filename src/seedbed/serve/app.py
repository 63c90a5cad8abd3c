"""The application: routes, the page's files, and the gate around all of it."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from seedbed.core.version import __version__
from seedbed.serve import chat, completions, errors, responses, routes
from seedbed.serve.context import Server
from seedbed.serve.middleware import Gate


def create_app(server: Server) -> Gate:
    """An ASGI application over a server's state; its models and collections are closed when it shuts down."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await server.pool.close()
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
