"""The manifest of an artifact: the facts about it besides its content, in ``manifest.json`` beside that.

A manifest has a form, a number. One of a newer form is refused as newer, not as damaged. Within a form fields may be
added: those that this version does not know are left out, and stay in the file, which is never written again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.errors import CorruptError, newer_form

MANIFEST = "manifest.json"
FORM = 2
"""The form of a manifest; the first had no number, and is read as well."""
_TYPES: Mapping[str, type] = {
    **dict.fromkeys(("kind", "id", "created", "licence", "code_version"), str),
    "parents": list,
    "config": dict,
    "metrics": dict,
    "files": dict,
}


@dataclass(frozen=True)
class Manifest:
    """The facts about an artifact besides its content."""

    kind: str
    id: str
    created: str
    parents: tuple[str, ...]
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    licence: str
    code_version: str
    files: Mapping[str, Mapping[str, Any]]
    form: int = FORM


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an artifact. Raises CorruptError: it is damaged. NewerError: a newer version made it."""
    what = f"{folder.parent.name} {folder.name[:12]}"
    try:
        with files.open_regular(folder / MANIFEST) as file:
            found = json.loads(file.read())
        if (form := int(found.get("form", 1))) > FORM:
            raise newer_form(what, form, FORM)
        known = {key: _checked(key, found[key]) for key in _TYPES}
        return Manifest(**known | {"parents": tuple(known["parents"]), "form": form})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = f"{folder / MANIFEST}: {error if not isinstance(error, KeyError) else f'it has no {error}'}"
        raise CorruptError(f"the manifest of {what} cannot be read", why=why, fix=repair(folder)) from error


def repair(folder: Path) -> str:
    """Return a way out for a damaged artifact that loses nothing that could still be read."""
    return f"put back a copy, or make it again: `seedbed rm {folder.name[:12]}` asks, then removes what is left of it"


def _checked(key: str, value: Any) -> Any:
    """Return a field's value. Raises ValueError: it has a wrong type."""
    parents_right = key != "parents" or all(isinstance(one, str) for one in value)
    files_right = key != "files" or all(map(_is_entry, value.values()))
    if not isinstance(value, _TYPES[key]) or not parents_right or not files_right:
        raise ValueError(f"{key} has a value of a wrong type")
    return value


def _is_entry(entry: object) -> bool:
    """Tell whether this describes a file of an artifact."""
    return isinstance(entry, dict) and isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256"), str)
