"""The sampling options that `run` and `chat` share, built from the parameters' own documentation and ranges."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import click

from seedbed.inference.parameters import Sampling

Function = TypeVar("Function", bound=Callable[..., Any])


def sampling_options(function: Function) -> Function:
    """Add one option a parameter to a command, passed on together as ``sampling``."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = {name: kwargs.pop(name) for name in names}
        return function(*args, sampling=_sampling(given), **kwargs)

    fields = [field for field in dataclasses.fields(Sampling) if field.metadata.get("flag", True)]
    names = [field.name for field in fields]
    command: Callable[..., Any] = wrapped
    for field in reversed(fields):
        command = _option(field)(command)
    return cast(Function, command)


def _option(field: dataclasses.Field[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flag = f"--{field.name.replace('_', '-')}"
    if isinstance(field.default, tuple):
        return click.option(flag, field.name, multiple=True, metavar="TEXT", help=field.metadata["doc"])
    kind = float if isinstance(field.default, float) else int
    shown = "" if field.default is None else f" Default: {field.default}."
    return click.option(flag, field.name, type=kind, default=None, help=field.metadata["doc"] + shown)


def _sampling(given: dict[str, Any]) -> Sampling:
    """Return the parameters given; beam search without a temperature draws nothing."""
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen.get("beams", 1) > 1:
        chosen.setdefault("temperature", 0.0)
    return Sampling(**chosen).seeded()
