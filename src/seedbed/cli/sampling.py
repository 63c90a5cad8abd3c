"""The sampling options that `run`, `chat` and `ask` share, built from the parameters' own documentation and ranges."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Mapping
from typing import Any

import click

from seedbed.chat.model import ReplyOptions
from seedbed.cli.options import Decorator, Function
from seedbed.inference.parameters import Sampling
from seedbed.inference.published_sampling import SAMPLED

Given = Mapping[str, Any]
"""The options that a command line gives, checked; the others are the model's own."""
FIELDS = [field for field in dataclasses.fields(Sampling) if field.metadata.get("flag", True)]
OF_REPLIES = [field.name for field in FIELDS if field.name in ReplyOptions.__annotations__]
"""Those that every chat model takes, a server's too."""
OF_MODEL = {field.name: f"the model's own, else {field.default}" for field in FIELDS if field.name in SAMPLED}
"""Words for the defaults of those that a model's publishers may state."""
repetition_guard = click.option(
    "--repetition-guard/--no-repetition-guard",
    default=True,
    help="Stop a reply that repeats itself. Default: stop it.",
)


def sampling_options(names: Collection[str] | None = None, defaults: Mapping[str, str] | None = None) -> Decorator[Any]:
    """Add an option for each parameter of sampling; those given are passed on together as ``given``.

    ``names``: only these. ``defaults``: words for those that a command has of its own.
    """
    fields = [field for field in FIELDS if names is None or field.name in names]

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            values = {field.name: kwargs.pop(field.name) for field in fields}
            given = {name: value for name, value in values.items() if value not in (None, ())}
            chosen_sampling(given)  # a value out of range is told before anything is opened
            return function(*args, given=given, **kwargs)

        for field in reversed(fields):
            _parameter(field, (defaults or {}).get(field.name))(wrapped)
        return wrapped  # type: ignore[return-value]

    return decorate


def chosen_sampling(given: Given, own: Sampling | None = None) -> Sampling:
    """Return the sampling of given options, over a model's own, with its seed fixed; beam search draws nothing."""
    if given.get("beams", 1) > 1:
        own = Sampling(temperature=0.0)
    return dataclasses.replace(own or Sampling(), **given).seeded()


def _parameter(field: dataclasses.Field[Any], default: str | None) -> Decorator[Any]:
    flag, doc = f"--{field.name.replace('_', '-')}", field.metadata["doc"]
    if isinstance(field.default, tuple):
        return click.option(flag, multiple=True, metavar="TEXT", help=doc)
    shown = "" if field.default is None else f" Default: {default or field.default}."
    return click.option(flag, type=float if isinstance(field.default, float) else int, help=doc + shown)
