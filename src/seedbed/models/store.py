"""Models on disk: safetensors weights, config.json, and the tokenizer they were trained with.

A model artifact is complete in itself: it holds the tokenizer's files too, and its config names the tokenizer's hash.
Weights keep the precision they came in. Quantized ones, and those asked for as "stored", are mapped: their pages are
read when they are first used and can be dropped; others are copied, as training writes into them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seedbed.core import config as settings
from seedbed.core import files
from seedbed.core.artifacts import Artifact
from seedbed.core.errors import CorruptError, UsageError
from seedbed.core.library_errors import library_errors
from seedbed.models.config import AnyConfig, EncoderDecoderConfig, ModelConfig, stacks
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.quantized import without_values
from seedbed.tokenizers.tokenizer import Tokenizer

WEIGHTS, CONFIG = "model.safetensors", "config.json"
Precision = torch.dtype | Literal["stored"]
M = TypeVar("M", bound=AnyModel, covariant=True)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A model ready to use: in evaluation mode, with its tokenizer.

    ``published``: for a model from elsewhere, its family and configuration as published.
    """

    model: M
    tokenizer: Tokenizer
    artifact: Artifact
    quantization: str | None = None
    published: Mapping[str, Any] = field(default_factory=dict)


LoadedModel = Loaded[Decoder]


def save_model(
    folder: Path,
    model: AnyModel,
    tokenizer: Tokenizer,
    quantization: str | None = None,  # how ``transform.quantize`` has treated the model
    published: Mapping[str, Any] | None = None,  # what is known of a model from elsewhere, kept for exports
) -> None:
    """Write weights, configuration and tokenizer into a folder (an artifact's draft).

    Raises UsageError where the tokenizer has more tokens than the model.
    """
    rows = vocabulary(model.config)
    if tokenizer.vocab_size > rows:
        raise UsageError(
            "the tokenizer is not the model's",
            why=f"it has {tokenizer.vocab_size} tokens, the model {rows}",
            fix="save the model with the tokenizer it was trained with",
        )
    save_weights(model, folder / WEIGHTS)
    described = {"model": settings.to_dict(model.config), "tokenizer": tokenizer.hash, "quantization": quantization}
    files.write_json(folder / CONFIG, described | ({"published": dict(published)} if published else {}))
    tokenizer.save(folder)


def load_any(
    artifact: Artifact, device: torch.device | str = "cpu", dtype: Precision | None = None
) -> Loaded[AnyModel]:
    """Load a model of any kind and check that its tokenizer is the one it was trained with.

    ``dtype``: the precision of float weights; by default float32 on CPUs, as "stored" elsewhere.

    Raises:
        CorruptError: a file is damaged, or the weights do not fit the configuration.
        UsageError: another tokenizer lies beside the weights.
    """
    tokenizer, described = load_tokenizer(artifact), read_description(artifact)
    config, quantization = read_config(described["model"]), described.get("quantization")
    weights = artifact.file(WEIGHTS)
    if quantization:
        model: AnyModel = map_quantized(cast(ModelConfig, config), quantization, weights)
    else:
        precision = dtype or (torch.float32 if str(device) == "cpu" else "stored")
        model = build(config, weights, precision)
    published = described.get("published", {})
    return Loaded(model.to(device).eval(), tokenizer, artifact, quantization, published)


def load_model(artifact: Artifact, device: torch.device | str = "cpu", dtype: Precision | None = None) -> LoadedModel:
    """Load a decoder as :func:`load_any` does; raises UsageError for a model that is none."""
    config = read_config(read_description(artifact)["model"])
    if isinstance(config, EncoderDecoderConfig) or config.head != "lm":
        raise UsageError(
            f"model {artifact.id[:12]} does not continue texts",
            why=f"it is {kind_of(config)}",
            fix="`seedbed run` writes with encoder–decoders, `seedbed predict` fills, classifies and answers, "
            "`seedbed docs add --embedder` takes encoders",
        )
    return cast(LoadedModel, load_any(artifact, device, dtype))


def load_tokenizer(artifact: Artifact) -> Tokenizer:
    """Load a model's tokenizer; raises as :func:`load_any`."""
    artifact.verify()
    tokenizer = Tokenizer.from_file(artifact.file("tokenizer.json"))
    tokenizer.require(read_description(artifact)["tokenizer"], f"model {artifact.id[:12]}")
    return tokenizer


def read_description(artifact: Artifact) -> dict[str, Any]:
    """Read a model's config.json."""
    return dict(files.read_json(artifact.file(CONFIG)))


def read_config(table: Mapping[str, Any]) -> AnyConfig:
    """Parse a stored model configuration."""
    if "encoder" in table:
        return settings.parse(EncoderDecoderConfig, table)
    return settings.parse(ModelConfig, table)


def vocabulary(config: AnyConfig) -> int:
    """Return the rows of the embedding."""
    return stacks(config)[-1].vocab_size


def kind_of(config: AnyConfig) -> str:
    """Return the kind of a model in words."""
    if isinstance(config, EncoderDecoderConfig):
        return "an encoder–decoder"
    heads = {
        "lm": "a decoder",
        "mlm": "a masked language model",
        "sequence": "a classifier of texts",
        "token": "a classifier of tokens",
        "span": "a finder of answers in a text",
        "none": "an encoder" if not config.causal else "a decoder without a head",
    }
    return heads[config.head]


def require_decoder(kind: str, origin: str) -> None:
    """Raise UsageError where a kind of model, in the words of :func:`kind_of`, cannot be quantized."""
    if kind != "a decoder":
        raise UsageError(
            f"{origin} cannot be quantized",
            why=f"it is {kind}, and only decoders are quantized",
            fix="leave out --quantization",
        )


def build(config: AnyConfig, weights: Path, dtype: Precision = torch.float32) -> AnyModel:
    """Build a model with weights from a file; every parameter is filled once, without random numbers first."""
    model = skeleton(config)
    stored = _read(weights, _own_tensors(model))
    if dtype != "stored":
        stored = {name: tensor.to(dtype, copy=True) for name, tensor in stored.items()}
    model.load_state_dict(stored, strict=False, assign=True)
    model.tie()
    return model


def map_quantized(config: ModelConfig, quantization: str, weights: Path) -> Decoder:
    """Build a quantized model whose weights are mapped."""
    model = cast(Decoder, skeleton(config))
    without_values(model, quantization)
    model.load_state_dict(_read(weights, _own_tensors(model)), strict=False, assign=True)  # the tied output is missing
    if config.tied:
        model.output.data, model.output.scale = model.embedding.data, model.embedding.scale
    return model


def save_weights(model: AnyModel, path: Path, *, trained: bool = False) -> None:
    """Write parameters by name as safetensors, tied ones once. ``trained``: only those being trained."""
    with files.disk_errors(path.parent):
        save_file({name: tensor.contiguous() for name, tensor in _own_tensors(model, trained).items()}, path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill the parameters that are trained in place; raises CorruptError for a damaged file or another model's."""
    wanted = _own_tensors(cast(AnyModel, model), trained=True)
    stored = _read(path, wanted)
    for name, tensor in wanted.items():
        tensor.copy_(stored[name])


def _read(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Map a weights file into memory, if it holds exactly these names and shapes."""
    fix = "restore it or train again"
    with library_errors(lambda why: CorruptError(f"{path} cannot be read", why=why, fix=fix)):
        stored = load_file(path)
    if {n: t.shape for n, t in stored.items()} != {n: t.shape for n, t in wanted.items()}:
        different = sorted(stored.keys() ^ wanted.keys()) or sorted(
            name for name in wanted if stored[name].shape != wanted[name].shape
        )
        raise CorruptError(
            f"{path} is not this model", why=f"tensors differ: {', '.join(different[:4])}", fix="check its config.json"
        )
    return stored


def _own_tensors(model: AnyModel, trained: bool = False) -> dict[str, Tensor]:
    """Return the tensors a model stores: tied ones once (a quantized layer's parts too), biases always."""
    layers = {name.removesuffix("weight") for name in model.shared()}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items() if not trained or name in learning}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name.endswith("bias") or f"{name.rpartition('.')[0]}." not in layers
    }
