"""Retrieval: find chunks for a question by words, by vector, or both, and prefer chunks unlike each other.

Two rankings become one by their scores, each scaled to 0 … 1 (the convex combination of Bruch, Gai and Ingber 2023).
With TF-IDF's vectors only the best by words count in a fused score: low in the ranking the vectors' scores hardly
differ, so that words alone would decide, and they know less (docs/log.md has the figures). Diversity is maximal
marginal relevance (Carbonell and Goldstein 1998). A reranker is any function that scores chunks for a question. Left
out: rewriting of the question; fusion by reciprocal rank, which found less (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Embedder, Filter, Hit, VectorStore
from seedbed.search.copies import Distinct
from seedbed.search.modes import MODES, Mode
from seedbed.search.nearest import Ranked
from seedbed.search.store import Store
from seedbed.vectors.lsa import Vectors

Rerank = Callable[[str, Sequence[Chunk]], Sequence[float]]
"""A function from a question and chunks to a score for each; the highest is the best."""
DEPTH = 100
"""Chunks of each ranking that are fused, diversified and reranked; at least four times as many as are wanted."""


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise UsageError(f"{name} cannot be {share}", why="it is a share of the score", fix="give a number from 0 to 1")


@dataclass(frozen=True)
class HybridShares:
    """The shares of two rankings in a fused score.

    Attributes:
        vectors: the vectors' share; the rest is the words'.
        words_depth: how many of the ranking by words count; None: all.
    """

    vectors: float = 0.5
    words_depth: int | None = None

    def __post_init__(self) -> None:
        _check_share("the share of vectors", self.vectors)


TFIDF_SHARES = HybridShares(0.8, 25)
"""Chosen on Cranfield for TF-IDF's vectors, which know the same words; a model's vectors count as much as words."""


@dataclass(frozen=True)
class Retriever:
    """Finds chunks in a store.

    Attributes:
        embedder: the one that made the store's vectors; None: search by words only.
        mode: "hybrid" is words and vectors.
        diversity: 0 ranks by relevance alone, 1 only by difference to the chunks ranked before (MMR's 1 - lambda).
        rerank: gives the final scores to the best of the found chunks.
        server: holds the vectors instead of the store.
        copies: return chunks of nearly the same text each, instead of the best of them with the sources of the others.
    """

    store: Store
    embedder: Embedder | None
    mode: Mode = "hybrid"
    diversity: float = 0.0
    rerank: Rerank | None = None
    server: VectorStore | None = None
    shares: HybridShares = TFIDF_SHARES
    copies: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            what = f"there is no mode {self.mode!r}"
            raise UsageError(what, why="it is not a way to search", fix=f"use {', '.join(MODES)}")
        _check_share("diversity", self.diversity)

    def search(self, query: str, k: int = 4, where: Filter | None = None, trace: Trace | None = None) -> list[Hit]:
        """Return the ``k`` best chunks for a question, best first.

        Raises UsageError: ``k`` is below 1, or the filter is not valid.
        """
        if k < 1:
            raise UsageError(f"cannot search for {k} chunks", why="a search finds at least one", fix="give 1 or more")
        with span(trace, "retriever", self.mode, k=k, content={"query": query}) as work:
            hits = self._search(query, k, where)
            work.data.update(found=len(hits), content={"sources": [hit.chunk.source for hit in hits]})
        return hits

    def _search(self, query: str, k: int, where: Filter | None) -> list[Hit]:
        depth = max(DEPTH, 4 * k)
        while True:
            ranked = self._ordered(query, k, depth, where)
            if self.copies:
                return self.store.hits(ranked[:k])
            found = Distinct(k)
            batches = (ranked[at : at + 2 * k] for at in range(0, len(ranked), 2 * k))
            if any(found.add(self.store.hits(batch)) for batch in batches) or len(ranked) < depth:
                return found.hits
            depth *= 4  # copies fill the ranking

    def _ordered(self, query: str, k: int, depth: int, where: Filter | None) -> Ranked:
        """Return the ranking, reranked and diversified where that is wanted."""
        ranked = self._ranked(query, depth, where)
        if self.rerank is not None:
            hits = self.store.hits(ranked[:depth])
            scores = self.rerank(query, [hit.chunk for hit in hits])
            reranked = [Hit(hit.chunk, float(score)) for hit, score in zip(hits, scores, strict=True)]
            ranked = sorted(self._rows_of(reranked), key=lambda pair: -pair[1])
        if self.diversity > 0:
            vectors = self.store.vectors_of([row for row, _ in ranked])
            ranked = diversify(ranked[:depth], vectors, k if self.copies else depth, self.diversity)
        return ranked

    def _ranked(self, query: str, depth: int, where: Filter | None) -> Ranked:
        by_words = self.store.matching(query, depth, where) if self.mode != "vector" else []
        by_vector = self._nearest(query, depth, where) if self.mode != "words" else []
        if not (by_words and by_vector):
            return by_words or by_vector
        share = self.shares.vectors
        return fuse_scores([(by_words[: self.shares.words_depth], 1 - share), (by_vector, share)])

    def _nearest(self, query: str, k: int, where: Filter | None) -> Ranked:
        """Rank by vector; nothing without an embedder, or for a query of which it knows no word."""
        vector = self.embedder.embed_query(query) if self.embedder is not None else None
        if vector is None or not vector.any():
            return []
        if self.server is None:
            return self.store.nearest(vector, k, where)
        return self._rows_of(self.server.search(vector, k, where))

    def _rows_of(self, hits: Sequence[Hit]) -> Ranked:
        rows = self.store.rows([hit.chunk.id for hit in hits])
        return [(rows[hit.chunk.id], hit.score) for hit in hits if hit.chunk.id in rows]


def fuse_scores(rankings: Sequence[tuple[Ranked, float]]) -> Ranked:
    """Sum the scores, each scaled to 0 … 1 over its ranking, times the ranking's weight; 0 where it is not ranked.

    Of equal sums the older row is first.
    """
    scores: dict[int, float] = {}
    for ranked, weight in rankings:
        for (row, _), scaled in zip(ranked, _scaled(ranked), strict=True):
            scores[row] = scores.get(row, 0.0) + weight * float(scaled)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))


def diversify(ranked: Ranked, vectors: dict[int, Vectors], k: int, diversity: float) -> Ranked:
    """Maximal marginal relevance: take the highest ``(1 - diversity) * relevance - diversity * similarity`` next.

    Args:
        ranked: best first; the relevance is its score, scaled to 0 … 1 over these.
        vectors: of length 1; the similarity is the highest cosine with those taken before, 0 without a vector.

    Returns:
        ``k`` of them in their new order, with the scores they had.
    """
    if not ranked:
        return []
    relevance = _scaled(ranked)
    size = len(next(iter(vectors.values()))) if vectors else 1
    matrix = np.array([vectors.get(row, np.zeros(size, np.float32)) for row, _ in ranked])
    similarity = np.zeros(len(ranked), np.float32)
    chosen: list[int] = []
    while len(chosen) < min(k, len(ranked)):
        value = (1 - diversity) * relevance - diversity * similarity
        value[chosen] = -np.inf
        chosen.append(int(value.argmax()))
        cosines = matrix @ matrix[chosen[-1]]
        similarity = cosines if len(chosen) == 1 else np.maximum(similarity, cosines)
    return [ranked[place] for place in chosen]


def _scaled(ranked: Ranked) -> Vectors:
    """Scale the scores of a ranking, best first, to 0 … 1."""
    found = np.array([score for _, score in ranked], np.float32)
    if not len(found):
        return found
    spread = float(found.max() - found.min())
    return (found - found.min()) / spread if spread > 0 else np.ones_like(found)
