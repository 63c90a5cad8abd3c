"""Errors of other people's libraries at foreign input, turned into ours: one place for whatever comes out of them.

Libraries raise what they like at a damaged file or a hostile text: bare ``Exception``, ``KeyError``, ``OverflowError``,
``RecursionError``; those in Rust panic, which Python sees as a ``BaseException`` that no ``except Exception`` catches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from seedbed.core.errors import SeedbedError


@contextmanager
def library_errors(refusal: Callable[[str], SeedbedError]) -> Iterator[None]:
    """Raise ``refusal`` of the reason for any error of a library; our own errors, and Ctrl-C, pass."""
    try:
        yield
    except SeedbedError:
        raise
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise refusal(reason_of(error)) from error


def is_panic(error: BaseException) -> bool:
    """Return whether a library written in Rust met something that it takes for a fault of its own."""
    return type(error).__name__ == "PanicException"


def reason_of(error: BaseException) -> str:
    """Return an error's reason in words."""
    if isinstance(error, RecursionError):
        return "its parts are nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, (TypeError, AttributeError)):
        return f"a value in it is of the wrong kind: {error}"
    return str(error) or type(error).__name__
