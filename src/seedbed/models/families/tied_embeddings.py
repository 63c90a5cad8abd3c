"""Tied embeddings: config.json leaves it to the weights whether the output embedding is the input's.

As transformers 5 does it: where config.json says that both are one and the file has two that differ, both are kept;
where T5 says that they are two and the file has one, they are one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from seedbed.core.errors import CorruptError, UsageError
from seedbed.models.config import AnyConfig, EncoderDecoderConfig, ModelConfig, stacks
from seedbed.models.families.base import Family

C = TypeVar("C", bound=AnyConfig)


def resolve_tied(family: Family[C], config: C, names: Collection[str], same: Callable[[str, str], bool]) -> C:
    """Return the configuration with ``tied`` as a file's weights have it.

    Args:
        names: of all its tensors.
        same: whether two tensors of the file are equal, called with names of the file.

    Raises:
        UsageError: encoder and decoder embed tokens with different tables.
        CorruptError: there are fewer tensors than layers, before anything is made for them.
    """
    _check_count(config, names)

    def found(ours: str) -> list[str]:
        """Return the names in the file that may be this table of ours."""
        wanted = [row.theirs for row in family.table(config) if row.ours == (f"{ours}.weight",)]
        return list(dict.fromkeys(name for theirs in wanted for name in family.spellings(theirs) if name in have))

    def tied(stack: ModelConfig, tables: Sequence[str], outputs: Sequence[str]) -> bool:
        if stack.tied and tables and outputs:
            return same(tables[0], outputs[0])
        return stack.tied or (family.always_tied and not outputs)

    have = frozenset(names)
    if isinstance(config, EncoderDecoderConfig):
        tables = found("decoder.embedding")
        _check_one_table([*tables, *found("encoder.embedding")], same)
        both = tied(config.decoder, tables, found("decoder.output"))
        return dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, tied=both))
    output = {"lm": "output", "mlm": "head.output"}.get(config.head)
    if output is None:
        return config
    return dataclasses.replace(config, tied=tied(config, found("embedding"), found(output)))


def _check_one_table(tables: Sequence[str], same: Callable[[str, str], bool]) -> None:
    for other in tables[1:]:
        if not same(tables[0], other):
            raise UsageError(
                f"{tables[0]} and {other} differ",
                why="our encoder and decoder embed tokens with one table",
                fix="choose a model whose halves share their vocabulary",
            )


def _check_count(config: AnyConfig, names: Collection[str]) -> None:
    layers = sum(stack.n_layers * (stack.experts.count if stack.experts else 1) for stack in stacks(config))
    if layers > len(names):
        raise CorruptError(
            "config.json does not belong to these weights",
            why=f"it speaks of {layers} layers or experts, and there are {len(names)} tensors",
            fix="get the model again with the config.json that belongs to it",
        )
