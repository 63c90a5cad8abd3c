"""Recipes of the former form, one table a stage (``[pretrain]``, ``[finetune]`` …): refused with the new text.

They are not read on: a second form of every setting would have to be kept true for ever, while pasting is done once.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.errors import ConfigError

_FORMER = {"corpus", "use_corpus", "tokenizer", "model", "pretrain", "pretraining", "chat", "finetune", "baselines"}
_TRAIN = {"kind": "train", "objective": "causal_lm"}


def refuse_former(path: Path) -> None:
    """Raise ConfigError with the new text for a recipe of the former form."""
    try:
        table = tomllib.loads(files.read_text(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return  # whoever reads it next says so
    if "stage" not in table and (found := sorted(_FORMER & table.keys())):
        raise ConfigError(
            f"{path} is a recipe of the former form",
            why=f"it has {', '.join(found)}; a recipe is a list of [[stage]] entries now (docs/training.md)",
            fix="write the text below instead",
            paste=new_text(table),
        )


def new_text(former: Mapping[str, Any]) -> str:
    """Return a former recipe in today's form, as TOML."""
    lines = [f"name = {json.dumps(former.get('name', 'quickstart'))}"]
    for stage in _stages(former):
        lines += ["", "[[stage]]", *_entries(stage, "stage")]
    return "\n".join(lines) + "\n"


def _stages(former: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    model, finetune = dict(former.get("model", {})), dict(former.get("finetune", {}))
    start, context = model.pop("start", ""), model.get("context", 512)
    corpus = {"use": former["use_corpus"]} if former.get("use_corpus") else {"settings": former.get("corpus", {})}
    yield {"kind": "corpus", **corpus}
    yield {"kind": "tokenizer", **({"use": start} if start else {"settings": former.get("tokenizer", {})})}
    yield {"kind": "tokens"}
    if former.get("pretraining", True):
        begin = {"begin": start, "context": context} if start else {"model": model}
        settings = former.get("pretrain", {"minutes": 5.0})
        yield {"name": "pretrain", **_TRAIN, "source": "packed", **begin, "settings": settings}
    if former.get("chat", True):
        pairs = {"use": finetune["pairs"]} if finetune.get("pairs") else {"settings": finetune.get("questions", {})}
        yield {"kind": "questions", **pairs}
        begin = {"begin": "pretrain" if former.get("pretraining", True) else start, "context": context}
        source = {"kind": "chat", **({"replay": finetune["replay"]} if "replay" in finetune else {})}
        lora = {key: finetune[key] for key in ("rank", "alpha") if key in finetune}
        transform = {"transform": {"kind": "lora", **lora}} if finetune.get("rank") else {}
        settings = finetune.get("train", {"minutes": 1.0})
        yield {"name": "finetune", **_TRAIN, **begin, "source": source, **transform, "settings": settings}
    yield {"name": "report", "kind": "evaluate", **({"baselines": False} if former.get("baselines") is False else {})}


def _entries(table: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Plain entries first, then tables and lists of tables."""
    tables = {key: value for key, value in table.items() if isinstance(value, dict)}
    lists = {
        key: value for key, value in table.items() if isinstance(value, list) and value and isinstance(value[0], dict)
    }
    for key, value in table.items():
        if key not in tables and key not in lists:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"
    for key, inner in tables.items():
        if inner:
            yield f"[{prefix}.{key}]"
            yield from _entries(inner, f"{prefix}.{key}")
    for key, rows in lists.items():
        for row in rows:
            yield f"[[{prefix}.{key}]]"
            yield from _entries(row, f"{prefix}.{key}")
