"""Models as GGUF files, which llama.cpp and the programs around it run: read into ours and written from ours."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seedbed.core.errors import CorruptError, UsageError
from seedbed.core.progress import say
from seedbed.core.units import bytes_text, count_text
from seedbed.formats.gguf.architectures import ARCHITECTURES, Architecture
from seedbed.formats.gguf.file import GgufFile
from seedbed.formats.gguf.rope import ROPE_FREQUENCIES, ROPE_LONG, ROPE_SHORT, rope_tensors
from seedbed.formats.gguf.rules import FACTORS, NAMES, VOCABULARY
from seedbed.formats.gguf.split import SplitGguf, open_whole_gguf
from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
from seedbed.formats.gguf.tokenizer_writing import gguf_tokenizer
from seedbed.formats.gguf.writing import write_gguf
from seedbed.formats.published import Published
from seedbed.formats.published_forms import GgufPrecision
from seedbed.models.checkpoint import CombinedCheckpoint
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.families.base import Inexpressible
from seedbed.models.families.registry import publish
from seedbed.models.families.weight_mapping import dump
from seedbed.tokenizers.tokenizer import Tokenizer

EXACT_WEIGHTS = 2 * 10**9
"""Weights up to which quantized files become float32; a model with more would take over 8 GB on the disk."""
_EMBEDDING = "token_embd.weight"
_TOKENS = "tokenizer.ggml.tokens"
_GENERATION = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


def read_gguf_model(path: Path) -> Published:
    """Open a GGUF file as a published model. Its quantized weights become floats when they are loaded.

    Raises:
        UsageError: an architecture, or something of it, that our blocks cannot do.
        CorruptError: the file is damaged, or its metadata do not fit its tensors.
    """
    file = open_whole_gguf(path)
    architecture, config = read_shape(file)
    family, written = publish(config, architecture.published)
    weights, rows = model_weights(file), architecture.family.table(config)
    tokenizer = tokenizer_from_gguf(file.metadata) if _TOKENS in file.metadata else None
    licence, kept = str(file.metadata.get("general.license", "")), precision(file)
    stated = read_generation(file.metadata)
    return Published(
        str(path), family, written, config, weights, rows, tokenizer, stated, licence=licence, precision=kept
    )


def read_generation(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling that a file's publishers state, by the names of generation_config.json.

    The tokens that end a reply are the tokenizer's.
    """
    found = {name: metadata[key] for name, key in _GENERATION.items() if key in metadata}
    # the file holds float32: 0.95, not 0.949999988079071
    return {name: float(f"{value:.7g}") if isinstance(value, float) else value for name, value in found.items()}


def _stated_sampling(generation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what generation_config.json states, as a file's metadata; only numbers, and no sampling as temperature 0.

    A number that is whole stays so for ``top_k`` alone: readers expect float32 elsewhere.
    """
    stated = dict(generation) | ({"temperature": 0.0} if generation.get("do_sample") is False else {})
    numbers = {name: value for name, value in stated.items() if type(value) in (int, float) and math.isfinite(value)}
    return {
        key: int(numbers[name]) if name == "top_k" else float(numbers[name])
        for name, key in _GENERATION.items()
        if name in numbers
    }


def model_weights(file: GgufFile | SplitGguf) -> CombinedCheckpoint:
    """Return a GGUF file's tensors without those that belong to the configuration."""
    own = (name for name in file.names() if name not in (ROPE_FREQUENCIES, ROPE_LONG, ROPE_SHORT))
    return CombinedCheckpoint(file.origin, dict.fromkeys(own, file))


def read_shape(file: GgufFile | SplitGguf) -> tuple[Architecture, ModelConfig]:
    """Read the architecture and our configuration of a GGUF file; see :func:`read_gguf_model`."""
    name = str(file.metadata.get("general.architecture", ""))
    found = next((one for one in ARCHITECTURES if one.family.name == name), None)
    if found is None:
        raise UsageError(
            f"{file.origin} has an architecture that is not known",
            why=f"general.architecture is {name!r}; known are {', '.join(one.family.name for one in ARCHITECTURES)}",
            fix="choose a model of one of these, or its Hugging Face folder if there is a family for it",
        )
    _check_counts(file, name)
    try:
        config = found.family.read(_facts(file, name), "lm")
        skeleton(config)
    except (Inexpressible, KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, AttributeError) as error:
        why = f"its metadata have no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(
            f"{file.origin} cannot be read as {name}",
            why=" ".join(why.split()),
            fix="convert the model again with a current program, or take its Hugging Face folder",
        ) from error
    return found, config


def precision(file: GgufFile | SplitGguf) -> torch.dtype:
    """Return the one precision that a model from this file gets.

    It is the matrices' own. Quantized ones are a product of a float16 scale and an integer, which float32 holds and
    float16 rounds, so that a near tie turns into another token; only models too large for that are rounded.
    """
    kinds = {file.kind(name) for name in file.names() if len(file.shape(name)) > 1}
    for kept, dtype in (("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)):
        if kinds <= {kept, "F32"}:
            return dtype
    if (weights := sum(math.prod(file.shape(name)) for name in file.names())) <= EXACT_WEIGHTS:
        return torch.float32
    say(f"its {count_text(weights)} weights are rounded to float16; float32 would take {bytes_text(4 * weights)}")
    return torch.float16


def write_gguf_model(
    path: Path,
    model: AnyModel,
    tokenizer: Tokenizer,
    quantization: GgufPrecision = "f16",
    *,
    family: str | None = None,
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write a model and its tokenizer as a GGUF file; an existing file is kept until the new one is whole.

    ``family``: the published one it came from, whose architecture is preferred. ``generation``: the sampling that its
    publishers state, as generation_config.json has it. Raises UsageError where llama.cpp has no architecture of this
    shape, CapacityError where the disk is full.
    """
    size = model.config.vocab_size if isinstance(model.config, ModelConfig) else None
    metadata = gguf_tokenizer(tokenizer, size) | _stated_sampling(generation or {})
    write_gguf_parts(path, model, metadata, quantization, family=family)


def write_gguf_parts(
    path: Path,
    model: AnyModel,
    vocabulary: Mapping[str, Any],
    quantization: GgufPrecision = "f16",
    *,
    family: str | None = None,
) -> None:
    """Write a model as :func:`write_gguf_model` does, given the tokenizer's metadata as the file will hold them."""
    config = model.config
    architecture, metadata = gguf_metadata(config, family)
    assert isinstance(config, ModelConfig)
    if len(vocabulary[_TOKENS]) != config.vocab_size:
        raise UsageError(
            "the tokenizer is not the model's",
            why=f"it has {len(vocabulary[_TOKENS])} tokens, the model rows for {config.vocab_size}",
            fix="export the model with the tokenizer it was trained with",
        )
    write_gguf(path, metadata | dict(vocabulary), _tensors(model, config, architecture), quantization)


def gguf_metadata(config: AnyConfig, family: str | None = None) -> tuple[Architecture, dict[str, Any]]:
    """Return the architecture that can express all of a configuration, with its metadata; UsageError if none can."""
    reasons = []
    for one in sorted(ARCHITECTURES, key=lambda one: one.published is None or one.published != family):
        try:
            if not isinstance(config, ModelConfig):
                raise Inexpressible("an encoder with a decoder is not one stack of blocks")
            fields = one.family.publish(one.expressed(config))
        except Inexpressible as error:
            reasons.append(f"{one.family.name}: {error}")
            continue
        own = {
            key: value for key, value in fields.items() if key not in ("architectures", "model_type") and key[0] != "@"
        }
        prefix = f"{one.family.name}."
        named = {key if key.startswith("tokenizer.") else prefix + key: value for key, value in own.items()}
        return one, {"general.architecture": one.family.name, "general.type": "model"} | named
    raise UsageError(
        "llama.cpp has no architecture of this shape",
        why="; ".join(reasons[:4]),
        fix="export it in Hugging Face format (--to hf), or use a shape of LLaMA, Qwen, Gemma, Phi, GPT-2 …",
    )


def _tensors(model: AnyModel, config: ModelConfig, architecture: Architecture) -> Iterator[tuple[str, Tensor]]:
    yield from dump(model, architecture.family.table(config))
    yield from rope_tensors(config).items()
    if architecture.own_output and "output.weight" in model.shared():
        yield "output.weight", model.get_parameter("embedding.weight").detach()


def _facts(file: GgufFile | SplitGguf, architecture: str) -> dict[str, Any]:
    """Return the architecture's metadata without its prefix, and the facts about tensors that the rules use."""
    prefix, names = f"{architecture}.", frozenset(file.names())
    own = {key.removeprefix(prefix): file.metadata[key] for key in file.metadata if key.startswith(prefix)}
    kinds = "tokenizer.ggml.token_type_count"
    if kinds in file.metadata:
        own[kinds] = file.metadata[kinds]
    factors = {name: file.read(name) for name in (ROPE_FREQUENCIES, ROPE_LONG, ROPE_SHORT) if name in names}
    return own | {NAMES: names, VOCABULARY: file.shape(_EMBEDDING)[0], FACTORS: factors}


def _check_counts(file: GgufFile | SplitGguf, architecture: str) -> None:
    """Check, before anything is built, that there are tensors for all layers and experts that the metadata state."""
    layers = {found[1] for found in (re.match(r"blk\.(\d+)\.", name) for name in file.names()) if found}
    experts = next((file.shape(name)[0] for name in file.names() if name.endswith("ffn_up_exps.weight")), 0)
    for key, there in (("block_count", len(layers)), ("expert_count", experts)):
        said = file.metadata.get(f"{architecture}.{key}", 0)
        if said != there:
            raise CorruptError(
                f"{file.origin} does not fit its own metadata",
                why=f"{architecture}.{key} is {said!r}, its tensors are for {there}",
                fix="get the whole model again",
            )
    if _EMBEDDING not in file.names() or math.prod(file.shape(_EMBEDDING)) == 0 or len(file.shape(_EMBEDDING)) != 2:
        raise CorruptError(
            f"{file.origin} has no embedding", why=f"there is no matrix {_EMBEDDING}", fix="get the whole model again"
        )
