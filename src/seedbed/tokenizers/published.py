"""The files beside a tokenizer: its configuration, special and added tokens, and chat templates.

Publishers spread them over ``tokenizer_config.json``, ``special_tokens_map.json``, ``added_tokens.json``,
``chat_template.jinja`` and ``additional_chat_templates/``; here they become one table in the form of
``tokenizer_config.json``.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedbed.tokenizers.bounds import MOST_BYTES, check_ids
from seedbed.tokenizers.sentencepiece_model import damaged_tokenizer
from seedbed.tokenizers.tokenizer_json import added_token, template_processing

CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
ADDED_FILE = "added_tokens.json"
_PROCESSOR_FILE = "chat_template.json"  # of models that read pictures too
_MAP_FILE, _TEMPLATE_FOLDER = "special_tokens_map.json", "additional_chat_templates"
DEFAULT_NAME = "default"  # of the chat template that is used where none is named
NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")
LISTED_TOKENS = ("additional_special_tokens", "extra_special_tokens")


def read_config(folder: Path) -> dict[str, Any]:
    """Read a folder's settings beside the vocabulary as one configuration; raises CorruptError for a damaged file."""
    config = _read(folder / CONFIG_FILE)
    for key, value in _read(folder / _MAP_FILE).items():
        if config.get(key) is None:
            config[key] = value
    decoder = dict(config.get("added_tokens_decoder") or {})
    known = {token_name(entry) for entry in decoder.values()}
    for content, index in _read(folder / ADDED_FILE).items():
        if content not in known:
            decoder[str(index)] = {"content": content, "special": content in _special_names(config)}
    if decoder:
        config["added_tokens_decoder"] = decoder
    if templates := read_templates(folder, config.get("chat_template")):
        config["chat_template"] = templates
    return config


def read_saved(folder: Path) -> dict[str, Any] | None:
    """Read the configuration beside a ``tokenizer.json``; newer ones keep the chat template in a file of its own."""
    path = folder / CONFIG_FILE
    config = read_table(path) if path.is_file() else None
    if config is not None and (templates := read_templates(folder, config.get("chat_template"))):
        config["chat_template"] = templates
    return config


def read_templates(folder: Path, entry: object) -> str | list[dict[str, str]] | None:
    """Read a configuration's chat templates; newer folders keep them in files of their own."""
    named = templates_by_name(entry)
    if (path := folder / TEMPLATE_FILE).is_file():
        named[DEFAULT_NAME] = read_text(path)
    elif DEFAULT_NAME not in named and isinstance(text := _read(folder / _PROCESSOR_FILE).get("chat_template"), str):
        named[DEFAULT_NAME] = text
    for path in sorted((folder / _TEMPLATE_FOLDER).glob("*.jinja")):
        named[path.stem] = read_text(path)
    return written_templates(named) or None


def templates_by_name(entry: object) -> dict[str, str]:
    """Return a configuration's templates by name; a single one is the default."""
    if isinstance(entry, list):
        if wrong := next((one for one in entry if not _is_named_template(one)), None):
            raise ValueError(f"a chat template of the list has no name or no text: {wrong!s:.60}")
        return {named["name"]: named["template"] for named in entry}
    return {DEFAULT_NAME: entry} if isinstance(entry, str) else {}


def _is_named_template(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in ("name", "template"))


def written_templates(named: Mapping[str, str]) -> str | list[dict[str, str]]:
    """Return templates as a configuration has them: the default alone as a text, several as a list."""
    if list(named) == [DEFAULT_NAME]:
        return named[DEFAULT_NAME]
    return [{"name": name, "template": text} for name, text in named.items()]


def read_text(path: Path) -> str:
    """Read a text file of a tokenizer; raises CorruptError where it cannot be read as UTF-8, or is too large."""
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise damaged_tokenizer(str(path), f"it has {size} bytes, at most {MOST_BYTES} are read")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged_tokenizer(str(path), str(error)) from error


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a table; raises CorruptError where it does not."""
    try:
        table = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise damaged_tokenizer(str(path), str(error)) from error
    if not isinstance(table, dict):
        raise damaged_tokenizer(str(path), f"it holds a {type(table).__name__}, not a table")
    return table


def _read(path: Path) -> dict[str, Any]:
    return read_table(path) if path.is_file() else {}


def token_name(entry: object) -> str | None:
    """Return a special token's text; configurations write it as a string or as a table with its flags."""
    found = entry.get("content") if isinstance(entry, Mapping) else entry
    return found if isinstance(found, str) else None


def listed_names(config: Mapping[str, Any]) -> list[str]:
    """Return special tokens beside those with a role of their own, in their order."""
    entries = [entry for key in LISTED_TOKENS for entry in _entries(config.get(key))]
    return list(dict.fromkeys(name for entry in entries if (name := token_name(entry))))


def _entries(value: object) -> list[object]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


def _special_names(config: Mapping[str, Any]) -> set[str]:
    return {*listed_names(config), *(name for key in NAMED_TOKENS if (name := token_name(config.get(key))))}


def check_added(vocabulary: Mapping[str, int], config: Mapping[str, Any], origin: str) -> None:
    """Refuse a vocabulary whose ids, with the added tokens', are not the numbers from 0 on, each once.

    Raises CorruptError for holes, duplicates and things that are no numbers.
    """
    ids = list(vocabulary.values())
    if wrong := next((i for i in ids if not isinstance(i, int) or isinstance(i, bool) or i < 0), None):
        raise damaged_tokenizer(origin, f"{wrong!r} is no id")
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        pieces = [piece for piece, index in vocabulary.items() if index == twice]
        raise damaged_tokenizer(origin, f"{pieces[0]!r} and {pieces[1]!r} both have the id {twice}")
    added = {int(index) for index in config.get("added_tokens_decoder") or {}}
    check_ids([*ids, *added])
    if holes := sorted(set(range(max(ids, default=0))) - set(ids) - added):
        raise damaged_tokenizer(origin, f"no piece has the id {holes[0]} ({len(holes)} ids are missing)")


def complete_table(table: dict[str, Any], config: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Complete a ``tokenizer.json`` from the configuration: added tokens, and tokens around a text.

    Raises CorruptError where an added token has the id of another piece.
    """
    vocabulary = vocabulary_of(table)
    known = {token["content"] for token in table.get("added_tokens") or ()}
    special = _special_names(config)
    added = list(table.get("added_tokens") or ())
    for index, entry in sorted((config.get("added_tokens_decoder") or {}).items(), key=lambda item: int(item[0])):
        name = token_name(entry) or ""
        if name in known:
            continue
        if vocabulary.get(name, int(index)) != int(index):
            raise damaged_tokenizer(origin, f"the token {name!r} has the ids {vocabulary[name]} and {index}")
        flags = {key: bool(entry.get(key)) for key in ("lstrip", "rstrip", "normalized")}
        added.append(added_token(int(index), name, special=bool(entry.get("special")) or name in special, **flags))
        known.add(name)
    for name in sorted((special & vocabulary.keys()) - known, key=vocabulary.__getitem__):
        added.append(added_token(vocabulary[name], name, special=True))
    added = [{**one, "special": one["special"] or one["content"] in special} for one in added]
    table = {**table, "added_tokens": sorted(added, key=lambda one: one["id"])}
    _number(table, vocabulary, origin)
    if config.get("add_bos_token") is not None or config.get("add_eos_token") is not None:
        table["post_processor"] = _asked_around(table, config)
    return table


def _number(table: dict[str, Any], vocabulary: Mapping[str, int], origin: str) -> None:
    """Ensure that the library gives each added token its id: it numbers those beyond the vocabulary in order."""
    taken = {index: piece for piece, index in vocabulary.items()}
    own = _own_vocabulary(table)
    beyond: dict[str, int] = {}
    for token in table["added_tokens"]:
        name, index = token["content"], token["id"]
        if taken.setdefault(index, name) != name:
            raise damaged_tokenizer(origin, f"{name!r} and {taken[index]!r} both have the id {index}")
        if name not in own:
            beyond[name] = index
    first = len(own)
    if list(beyond.values()) == list(range(first, first + len(beyond))):
        return
    if not isinstance(table["model"].get("vocab"), dict):
        raise damaged_tokenizer(origin, f"the added token {next(iter(beyond))!r} does not follow the {first} pieces")
    table["model"] = {**table["model"], "vocab": {**table["model"]["vocab"], **beyond}}


def _asked_around(table: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the post-processor of ``add_bos_token`` and ``add_eos_token``; where given, they alone decide."""
    ids = vocabulary_of(table)
    ends: list[list[tuple[str, int]]] = []
    for key in ("bos_token", "eos_token"):
        name = token_name(config.get(key))
        ends.append([(name, ids[name])] if config.get(f"add_{key}") and name in ids else [])
    return template_processing(ends[0], ends[1])


def _own_vocabulary(table: Mapping[str, Any]) -> dict[str, int]:
    """Return the pieces of a ``tokenizer.json``'s model with their ids."""
    pieces = (table.get("model") or {}).get("vocab") or {}
    return {piece: index for index, (piece, _) in enumerate(pieces)} if isinstance(pieces, list) else dict(pieces)


def vocabulary_of(table: Mapping[str, Any]) -> dict[str, int]:
    """Return all pieces with their ids, added tokens among them."""
    return _own_vocabulary(table) | {token["content"]: token["id"] for token in table.get("added_tokens") or ()}


def check_names(table: Mapping[str, Any], config: Mapping[str, Any], origin: str) -> None:
    """Refuse a configuration that names special tokens that are not there, by a CorruptError that names the nearest."""
    vocabulary = vocabulary_of(table)
    for key in NAMED_TOKENS:
        name = token_name(config.get(key))
        if name is not None and name not in vocabulary:
            near = difflib.get_close_matches(name, [token["content"] for token in table["added_tokens"]], 1)
            hint = f"; there is {near[0]!r}" if near else ""
            raise damaged_tokenizer(origin, f"the {key} {name!r} is not in the vocabulary{hint}")
