"""Text for a terminal: the one door of everything that a command prints.

A name, a title, a document or a reply may hold characters that steer a terminal (escape sequences that move the cursor,
set the title or the clipboard, and marks that turn the order of letters). On a terminal they are printed as U+FFFD; a
file or a pipe gets the text as it is. JSON and error lines never hold them.
"""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

_BIDIRECTIONAL = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))  # embeddings, overrides and isolates
_CONTROLS = (*(code for code in range(32) if chr(code) not in "\n\t"), *range(127, 160), *_BIDIRECTIONAL)
_REPLACED = dict.fromkeys(_CONTROLS, "\ufffd")
_ESCAPED = {code: f"\\u{code:04x}" for code in _CONTROLS}


def echo(*values: object, end: str = "\n", file: TextIO | None = None, flush: bool = False) -> None:
    """Print values as ``print`` does, to standard output unless told, and nothing that steers a terminal."""
    stream = file or sys.stdout
    print(*(visible(str(value), stream) for value in values), end=end, file=stream, flush=flush)


def visible(text: str, stream: TextIO | None = None) -> str:
    """Return a text with control characters as U+FFFD where its stream (standard output) is a terminal."""
    return harmless(text) if (stream or sys.stdout).isatty() else text


def harmless(text: str) -> str:
    """Return a text with control characters as U+FFFD, but for tabs and ends of lines."""
    return text.translate(_REPLACED)


def json_text(value: Any) -> str:
    """Return readable JSON whose control characters are escaped, those that JSON would allow too."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str).translate(_ESCAPED)
