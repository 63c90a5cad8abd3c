"""A family of published models: two-way rules between its config.json and ours, and a table of tensor names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from seedbed.core.config import parse, to_dict
from seedbed.core.errors import ConfigError
from seedbed.core.origin import Origin
from seedbed.models.config import AnyConfig, HeadKind, ModelConfig
from seedbed.models.families.config_diff import differences
from seedbed.models.families.weight_mapping import Row

Published = Mapping[str, Any]  # the entries of a config.json
Fields = dict[str, Any]
C = TypeVar("C", bound=AnyConfig)


class Inexpressible(ValueError):
    """A configuration that a family's config.json cannot express; or a published one that our blocks cannot do."""


@dataclass(frozen=True)
class Rule:
    """One correspondence between a published configuration and ours, in both directions.

    Writing need not check anything: what is written is read again and compared.
    """

    read: Callable[[Published], Fields]  # published → fields of ours; Inexpressible for what our blocks cannot do
    write: Callable[[Any], Fields] = lambda config: {}  # ours → published entries


@dataclass(frozen=True)
class Family(Generic[C]):
    """A published family of models."""

    name: str  # as we call it
    model_types: tuple[str, ...]  # what config.json calls it (``model_type``); the first is written
    architectures: Mapping[str, HeadKind]  # published class → the head it puts on
    read: Callable[[Published, HeadKind], C]  # config.json → our configuration
    write: Callable[[C], Fields]  # and back; see :meth:`publish`
    table: Callable[[C], list[Row]]  # tensor names for a configuration of ours
    prefix: str = ""  # begins the names of all but the head; some files leave it out
    # a pattern of tensors that carry nothing: computed tables, copies of others, heads of a training task that is over
    ignored: str = r"\b(rotary_emb\.inv_freq|masked_bias|attn\.bias|attention\.bias|position_ids)$"
    prefixes: tuple[str, ...] = ()  # what stands in the prefix's place in files of larger models
    always_tied: bool = False  # a file without an output embedding shares the input's, whatever its config.json says

    def spellings(self, name: str) -> Sequence[str]:
        """Return the names a published tensor may have: with and without the prefix; gamma and beta in old norms."""
        spellings = [name, name.removeprefix(self.prefix)]
        if name.startswith(self.prefix):
            spellings += [other + name.removeprefix(self.prefix) for other in self.prefixes]
        if "norm" in name.lower():
            spellings += [re.sub(r"weight$", "gamma", re.sub(r"bias$", "beta", one)) for one in spellings]
        return spellings

    def head_of(self, published: Published) -> HeadKind:
        """Return the head that a published configuration names."""
        for architecture in published.get("architectures") or ():
            if architecture in self.architectures:
                return self.architectures[architecture]
        if published.get("architectures"):
            raise Inexpressible(
                f"{', '.join(published['architectures'])} is not known; {', '.join(self.architectures)} are"
            )
        return next(iter(self.architectures.values()))

    def publish(self, config: C) -> Fields:
        """Return the config.json of a configuration of ours; raises Inexpressible where it cannot say all of it."""
        head: HeadKind = getattr(config, "head", "lm")
        named = [architecture for architecture, its in self.architectures.items() if its == head]
        if not named:
            raise Inexpressible(f"it has no model with the head {head!r}")
        try:
            written = self.write(config)
            back = self.read({**written, "architectures": named[:1]}, head)
        except AttributeError as error:  # one stack, and not two; or the other way round
            raise Inexpressible("its models are of another build") from error
        except (LookupError, TypeError, ArithmeticError) as error:
            raise Inexpressible(f"it has no words for {error}") from error
        if different := differences(config, back):
            raise Inexpressible(f"it cannot say {', '.join(different)}")
        return {"architectures": named[:1], "model_type": self.model_types[0]} | written


def checked(fields: Fields) -> ModelConfig:
    """Build a configuration from fields that came from outside, with types and ranges checked before any use.

    Raises Inexpressible for a wrong type, a value out of range, or fields that contradict.
    """
    plain = {name: to_dict(value) if dataclasses.is_dataclass(value) else value for name, value in fields.items()}
    given = {name: value for name, value in plain.items() if value is not None}
    try:
        return parse(ModelConfig, given, Origin("config.json", ""))
    except ConfigError as error:
        raise Inexpressible(f"{error.what} ({error.why})") from error


def whole(published: Published, name: str, most: int = 2**31) -> int:
    """Return a size that is calculated with before all others are checked; raises Inexpressible where it is none."""
    value = published.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Inexpressible(f"{name} is {value!r}, which is no whole number from 1 to {most}")
    return value


def fixed(**ours: Any) -> Rule:
    """Set fields that all models of a family have in common."""
    return Rule(lambda published: dict(ours))


_REQUIRED = object()


def same(ours: str, theirs: str, default: Any = _REQUIRED, *, written: str = "") -> Rule:
    """Map one field under two names; ``default`` is the meaning of an absent entry (or null).

    ``written`` is the property of ours that is written, where it is another than the field.
    """

    def read(published: Published) -> Fields:
        value = published.get(theirs)
        if value is None and default is _REQUIRED:
            raise Inexpressible(f"its config.json has no {theirs}")
        return {ours: default if value is None else value}

    return Rule(read, lambda config: {theirs: getattr(config, written or ours)})


def nullable(ours: str, theirs: str, default: Any) -> Rule:
    """Map one field under two names, where null means none and an absent entry means ``default``."""
    return Rule(
        lambda published: {ours: published.get(theirs, default)}, lambda config: {theirs: getattr(config, ours)}
    )


def constant(**theirs: Any) -> Rule:
    """Write entries that no field of ours needs, and refuse files in which they have other values."""
    return Rule(only(**theirs).read, lambda config: dict(theirs))


def only(**theirs: Any) -> Rule:
    """Refuse files in which an entry has another value than the one our blocks can do; absent or null is accepted."""

    def read(published: Published) -> Fields:
        for name, value in theirs.items():
            if published.get(name) not in (None, value):
                raise Inexpressible(f"{name} is {published[name]!r}; only {value!r} is known here")
        return {}

    return Rule(read)


def flag(theirs: str, *ours: str, default: bool = False) -> Rule:
    """Map true or false to fields of ours, all set alike; ``default`` is the meaning of an absent entry (or null)."""

    def read(published: Published) -> Fields:
        value = published.get(theirs)
        return dict.fromkeys(ours, default if value is None else bool(value))

    return Rule(read, lambda config: {theirs: getattr(config, ours[0])})


def choice(ours: str, theirs: str, yes: Any, no: Any, *, default: bool = False) -> Rule:
    """Map true and false to two values of a field; ``default`` is the meaning of an absent entry (or null)."""

    def read(published: Published) -> Fields:
        value = published.get(theirs)
        return {ours: yes if (default if value is None else value) else no}

    return Rule(read, lambda config: {theirs: getattr(config, ours) == yes})


def together(*rules: Rule) -> Rule:
    """Combine several rules into one; later ones win."""

    def read(published: Published) -> Fields:
        return {name: value for rule in rules for name, value in rule.read(published).items()}

    def write(config: Any) -> Fields:
        return {name: value for rule in rules for name, value in rule.write(config).items()}

    return Rule(read, write)
