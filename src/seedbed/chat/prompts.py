"""Prompts: templates with ``{name}`` and nothing else.

A template is data, possibly somebody else's: it can insert the values it is given, and reach nothing else (no
attributes, indices, conversions or format specifications; LangChain's reached further, CVE-2025-65106). Values are
inserted once, so that braces in a passage stay text. ``{{`` and ``}}`` stand for braces.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from seedbed.core.errors import UsageError

_PARTS = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<name>[^\W\d]\w*)\}|(?P<wrong>[{}])")


@dataclass(frozen=True)
class Prompt:
    """A template with the name and version that traces and reports tell it by.

    Raises UsageError where a brace in the template belongs to no ``{name}``.
    """

    template: str
    name: str = "prompt"
    version: int = 1

    def __post_init__(self) -> None:
        for found in _PARTS.finditer(self.template):
            if found["wrong"]:
                place = found.start()
                why = f"at character {place}: {self.template[place : place + 20]!r}"
                fix = "write {name} in letters, digits and underscores only, and {{ or }} for a brace"
                raise UsageError(f"the template of {self.name!r} cannot be read", why=why, fix=fix)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names it inserts, in the order of first use."""
        return tuple(dict.fromkeys(found["name"] for found in _PARTS.finditer(self.template) if found["name"]))

    @property
    def hash(self) -> str:
        """SHA-256 of the template: a changed word is another prompt, whatever its version says."""
        return hashlib.sha256(self.template.encode(errors="surrogatepass")).hexdigest()

    @property
    def label(self) -> str:
        """``name@version:hash``, for traces."""
        return f"{self.name}@{self.version}:{self.hash[:12]}"

    def fill(self, /, **values: str | int | float) -> str:
        """The text with its values.

        Raises UsageError for a value that is missing, is not asked for, or is neither text nor a number.
        """
        self._check(values)

        def insert(found: re.Match[str]) -> str:
            return str(values[found["name"]]) if found["name"] else found[0][0]

        return _PARTS.sub(insert, self.template)

    def _check(self, values: Mapping[str, object]) -> None:
        missing = [name for name in self.names if name not in values]
        unknown = [name for name in values if name not in self.names]
        if missing or unknown:
            wrong = {"missing": missing, "unknown": unknown}
            why = "; ".join(f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
            fix = f"give {', '.join(self.names) or 'none'}"
            raise UsageError(f"the values of prompt {self.name!r} do not fit it", why=why, fix=fix)
        for name, value in values.items():
            if not isinstance(value, (str, int, float)):
                why = f"{name} is a {type(value).__name__}"
                raise UsageError(f"prompt {self.name!r} takes text and numbers", why=why, fix="make it text")
