"""seedbed: the whole life of a language model on your own text, in one readable package.

The names below are doors to the parts used most; each is imported when it is first asked for, so that ``import
seedbed`` costs nothing. ``docs/architecture.md`` shows what lies behind them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seedbed.core.version import __version__

if TYPE_CHECKING:
    from seedbed.chat.local import LocalModel
    from seedbed.chat.messages import Message
    from seedbed.chat.remote import RemoteModel
    from seedbed.core.artifacts import Library
    from seedbed.core.errors import SeedbedError
    from seedbed.documents.reading import read
    from seedbed.inference.parameters import Sampling
    from seedbed.models.store import load_model
    from seedbed.pipeline.recipe import load_recipe
    from seedbed.pipeline.run import run_recipe
    from seedbed.rag.answer import ask
    from seedbed.rag.collection import Collection
    from seedbed.tokenizers.tokenizer import Tokenizer

__all__ = [
    "Collection",
    "Library",
    "LocalModel",
    "Message",
    "RemoteModel",
    "Sampling",
    "SeedbedError",
    "Tokenizer",
    "__version__",
    "ask",
    "load_model",
    "load_recipe",
    "read",
    "run_recipe",
]
_DOORS = {
    "Collection": "rag.collection",
    "Library": "core.artifacts",
    "LocalModel": "chat.local",
    "Message": "chat.messages",
    "RemoteModel": "chat.remote",
    "Sampling": "inference.parameters",
    "SeedbedError": "core.errors",
    "Tokenizer": "tokenizers.tokenizer",
    "ask": "rag.answer",
    "load_model": "models.store",
    "load_recipe": "pipeline.recipe",
    "read": "documents.reading",
    "run_recipe": "pipeline.run",
}


def __getattr__(name: str) -> Any:
    """Import a door when it is first asked for (PEP 562)."""
    if name not in _DOORS:
        raise AttributeError(f"module 'seedbed' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"seedbed.{_DOORS[name]}"), name)
    return value


def __dir__() -> list[str]:
    """List the doors beside what is imported already."""
    return sorted({*globals(), *__all__})
