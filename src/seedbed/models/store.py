"""Models on disk: safetensors weights, config.json, and the tokenizer they were trained with.

A model artifact is complete in itself: it holds the tokenizer's files too, and its config names the tokenizer's hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from seedbed.core import config as settings
from seedbed.core import files
from seedbed.core.artifacts import Artifact
from seedbed.core.errors import CorruptError, UsageError
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.quantize import skeleton
from seedbed.tokenizers.tokenizer import Tokenizer

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use: in evaluation mode, with its tokenizer."""

    model: Decoder
    tokenizer: Tokenizer
    artifact: Artifact
    quantization: str | None = None


def save_model(folder: Path, model: Decoder, tokenizer: Tokenizer, quantization: str | None = None) -> None:
    """Write weights, configuration and tokenizer into a folder (an artifact's draft).

    Args:
        quantization: how ``models.quantize`` has treated the model.

    Raises:
        UsageError: the tokenizer has another number of tokens than the model.
    """
    if tokenizer.vocab_size != model.config.vocab_size:
        raise UsageError(
            "the tokenizer is not the model's",
            why=f"it has {tokenizer.vocab_size} tokens, the model {model.config.vocab_size}",
            fix="save the model with the tokenizer it was trained with",
        )
    save_weights(model, folder / WEIGHTS)
    described = {"model": settings.to_dict(model.config), "tokenizer": tokenizer.hash, "quantization": quantization}
    files.write_json(folder / CONFIG, described)
    tokenizer.save(folder)


def load_model(artifact: Artifact, device: torch.device | str = "cpu") -> LoadedModel:
    """Load a model and check that its tokenizer is the one it was trained with.

    Raises:
        CorruptError: a file is damaged, or the weights do not fit the configuration.
        UsageError: another tokenizer lies beside the weights.
    """
    artifact.verify()
    described = json.loads(artifact.file(CONFIG).read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(artifact.file("tokenizer.json"))
    tokenizer.require(described["tokenizer"], f"model {artifact.id[:12]}")
    config, quantization = read_config(described["model"]), described.get("quantization")
    weights = artifact.file(WEIGHTS)
    model = map_quantized(config, quantization, weights) if quantization else build(config, weights)
    return LoadedModel(model.to(device).eval(), tokenizer, artifact, quantization)


def read_config(table: Mapping[str, Any]) -> ModelConfig:
    """A stored model configuration."""
    return settings.parse(ModelConfig, table)


def build(config: ModelConfig, weights: Path) -> Decoder:
    """A model with weights from a file; every parameter is filled exactly once, without drawing random ones first."""
    with torch.device("meta"):
        model = Decoder(config)
    model.to_empty(device="cpu")
    model.tie()
    load_weights(model, weights)
    return model


def map_quantized(config: ModelConfig, quantization: str, weights: Path) -> Decoder:
    """A quantized model whose weights stay in the file: pages are read when they are first used, and can be dropped."""
    with torch.device("meta"):
        model = Decoder(config)
        skeleton(model, quantization)
    stored = _read(weights, _own_tensors(model))
    model.load_state_dict(stored, strict=False, assign=True)  # strict: the tied output is not stored
    if config.tied:
        model.output.data, model.output.scale = model.embedding.data, model.embedding.scale
    return model


def save_weights(model: Decoder, path: Path) -> None:
    """Parameters by name as safetensors; a tied output embedding is left out."""
    with files.disk_errors(path.parent):
        save_file({name: tensor.contiguous() for name, tensor in _own_tensors(model).items()}, path)


def load_weights(model: Decoder, path: Path) -> None:
    """Fill a model's parameters in place.

    Raises:
        CorruptError: the file cannot be read, or its names and shapes are not the model's.
    """
    wanted = _own_tensors(model)
    stored = _read(path, wanted)
    for name, tensor in wanted.items():
        tensor.copy_(stored[name])


def _read(path: Path, wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A weights file, mapped into memory, if it holds exactly these names and shapes."""
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CorruptError(f"{path} cannot be read", why=str(error), fix="restore it or train again") from error
    if {n: t.shape for n, t in stored.items()} != {n: t.shape for n, t in wanted.items()}:
        different = sorted(stored.keys() ^ wanted.keys()) or sorted(
            name for name in wanted if stored[name].shape != wanted[name].shape
        )
        raise CorruptError(
            f"{path} is not this model", why=f"tensors differ: {', '.join(different[:4])}", fix="check its config.json"
        )
    return stored


def _own_tensors(model: Decoder) -> dict[str, torch.Tensor]:
    """Everything a model stores; a tied output layer is the embedding's."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    return {name: t for name, t in tensors.items() if not (model.config.tied and name.startswith("output."))}
