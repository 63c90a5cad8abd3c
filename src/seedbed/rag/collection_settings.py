"""The settings of a collection: fixed when it is made, but for the embedder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core import config, files
from seedbed.core.artifacts import Library
from seedbed.core.config import setting
from seedbed.core.errors import CorruptError, NewerError, SeedbedError, UsageError, newer_form
from seedbed.core.migrations import back_up
from seedbed.documents.splitting.split import SplitSettings
from seedbed.search.embedders import NO_EMBEDDER, TFIDF, open_embedder

SETTINGS = "collection.json"
FORM = 2
"""The form of the file; the first had no number, and is read as well."""


@dataclass(frozen=True)
class CollectionSettings:
    """The embedder, the vector server and the splitter of a collection."""

    embedder: str = setting("tfidf", 'what makes vectors: "tfidf", a model\'s name, URL or URL#MODEL; or "none"')
    server: str = setting("", 'search vectors on a server: "KIND:PLACE", such as "qdrant:http://127.0.0.1:6333"')
    split: SplitSettings = setting(SplitSettings(), "how documents are cut")


def read_settings(path: Path) -> CollectionSettings:
    """Read the settings from their file; fields of the present form that this version does not know are left out.

    Raises CorruptError: they are damaged. NewerError: a newer version wrote them.
    """
    name = path.parent.name
    try:
        with files.open_regular(path) as file:
            table = json.loads(file.read())
        if (form := int(table.pop("form", 1))) > FORM:
            raise newer_form(f"the collection {name}", form, FORM)
        return config.parse(CollectionSettings, _known(CollectionSettings, table), config.Origin(str(path), ""))
    except NewerError:
        raise
    except FileNotFoundError as error:
        fix = f"put back a copy, or write them anew with `seedbed docs add {name} PATH`, as they were when it was made"
        raise CorruptError(f"the settings of the collection {name} are missing", why=str(error), fix=fix) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, SeedbedError) as error:
        fix = f"put back a copy; or move {path.name} aside, and write it anew with `seedbed docs add {name} PATH`"
        what = f"the settings of the collection {name} cannot be read"
        raise CorruptError(what, why=f"{path}: {error}", fix=fix) from error


def write_settings(path: Path, settings: CollectionSettings) -> None:
    """Write the settings to their file; one of an earlier form is kept beside."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        if (form := int(files.read_json(path).get("form", 1))) < FORM:
            back_up(path, form)
    files.write_json(path, {"form": FORM} | config.to_dict(settings))


def written(folder: Path) -> tuple[int, int] | None:
    """Return what changes when the settings are written; None where they are gone."""
    try:
        found = (folder / SETTINGS).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _known(kind: type[Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """Return those entries of a table that are settings, and of a table in it likewise."""
    fields = {one.name for one in dataclasses.fields(kind)}
    return {
        key: _known(SplitSettings, value) if key == "split" and isinstance(value, Mapping) else value
        for key, value in table.items()
        if key in fields
    }


def no_store(path: Path) -> CorruptError:
    """Return the error of a collection whose store is missing."""
    name = path.parent.name
    fix = f"put back a copy of it; without one, `seedbed docs rm {name}` and add the documents again"
    return CorruptError(f"the store of the collection {name} is missing", why=f"there is no {path}", fix=fix)


def merged(table: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two tables, and the tables in them."""
    nested = {key: merged(table[key], value) for key, value in given.items() if isinstance(value, Mapping)}
    return {**table, **given, **nested}


def check_embedder(settings: CollectionSettings, library: Library, key: str | None) -> None:
    """Raise NotFoundError for a model that is not there, UsageError where nothing counts the tokens of chunks."""
    if settings.embedder not in (TFIDF, NO_EMBEDDER):
        open_embedder(settings.embedder, library, key)
    elif settings.split.by == "tokens":
        why = "only a model has a tokenizer, and the embedder's counts the tokens"
        raise UsageError("chunks of tokens need a model", why=why, fix="choose a model as the embedder")


def other_settings(name: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> UsageError:
    """Return the error for settings that differ from those that are there."""
    differing = [key for key in there if there[key] != wanted[key]]
    why = "; ".join(f"{key} is {there[key]!r}, not {wanted[key]!r}" for key in differing)
    fix = "leave it out, or add the documents to a collection of another name"
    if differing == ["embedder"] and wanted["embedder"] == NO_EMBEDDER:
        why, fix = vectors_kept(name, there["embedder"])
    elif differing == ["embedder"]:
        fix = f"`seedbed docs embed {name} --embedder {wanted['embedder']}` makes all its vectors anew"
    return UsageError(f"the collection {name} was made with other settings", why=why, fix=fix)


def vectors_kept(name: str, embedder: str) -> tuple[str, str]:
    """Return why a collection with vectors cannot be without an embedder, and what to do instead."""
    why = f"{name} has vectors of {embedder}, and keeps them"
    return why, f"leave out --embedder; `seedbed docs search {name} QUERY --mode words` does without vectors"
