"""What every vector store must do, ours and the adapters: a class that their tests inherit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Scalar
from seedbed.search.contracts import VectorStore
from seedbed.search.filters import conditions, matches
from seedbed.vectors.lsa import Vectors, unit

SIZE = 8


def chunk(number: int, **metadata: Scalar) -> Chunk:
    text = f"text number {number}"
    page = number if number % 2 else None
    return Chunk(f"file-{number % 3}.txt", 10 * number, 10 * number + len(text), text, page, f"Part {number}", metadata)


def vectors(count: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, SIZE)))


CHUNKS = [
    chunk(0, year=2019, lang="en", score=0.5, draft=True),
    chunk(1, year=2020, lang="de", score=1.5, draft=False),
    chunk(2, year=2021, lang="en"),
    chunk(3, year=2022, lang="fr", score=2.0),
    chunk(4, lang="en", title="Ünïcode „quotes“ 'and' \"others\" 東京"),
    chunk(5),
]
FILTERS: list[dict[str, Any]] = [
    {"year": 2020},
    {"year": {"eq": 2020}},
    {"year": {"ne": 2020}},
    {"year": {"gt": 2020}},
    {"year": {"gte": 2020}},
    {"year": {"lt": 2021}},
    {"year": {"lte": 2021}},
    {"year": {"gte": 2020, "lt": 2022}},
    {"year": {"in": [2019, 2022, 1]}},
    {"lang": {"in": ["en", "de"]}},
    {"lang": {"nin": ["en", "de"]}},
    {"lang": "en", "year": {"gt": 2019}},
    {"lang": {"ne": "en"}},
    {"score": {"gte": 1.5}},
    {"score": 0.5},
    {"draft": True},
    {"draft": {"ne": True}},
    {"source": "file-1.txt"},
    {"source": {"in": ["file-0.txt", "file-2.txt"]}, "year": {"gt": 2000}},
    {"page": {"gte": 3}},
    {"title": "Ünïcode „quotes“ 'and' \"others\" 東京"},
    {"lang": "en' OR 1=1 --"},
    {"absent": {"ne": 1}},
    {"absent": 1},
]
TEXT_ORDER: list[dict[str, Any]] = [{"lang": {"gt": "de"}}, {"lang": {"lte": "en"}}]


class StoreConformance:
    """Inherit, and give a fixture ``store`` with an empty store for vectors of ``SIZE`` numbers."""

    orders_texts = True

    def filled(self, store: VectorStore) -> Vectors:
        made = vectors(len(CHUNKS))
        store.add(CHUNKS, made)
        return made

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        assert store.count() == 0
        assert store.get(["0" * 32]) == []
        assert store.search(vectors(1)[0], 3) == []
        assert store.delete(["0" * 32]) == 0

    def test_chunks_come_back_as_they_were(self, store: VectorStore) -> None:
        made = vectors(len(CHUNKS))
        assert store.add(CHUNKS, made) == [one.id for one in CHUNKS]
        assert store.count() == len(CHUNKS)
        order = [3, 0, 5, 4, 1, 2]
        assert store.get([CHUNKS[place].id for place in order]) == [CHUNKS[place] for place in order]
        assert store.get([CHUNKS[2].id, "f" * 32, CHUNKS[0].id]) == [CHUNKS[2], CHUNKS[0]]

    def test_nothing_added_is_nothing(self, store: VectorStore) -> None:
        assert store.add([], np.zeros((0, SIZE), np.float32)) == []
        assert store.get([]) == []
        assert store.delete([]) == 0

    def test_a_search_ranks_by_cosine(self, store: VectorStore) -> None:
        made = self.filled(store)
        query = unit(np.random.default_rng(7).normal(size=SIZE))
        expected = made.astype(np.float64) @ query.astype(np.float64)
        hits = store.search(query, len(CHUNKS))
        assert [hit.chunk for hit in hits] == [CHUNKS[place] for place in np.argsort(-expected)]
        assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True), abs=1e-4)
        assert store.search(query, 2) == hits[:2]

    def test_length_does_not_count(self, store: VectorStore) -> None:
        made = vectors(3)
        store.add(CHUNKS[:3], made * np.array([[5.0], [0.1], [1.0]], np.float32))
        hits = store.search(made[1], 1)
        assert hits[0].chunk == CHUNKS[1]
        assert hits[0].score == pytest.approx(1, abs=1e-4)

    def test_a_chunk_that_is_there_is_replaced(self, store: VectorStore) -> None:
        made = self.filled(store)
        changed = Chunk(**{**vars(CHUNKS[0]), "metadata": {"year": 1999}})
        assert changed.id == CHUNKS[0].id
        store.add([changed], -made[:1])
        assert store.count() == len(CHUNKS)
        assert store.get([changed.id]) == [changed]
        assert store.search(-made[0], 1)[0].chunk == changed
        assert store.search(made[0], 1, {"lang": "en", "score": 0.5}) == []

    def test_one_that_comes_twice_is_kept_once(self, store: VectorStore) -> None:
        made = vectors(2)
        store.add([CHUNKS[0], CHUNKS[0]], made)
        assert store.count() == 1
        assert store.search(made[1], 1)[0].score == pytest.approx(1, abs=1e-4)

    def test_deleted_chunks_are_gone(self, store: VectorStore) -> None:
        made = self.filled(store)
        assert store.delete([CHUNKS[1].id, "f" * 32, CHUNKS[4].id]) == 2
        assert store.count() == len(CHUNKS) - 2
        assert store.get([CHUNKS[1].id]) == []
        assert {hit.chunk.id for hit in store.search(made[1], 10)} == {CHUNKS[place].id for place in (0, 2, 3, 5)}
        assert store.delete([CHUNKS[1].id]) == 0
        store.add([CHUNKS[1]], made[1:2])
        assert store.search(made[1], 1)[0].chunk == CHUNKS[1]

    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_a_filter_chooses_what_python_would(self, store: VectorStore, where: dict[str, Any]) -> None:
        made = self.filled(store)
        expected = {one.id for one in CHUNKS if matches(one, conditions(where))}
        assert {hit.chunk.id for hit in store.search(made[0], len(CHUNKS), where)} == expected
        assert len(store.search(made[0], 1, where)) == min(1, len(expected))

    @pytest.mark.parametrize("where", TEXT_ORDER, ids=str)
    def test_texts_are_ordered_or_that_is_refused(self, store: VectorStore, where: dict[str, Any]) -> None:
        made = self.filled(store)
        if not self.orders_texts:
            with pytest.raises(UsageError, match="cannot compare texts"):
                store.search(made[0], 1, where)
            return
        expected = {one.id for one in CHUNKS if matches(one, conditions(where))}
        assert {hit.chunk.id for hit in store.search(made[0], len(CHUNKS), where)} == expected

    def test_many_chunks(self, store: VectorStore) -> None:
        """More than fit in one request of any server."""
        count = 2_500
        chunks = [Chunk("book.txt", place, place + 1, f"{place}", None, "", {"place": place}) for place in range(count)]
        made = vectors(count)
        store.add(chunks, made)
        assert store.count() == count
        assert store.search(made[1234], 1, {"place": {"gte": 1000}})[0].chunk == chunks[1234]
        assert store.delete([one.id for one in chunks[:2000]]) == 2000
        assert store.count() == 500
