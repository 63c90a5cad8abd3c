"""Failures as HTTP answers, all in OpenAI's error shape.

Every :class:`SeedbedError` says what a client can do about it; anything else is a bug, logged with its traceback and
answered without details.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from seedbed.core.errors import CapacityError, DataError, NotFoundError, SeedbedError, UsageError
from seedbed.inference.request import DeadlineError, QueueFull
from seedbed.serve.validation import explain

_STATUS: tuple[tuple[type[SeedbedError], int, str], ...] = (
    (QueueFull, 429, "queue_full"),
    (DeadlineError, 504, "deadline_exceeded"),
    (NotFoundError, 404, "not_found"),
    (CapacityError, 400, "context_length_exceeded"),
    (UsageError, 400, "invalid_value"),
    (DataError, 400, "invalid_value"),
    (SeedbedError, 500, "server_error"),
)
_SENT = {401: {"WWW-Authenticate": "Bearer"}, 408: {"Connection": "close"}, 503: {"Retry-After": "5"}}
_PATH = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?(?:[/\\][^\s/\\'\"<>|]+)*[/\\](?P<last>[^\s/\\'\"<>|]+)[/\\]?")
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(SeedbedError):
    """A request refused for a reason of HTTP's own: its status, a word for programs, and the field at fault."""

    def __init__(
        self, status: int, what: str, *, why: str, fix: str, code: str = "invalid_value", param: str | None = None
    ) -> None:
        super().__init__(what, why=why, fix=fix)
        self.status, self.code, self.param = status, code, param


def refuse(what: str, *, why: str, fix: str, param: str | None = None) -> ApiError:
    """A 400: the request asks for what cannot be honoured."""
    return ApiError(400, what, why=why, fix=fix, param=param)


def malformed(why: str) -> ApiError:
    """A 400: the request is no sound HTTP; its connection is closed."""
    return ApiError(400, "the request is malformed", why=why, fix="send it as RFC 9112 says", code="malformed")


def error_body(error: SeedbedError) -> tuple[int, dict[str, Any]]:
    """The status of an error and its body."""
    status, code, param = next((status, code, None) for kind, status, code in _STATUS if isinstance(error, kind))
    if isinstance(error, ApiError):
        status, code, param = error.status, error.code, error.param
    message = " ".join(f"{error.what}: {error.why}; {error.fix}".split())
    if not isinstance(error, ApiError):  # those speak of routes; what comes from below, of the server's own files
        if status >= 500:
            logging.getLogger(__name__).warning("%s", message)
        message = _PATH.sub(lambda found: found["last"], message)
    return status, _shape(status, message, code, param)


def error_response(error: SeedbedError) -> JSONResponse:
    """The answer to a request that failed."""
    status, body = error_body(error)
    headers = _SENT.get(status)
    if isinstance(error, ApiError) and error.code == "malformed":
        headers = {"Connection": "close"}  # where its next request begins is anyone's guess
    if isinstance(error, QueueFull):
        headers = {"Retry-After": str(error.retry_after)}
    return JSONResponse(body, status, headers)


def install(app: FastAPI) -> None:
    """Answer every failure of an app in the one shape."""

    @app.exception_handler(SeedbedError)
    async def _(request: Request, error: SeedbedError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> JSONResponse:
        param, message = explain(error.errors(), error.body)
        return JSONResponse(_shape(400, message, "invalid_value", param), 400)

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return JSONResponse(_shape(error.status_code, message, "not_found", None), error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def _(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse(_shape(500, "the server failed; its log has the details", "server_error", None), 500)


def _shape(status: int, message: str, code: str, param: str | None) -> dict[str, Any]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
