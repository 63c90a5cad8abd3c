"""Retrieval: fusion and diversity against their formulas, modes, filters, reranking, and what is traced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.chat.tracing import TraceEvent
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.retrieval import DEPTH, TFIDF_SHARES, HybridShares, Retriever, diversify, fuse_scores
from seedbed.search.store import Store
from seedbed.vectors.lsa import Vectors, unit

TEXTS = [f"passage {place} about {topic}" for place, topic in enumerate(["ships", "sails", "bread", "cheese", "ships"])]
CHUNKS = [Chunk("a.txt", place, place + 1, text, None, "", {"place": place}) for place, text in enumerate(TEXTS)]
VECTORS = unit(np.array([[1, 0.1, 0], [0.9, 0.2, 0.1], [0, 1, 0], [0, 0.9, 0.3], [0.5, 0.5, 0.5]], np.float32))


class Table:
    """An embedder of known vectors."""

    name, size = "table", 3

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        known = {"sea": np.array([1, 0, 0], np.float32), "food": np.array([0, 1, 0], np.float32)}
        return known.get(text.split()[0], np.zeros(3, np.float32))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "s")
    store.add(CHUNKS, VECTORS)
    yield store
    store.close()


def places(hits: Sequence[object]) -> list[int]:
    return [hit.chunk.start for hit in hits]  # type: ignore[attr-defined]


@given(st.lists(st.lists(st.integers(0, 9), unique=True, max_size=10), min_size=1, max_size=4))
def test_fusion_is_the_sum_of_scaled_scores(rankings: list[list[int]]) -> None:
    """Scores of equal distances: of n, the place p has 1 - p / (n - 1) when scaled."""
    found = fuse_scores(
        [
            ([(row, -float(place)) for place, row in enumerate(ranking)], 1 + number)
            for number, ranking in enumerate(rankings)
        ]
    )
    expected = {
        row: sum(
            (1 + number) * (1 - ranking.index(row) / max(1, len(ranking) - 1))
            for number, ranking in enumerate(rankings)
            if row in ranking
        )
        for row in {one for ranking in rankings for one in ranking}
    }
    assert dict(found) == pytest.approx(expected)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)


def test_equal_fused_scores_are_in_the_order_of_rows() -> None:
    assert [row for row, _ in fuse_scores([([(7, 1.0), (3, 0.5)], 1), ([(3, 1.0), (7, 0.5)], 1)])] == [3, 7]


@given(st.integers(1, 8), st.integers(1, 10), st.floats(0, 1), st.integers(0, 1000))
def test_diversity_is_maximal_marginal_relevance(count: int, k: int, diversity: float, seed: int) -> None:
    """Against the definition, written as it stands in the paper."""
    chance = np.random.default_rng(seed)
    made = unit(chance.normal(size=(count, 4)))
    scores = sorted((float(one) for one in chance.random(count)), reverse=True)
    ranked = [(place + 10, score) for place, score in enumerate(scores)]
    low, high = min(scores), max(scores)
    fit = [(score - low) / (high - low) if high > low else 1.0 for score in scores]
    chosen: list[int] = []
    while len(chosen) < min(k, count):

        def marginal(place: int) -> float:
            closest = max((float(made[place] @ made[other]) for other in chosen), default=0.0)
            return (1 - diversity) * fit[place] - diversity * closest

        left = [place for place in range(count) if place not in chosen]
        best = max(map(marginal, left))
        found = diversify(ranked, {row: made[row - 10] for row, _ in ranked}, k, diversity)[len(chosen)][0] - 10
        assert marginal(found) == pytest.approx(best, abs=1e-5)
        chosen.append(found)
    assert len(set(chosen)) == len(chosen)


def test_without_diversity_the_order_stays() -> None:
    ranked = [(3, 0.9), (1, 0.5), (2, 0.1)]
    assert diversify(ranked, {}, 3, 0.0) == ranked
    assert diversify([], {}, 3, 0.5) == []


def test_modes(store: Store) -> None:
    def found(mode: str, query: str) -> list[int]:
        return places(Retriever(store, Table(), mode).search(query, 5))  # type: ignore[arg-type]

    assert found("vector", "sea bread") == places(store.search(np.array([1, 0, 0], np.float32), 5))
    assert found("words", "sea bread") == [2]
    assert found("hybrid", "food ships")[:2] == [2, 3]
    assert found("vector", "unknown word") == []
    assert found("words", "nothing of it") == []
    assert found("hybrid", "unknown bread") == [2]
    assert places(Retriever(store, None).search("bread", 5)) == [2]


def test_hybrid_fuses_both_rankings(store: Store) -> None:
    by_words, by_vector = store.matching("sea ships", DEPTH), store.nearest(Table().embed_query("sea"), DEPTH)
    expected = fuse_scores([(by_words, 1 - TFIDF_SHARES.vectors), (by_vector, TFIDF_SHARES.vectors)])
    for retriever, ranked in (
        (Retriever(store, Table()), expected),
        (Retriever(store, Table(), shares=HybridShares(0.3)), fuse_scores([(by_words, 0.7), (by_vector, 0.3)])),
    ):
        hits = retriever.search("sea ships", 5)
        assert [store.rows([hit.chunk.id])[hit.chunk.id] for hit in hits] == [row for row, _ in ranked[:5]]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in ranked[:5]])


def test_only_the_best_by_words_have_a_part_in_the_fused_score() -> None:
    """Some have the word, the shorter ones more of it; more others do not. Vectors are not counted."""
    count = 50 + 10
    texts = ["ships" + " wide" * place for place in range(count)] + ["bread"] * 2 * count
    many = Store(":memory:")
    chunks = [Chunk("a.txt", place, place + 1, text) for place, text in enumerate(texts)]
    many.add(chunks, np.tile(np.array([1, 0, 0], np.float32), (len(texts), 1)))
    hits = Retriever(many, Table(), shares=HybridShares(0.0, 50), copies=True).search("sea ships", len(texts))
    assert len(many.matching("sea ships", len(texts))) == count
    many.close()
    found = {hit.chunk.start: hit.score for hit in hits}
    assert [place for place, score in found.items() if score > 0] == list(range(50 - 1))  # the last is the 0
    assert len(found) == len(texts)


def test_scores_are_fused_as_they_are_scaled() -> None:
    """By hand: 10, 6, 5 become 1, 0.2, 0; 0.9, 0.1 become 1, 0."""
    found = fuse_scores([([(1, 10.0), (2, 6.0), (3, 5.0)], 0.25), ([(3, 0.9), (1, 0.1)], 0.75)])
    assert found == [(3, pytest.approx(0.75)), (1, pytest.approx(0.25)), (2, pytest.approx(0.05))]
    assert fuse_scores([([(4, 3.0)], 0.5), ([], 0.5)]) == [(4, 0.5)]


@pytest.mark.parametrize("mode", ["hybrid", "words", "vector"])
def test_filters_hold_in_every_mode(store: Store, mode: str) -> None:
    hits = Retriever(store, Table(), mode).search("sea ships", 5, {"place": {"gte": 3}})  # type: ignore[arg-type]
    assert hits
    assert all(hit.chunk.start >= 3 for hit in hits)


def test_a_reranker_has_the_last_word(store: Store) -> None:
    asked: list[tuple[str, list[str]]] = []

    def rerank(query: str, chunks: Sequence[Chunk]) -> list[float]:
        asked.append((query, [chunk.text for chunk in chunks]))
        return [float(chunk.start) for chunk in chunks]

    hits = Retriever(store, Table(), "vector", rerank=rerank).search("sea", 2)
    assert places(hits) == [4, 3]
    assert [hit.score for hit in hits] == [4, 3]
    assert asked == [("sea", [hit.chunk.text for hit in store.search(np.array([1, 0, 0], np.float32), 5)])]


def test_diversity_looks_beyond_what_is_wanted(store: Store) -> None:
    assert places(Retriever(store, Table(), "vector").search("sea", 2)) == [0, 1]
    assert places(Retriever(store, Table(), "vector", diversity=0.9).search("sea", 2)) == [0, 3]


@pytest.mark.parametrize(("mode", "diversity"), [("both", 0.0), ("hybrid", -0.1), ("hybrid", 1.1)])
def test_what_cannot_be_is_refused(store: Store, mode: str, diversity: float) -> None:
    with pytest.raises(UsageError):
        Retriever(store, None, mode, diversity)  # type: ignore[arg-type]


@pytest.mark.parametrize("k", [0, -1])
def test_a_search_finds_at_least_one(store: Store, k: int) -> None:
    with pytest.raises(UsageError):
        Retriever(store, None).search("bread", k)


def test_a_search_is_traced(store: Store) -> None:
    events: list[TraceEvent] = []
    Retriever(store, Table()).search("sea ships", 2, trace=events.append)
    assert [(event.kind, event.what, event.name) for event in events] == [
        ("start", "retriever", "hybrid"),
        ("end", "retriever", "hybrid"),
    ]
    assert events[0].data == {"k": 2, "content": {"query": "sea ships"}}
    assert events[1].data["found"] == 2
    assert events[1].data["content"] == {"sources": ["a.txt", "a.txt"]}


def test_vectors_may_be_on_a_server(store: Store, tmp_path: Path) -> None:
    """Another store with the vectors takes the server's place; what it alone has is not found."""
    server = Store(tmp_path / "server")
    server.add(CHUNKS[:3], -VECTORS[:3])
    server.add([Chunk("gone.txt", 0, 1, "gone")], np.array([[1, 0, 0]], np.float32))
    hits = Retriever(store, Table(), "vector", server=server).search("sea", 5)
    assert places(hits) == [2, 1, 0]
    assert hits[-1].score == pytest.approx(-float(VECTORS[0, 0]), abs=1e-6)
    server.close()
