"""Errors for answers of a server that are no reply: the caller's fault, or the server's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from seedbed.core.errors import CapacityError, NotFoundError, SeedbedError, UsageError

_TRANSIENT = {429, 500, 502, 503, 504}


class RemoteError(SeedbedError):
    """A server that did not answer, or answered that it cannot."""

    status: int | None = None  # of HTTP, where there was an answer
    transient: bool = False  # trying again may help
    retry_after: float | None = None  # seconds that the server asks to wait


def refused(status: int, text: str, url: str, retry_after: float | None = None) -> SeedbedError:
    """Return the error for an answer that is no reply.

    The caller's fault is a CapacityError, NotFoundError or UsageError; the server's a RemoteError.
    """
    message, code = _message(text)
    why = f"{url} answered {status}: {message}"
    if code == "context_length_exceeded" or (status == 400 and "context length" in message.lower()):
        fix = "shorten the messages, or use a model with a longer window"
        return CapacityError("the messages do not fit in the model's window", why=why, fix=fix)
    if status == 404:
        return NotFoundError("the server has no such model or route", why=why, fix="check the URL and the model's name")
    if status in (400, 413, 422):
        return UsageError("the server refuses the request", why=why, fix="change what it names")
    fixes = {401: "give the server's key", 403: "give a key that may do this", 429: "try again later, or ask for less"}
    fix = fixes.get(status, "try again later; the server's log may say more")
    error = RemoteError("the server did not answer the request", why=why, fix=fix)
    error.status, error.transient, error.retry_after = status, status in _TRANSIENT, retry_after
    return error


def strange(url: str, what: str) -> RemoteError:
    """For an answer that no such API gives."""
    fix = "check that the URL is that of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1"
    return RemoteError(f"{url} answers strangely", why=what, fix=fix)


def _message(text: str) -> tuple[str, str]:
    """Read a server's message and its error code: OpenAI's shape, FastAPI's, or plain text."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    error = data.get("error", data.get("detail")) if isinstance(data, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    shown = said if isinstance(said, str) and said else text
    return "".join(one if one.isprintable() else " " for one in shown[:500]).strip() or "nothing", str(code or "")


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3): a number, or a date."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
