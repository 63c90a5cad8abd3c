"""Models out of the library: a Hugging Face folder that `transformers`, vLLM and others load, or a GGUF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from seedbed.core import files
from seedbed.core.artifacts import Artifact
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.formats.huggingface.folder import CONFIG, GENERATION
from seedbed.formats.huggingface.pooling import write_pooling
from seedbed.formats.published_forms import GgufPrecision
from seedbed.formats.safetensors.shards import write_safetensors
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel
from seedbed.models.families.registry import publish
from seedbed.models.families.weight_mapping import dump
from seedbed.models.quantized import floats_of
from seedbed.models.store import Loaded, load_any
from seedbed.tokenizers.tokenizer import Tokenizer

_PRECISIONS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}


def load_for_export(artifact: Artifact) -> Loaded[AnyModel]:
    """Load a model in the precision it is stored in; integers of ours become the float32 numbers that they mean."""
    loaded = load_any(artifact, dtype="stored")
    if loaded.quantization is None:
        return loaded
    say(f"its {loaded.quantization} integers are in the order of seedbed's kernel: float32 numbers are written")
    return replace(loaded, model=floats_of(cast(Decoder, loaded.model), torch.float32), quantization=None)


def export_huggingface(loaded: Loaded[AnyModel], folder: Path) -> list[Path]:
    """Write config.json, generation_config.json, safetensors and the tokenizer's files into a new folder.

    Raises UsageError where no published family has this shape or the folder is not empty, and CapacityError where the
    disk is full; nothing is left then.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty", why="an export makes its own folder", fix="name another with --output"
        )
    family, config = publish(loaded.model.config, loaded.published.get("family"))
    precision = next(loaded.model.parameters()).dtype
    tokens = _special_ids(loaded.tokenizer)
    # further entries of the published configuration, if the model still is of that family
    kept = dict(loaded.published.get("config", {})) if loaded.published.get("family") == family.name else {}
    written = {**kept, **config, **tokens, "dtype": _PRECISIONS[precision]}
    if len(kept.get("id2label") or ()) == len(config.get("id2label") or ()):  # ours have numbers for names
        names = kept.get("id2label") or {}
        written |= {"id2label": names, "label2id": {name: int(row) for row, name in names.items()}} if names else {}
    written["torch_dtype"] = written["dtype"]  # its name before transformers 5
    with files.new_directory(folder) as draft:
        with files.disk_errors(folder.parent):
            write_safetensors(draft, dump(loaded.model, family.table(loaded.model.config)))
        files.write_json(draft / CONFIG, written)
        files.write_json(draft / GENERATION, {**tokens, **loaded.published.get("generation", {})})
        write_pooling(draft, loaded.model.config, loaded.published.get("pooling", {}))
        loaded.tokenizer.save(draft)
    return sorted(folder.iterdir())


def _special_ids(tokenizer: Tokenizer) -> dict[str, int]:
    roles = {"bos": "bos_id", "eos": "end_id", "pad": "pad_id"}
    there = [role for role in roles if {f"{role}_token", "eos_token"} & tokenizer.names.keys()]  # eos stands in
    return {f"{role}_token_id": getattr(tokenizer, roles[role]) for role in there}


def export_gguf(loaded: Loaded[AnyModel], path: Path, quantization: GgufPrecision = "f16") -> Path:
    """Write one GGUF file, for llama.cpp and what is built on it; raises as :func:`write_gguf_model`."""
    from seedbed.formats.gguf.model import write_gguf_model

    family, stated = (loaded.published.get(name) for name in ("family", "generation"))
    generation = stated if isinstance(stated, Mapping) else None
    write_gguf_model(path, loaded.model, loaded.tokenizer, quantization, family=family, generation=generation)
    return path
