"""The origin of a setting, so that an error can point at the line, the flag or the variable.

Lines are found by reading the file's headers and keys again, because the standard library's TOML reader keeps no
positions. A key inside an inline table is placed at the line of what holds it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_KEY = re.compile(r"\s*([\w\-.\"' ]+?)\s*=")
_LAST_PART = re.compile(r"(\[\d+\]|\.?[^.\[\]]+|.)\Z", re.DOTALL)


@dataclass(frozen=True)
class Origin:
    """The source of settings: a file with its name and text; ``given`` has the keys set outside it, and where."""

    name: str
    text: str
    given: Mapping[str, str] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Return ``file, line N`` of a key such as ``sources[1].path``, else of the table or list that holds it."""
        while key:
            if key in self.given:
                return self.given[key]
            if key in self._lines:
                return f"{self.name}, line {self._lines[key]}"
            key = _LAST_PART.sub("", key)
        return self.name

    @cached_property
    def _lines(self) -> dict[str, int]:
        """Return the line of every table and key; the tables of a list are counted."""
        found: dict[str, int] = {}
        current = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            if header := _HEADER.match(line):
                current = re.sub(r"[\"' ]", "", header[2])
                if header[1] == "[[":
                    current += f"[{sum(key.startswith(f'{current}[') and key.endswith(']') for key in found)}]"
                found.setdefault(current, number)
            elif key := _KEY.match(line):
                name = re.sub(r"[\"' ]", "", key[1])
                found.setdefault(f"{current}.{name}" if current else name, number)
        return found
