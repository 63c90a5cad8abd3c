"""Finding chunks for a question: by words, by vector, or both; different ones rather than the same thing thrice.

Two rankings become one by their scores, each scaled to 0 … 1 (the convex combination of Bruch, Gai and Ingber 2023),
or by reciprocal rank fusion (Cormack, Clarke and Büttcher 2009, k = 60), which needs no scores. With TF-IDF's vectors
only the best by words have a part in a fused score: far down these vectors' scores hardly differ, so that words alone
would decide who is in, and they know less (docs/log.md has the figures). Diversity is maximal marginal relevance
(Carbonell and Goldstein 1998). A reranker is any function that scores chunks for a question. What it leaves out:
rewriting of the question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Embedder, Filter, Hit, VectorStore
from seedbed.search.modes import MODES, Mode
from seedbed.search.nearest import Ranked
from seedbed.search.store import Store
from seedbed.vectors.arrays import Vectors

Fusion = Literal["scores", "ranks"]
Rerank = Callable[[str, Sequence[Chunk]], Sequence[float]]
"""A question and chunks to a score for each; the highest is the best."""
DEPTH = 100
"""How many of each ranking are fused, diversified and reranked, or four times what is wanted where that is more."""
RANK_OFFSET = 60


@dataclass(frozen=True)
class HybridShares:
    """How two rankings count in a fused score.

    Attributes:
        vectors: their share; the rest is that of words.
        words_depth: how many of the ranking by words count; None: all.
    """

    vectors: float = 0.5
    words_depth: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.vectors <= 1:
            what = f"the share of vectors cannot be {self.vectors}"
            raise UsageError(what, why="it is a share of the score", fix="give a number from 0 to 1")


TFIDF_SHARES = HybridShares(0.9, 50)
"""Measured for TF-IDF's vectors, which know the same words; a model's count as much as words do."""


@dataclass(frozen=True)
class Retriever:
    """Finds chunks in a store.

    Attributes:
        embedder: the one that made the store's vectors; None: only by words.
        mode: "hybrid" is both.
        diversity: 0 ranks by fit alone, 1 only by difference to what is ranked before (MMR's 1 - lambda).
        rerank: gives the final scores to the best of what was found.
        server: where the vectors are, when they are not in the store itself.
        fusion: how the two rankings of "hybrid" become one; ``shares`` is for "scores".
    """

    store: Store
    embedder: Embedder | None
    mode: Mode = "hybrid"
    diversity: float = 0.0
    rerank: Rerank | None = None
    server: VectorStore | None = None
    fusion: Fusion = "scores"
    shares: HybridShares = TFIDF_SHARES

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"there is no mode {self.mode!r}", why="a search has one", fix=f"use {', '.join(MODES)}")
        if not 0 <= self.diversity <= 1:
            what = f"diversity cannot be {self.diversity}"
            raise UsageError(what, why="it is a share of the score", fix="give a number from 0 to 1")

    def search(self, query: str, k: int = 4, where: Filter | None = None, trace: Trace | None = None) -> list[Hit]:
        """The ``k`` best chunks for a question, best first.

        Raises:
            UsageError: a filter that cannot be.
        """
        if k < 1:
            raise UsageError(f"{k} chunks cannot be found", why="a search finds at least one", fix="give 1 or more")
        with span(trace, "retriever", self.mode, k=k, content={"query": query}) as work:
            hits = self._search(query, k, where)
            work.data.update(found=len(hits), content={"sources": [hit.chunk.source for hit in hits]})
        return hits

    def _search(self, query: str, k: int, where: Filter | None) -> list[Hit]:
        reordered = self.rerank is not None or self.diversity > 0
        depth = max(DEPTH, 4 * k)
        vector = self._vector(query)
        ranked = self._ranked(query, vector, depth if reordered or self.mode == "hybrid" else k, where)
        if self.rerank is not None:
            ranked = self._reranked(query, ranked[:depth])
        if self.diversity > 0:
            ranked = diversify(ranked[:depth], self.store.vectors_of([row for row, _ in ranked]), k, self.diversity)
        return self.store.hits(ranked[:k])

    def _vector(self, query: str) -> Vectors | None:
        """None where there is nothing to compare: no embedder, or no word that it knows."""
        if self.embedder is None or self.mode == "words":
            return None
        vector = self.embedder.embed_query(query)
        return vector if vector.any() else None

    def _ranked(self, query: str, vector: Vectors | None, depth: int, where: Filter | None) -> Ranked:
        by_words = self.store.matching(query, depth, where) if self.mode != "vector" else []
        by_vector = self._nearest(vector, depth, where) if vector is not None else []
        if not (by_words and by_vector):
            return by_words or by_vector
        return fuse_ranks([by_words, by_vector]) if self.fusion == "ranks" else self._fused(by_words, by_vector)

    def _fused(self, by_words: Ranked, by_vector: Ranked) -> Ranked:
        words, vectors = by_words[: self.shares.words_depth], self.shares.vectors
        return fuse_scores([(words, 1 - vectors), (by_vector, vectors)])

    def _nearest(self, vector: Vectors, k: int, where: Filter | None) -> Ranked:
        if self.server is None:
            return self.store.nearest(vector, k, where)
        hits = self.server.search(vector, k, where)
        rows = self.store.rows([hit.chunk.id for hit in hits])
        return [(rows[hit.chunk.id], hit.score) for hit in hits if hit.chunk.id in rows]

    def _reranked(self, query: str, ranked: Ranked) -> Ranked:
        assert self.rerank is not None
        hits = self.store.hits(ranked)
        scores = self.rerank(query, [hit.chunk for hit in hits])
        rows = self.store.rows([hit.chunk.id for hit in hits])
        pairs = [(rows[hit.chunk.id], float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(pairs, key=lambda pair: -pair[1])


def fuse_scores(rankings: Sequence[tuple[Ranked, float]]) -> Ranked:
    """The sum of scores, each scaled to 0 … 1 over its ranking and times its ranking's weight; 0 where it has none."""
    scores: dict[int, float] = {}
    for ranked, weight in rankings:
        for (row, _), scaled in zip(ranked, _scaled([score for _, score in ranked]), strict=True):
            scores[row] = scores.get(row, 0.0) + weight * float(scaled)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def fuse_ranks(rankings: Sequence[Ranked], offset: int = RANK_OFFSET) -> Ranked:
    """Reciprocal rank fusion: the score is the sum of 1 / (offset + rank) over the rankings, ranks from 1."""
    scores: dict[int, float] = {}
    for ranked in rankings:
        for rank, (row, _) in enumerate(ranked, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (offset + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def diversify(ranked: Ranked, vectors: dict[int, Vectors], k: int, diversity: float) -> Ranked:
    """Maximal marginal relevance: next comes what has the highest ``(1 - diversity) * fit - diversity * likeness``.

    Args:
        ranked: best first; the fit is its score, scaled to 0 … 1 over these.
        vectors: of length 1; the likeness is the highest cosine with what came before, 0 for one without a vector.

    Returns:
        ``k`` of them in their new order, with the scores they had.
    """
    if not ranked:
        return []
    fit = _scaled([score for _, score in ranked])
    size = len(next(iter(vectors.values()))) if vectors else 1
    matrix = np.array([vectors.get(row, np.zeros(size, np.float32)) for row, _ in ranked])
    likeness = np.zeros(len(ranked), np.float32)
    chosen: list[int] = []
    while len(chosen) < min(k, len(ranked)):
        value = (1 - diversity) * fit - diversity * likeness
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
        similar = matrix @ matrix[chosen[-1]]
        likeness = similar if len(chosen) == 1 else np.maximum(likeness, similar)
    return [ranked[place] for place in chosen]


def _scaled(scores: Sequence[float]) -> Vectors:
    found = np.array(scores, np.float32)
    if not len(found):
        return found
    spread = float(found.max() - found.min())
    return (found - found.min()) / spread if spread > 0 else np.ones_like(found)
