"""The one error family: every failure a user can cause says what happened, why, and how to fix it.

The command line prints the three fields as three lines and exits with ``exit_code``; the server maps the same
fields to the OpenAI error shape. Anything else that is raised is a bug in seedbed and keeps its traceback.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable

from seedbed.core.terminal import harmless


class SeedbedError(Exception):
    """A failure with its reason and its remedy.

    Args:
        what: what went wrong, in one line.
        why: where or which value caused it.
        fix: what the user can do about it.
        paste: text to paste, printed as it is below the three lines.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str, fix: str, paste: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix
        self.paste = paste

    def __str__(self) -> str:
        """Return the three lines, without line breaks of a library's own message."""
        fields = {"error": self.what, "why": self.why, "fix": self.fix}
        lines = "\n".join(f"{name}: {' '.join(text.split())}" for name, text in fields.items())
        return harmless(f"{lines}\n\n{self.paste}" if self.paste else lines)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields when the error crosses a process boundary."""
        return functools.partial(type(self), self.what, why=self.why, fix=self.fix, paste=self.paste), ()


def did_you_mean(name: str, known: Iterable[str], otherwise: str, cutoff: float = 0.6) -> str:
    """Return the fix for a wrong name: the nearest of those known, or ``otherwise`` where none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean `{near[0]}`?" if near else otherwise


class UsageError(SeedbedError):
    """A flag, argument or recipe that cannot be honoured."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe with an unknown key, a wrong type or a value out of range."""


class DataError(SeedbedError):
    """Input data that cannot be used: empty, binary, too small."""


class CorruptError(SeedbedError):
    """Something stored that no longer matches its hash."""


class NewerError(SeedbedError):
    """Something stored in a form that this version does not know: whole, and to be read by a newer one."""


def newer_form(what: str, form: object, known: int) -> NewerError:
    """Return the error for something whose form is newer than those known."""
    why = f"its form is {form}, this version reads forms up to {known}; nothing is damaged"
    return NewerError(f"{what} was made by a newer seedbed", why=why, fix="update seedbed, and read it with that")


class TrainingError(SeedbedError):
    """A training run that cannot go on, such as a loss that is not finite."""


class GateError(SeedbedError):
    """A quality gate that is red."""

    exit_code = 3


class NotFoundError(SeedbedError):
    """A name, id or file that does not exist."""

    exit_code = 4


class CapacityError(SeedbedError):
    """Something that does not fit: memory, disk, context window."""

    exit_code = 5


class InterruptedRun(SeedbedError):
    """The user stopped the work; what was done is saved."""

    exit_code = 130
