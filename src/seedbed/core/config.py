"""Strict configuration: TOML into frozen dataclasses whose fields carry their own documentation.

A settings class is a frozen dataclass whose fields are declared with :func:`knob`. Sections are nested settings
classes, lists of tables are tuples of them. Every mistake names file, line, key and the nearest key there is.
Precedence: flag (``--set a.b=v``) > environment (``SEEDBED_A__B=v``) > recipe > default.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from seedbed.core.errors import ConfigError, NotFoundError

T = TypeVar("T")
_ENVIRONMENT = "SEEDBED_"


def knob(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare one setting: its default, one sentence on what it does, its unit and its range."""
    metadata = {"doc": doc, "unit": unit, "at_least": at_least, "at_most": at_most}
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        kind = type(default)
        return dataclasses.field(default_factory=lambda: dataclasses.replace(cast(Any, default)), metadata=metadata)
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class KnobDoc:
    """One documented setting, for help pages and resolved recipes."""

    key: str
    type: str
    value: Any
    doc: str
    unit: str


def load(
    kind: type[T],
    path: Path | None = None,
    *,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> T:
    """Read settings of class ``kind`` from a TOML file, the environment and ``key=value`` overrides.

    Raises:
        NotFoundError: no such file.
        ConfigError: bad TOML, an unknown key, a wrong type, or a value out of range.
    """
    text = _read(path) if path is not None else ""
    origin = Origin(str(path) if path is not None else "defaults", text)
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML", why=str(error), fix="correct the file at that place") from error
    settings = parse(kind, table, origin)
    for key, value in _from_environment(os.environ if environment is None else environment):
        settings = override(settings, key, value, origin=f"environment variable {_ENVIRONMENT}{_as_variable(key)}")
    for assignment in overrides:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}", why="there is no '=' in it", fix="write --set section.key=value")
        settings = override(settings, key.strip(), value.strip(), origin=f"--set {assignment}")
    return settings


def parse(kind: type[T], table: Mapping[str, Any], origin: Origin | None = None, prefix: str = "") -> T:
    """Turn a TOML table into settings of class ``kind``, checking every key and value."""
    origin = origin or Origin("settings", "")
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, kind))}
    values: dict[str, Any] = {}
    for key, value in table.items():
        full = f"{prefix}{key}"
        if key not in fields:
            raise _unknown_key(full, key, list(fields), origin)
        values[key] = _convert(value, hints[key], full, fields[key].metadata, origin)
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            f"{origin.name} has no {prefix}{missing[0]}",
            why="this key has no default",
            fix=f"add `{missing[0]} = …`: {fields[missing[0]].metadata.get('doc', '')}",
        )
    try:
        return kind(**values)
    except ValueError as error:  # a settings class's own check of values against each other
        place = f"[{prefix.rstrip('.')}] in " if prefix else ""
        raise ConfigError(f"{place}{origin.name} cannot be used", why=str(error), fix="change one of them") from error


def override(settings: T, key: str, text: str, *, origin: str) -> T:
    """Replace one setting by its dotted key; ``text`` is read as a TOML value, else as a string."""
    head, dot, rest = key.partition(".")
    kind = type(settings)
    names = [field.name for field in dataclasses.fields(cast(Any, settings))]
    if head not in names:
        raise _unknown_key(key, head, names, Origin(origin, ""))
    if dot:
        inner = getattr(settings, head)
        if not dataclasses.is_dataclass(inner):
            raise ConfigError(f"{origin}: {key} is not a setting", why=f"{head} is not a section", fix=f"set {head}")
        value: Any = override(inner, rest, text, origin=origin)
    else:
        field = next(field for field in dataclasses.fields(cast(Any, settings)) if field.name == head)
        hint = typing.get_type_hints(kind)[head]
        value = _convert(_toml_value(text, hint), hint, key, field.metadata, Origin(origin, ""))
    try:
        return cast(T, dataclasses.replace(cast(Any, settings), **{head: value}))
    except ValueError as error:
        raise ConfigError(f"{origin} cannot be used", why=str(error), fix="change one of them") from error


def to_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain tables, lists and values (tuples become lists), leaving out what is None."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return to_dict(value)
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value

    pairs = ((field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings))
    return {name: plain(value) for name, value in pairs if value is not None}


def describe(settings: Any, prefix: str = "") -> Iterator[KnobDoc]:
    """Every setting with its value and documentation, depth first."""
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        key = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from describe(value, f"{key}.")
        else:
            meta = field.metadata
            yield KnobDoc(key, _type_name(hints[field.name]), value, meta.get("doc", ""), meta.get("unit", ""))


@dataclass(frozen=True)
class Origin:
    """Where settings come from, to point an error at a line."""

    name: str
    text: str

    def place(self, key: str) -> str:
        """``file, line N`` of a dotted key, as far as it can be found."""
        section, _, name = key.rpartition(".")
        current = ""
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
            if header:
                current = header.group(1).replace(" ", "")
                if current == key:
                    return f"{self.name}, line {number}"
            elif current == section and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
                return f"{self.name}, line {number}"
        return self.name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFoundError(
            f"there is no recipe {path}", why="the file does not exist", fix="check the path; see `recipes/`"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", why=str(error), fix="give a UTF-8 TOML file") from error


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """``SEEDBED_TRAIN__STEPS=5`` is ``train.steps = 5``; names without ``__`` (SEEDBED_HOME) are not settings."""
    for name, value in sorted(environment.items()):
        if name.startswith(_ENVIRONMENT) and "__" in name:
            yield name[len(_ENVIRONMENT) :].lower().replace("__", "."), value


def _as_variable(key: str) -> str:
    return key.replace(".", "__").upper()


def _toml_value(text: str, hint: Any) -> Any:
    if hint is str:
        return text.strip("\"'")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _unknown_key(full: str, key: str, known: Sequence[str], origin: Origin) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    fix = f"did you mean `{near[0]}`?" if near else f"the keys here are {', '.join(known)}"
    return ConfigError(f"unknown key `{full}`", why=origin.place(full), fix=fix)


def _convert(value: Any, hint: Any, key: str, meta: Mapping[str, Any], origin: Origin) -> Any:
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(argument for argument in arguments if argument is not type(None))
        return _convert(value, hint, key, meta, origin)
    if kind is Literal:
        return _choice(value, arguments, key, origin)
    if kind is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(value, hint, key, origin)
        return tuple(_convert(item, arguments[0], key, meta, origin) for item in value)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong_type(value, hint, key, origin)
        return parse(cast(type[Any], hint), value, origin, f"{key}.")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _wrong_type(value, hint, key, origin)
    _check_range(value, key, meta, origin)
    return value


def _choice(value: Any, choices: Sequence[Any], key: str, origin: Origin) -> Any:
    if value in choices:
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(
        f"`{key}` cannot be {value!r}",
        why=origin.place(key),
        fix=f"{hint}choose one of {', '.join(map(repr, choices))}",
    )


def _check_range(value: Any, key: str, meta: Mapping[str, Any], origin: Origin) -> None:
    low, high = meta.get("at_least"), meta.get("at_most")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        too_low, too_high = low is not None and not value >= low, high is not None and not value <= high
        if too_low or too_high or value != value:
            limits = " and ".join(
                word
                for word in (
                    f"at least {low}" if low is not None else "",
                    f"at most {high}" if high is not None else "",
                )
                if word
            )
            raise ConfigError(f"`{key} = {value}` is out of range", why=origin.place(key), fix=f"give {limits}")


def _wrong_type(value: Any, hint: Any, key: str, origin: Origin) -> ConfigError:
    return ConfigError(
        f"`{key}` must be {_type_name(hint)}, not {type(value).__name__}",
        why=f"{origin.place(key)}: {value!r}",
        fix=f"write `{key.rpartition('.')[2]} = {_example(hint)}`",
    )


def _type_name(hint: Any) -> str:
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return " or ".join("nothing" if argument is type(None) else _type_name(argument) for argument in arguments)
    if kind is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if kind is tuple:
        return f"a list of {_type_name(arguments[0])}"
    if dataclasses.is_dataclass(hint):
        return "a table"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _example(hint: Any) -> str:
    return {int: "8", float: "0.1", bool: "true", str: '"text"'}.get(hint, "[…]" if get_origin(hint) is tuple else "…")
