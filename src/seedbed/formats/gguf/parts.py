"""Names of the parts of a GGUF model in several files, as llama.cpp's ``gguf-split`` numbers them."""

from __future__ import annotations

import re

_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_MOST = 10_000  # parts; a larger number in a name is none


def part_names(name: str) -> list[str]:
    """Return the names of all parts of the model that a file is a part of by its name; else the name alone."""
    found = _PART.search(name)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= _MOST:
        return [name]
    return [f"{name[: found.start()]}-{part:05}-of-{found[2]}{name[-5:]}" for part in range(1, int(found[2]) + 1)]
