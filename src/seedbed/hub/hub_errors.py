"""Errors of the hub: the meaning of each status, and what to do about it.

The hub answers 401 for what does not exist when no token is sent, so as not to tell what is private; its header
X-Error-Code says more.
"""

from __future__ import annotations

from seedbed.core.errors import NotFoundError, SeedbedError
from seedbed.hub.repository import Address


class HubError(SeedbedError):
    """The hub refuses, is out of reach, or answers something else than a hub would."""


def refusal(
    endpoint: str, token: bool, address: Address | None, status: int, code: str = "", revision: str = ""
) -> SeedbedError:
    """Return the error for a status.

    Args:
        token: whether one was sent.
        code: the hub's own error code.
    """
    what, page = str(address or endpoint), f"{endpoint}/{address.page if address else ''}"
    if code == "RevisionNotFound":
        return NotFoundError(
            f"{what} has no revision {revision!r}", why=f"{page} says so", fix="name a branch, a tag or a commit"
        )
    if code == "EntryNotFound":
        return NotFoundError(
            f"{what} no longer has that file", why=f"{page} says so", fix="run the command again, or check the name"
        )
    if code == "GatedRepo" or status == 403:
        return HubError(
            f"{what} is not open to you",
            why=f"{endpoint} answers {status}: its owner asks for terms to be accepted, or the token has no"
            " right to it",
            fix=f"accept the terms at {page}, and set HF_TOKEN to a token of that account",
        )
    if status in (401, 404):
        reason = "it does not exist, or it is private"
        known = "the token that was sent may not see it" if token else "no token was sent"
        return NotFoundError(
            f"there is no {what}",
            why=f"{endpoint} answers {status}: {reason} and {known}",
            fix="check the name with `seedbed search`; for a private one set HF_TOKEN",
        )
    if status == 429:
        return HubError(
            "the hub refuses further requests for now",
            why=f"{endpoint} answers 429: too many requests from here",
            fix="wait some minutes and run the command again: the part received is kept; a token has higher limits",
        )
    return HubError(
        f"the hub fails with status {status}",
        why=f"{endpoint} could not answer about {what}",
        fix="run the command again later: the part received is kept; or name a mirror in HF_ENDPOINT",
    )
