"""LangChain's interfaces of our parts: a chat model, embeddings and a vector store, for its chains and agents.

Needs ``langchain-core``, as nothing else here does. Left out: choosing another model at a call (one object is one
model), images and sounds, and a native asynchronous way (LangChain's own, with threads, is used).
"""

from __future__ import annotations

from seedbed.core.errors import UsageError

try:
    from seedbed.integrations.langchain_chat import SeedbedChat
    from seedbed.integrations.langchain_store import SeedbedEmbeddings, SeedbedVectorStore
except ModuleNotFoundError as missing:
    if not (missing.name or "").startswith("langchain_core"):
        raise
    fix = "pip install langchain-core, or use seedbed.chat and seedbed.rag without it"
    raise UsageError("LangChain is not installed", why=str(missing), fix=fix) from missing

__all__ = ["SeedbedChat", "SeedbedEmbeddings", "SeedbedVectorStore"]
