"""The table of all families, searched by a published configuration or by one of ours."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig
from seedbed.models.families.bart import BART, MARIAN
from seedbed.models.families.base import Family, Fields, Inexpressible, Published
from seedbed.models.families.bert import BERT, DISTILBERT, ROBERTA, XLM_ROBERTA
from seedbed.models.families.bloom import BLOOM
from seedbed.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from seedbed.models.families.gpt2 import GPT2
from seedbed.models.families.gpt_neo import GPT_NEO
from seedbed.models.families.gpt_neox import GPT_NEOX
from seedbed.models.families.llama import LLAMA
from seedbed.models.families.mistral import MISTRAL, MIXTRAL
from seedbed.models.families.olmo import OLMO
from seedbed.models.families.opt import OPT
from seedbed.models.families.phi import PHI, PHI3
from seedbed.models.families.qwen import QWEN2, QWEN3, QWEN3_MOE
from seedbed.models.families.stablelm import PERSIMMON, STABLELM
from seedbed.models.families.starcoder import GPT_BIGCODE, STARCODER2
from seedbed.models.families.t5 import MT5, T5

FAMILIES: tuple[Family[Any], ...] = (
    *(LLAMA, MISTRAL, QWEN2, QWEN3, MIXTRAL, QWEN3_MOE, GEMMA, GEMMA2, GEMMA3, PHI3, PHI, STARCODER2, STABLELM),
    *(GPT2, GPT_NEOX, OPT, BLOOM, GPT_BIGCODE, GPT_NEO, PERSIMMON, OLMO),
    *(BERT, ROBERTA, XLM_ROBERTA, DISTILBERT),
    *(T5, MT5, BART, MARIAN),
)
"""In the order in which a family is sought for a model of ours: those that most tools read come first."""


def find_family(published: Published) -> Family[Any]:
    """Return the family of a published configuration; raises UsageError, which names the nearest, if there is none."""
    kind = str(published.get("model_type", ""))
    known = {name: family for family in FAMILIES for name in family.model_types}
    if kind in known:
        return known[kind]
    near = difflib.get_close_matches(kind, known, n=1, cutoff=0.4)
    raise UsageError(
        f"the family {kind!r} is not known" if kind else "config.json names no model_type",
        why=(f"the nearest known one is {near[0]}; " if near else "") + f"known are {', '.join(sorted(known))}",
        fix="choose a model of a known family, or add a file for it in seedbed/models/families",
    )


def read_published(published: Published) -> tuple[Family[Any], AnyConfig]:
    """Return the family and our configuration of a config.json.

    Raises UsageError for an unknown family, or something in it that our blocks cannot do.
    """
    if not isinstance(published, Mapping):
        raise UsageError("config.json is no table", why=f"it holds {published!r:.40}", fix="get the model again")
    family = find_family(published)
    try:
        return family, family.read(published, family.head_of(published))
    except (Inexpressible, LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        why = f"config.json has no {error}" if isinstance(error, KeyError) else str(error)
        if isinstance(error, TypeError | AttributeError):
            why = f"a value in config.json is of the wrong kind: {error}"
        raise UsageError(
            f"this {family.name} model cannot be read",
            why=why,
            fix="use a model without it, or correct its config.json",
        ) from error


def publish(config: AnyConfig, preferred: str | None = None) -> tuple[Family[Any], Fields]:
    """Return the family that can express all of a configuration, and its config.json; raises UsageError if none can."""
    reasons = []
    for family in sorted(FAMILIES, key=lambda family: family.name != preferred):
        try:
            return family, family.publish(config)
        except Inexpressible as error:
            reasons.append(f"{family.name}: {error}")
    raise UsageError(
        "no published family has this shape",
        why="; ".join(sorted(reasons, key=len)[:4]),  # the shortest: those that lack least
        fix="export a model with attention in every layer and the features of one family (see docs/models.md)",
    )
