"""The check of an export: the file is read again and compared with the model, step by step.

In this order: configuration, tokenizer, every weight, and a decoder's logits along what it writes. The first step that
differs is named, so that a fault is found where it was made. A weight may move by the rounding of the written type and
no further, which holds quantized files to account too: there, logits of a small model alone would hide much.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from seedbed.core.errors import CorruptError
from seedbed.core.progress import say
from seedbed.formats.gguf.model import gguf_metadata
from seedbed.formats.importing import open_published
from seedbed.formats.published import Published, load_published
from seedbed.formats.published_forms import GgufPrecision
from seedbed.models.config import AnyConfig
from seedbed.models.factory import AnyModel
from seedbed.models.families.config_diff import differences
from seedbed.models.store import Loaded, kind_of
from seedbed.tokenizers.tokenizer import Tokenizer

COMPARED = 12
"""Tokens written greedily by a model and by its export."""
_TEXT = "The year 2026: it's naïve, isn't it?\n\n    x = [1, 42]  # größer\tend 日本 🌱"
_ROUNDING = {"f32": 2.0**-22, "f16": 2.0**-11, "bf16": 2.0**-8}
"""Most that a weight moves, as a share of itself."""
_STEPS = {"q8_0": 0.5 / 127 + 2.0**-10, "q4_0": 1 / 8 + 2.0**-10}
"""The same as a share of the largest weight of its block of 32; q4_0's range is short by a step on one side."""
_LEAST = 2.0**-22
"""A move that is none: numbers below float16's range, and norms that were written plus one."""
_LOGITS = {"f32": 0.001, "f16": 0.02, "bf16": 0.02, "q8_0": 0.1, "q4_0": 1.0}
"""Largest difference of a logit, as a share of the best one's height over the mean."""


def check_export(loaded: Loaded[AnyModel], path: Path, precision: GgufPrecision | None) -> None:
    """Compare an exported file or folder with the model it was made of, whose weights become float32.

    Args:
        precision: of a GGUF file; None for a folder, which keeps the model's own.

    Raises:
        CorruptError: they differ; the first step that does is named.
    """
    published = open_published(path)
    _check_config(loaded, published.shape, path, precision)
    _check_tokenizer(loaded.tokenizer, published, path)
    other, _ = load_published(published, torch.float32)
    one = loaded.model.float().eval()
    _check_weights(one, other, path, precision or "f32")
    if kind_of(one.config) == "a decoder":
        check_logits((one, other), loaded.tokenizer.encode_prompt("The")[:4], path, _LOGITS[precision or "f32"])
        say(f"read again: the same configuration, tokens and weights, and logits for {COMPARED} tokens")
    else:
        say("read again: the same configuration, tokens and weights")


def _differs(path: Path, step: str, why: str) -> CorruptError:
    return CorruptError(
        f"{path.name} does not hold the model as it is here",
        why=f"its {step} differs: {why}",
        fix="nothing was kept; please report the model's family, as a bug of seedbed",
    )


def _check_config(loaded: Loaded[AnyModel], found: AnyConfig, path: Path, precision: GgufPrecision | None) -> None:
    wanted: Any = loaded.model.config
    if precision is not None:
        wanted = gguf_metadata(wanted, loaded.published.get("family"))[0].expressed(wanted)
    if different := differences(wanted, found):
        raise _differs(path, "configuration", ", ".join(different))


def _check_tokenizer(tokenizer: Tokenizer, published: Published, path: Path) -> None:
    if published.tokenizer is None:
        raise _differs(path, "tokenizer", "there is none")
    wanted, found = (one.encode_prompt(_TEXT) for one in (tokenizer, published.tokenizer))
    if wanted != found:
        place = next((i for i, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), -1)
        raise _differs(path, "tokenizer", f"of {_TEXT!r} id {place} is {found[place]}, not {wanted[place]}")


def _check_weights(one: AnyModel, other: AnyModel, path: Path, precision: str) -> None:
    wanted, found = (
        {name: value.detach() for name, value in model.named_parameters(remove_duplicate=False)}
        for model in (one, other)
    )
    if wanted.keys() != found.keys():
        raise _differs(path, "list of weights", ", ".join(sorted(wanted.keys() ^ found.keys())[:4]))
    for name, there in found.items():
        here = wanted[name]
        if name.endswith("position.weight"):  # RoBERTa's rows before position 0 are not in GGUF files
            here = here[len(here) - len(there) :]
        fits = (here - there).abs() <= _most(here, precision)  # nan does not
        if many := int((~fits).sum()):
            raise _differs(path, name, f"{many:,} of {there.numel():,} numbers are no rounding of the model's")


def _most(weight: Tensor, precision: str) -> Tensor:
    """Return the most that each weight moves when it is written in a precision."""
    size = weight.abs()
    if precision in _ROUNDING or weight.ndim < 2:
        return size * _ROUNDING.get(precision, _ROUNDING["f32"]) + _LEAST
    width = size.shape[-1]
    blocks = F.pad(size, (0, -width % 32)).view(*size.shape[:-1], -1, 32)
    largest: Tensor = blocks.amax(-1, keepdim=True).expand_as(blocks).flatten(-2)[..., :width]
    return largest * _STEPS[precision] + 127 * _LEAST  # small blocks have a scale below float16's range


def check_logits(models: Sequence[AnyModel], ids: list[int], path: Path, most: float) -> None:
    """Compare two decoders' logits along what the first writes; raises CorruptError, which names the first layer."""
    with torch.inference_mode():
        for place in range(COMPARED):
            wanted, found = (model(torch.tensor([ids]))[0][0, -1] for model in models)
            height, moved = float(wanted.max() - wanted.mean()), float((wanted - found).abs().max())
            if not moved <= most * height:
                where = _first_layer(models, ids, most)
                why = f"after {place} tokens by {moved:.3g}, the best stands {height:.3g} above the mean; {where}"
                raise _differs(path, "logits", why)
            ids.append(int(wanted.argmax()))


def _first_layer(models: Sequence[AnyModel], ids: list[int], most: float) -> str:
    """Name the first layer whose output differs by more than a share of its own size."""
    outputs: list[list[Tensor]] = []
    for model in models:
        kept: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _, given, out, kept=kept: kept.append(out[0]))
            for block in model.get_submodule("blocks").children()
        ]
        model(torch.tensor([ids]))
        for hook in hooks:
            hook.remove()
        outputs.append(kept)
    for layer, (wanted, found) in enumerate(zip(*outputs, strict=True)):
        if not float((wanted - found).norm()) <= most * float(wanted.norm()):
            return f"the output of layer {layer} is the first that differs"
    return "every layer's output is the same, the norm or the output layer after them is not"
