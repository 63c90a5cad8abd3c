"""Adapters in PEFT's format: read into low-rank additions, and written from them.

Read are rsLoRA's scale (Kalajdzievski 2023), embeddings, layers that were trained whole and trained biases. Refused are
adapters that are no sum with the weights (DoRA) or that changed the model they were trained on (PiSSA, LoftQ …).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.library_errors import library_errors
from seedbed.nn.lora import Adapter, LowRank

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_TABLE_DOWN, _TABLE_UP = ".lora_embedding_A", ".lora_embedding_B"
_SAVED, _ORIGINAL = ".modules_to_save.", ".original_module."
"""Layers that were trained whole, and what they were before."""
_HARMLESS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin training that leave the base model's weights as they are."""
_REFUSED = {  # settings of PEFT that mean something else than ``W + scale · up · down``
    "use_dora": "it is a DoRA, which rescales each output's weights and is no low-rank addition",
    "lora_bias": "its low-rank parts have biases of their own",
    "layer_replication": "it repeats layers of the model",
    "target_parameters": "it adds to parameters that are not layers",
    "trainable_token_indices": "it trains single rows of the embedding",
    "alora_invocation_tokens": "it is active after certain tokens only",
    "use_qalora": "it pools its inputs in quantization groups (QA-LoRA)",
    "use_bdlora": "its parts are block-diagonal",
    "arrow_config": "it routes between several adapters",
    "ensure_weight_tying": "it ties an adapter of the embedding to one of the output layer",
}


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """Read an adapter's low-rank parts by the path of their layer, from a folder in PEFT's format.

    Raises as :func:`read_peft`, and UsageError for more than parts of linear layers.
    """
    tensors = read_peft(folder)
    tables = [path for path in tensors.additions if path.rpartition(".")[2] in ("embedding", "embed_tokens", "wte")]
    if more := [*tensors.replaced, *tables]:
        raise UsageError(
            f"{folder} changes more than linear layers",
            why=f"it also has {', '.join(sorted(more)[:3])}, which cannot be added while a model runs",
            fix="merge it into the model first: `seedbed merge MODEL --adapter FOLDER`",
        )
    return dict(tensors.additions)


def read_peft(folder: Path) -> Adapter:
    """Read everything in a folder in PEFT's format, by its own names.

    Raises:
        NotFoundError: the folder holds no adapter.
        CorruptError: its files cannot be read or do not fit together.
        UsageError: it is of a kind that is no addition to weights.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise NotFoundError(f"{folder} holds no adapter", why=f"{CONFIG} or {WEIGHTS} is missing", fix="check the path")
    what, fix = f"{folder} is not a readable adapter", "export it again"
    with library_errors(lambda why: CorruptError(what, why=why, fix=fix)):
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        check_kind(settings, str(folder))
        stored = {name.removeprefix(_PREFIX): tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        downs = [name for name in stored if name.endswith((_DOWN, _TABLE_DOWN))]
        paths = [name.removesuffix(_DOWN).removesuffix(_TABLE_DOWN) for name in downs]
        additions = {path: _low_rank(path, stored, settings) for path in paths}
        rest = _trained_whole({name: part for name, part in stored.items() if ".lora_" not in name})
        used = {path + part for path in additions for part in (_DOWN, _UP, _TABLE_DOWN, _TABLE_UP)}
        if left := [name for name in stored if ".lora_" in name and name not in used]:
            raise ValueError(f"{left[0]} belongs to no layer's pair of parts")
        return Adapter(additions, rest)


def _trained_whole(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that are no low-rank parts by their layer's name: of copies, the one that was trained."""
    plain = {name.replace(".base_layer.", "."): part for name, part in stored.items() if _ORIGINAL not in name}
    trained = {name.replace(_SAVED, "."): part for name, part in plain.items() if _SAVED in name}
    return {name: part for name, part in plain.items() if _SAVED not in name} | trained


def check_kind(settings: Mapping[str, Any], origin: str) -> None:
    """Refuse adapters that are no additions to weights by a UsageError."""
    reasons = [reason for name, reason in _REFUSED.items() if settings.get(name)]
    if (kind := settings.get("peft_type", "LORA")) != "LORA":
        reasons.append(f"its kind is {kind}, not LORA")
    if (start := settings.get("init_lora_weights")) not in _HARMLESS:
        reasons.append(f"its training began with {start!r}, which changes the base model's own weights")
    if reasons:
        raise UsageError(
            f"the adapter {origin} cannot be used",
            why="; ".join(reasons),
            fix="merge it with the library it was trained with (PEFT's merge_and_unload), then import the result",
        )


def _low_rank(path: str, stored: Mapping[str, Tensor], settings: Mapping[str, Any]) -> LowRank:
    if path + _DOWN in stored:
        down, up = stored[path + _DOWN], stored[path + _UP]
    else:  # A (rank, rows), B (D, rank): the table's change is (B A) transposed
        down, up = stored[path + _TABLE_UP].T, stored[path + _TABLE_DOWN].T
    if up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0]:
        raise ValueError(f"{path}: {tuple(down.shape)} and {tuple(up.shape)} do not fit")
    rank = down.shape[0]
    scale = _alpha(path, settings) / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return LowRank(down.contiguous(), up.contiguous(), scale)


def _alpha(path: str, settings: Mapping[str, Any]) -> float:
    """Return a layer's alpha: that of the first pattern, a regular expression of the end of its name, as in PEFT.

    Ranks need no pattern (``rank_pattern``): the parts have them.
    """
    for pattern, alpha in (settings.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return float(alpha)
    return float(settings["lora_alpha"])


def write_additions(folder: Path, parts: dict[str, LowRank], rank: int, alpha: float) -> None:
    """Write a PEFT folder, as :func:`read_adapter` and others read it."""
    tensors = {f"{_PREFIX}{path}.lora_A.weight": part.down.cpu().contiguous() for path, part in parts.items()}
    tensors |= {f"{_PREFIX}{path}.lora_B.weight": part.up.cpu().contiguous() for path, part in parts.items()}
    with files.disk_errors(folder):
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    targets = sorted({path.rpartition(".")[2] for path in parts})
    table = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": targets, "bias": "none"}
    files.write_json(folder / CONFIG, table | {"task_type": "CAUSAL_LM", "base_model_name_or_path": None})
