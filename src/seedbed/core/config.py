"""Strict configuration: TOML into frozen dataclasses whose fields carry their own documentation.

A settings class is a frozen dataclass whose fields are declared with :func:`setting`. Sections are nested settings
classes, lists of tables are tuples of them. A :class:`Variant` is a section whose key ``kind`` says which class it is.
Every mistake names file, line, key and the nearest key there is.
Precedence: flag (``--set a.b=v``) > environment (``SEEDBED_A__B=v``) > recipe > default.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import os
import pkgutil
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin

from seedbed.core.errors import ConfigError, NotFoundError, did_you_mean
from seedbed.core.files import read_text
from seedbed.core.origin import Origin as Origin

T = TypeVar("T")
_ENVIRONMENT = "SEEDBED_"
_MOST = 10_000_000  # bytes of a recipe


def setting(
    default: Any, doc: str, *, unit: str = "", at_least: float | None = None, at_most: float | None = None
) -> Any:
    """Declare one setting: its default, one sentence on what it does, its unit and its range.

    TOML has no null: a setting that may be None is None by default.
    """
    metadata = {"doc": doc, "unit": unit, "at_least": at_least, "at_most": at_most}
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        return dataclasses.field(default_factory=lambda: dataclasses.replace(cast(Any, default)), metadata=metadata)
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Variant:
    """A section whose key ``kind`` names its class: the one dataclass of this family in the file of that name.

    A family is a subclass that says in which package its files are (``home``). A new kind is a new file there, and
    nothing else. Where its defaults do, the kind's name alone stands for the section.
    """

    home: ClassVar[str]

    @property
    def kind(self) -> str:
        """The name of the kind: its file's."""
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    def kinds(cls) -> list[str]:
        """List the kinds there are."""
        return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(cls.home).__path__))

    @classmethod
    def named(cls, kind: str) -> type[Variant]:
        """Import the class of a kind, one of :meth:`kinds`."""
        module = importlib.import_module(f"{cls.home}.{kind}")
        own = (value for value in vars(module).values() if isinstance(value, type) and issubclass(value, cls))
        return next(value for value in own if value.__module__ == module.__name__)


@dataclass(frozen=True)
class SettingDoc:
    """One documented setting, for help pages and resolved recipes."""

    key: str
    type: str
    value: Any
    doc: str
    unit: str


def load(
    kind: type[T],
    source: Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> T:
    """Read settings of class ``kind`` from a TOML file or a table, the environment and ``key=value`` overrides.

    All three are put together before anything is checked, so that two flags may be right only together.

    Raises:
        NotFoundError: no such file.
        ConfigError: bad TOML, an unknown key, a wrong type, or a value out of range.
    """
    name, text = ("the command line", "") if isinstance(source, Mapping) else (str(source), _read(source))
    try:
        table = dict(source) if isinstance(source, Mapping) else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML", why=str(error), fix="correct the file at that place") from error
    given: dict[str, str] = {}
    variables = _from_environment(os.environ if environment is None else environment)
    for key, value, place in (*variables, *map(_from_flag, overrides)):
        given[_assign(kind, table, key, value, place)] = place
    return parse(kind, table, Origin(name, text, given))


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
    for field in fields.values():
        if field.name not in values and field.default is field.default_factory:  # both are MISSING
            fix = f"add `{field.name} = …`: {field.metadata.get('doc', '')}"
            raise ConfigError(f"{origin.name} has no {prefix}{field.name}", why="this key has no default", fix=fix)
    try:
        return kind(**values)
    except ValueError as error:  # a settings class's own check of values against each other
        place = f"[{prefix.rstrip('.')}] in " if prefix else ""
        raise ConfigError(f"{place}{origin.name} cannot be used", why=str(error), fix="change one of them") from error


def to_dict(settings: Any) -> dict[str, Any]:
    """Return settings as plain tables, lists and values (tuples become lists), without None."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return to_dict(value)
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value

    pairs = ((field.name, getattr(settings, field.name)) for field in dataclasses.fields(settings))
    kind = {"kind": settings.kind} if isinstance(settings, Variant) else {}
    return kind | {name: plain(value) for name, value in pairs if value is not None}


def describe(settings: Any, prefix: str = "") -> Iterator[SettingDoc]:
    """Yield every setting with its value and documentation, depth first."""
    hints = typing.get_type_hints(type(settings))
    if isinstance(settings, Variant):
        yield SettingDoc(f"{prefix}kind", "text", settings.kind, (type(settings).__doc__ or "").splitlines()[0], "")
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        key = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from describe(value, f"{key}.")
        elif isinstance(value, tuple) and value and isinstance(value[0], Variant):
            for one in value:
                yield from describe(one, f"{getattr(one, 'name', '') or one.kind}.")
        else:
            meta = field.metadata
            yield SettingDoc(key, _type_name(hints[field.name]), value, meta.get("doc", ""), meta.get("unit", ""))


def _read(path: Path) -> str:
    try:
        return read_text(path, _MOST)
    except FileNotFoundError as error:
        fix = "check the path; see `recipes/`"
        raise NotFoundError(f"there is no recipe {path}", why="the file does not exist", fix=fix) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read", why=str(error), fix="give a UTF-8 TOML file") from error


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Read ``SEEDBED_TRAIN__STEPS=5`` as ``train.steps = 5``; names without ``__`` (SEEDBED_HOME) are not settings."""
    for name, value in sorted(environment.items()):
        if name.startswith(_ENVIRONMENT) and "__" in name:
            yield name[len(_ENVIRONMENT) :].lower().replace("__", "."), value, f"environment variable {name}"


def _from_flag(assignment: str) -> tuple[str, str, str]:
    key, equals, value = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment}", why="there is no '=' in it", fix="write --set section.key=value")
    return key.strip(), value.strip(), f"--set {assignment}"


def _assign(kind: type[Any], table: dict[str, Any], key: str, text: str, source: str) -> str:
    """Write a value at a dotted key into the table that settings of class ``kind`` are going to be read from.

    An element of a list of variants is found by its name, and a key of its ``settings`` needs no mention of them:
    ``pretrain.steps`` is ``settings.steps`` of the element called pretrain. Returns the key in full.
    """
    head, dot, rest = key.partition(".")
    hints, fields = typing.get_type_hints(kind), {field.name: field for field in dataclasses.fields(kind)}
    if head not in fields:
        return _assign_deeper({name: hints[name] for name in fields}, table, key, text, source)
    hint = _given_type(hints[head])
    if not dot:
        table[head] = _toml_value(text, hint)
        return head
    section = table.setdefault(head, _section_default(fields[head]))
    if _is_variant(hint):
        if rest == "kind":
            name = re.sub(r"(\.|__)kind\b", "", source, flags=re.IGNORECASE)
            raise ConfigError(f"`{key}` is not a setting", why=source, fix=f"set the section itself to {text}: {name}")
        section = table[head] = {"kind": section} if isinstance(section, str) else section
        hint = _variant_class(hint, section, head, Origin(source, ""))
    if not dataclasses.is_dataclass(hint):
        raise ConfigError(f"{source}: {key} is not a setting", why=f"{head} is not a section", fix=f"set {head}")
    if not isinstance(section, dict):  # reading the table will say so
        return key
    return f"{head}.{_assign(cast(type[Any], hint), section, rest, text, source)}"


def _assign_deeper(hints: Mapping[str, Any], table: dict[str, Any], key: str, text: str, source: str) -> str:
    """Assign a key that is no field here: an element of a list of variants, or a field of ``settings``."""
    head, _, rest = key.partition(".")
    known = []
    for name, hint in hints.items():
        if get_origin(hint) is not tuple or not _is_variant(family := get_args(hint)[0]):
            known.append(name)
            continue
        for place, element in enumerate(table.get(name, ())):
            title = element.get("name") or element.get("kind")
            if title == head and rest:
                found = _variant_class(family, element, head, Origin(source, ""))
                return f"{name}[{place}].{_assign(found, element, rest, text, source)}"
            known.append(str(title))
    inner = typing.get_type_hints(hints["settings"]) if "settings" in hints else {}
    if head in inner:
        return f"settings.{_assign(hints['settings'], table.setdefault('settings', {}), key, text, source)}"
    raise _unknown_key(key, head, [*known, *inner], Origin(source, ""))


def _is_variant(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Variant)


def _variant_class(family: type[Variant], table: Mapping[str, Any], key: str, origin: Origin) -> type[Any]:
    """The class that the table's ``kind`` names."""
    if "kind" not in table:
        fix = f"add `kind = …`: one of {', '.join(family.kinds())}"
        raise ConfigError(f"{key} has no kind", why=origin.place(key), fix=fix)
    return family.named(_choice(table["kind"], family.kinds(), f"{key}.kind", origin))


def _section_default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return a section's own defaults, which may differ from those of its class."""
    made = field.default_factory() if field.default_factory is not dataclasses.MISSING else None
    return {} if made is None else to_dict(made)


def _given_type(hint: Any) -> Any:
    """Return the type of an optional setting when it is given."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(argument for argument in get_args(hint) if argument is not type(None))
    return hint


def _toml_value(text: str, hint: Any) -> Any:
    if hint is str:
        return text.strip("\"'")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    texts = get_origin(hint) is tuple and get_args(hint)[0] is str
    return [value] if texts and isinstance(value, str) and value and not value.startswith("[") else value


def _unknown_key(full: str, key: str, known: Sequence[str], origin: Origin) -> ConfigError:
    fix = did_you_mean(key, known, f"the keys here are {', '.join(known)}", cutoff=0.5)
    return ConfigError(f"unknown key `{full}`", why=origin.place(full), fix=fix)


def _convert(value: Any, hint: Any, key: str, meta: Mapping[str, Any], origin: Origin) -> Any:
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return None if value is None else _convert(value, _given_type(hint), key, meta, origin)
    if kind is Literal:
        return _choice(value, arguments, key, origin)
    if kind is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(value, hint, key, origin)
        return tuple(_convert(item, arguments[0], f"{key}[{index}]", meta, origin) for index, item in enumerate(value))
    if _is_variant(hint) or dataclasses.is_dataclass(hint):
        value = {"kind": value} if _is_variant(hint) and isinstance(value, str) else value
        if not isinstance(value, Mapping):
            raise _wrong_type(value, hint, key, origin)
        if _is_variant(hint):
            hint = _variant_class(hint, value, key, origin)
            value = {name: inner for name, inner in value.items() if name != "kind"}
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
    fix = (f"did you mean {near[0]!r}? " if near else "") + f"choose one of {', '.join(map(repr, choices))}"
    raise ConfigError(f"`{key}` cannot be {value!r}", why=origin.place(key), fix=fix)


def _check_range(value: Any, key: str, meta: Mapping[str, Any], origin: Origin) -> None:
    low, high = meta.get("at_least"), meta.get("at_most")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        limits = [f"{word} {limit}" for word, limit in (("at least", low), ("at most", high)) if limit is not None]
        fix = f"give {' and '.join(limits) or 'a finite number'}"
        raise ConfigError(f"`{key} = {value}` is out of range", why=origin.place(key), fix=fix)


def _wrong_type(value: Any, hint: Any, key: str, origin: Origin) -> ConfigError:
    name = key.rpartition(".")[2]
    why = f"{origin.place(key)}: {value!r}"
    fix = f"write `{_example(hint)}` there" if key.endswith("]") else f"write `{name} = {_example(hint)}`"
    return ConfigError(f"`{key}` must be {_type_name(hint)}, not {type(value).__name__}", why=why, fix=fix)


def _type_name(hint: Any) -> str:
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (Union, types.UnionType):
        return " or ".join("nothing" if argument is type(None) else _type_name(argument) for argument in arguments)
    if kind is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if kind is tuple:
        return f"a list of {_type_name(arguments[0])}"
    if dataclasses.is_dataclass(hint) or _is_variant(hint):
        return "a table"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _example(hint: Any) -> str:
    return {int: "8", float: "0.1", bool: "true", str: '"text"'}.get(hint, "[…]" if get_origin(hint) is tuple else "…")
