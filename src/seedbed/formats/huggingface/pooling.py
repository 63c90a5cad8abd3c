"""Pooling settings of sentence-transformers: the steps from a text's hidden states to one vector.

Read are the pooling mode, normalization to length 1, the longest text, and the prompts before queries and documents.
Refused: further layers on the vector, several ways of pooling joined, and prompts that are not pooled, none of which
our encoders have.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedbed.core.errors import CorruptError, UsageError
from seedbed.core.files import read_json, write_json
from seedbed.models.config import AnyConfig, ModelConfig, PoolKind

MODULES = "modules.json"
_SETTINGS, _TEXTS = "sentence_bert_config.json", "config_sentence_transformers.json"
_KNOWN = ("Transformer", "Pooling", "Normalize")
_POOLS: dict[str, PoolKind] = {"mean": "mean", "cls": "first", "lasttoken": "last"}
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}  # names before sentence-transformers 6
_UNLIMITED = 1_000_000  # a tokenizer's model_max_length from here on means none


def read_pooling(folder: Path, shape: AnyConfig) -> tuple[AnyConfig, dict[str, Any]]:
    """Return the configuration with its pooling mode, and the further settings of a vector.

    An encoder without these files pools by the mean, as sentence-transformers does then.

    Returns:
        the second: ``normalize``, whether vectors have length 1; ``max_seq_length``, tokens of a text at most (or
        None); ``lowercase``, whether capitals are taken away first; ``prompts``, texts by role ("query", …).

    Raises:
        UsageError: the vectors are made in a way that our encoders do not know. CorruptError: a file is damaged.
    """
    if not isinstance(shape, ModelConfig) or shape.head not in ("none", "mlm", "lm"):
        return shape, {}
    if not (folder / MODULES).is_file():
        return (shape if shape.causal else dataclasses.replace(shape, pool="mean")), {}
    if shape.head == "lm":
        shape = dataclasses.replace(shape, head="none")  # a decoder that makes vectors does not write any more
    modules = {str(entry.get("type")).rpartition(".")[2]: _place(entry) for entry in _entries(folder)}
    if unknown := [kind for kind in modules if kind not in _KNOWN]:
        raise _unknown(folder, f"{MODULES} has {', '.join(unknown)}", f"the modules {', '.join(_KNOWN)}")
    settings = _table(folder / modules.get("Transformer", "") / _SETTINGS) or _table(folder / _SETTINGS)
    texts = _table(folder / _TEXTS)
    shape = dataclasses.replace(shape, pool=_pool(folder, modules.get("Pooling", ""), texts))
    return shape, {
        "normalize": "Normalize" in modules,
        "max_seq_length": _longest(folder, settings),
        "lowercase": bool(settings.get("do_lower_case")),
        "prompts": {role: text for role, text in (texts.get("prompts") or {}).items() if isinstance(text, str)},
    }


def write_pooling(folder: Path, shape: AnyConfig, pooling: Mapping[str, Any]) -> None:
    """Write these files beside an exported encoder, as all versions of sentence-transformers read them.

    ``pooling``: the result of :func:`read_pooling`; {} for an encoder of ours. Other models get no such files.
    """
    if not isinstance(shape, ModelConfig) or not (pooling or (shape.head == "none" and not shape.causal)):
        return
    places = {"Transformer": "", "Pooling": "1_Pooling"}
    places |= {"Normalize": "2_Normalize"} if pooling.get("normalize") else {}
    entries = [
        {"idx": index, "name": str(index), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, place) in enumerate(places.items())
    ]
    write_json(folder / MODULES, entries)
    mode = next(theirs for theirs, ours in _POOLS.items() if ours == shape.pool)
    flags = {flag: name == mode for flag, name in _FLAGS.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": shape.d_model, **flags})
    longest = pooling.get("max_seq_length") or shape.max_length
    write_json(folder / _SETTINGS, {"max_seq_length": longest, "do_lower_case": bool(pooling.get("lowercase"))})
    write_json(folder / _TEXTS, {"prompts": dict(pooling.get("prompts", {}))})


def _pool(folder: Path, place: str, texts: Mapping[str, Any]) -> PoolKind:
    table = _table(folder / place / "config.json") if place else {}
    chosen = table.get("pooling_mode", [mode for flag, mode in _FLAGS.items() if table.get(flag)] or ["mean"])
    modes = [chosen] if isinstance(chosen, str) else list(chosen)
    if len(modes) != 1 or modes[0] not in _POOLS:
        raise _unknown(folder, f"it pools by {' and '.join(map(str, modes))}", f"pooling by one of {', '.join(_POOLS)}")
    if table.get("include_prompt") is False and any((texts.get("prompts") or {}).values()):
        raise _unknown(folder, "its prompts are not pooled", "prompts that are a part of the text")
    return _POOLS[modes[0]]


def _longest(folder: Path, settings: Mapping[str, Any]) -> int | None:
    stated = settings.get("max_seq_length") or _table(folder / "tokenizer_config.json").get("model_max_length")
    return int(stated) if isinstance(stated, (int, float)) and 0 < stated < _UNLIMITED else None


def _entries(folder: Path) -> list[Mapping[str, Any]]:
    entries = _read(folder / MODULES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _unknown(folder, f"{MODULES} is no list of modules", "folders as sentence-transformers writes them")
    return entries


def _place(entry: Mapping[str, Any]) -> str:
    """Return a module's folder; "" for one outside the model's."""
    place = str(entry.get("path") or "")
    return place if re.fullmatch(r"\w[\w.-]*", place) else ""


def _table(path: Path) -> dict[str, Any]:
    found = _read(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptError(f"{path} cannot be read", why=str(error), fix="get the model again") from error


def _unknown(folder: Path, why: str, known: str) -> UsageError:
    return UsageError(f"{folder} pools vectors in an unsupported way", why=why, fix=f"use a model with {known}")
