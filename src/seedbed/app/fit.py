"""Estimate, before anything is downloaded, whether a model fits a machine and its speed of generation there.

Memory: the weights in a precision, keys and values of the context in float32, the largest tensor once more while
loading, and the memory of Python and PyTorch. Speed: generation reads every weight once a token (the active experts
only), so measured bytes a second ÷ bytes a token is a limit that no program passes; `seedbed bench` measures the speed
reached. Reading a prompt is bound by arithmetic instead and left out.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, SeedbedError, UsageError
from seedbed.core.machine import available_bytes, gpus, memory_bytes, read_bandwidth
from seedbed.formats.gguf.file import is_gguf
from seedbed.formats.gguf.split import open_whole_gguf
from seedbed.formats.huggingface.quantization import scaling_of
from seedbed.hub.hub import Hub
from seedbed.hub.pulling import fetch_json, model_files
from seedbed.hub.repository import read_address
from seedbed.models.config import AnyConfig
from seedbed.models.families.registry import read_published
from seedbed.models.parameter_counts import ParameterCounts, count_parameters
from seedbed.models.presets import presets
from seedbed.models.store import read_config, read_description

PRECISIONS = {"float32": 32.0, "bfloat16": 16.0, "int8": 8.5, "int4": 4.5}
"""Bits of a weight, the scales of groups of 32 included; most exact first."""
RUNTIME = 400e6
"""Bytes that Python, PyTorch and buffers take."""
COMFORTABLE = 10.0
"""Tokens a second that most people read at; a smaller precision is recommended rather than fewer."""
DEFAULT_CONTEXT = 4096
_DTYPES = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}


@dataclass(frozen=True)
class Machine:
    """A machine's memory, disk and bandwidth; 0 where unknown."""

    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    bytes_per_second: float
    gpu_memory_bytes: int = 0
    gpu_bytes_per_second: float = 0.0


@dataclass(frozen=True)
class Needs:
    """The needs of a model: its counts, estimated where the family is not known, bytes to download, and a remark."""

    title: str
    parts: ParameterCounts
    download: int = 0
    note: str = ""


@dataclass(frozen=True)
class FitRow:
    """A model in one precision on a machine: bytes of weights, of memory in all, on the disk; tokens a second."""

    precision: str
    weights_bytes: float
    memory_bytes: float
    disk_bytes: float
    verdict: str
    tokens: float | None
    gpu: str = ""
    gpu_tokens: float | None = None

    @property
    def fits(self) -> bool:
        """True where it can run here at all."""
        return self.verdict != "no" or self.gpu == "yes"


def fit(needs: Needs, machine: Machine, context: int) -> list[FitRow]:
    """Return a row for every precision."""
    return [_row(needs, machine, context, name) for name in PRECISIONS]


def recommend(rows: list[FitRow]) -> FitRow | None:
    """Recommend the most exact precision that fits and writes as fast as people read, else the fastest that fits."""
    fitting = [row for row in rows if row.fits]
    quick = [row for row in fitting if _best(row) is None or (_best(row) or 0) >= COMFORTABLE]
    return quick[0] if quick else max(fitting, key=lambda row: _best(row) or 0, default=None)


def _best(row: FitRow) -> float | None:
    """Return the speed on the device that it fits."""
    speeds = [row.tokens if row.verdict != "no" else None, row.gpu_tokens if row.gpu == "yes" else None]
    known = [speed for speed in speeds if speed is not None]
    return max(known) if known else None


def _row(needs: Needs, machine: Machine, context: int, precision: str) -> FitRow:
    parts, bits = needs.parts, PRECISIONS[precision]
    weights, cache = parts.total * bits / 8, 4.0 * parts.cached(context)
    memory = weights + cache + 4.0 * parts.largest + RUNTIME
    disk, there = weights + needs.download, machine.memory_bytes
    verdict = "yes" if memory <= machine.available_bytes else "if other programs close" if memory <= there else "no"
    if not there:
        verdict = "unknown"
    if disk > machine.disk_bytes:
        verdict = "no"
    per_token = parts.read * bits / 8 + cache / 2  # a reply fills half of the context on average

    def speed(bandwidth: float) -> float | None:
        return bandwidth / per_token if parts.generates and bandwidth else None

    gpu, gpu_tokens = "", None
    if machine.gpu_memory_bytes and precision in ("float32", "bfloat16"):  # quantized layers compute on the processor
        gpu = "yes" if memory <= machine.gpu_memory_bytes and disk <= machine.disk_bytes else "no"
        gpu_tokens = speed(machine.gpu_bytes_per_second)
    return FitRow(precision, weights, memory, disk, verdict, speed(machine.bytes_per_second), gpu, gpu_tokens)


def find_needs(library: Library, model: str, revision: str | None, offline: bool) -> Needs:
    """Return the needs of a path, a name in the library, a preset, or a repository, looked for in this order.

    Raises:
        NotFoundError: there is none.
        HubError: the hub does not answer.
    """
    path = Path(model).expanduser()
    if is_gguf(path) or (path / "config.json").is_file():
        return folder_needs(path)
    if not model.startswith("hf:"):
        try:
            artifact = library.get(model, "model")
        except NotFoundError as error:
            missing = error
        else:
            artifact.verify()
            return config_needs(model, read_config(read_description(artifact)["model"]))
        if model in presets():
            return config_needs(model, presets()[model])
        if "/" not in model:
            why = f"{missing.why}; the published shapes are {', '.join(presets())}"
            fix = "for a repository on the hub write hf:OWNER/NAME"
            raise NotFoundError(f"there is no model {model!r}", why=why, fix=fix) from missing
    return _hub_needs(Hub(offline=offline), model, revision)


def this_machine(root: Path) -> Machine:
    """Measure this machine; ``root`` is on the disk to fill."""
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    disk, found = shutil.disk_usage(existing).free, gpus()
    gpu = (found[0]["free_bytes"], read_bandwidth(2**30, "cuda")) if found else (0, 0.0)
    return Machine(memory_bytes(), available_bytes(), disk, read_bandwidth(2**28), *gpu)


def config_needs(title: str, config: AnyConfig, download: int = 0) -> Needs:
    """Return the needs of a configuration of ours."""
    return Needs(title, count_parameters(config), download)


def published_needs(title: str, config: Mapping[str, Any], weights: int, download: int = 0) -> Needs:
    """Return the needs of a published configuration; from the size of its weights where its family is not known here.

    Raises:
        UsageError: neither the family nor the number of parameters can be told; or its weights are quantized in a
            form that is not read here.
    """
    scaling_of(config, title)
    try:
        return config_needs(title, read_published(config)[1], download)
    except SeedbedError as error:
        return _estimated(title, config, weights, download, error)


def _gguf_needs(title: str, path: Path) -> Needs:
    """Return the needs of a GGUF file: its tensors counted, its cache by the keys that llama.cpp writes."""
    opened = open_whole_gguf(path)
    sizes = {name: math.prod(opened.shape(name)) for name in opened.names()}
    meta, kind = opened.metadata, str(opened.metadata.get("general.architecture", ""))

    def stated(key: str, default: int = 0) -> int:
        value = meta.get(f"{kind}.{key}", default)
        return value if isinstance(value, int) and 0 <= value < 10**7 else default

    heads = stated("attention.head_count", 1)
    width = stated("attention.key_length", stated("embedding_length") // max(1, heads))
    cache = 2 * stated("block_count") * stated("attention.head_count_kv", heads) * width
    looked_up = sizes.get("token_embd.weight", 0) if "output.weight" in sizes else 0
    parts = _parts(sum(sizes.values()), looked_up, max(sizes.values(), default=0), cache, stated("context_length"))
    return Needs(title, parts)


def folder_needs(path: Path) -> Needs:
    """Return the needs of a published folder or GGUF file. Raises UsageError: it is neither; CorruptError: damaged."""
    if path.is_file():
        return _gguf_needs(path.name, path)
    described = path / "config.json"
    if not described.is_file():
        why = "it has no config.json"
        raise UsageError(f"{path} is no model", why=why, fix="give a folder of a published model, or a GGUF file")
    config = files.read_json_object(described, fix="copy it again")
    weights = sum(one.stat().st_size for one in path.glob("*.safetensors"))
    return published_needs(path.name, config, weights)


def _hub_needs(hub: Hub, model: str, revision: str | None) -> Needs:
    """Return the needs of a repository, from its config.json and the sizes of its files; weights are not downloaded."""
    listing = hub.listing(read_address(model), revision)
    choice = model_files(hub, listing)
    if choice.main:
        what = f"{listing.address}: the size of {choice.main} is not known before it is pulled"
        why = f"it is a GGUF file of {choice.bytes / 1e9:.2f} GB; its description is inside the file"
        fix = "pull it and ask again, or count with about its size and half a gigabyte more of memory"
        raise UsageError(what, why=why, fix=fix)
    config = fetch_json(hub, listing, "config.json")
    return published_needs(str(listing.address), config, choice.weights, choice.bytes)


def _estimated(title: str, config: Mapping[str, Any], weights: int, download: int, error: SeedbedError) -> Needs:
    """Estimate needs from the size of the weights and the usual keys of a config.json."""
    inner = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    assert isinstance(inner, Mapping)
    written = inner.get("dtype") or inner.get("torch_dtype") or config.get("torch_dtype") or ""
    dtype = str(written).removeprefix("torch.")
    if not weights or dtype not in _DTYPES:
        raise UsageError(f"the size of {title} cannot be told", why=error.why, fix=error.fix) from error

    def stated(*keys: str) -> int:
        found = next((inner[key] for key in keys if isinstance(inner.get(key), int)), 0)
        return int(found) if 0 <= found < 10**7 else 0

    total = weights // _DTYPES[dtype]
    layers, heads = stated("num_hidden_layers", "n_layer"), stated("num_attention_heads", "n_head")
    width = stated("hidden_size", "n_embd", "d_model")
    head = stated("head_dim") or width // max(1, heads)
    cache = 2 * layers * (stated("num_key_value_heads") or heads) * head
    table = stated("vocab_size") * width
    looked_up = 0 if inner.get("tie_word_embeddings", True) else table
    context = stated("max_position_embeddings", "n_positions")
    note = f"{error.what}; estimated from {weights / 1e9:.2f} GB of weights in {dtype}"
    return Needs(title, _parts(total, looked_up, table, cache, context), download, note)


def _parts(total: int, looked_up: int, largest: int, cache: int, context: int) -> ParameterCounts:
    read = max(0, total - looked_up)
    return ParameterCounts({"all": total}, read, largest, cache, 0, context or DEFAULT_CONTEXT, generates=True)
