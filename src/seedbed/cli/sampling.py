"""The sampling options that `run` and `chat` share, built from the parameters' own documentation and ranges."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import click

from seedbed.cli.options import Decorator, Function
from seedbed.inference.parameters import Sampling


def sampling_options(function: Function) -> Function:
    """Add an option for each parameter of sampling, with its own documentation; passed on together as ``sampling``."""
    fields = [field for field in dataclasses.fields(Sampling) if field.metadata.get("flag", True)]

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = {field.name: kwargs.pop(field.name) for field in fields}
        chosen = {name: value for name, value in given.items() if value not in (None, ())}
        if chosen.get("beams", 1) > 1:  # beam search draws nothing
            chosen.setdefault("temperature", 0.0)
        return function(*args, sampling=Sampling(**chosen).seeded(), **kwargs)

    for field in reversed(fields):
        _parameter(field)(wrapped)
    return wrapped  # type: ignore[return-value]


def _parameter(field: dataclasses.Field[Any]) -> Decorator[Any]:
    flag, doc = f"--{field.name.replace('_', '-')}", field.metadata["doc"]
    if isinstance(field.default, tuple):
        return click.option(flag, multiple=True, metavar="TEXT", help=doc)
    shown = "" if field.default is None else f" Default: {field.default}."
    return click.option(flag, type=float if isinstance(field.default, float) else int, help=doc + shown)
