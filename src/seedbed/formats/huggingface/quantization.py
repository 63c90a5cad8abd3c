"""Quantized checkpoints of Hugging Face folders: numbers times a scale are read as floats, other layouts are refused.

Read are FP8 with scales of blocks, rows or whole tensors (DeepSeek's and Qwen's releases, fbgemm, compressed-tensors),
integers of 8 bits with scales (compressed-tensors) and bitsandbytes' int8. Refused, by the name of their method, are
layouts that only their own library unpacks: GPTQ, AWQ, MXFP4, bitsandbytes' 4 bits, MLX and all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.models.checkpoint import Checkpoint

KEYS = ("quantization_config", "compression_config", "quantization")
"""Entries of a config.json that say how its weights are quantized: transformers', an older one's, MLX's."""
_FLOATS = {"bfloat16": torch.bfloat16, "float16": torch.float16, "half": torch.float16}
_SCALED = ("float-quantized", "int-quantized", "naive-quantized")  # formats of compressed-tensors: number times scale
_MARKS = re.compile(
    r"\.(SCB|g_idx|qweight|qzeros|scales|absmax|quant_map|weight_(scale|scale_inv|scale_2|packed|zero_point|g_idx)"
    r"|weight\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.\w+))$|_(blocks|scales)$"
)
_PACKED = re.compile(r"weight_(packed|zero_point|g_idx|scale_2)$")
_WAY_OUT = (
    "take the model's release in bfloat16 or float16, or its GGUF file; or, where the library it was made with runs, "
    "convert it with transformers: AutoModelForCausalLM.from_pretrained(FOLDER).dequantize(), then save_pretrained(NEW)"
)


@dataclass(frozen=True)
class Scaling:
    """The tensor of a weight's scales, by its ending; ``unit`` is what a scale is divided by."""

    method: str
    ending: str
    block: tuple[int, int] | None = None  # rows and columns of one scale, where they are stated
    unit: float = 1.0


def scaling_of(config: Mapping[str, Any], origin: str) -> Scaling | None:
    """Return the scaling that a config.json states for its weights, None where they are plain.

    Raises UsageError, which names the entry and the method, where it is none that is read.
    """
    key = next((key for key in KEYS if config.get(key)), None)
    if key is None:
        return None
    stated = config[key] if isinstance(config[key], Mapping) else {}
    method = str(stated.get("quant_method", "")).replace("_", "-")
    if method == "fp8":
        return Scaling(method, ".weight_scale_inv", _block(stated.get("weight_block_size")))
    if method == "fbgemm-fp8":
        return Scaling(method, ".weight_scale")
    if method == "bitsandbytes" and stated.get("load_in_8bit"):
        return Scaling(method, ".SCB", unit=127.0)
    changed = any(_changes(stated.get(name)) for name in ("transform_config", "sparsity_config"))
    if method == "compressed-tensors" and stated.get("format") in _SCALED and not changed:
        return Scaling(method, ".weight_scale")
    raise _refused(origin, f"its {key} says {_described(stated, method)}")


def dequantized(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Checkpoint:
    """Return a checkpoint whose quantized weights are read as floats; itself where they are plain.

    Raises UsageError where config.json states another quantization, or none and the tensors are quantized all the same.
    """
    scaling, names = scaling_of(config, checkpoint.origin), checkpoint.names()
    if scaling is None:
        marked = [name for name in names if _MARKS.search(name) or _is_integer(checkpoint, name)]
        if marked:
            why = f"it holds {marked[0]}, and config.json has no quantization_config that says how to read it"
            raise _refused(checkpoint.origin, why)
        return checkpoint
    if packed := next((name for name in names if _PACKED.search(name)), None):
        raise _refused(checkpoint.origin, f"its quantization_config says {scaling.method}, and {packed} is packed")
    return DequantizedCheckpoint(checkpoint, scaling, _FLOATS.get(_stated_dtype(config), torch.float32))


class DequantizedCheckpoint:
    """A checkpoint whose weights with scales are read as their product, in ``precision``."""

    def __init__(self, inner: Checkpoint, scaling: Scaling, precision: torch.dtype) -> None:
        self.origin = inner.origin
        self._inner, self._scaling, self._precision = inner, scaling, precision
        there = inner.names()
        ends = [name for name in there if name.endswith(scaling.ending)]
        self._scales = {name.removesuffix(scaling.ending) + ".weight": name for name in ends}
        left_out = {*ends, *(name for name in there if name.endswith(".weight_format"))}  # of bitsandbytes
        self._names = [name for name in there if name not in left_out]
        for name in self._names:
            if name not in self._scales and (_is_integer(inner, name) or inner.dtype(name).itemsize < 2):
                why = f"{name} is quantized ({inner.dtype(name)}), and there is no {scaling.ending[1:]} beside it"
                raise _refused(inner.origin, why)
        count = len(self._scales.keys() & set(self._names))
        say(f"{count} weights are stored as {scaling.method}; they are read as {str(precision).removeprefix('torch.')}")

    def names(self) -> Sequence[str]:
        """Return the names of all tensors but the scales, in the file's order."""
        return self._names

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""
        return self._inner.shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives."""
        return self._precision if name in self._scales else self._inner.dtype(name)

    def read(self, name: str) -> Tensor:
        """Read one tensor; a quantized one times its scales. Raises UsageError where they do not fit together."""
        tensor = self._inner.read(name)
        if name not in self._scales:
            return tensor
        scale = self._inner.read(self._scales[name]).float() / self._scaling.unit
        try:
            return (tensor.float() * _spread(scale, tensor.shape, self._scaling.block)).to(self._precision)
        except (RuntimeError, IndexError) as error:
            why = f"{name} has the shape {tuple(tensor.shape)}, its scales {tuple(scale.shape)}"
            raise _refused(self.origin, why) from error


def _changes(stated: Any) -> bool:
    """Return whether a further table of compressed-tensors changes weights: rotates them or leaves zeros out."""
    return bool(stated) and not (isinstance(stated, Mapping) and stated.get("format") == "dense")


def _spread(scale: Tensor, shape: torch.Size, block: tuple[int, int] | None) -> Tensor:
    """Return scales that broadcast over a weight (rows, columns): of the whole, of rows, of groups, or of blocks."""
    if scale.numel() == 1:
        return scale.reshape(())
    if scale.ndim < 2:
        return scale.reshape(-1, 1)
    for axis, size in enumerate(shape):
        if (parts := scale.shape[axis]) > 1 or block:
            length = block[axis] if block else -(-size // parts)
            scale = scale.index_select(axis, torch.arange(size) // length)
    return scale


def _block(stated: Any) -> tuple[int, int] | None:
    whole = isinstance(stated, Sequence) and len(stated) == 2 and all(isinstance(n, int) and n > 0 for n in stated)
    return (stated[0], stated[1]) if whole else None


def _is_integer(checkpoint: Checkpoint, name: str) -> bool:
    return name.endswith(".weight") and not checkpoint.dtype(name).is_floating_point


def _stated_dtype(config: Mapping[str, Any]) -> str:
    return str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")


def _described(stated: Mapping[str, Any], method: str) -> str:
    bits = next((stated[key] for key in ("bits", "w_bit", "load_in_4bit") if stated.get(key)), None)
    count = "4 bits" if bits is True else f"{bits} bits" if bits else str(stated.get("format") or "")
    return " with ".join(part for part in (method or "that its weights are quantized", count) if part)


def _refused(origin: str, why: str) -> UsageError:
    return UsageError(f"the weights of {origin} are quantized in a form that is not read", why=why, fix=_WAY_OUT)
