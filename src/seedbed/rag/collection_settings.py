"""The settings of a collection: fixed when it is made, but for the embedder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core import config, files
from seedbed.core.artifacts import Library
from seedbed.core.config import setting
from seedbed.core.errors import CorruptError, SeedbedError, UsageError
from seedbed.documents.splitting.split import SplitSettings
from seedbed.search.embedders import NO_EMBEDDER, TFIDF, open_embedder


@dataclass(frozen=True)
class CollectionSettings:
    """The embedder, the vector server and the splitter of a collection."""

    embedder: str = setting("tfidf", 'what makes vectors: "tfidf", a model\'s name, URL or URL#MODEL; or "none"')
    server: str = setting("", 'search vectors on a server: "KIND:PLACE", such as "qdrant:http://127.0.0.1:6333"')
    split: SplitSettings = setting(SplitSettings(), "how documents are cut")


def read_settings(path: Path) -> CollectionSettings:
    """Read the settings from their file. Raises CorruptError: they are damaged."""
    try:
        return config.parse(CollectionSettings, files.read_json(path), config.Origin(str(path), ""))
    except (OSError, ValueError, TypeError, AttributeError, SeedbedError) as error:
        fix = "put back a copy, or remove the collection and add its documents again"
        raise CorruptError("the settings of a collection cannot be read", why=f"{path}: {error}", fix=fix) from error


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
