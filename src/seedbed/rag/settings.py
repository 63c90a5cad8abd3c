"""How a collection is made: what cuts its documents, what makes its vectors, where these are searched."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.core.config import setting
from seedbed.documents.splitting.split import SplitSettings


@dataclass(frozen=True)
class CollectionSettings:
    """Fixed when a collection is made."""

    embedder: str = setting("tfidf", 'what makes vectors: "tfidf", a model\'s name, URL or URL#MODEL')
    server: str = setting("", 'search vectors on a server: "KIND:PLACE", such as "qdrant:http://127.0.0.1:6333"')
    split: SplitSettings = setting(SplitSettings(), "how documents are cut")
