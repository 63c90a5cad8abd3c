"""Our store: the conformance tests, BM25 against its formula, documents, several processes, damage, a full disk."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_store import verify
from store_conformance import CHUNKS, SIZE, StoreConformance, vectors

from seedbed.core.errors import CapacityError, CorruptError, DataError, NewerError, UsageError
from seedbed.documents.document import Chunk
from seedbed.search import nearest
from seedbed.search.contracts import Filter, Hit
from seedbed.search.nearest import Int8Codes, VectorBlock
from seedbed.search.store import Entry, Store
from seedbed.vectors.lsa import Vectors, unit


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store.sqlite")
    yield store
    store.close()


def search_words(store: Store, query: str, k: int, where: Filter | None = None) -> list[Hit]:
    return store.hits(store.matching(query, k, where))


class TestOurs(StoreConformance):
    """In a file."""


class TestInMemory(StoreConformance):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = Store(":memory:")
        yield store
        store.close()


class TestStreamed(StoreConformance):
    """With no memory for vectors, so that each search reads the file."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = Store(tmp_path / "store.sqlite", memory=0)
        yield store
        store.close()


def texts(*found: str, source: str = "a.txt") -> list[Chunk]:
    return [Chunk(source, place, place + len(text), text) for place, text in enumerate(found)]


def keep(store: Store, *found: str, source: str = "a.txt") -> list[Chunk]:
    chunks = texts(*found, source=source)
    store.put(source, "hash", [Entry(source, chunks)])
    return chunks


# words


def bm25(query: Sequence[str], documents: list[list[str]], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Robertson and Zaragoza (2009), equation 3.15, with the idf of equation 3.3, never below 1e-6."""
    mean = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for word in query:
            holding = sum(word in one for one in documents)
            idf = max(1e-6, math.log((len(documents) - holding + 0.5) / (holding + 0.5))) if holding else 0.0
            times = document.count(word)
            score += idf * times * (k1 + 1) / (times + k1 * (1 - b + b * len(document) / mean))
        scores.append(score)
    return scores


def test_word_scores_are_bm25(store: Store) -> None:
    documents = [
        "the cat sat on the mat",
        "the dog sat on the log and the log was wet",
        "cats and dogs are the usual animals",
        "a bird",
        "the cat the cat the cat sat",
        "nothing here to find",
        "one more line of the text",
    ]
    chunks = keep(store, *documents)
    tokens = [[{"cats": "cat", "dogs": "dog"}.get(word, word) for word in text.split()] for text in documents]
    expected = bm25(["cat", "sat", "log"], tokens)
    hits = search_words(store, "Cats, sat? log!", 10)
    order = sorted(
        (place for place in range(len(documents)) if expected[place] > 0), key=lambda place: -expected[place]
    )
    assert [hit.chunk for hit in hits] == [chunks[place] for place in order]
    assert [hit.score for hit in hits] == pytest.approx([expected[place] for place in order], rel=1e-6)


def test_a_word_that_the_query_repeats_counts_as_often(store: Store) -> None:
    """Beside the formula, and bm25s with the raw question where it is installed."""
    documents = ["a cat and a dog met", "the cat is old", "two dogs ran here", "a bird sang", "fish swim", "it rained"]
    chunks = keep(store, *documents)
    tokens = [text.replace("dogs", "dog").split() for text in documents]
    query = ["cat", "dog", "dog", "dog"]
    expected = bm25(query, tokens)
    found = {hit.chunk.id: hit.score for hit in search_words(store, "Cat dog dogs DOG", 10)}
    assert [found.get(chunk.id, 0.0) for chunk in chunks] == pytest.approx(expected, rel=1e-6)
    library = pytest.importorskip("bm25s")
    index = library.BM25(method="robertson", k1=1.2, b=0.75)
    index.index(tokens, show_progress=False)
    theirs = [2.2 * score for score in index.get_scores(query).tolist()]  # it leaves out the constant factor k1 + 1
    assert [found.get(chunk.id, 0.0) for chunk in chunks] == pytest.approx(theirs, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["running", "cats", "apple", "tree", "sea", "ships", "the"]), max_size=300),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.sampled_from(["run", "cats", "apples", "Tree", "sea", "absent"]), min_size=1, max_size=6),
)
def test_word_scores_are_those_of_fts5(found: list[list[str]], query: list[str]) -> None:
    """Its own bm25(); in it, words of more than half of the chunks add next to nothing."""
    store = Store(":memory:")
    keep(store, *(" ".join(one) for one in found))
    expected: dict[str, float] = {}
    with store._database.reading() as connection:
        match = " OR ".join(query)
        select = "SELECT id, -bm25(words) FROM words JOIN chunks ON chunks.row = words.rowid WHERE words MATCH ?"
        expected = {one: score for one, score in connection.execute(select, (match,)) if score > 1e-3}
    hits = [hit for hit in search_words(store, " ".join(query), 99) if hit.score > 1e-3]
    assert {hit.chunk.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-4, abs=2e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    store.close()


def test_words_of_more_than_half_of_the_chunks_only_count_alone(store: Store) -> None:
    chunks = keep(store, "the cat", "the dog", "the bird", "fish")
    assert [hit.chunk for hit in search_words(store, "the dog", 5)] == [chunks[1]]
    for query in ("the", "whatever the"):  # a word that no chunk has is no rare word
        assert {hit.chunk.text for hit in search_words(store, query, 5)} == {"the cat", "the dog", "the bird"}


def test_headings_are_searched_too(store: Store) -> None:
    chunk = Chunk("a.md", 0, 4, "text", None, "Install > On Linux")
    store.put("a.md", "hash", [Entry("a.md", [chunk, *texts("other")])])
    assert [hit.chunk for hit in search_words(store, "installing", 5)] == [chunk]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "AND",
        "OR NOT",
        "a* NEAR(b)",
        "text:x",
        "(",
        "'; DROP TABLE chunks; --",
        "^x",
        "-x",
        "{a b}:c",
        "\0",
        "",
        "  ",
        "?!",
    ],
)
def test_no_query_is_syntax(store: Store, query: str) -> None:
    keep(store, "plain words", "others")
    search_words(store, query, 3)
    assert store.count() == 2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_every_text_is_a_query(query: str) -> None:
    store = Store(":memory:")
    keep(store, query.encode(errors="replace").decode(), "others")
    for hit in search_words(store, query, 3):
        assert hit.score > 0
    store.close()


def test_accents_and_case_do_not_matter(store: Store) -> None:
    chunks = keep(store, "Éclairs für Zürich", "others", "third", "fourth")
    assert [hit.chunk for hit in search_words(store, "ZURICH eclair", 3)] == [chunks[0]]
    assert [hit.chunk for hit in search_words(store, "Zu\u0308rich", 3)] == [chunks[0]]  # decomposed


def test_word_search_filters(store: Store) -> None:
    chunks = [Chunk("a", place, place + 1, "same words", None, "", {"year": 2000 + place}) for place in range(5)]
    store.put("a", "hash", [Entry("a", chunks)])
    assert [hit.chunk for hit in search_words(store, "words", 9, {"year": {"gte": 2003}})] == chunks[3:]


# vectors


def test_search_is_exact_over_many_blocks(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 16)
    made = vectors(200, seed=3)
    chunks = texts(*(f"text {place}" for place in range(200)))
    for start in range(0, 200, 7):
        store.add(chunks[start : start + 7], made[start : start + 7])
        query = vectors(1, seed=start)[0]
        expected = np.argsort(-(made[: start + 7] @ query), kind="stable")[:5]
        assert [hit.chunk for hit in store.search(query, 5)] == [chunks[place] for place in expected]


@pytest.mark.parametrize("kind", ["random", "clusters", "few numbers"])
def test_the_first_look_leaves_out_none_of_the_best(kind: str) -> None:
    chance = np.random.default_rng(1)
    made = unit(chance.normal(size=(6000, 96)))
    if kind == "clusters":
        made = unit(0.2 * made + unit(chance.normal(size=(9, 96)))[chance.integers(0, 9, 6000)])
    if kind == "few numbers":
        made = unit(made * (chance.random(made.shape) < 0.03))
        made[:40] = 0
    rows, looked = np.arange(6000), Int8Codes.of(made)
    for number in range(40):
        query = unit(chance.normal(size=96) + (20 * made[number + 40] if number % 2 else 0))
        k = 1 + 7 * number
        kept, exact = looked.candidates(query, k), made.astype(np.float64) @ query.astype(np.float64)
        assert set(np.flatnonzero(exact > np.sort(exact)[-k] + 1e-6)) <= set(kept.tolist())
        assert k <= len(kept) < 6000
        found = nearest.nearest([VectorBlock(rows, made, looked)], query, k)
        expected = nearest.nearest([VectorBlock(rows, made)], query, k)
        assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-6)


def test_searches_that_repeat_find_the_same(store: Store) -> None:
    """The first look begins with the third."""
    made = vectors(5000, seed=5)
    store.add(texts(*map(str, range(5000))), made)
    query = vectors(1, seed=6)[0]
    found = [[hit.chunk.start for hit in store.search(query, 9)] for _ in range(6)]
    assert found == [np.argsort(-(made @ query), kind="stable")[:9].tolist()] * 6


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8), st.integers(1, 12), st.data())
def test_equals_are_in_the_order_they_came_in(scores: list[int], k: int, width: int, data: st.DataObject) -> None:
    rows = np.arange(1, len(scores) + 1)
    made = np.array(scores, np.float32)[:, None]
    allowed = data.draw(st.none() | st.sets(st.integers(0, 40)).map(lambda found: np.array(sorted(found), np.int64)))
    blocks = [VectorBlock(rows[at : at + width], made[at : at + width]) for at in range(0, len(rows), width)]
    found = nearest.nearest(blocks, np.ones(1, np.float32), k, allowed)
    usable = [row for row in rows if allowed is None or row in allowed]
    assert [row for row, _ in found] == sorted(usable, key=lambda row: (-scores[row - 1], row))[:k]


def test_what_another_connection_writes_is_found(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "s"), Store(tmp_path / "s")
    made = vectors(4)
    one.add(CHUNKS[:2], made[:2])
    assert other.search(made[1], 1)[0].chunk == CHUNKS[1]
    one.add(CHUNKS[2:4], made[2:4])
    assert other.search(made[3], 1)[0].chunk == CHUNKS[3]
    one.delete([CHUNKS[3].id])
    assert CHUNKS[3] not in [hit.chunk for hit in other.search(made[3], 9)]
    one.remake("another", SIZE, b"learnt")
    assert other.search(made[0], 9) == []
    assert list(one.complete(lambda found: -made[: len(found)])) == [3]
    assert other.search(-made[0], 1)[0].score == pytest.approx(1, abs=1e-6)
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (np.ones((2, SIZE + 1), np.float32), UsageError),
        (np.ones((3, SIZE), np.float32), DataError),
        (np.full((2, SIZE), np.nan, np.float32), DataError),
        (np.full((2, SIZE), np.inf, np.float32), DataError),
        (np.ones(2, np.float32), DataError),
    ],
)
def test_what_is_no_vector_is_refused_and_nothing_kept(store: Store, made: Vectors, error: type[Exception]) -> None:
    store.add(CHUNKS[:1], vectors(1))
    with pytest.raises(error):
        store.add(CHUNKS[1:3], made)
    assert store.count() == 1
    with pytest.raises(UsageError, match="another embedder"):
        store.search(np.ones(SIZE + 1, np.float32), 1)


def test_another_embedder_is_refused(store: Store) -> None:
    store.bind("first", SIZE)
    store.bind("first", SIZE)
    for name, size in (("second", SIZE), ("first", SIZE + 1)):
        with pytest.raises(UsageError, match="not made by") as caught:
            store.bind(name, size)
        assert "first" in caught.value.why
    assert store.embedder == ("first", SIZE)


def test_a_server_deletes_what_went_before_a_new_fit(store: Store) -> None:
    store.add(CHUNKS[:2], vectors(2))
    store.mark_synced([one.id for one in CHUNKS[:2]], [])
    store.delete([CHUNKS[0].id])
    store.remake("another", SIZE, b"learnt")
    assert list(store.complete(lambda found: vectors(len(found)))) == [1]
    chunks, made, gone = store.unsynced(9)
    assert (chunks, made.shape, gone) == ([CHUNKS[1]], (1, SIZE), [CHUNKS[0].id])


# documents


def test_a_document_is_replaced_as_a_whole(store: Store) -> None:
    keep(store, "old one", "old two", "old three", source="a.txt")
    other = keep(store, "other", source="b.txt")
    assert list(store.complete(lambda found: vectors(len(found)))) == [4]
    fresh = texts("new one", source="a.txt")
    assert store.put("a.txt", "changed", [Entry("a.txt", fresh, "Title")]) == 1
    assert store.count() == 2
    assert store.chunks_of("a.txt") == fresh
    assert search_words(store, "old", 5) == []
    assert [(one.source, one.sha256, one.title, one.chunks) for one in store.documents()] == [
        ("a.txt", "changed", "Title", 1),
        ("b.txt", "hash", "", 1),
    ]
    assert store.pending() == 1
    assert [hit.chunk for hit in store.search(vectors(1)[0], 9)] == other
    verify(store)


def test_an_origin_may_hold_several_documents(store: Store) -> None:
    entries = [Entry(f"big.txt#{number}", texts(f"part {number}", source=f"big.txt#{number}")) for number in range(3)]
    assert store.put("big.txt", "1", entries) == 3
    assert store.put("big.txt", "2", entries[:1]) == 1
    assert [one.source for one in store.documents()] == ["big.txt#0"]
    assert store.origins() == {"big.txt": "2"}
    assert store.drop(["big.txt", "absent"]) == 1
    assert store.count() == 0


def test_an_error_half_way_keeps_the_old_document(store: Store) -> None:
    old = keep(store, "old")

    def entries() -> Iterator[Entry]:
        yield Entry("a.txt", texts("new"))
        raise RuntimeError("the reader broke")

    with pytest.raises(RuntimeError):
        store.put("a.txt", "changed", entries())
    assert store.chunks_of("a.txt") == old
    assert store.origins() == {"a.txt": "hash"}


@pytest.mark.parametrize(
    "chunk",
    [Chunk("a", 0, 1, "\ud800"), Chunk("a", 0, 1, "x", None, "", {"bad": float("nan")}), Chunk("\udc80", 0, 1, "x")],
    ids=["surrogate", "NaN", "source"],
)
def test_what_cannot_be_stored_is_refused(store: Store, chunk: Chunk) -> None:
    kept = keep(store, "before", source="a")
    with pytest.raises(DataError, match="stored"):
        store.put("a", "changed", [Entry("a", [chunk])])
    assert store.chunks_of("a") == kept


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.integers(1, 9)), max_size=5)
)
def test_every_text_comes_back(found: list[tuple[str, int | None]]) -> None:
    store = Store(":memory:")
    chunks = [Chunk("s", place, place + len(text), text, page, text[:3]) for place, (text, page) in enumerate(found)]
    store.put("s", "hash", [Entry("s", chunks)])
    assert store.chunks_of("s") == chunks
    verify(store)
    store.close()


def test_the_sample_is_even(store: Store) -> None:
    keep(store, *(f"text {place}" for place in range(100)))
    found = store.sample(10)
    assert len(found) == 10
    assert [int(text.split()[1]) for text in found] == pytest.approx(np.linspace(9, 99, 10))
    assert store.sample(1000) == [f"text {place}" for place in range(100)]


# several at once


def _write(path: Path, writer: int, start: threading.Event, count: int) -> None:
    store = Store(path)
    start.wait()
    for number in range(count):
        source = f"{writer}-{number}"
        store.put(source, "hash", [Entry(source, texts("one", "two", "three", source=source))])
    store.close()


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, count = context.Event(), 40
    writers = [context.Process(target=_write, args=(tmp_path / "s", writer, start, count)) for writer in range(2)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = Store(tmp_path / "s")
    assert len(store.documents()) == 2 * count
    assert all(one.chunks == 3 for one in store.documents())
    verify(store)
    store.close()


def test_readers_see_whole_documents_while_one_writes(tmp_path: Path) -> None:
    """The document is replaced again and again, with as many chunks as its hash says."""
    writing, reading = Store(tmp_path / "s"), [Store(tmp_path / "s") for _ in range(3)]
    done, wrong = threading.Event(), list[object]()

    def write() -> None:
        for count in [3, 8] * 60:
            writing.put("a", str(count), [Entry("a", texts(*(f"word {place}" for place in range(count)), source="a"))])
        done.set()

    def read(store: Store) -> None:
        while not done.is_set():
            for one in store.documents():
                if one.chunks != int(one.sha256):
                    wrong.append(one)
            found = len(search_words(store, "word", 20))
            if found not in (0, 3, 8):
                wrong.append(found)

    threads = [threading.Thread(target=write), *(threading.Thread(target=read, args=(one,)) for one in reading)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    for store in (writing, *reading):
        store.close()


def test_threads_share_one_store(store: Store) -> None:
    made = vectors(60)
    chunks = texts(*(f"text {place}" for place in range(60)))
    wrong: list[object] = []

    def use(worker: int) -> None:
        for place in range(worker * 20, worker * 20 + 20):
            store.add([chunks[place]], made[place : place + 1])
            if store.search(made[place], 1)[0].chunk != chunks[place] or not search_words(store, str(place), 1):
                wrong.append(place)

    threads = [threading.Thread(target=use, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.count() == 60


INDEXER = """
import sys
from pathlib import Path
import numpy as np
from seedbed.documents.document import Chunk
from seedbed.search.store import Entry, Store

store = Store(Path(sys.argv[1]))
print("open", flush=True)
for turn in range(10_000):
    for number in range(20):
        source, count = f"doc {number}", 1 + (turn + number) % 40
        chunks = [Chunk(source, at, at + 9, f"words of {turn} at {at}") for at in range(count)]
        store.put(source, str(count), [Entry(source, chunks)])
    for _ in store.complete(lambda texts: np.ones((len(texts), 8), np.float32)):
        pass
    print(turn, flush=True)
"""


@pytest.mark.slow
def test_a_killed_indexer_leaves_whole_documents(tmp_path: Path) -> None:
    """24 times kill -9, at another moment each: from the making of the file to the middle of a later round."""
    path, chance = tmp_path / "store.sqlite", random.Random(0)
    for trial in range(24):
        process = subprocess.Popen([sys.executable, "-c", INDEXER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(trial % 4):
            process.stdout.readline()
        threading.Event().wait(chance.uniform(0, 0.25 if trial % 4 == 0 else 0.05))  # the moment is what is tried
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        store = Store(path)
        verify(store)
        for one in store.documents():
            assert one.chunks == int(one.sha256)
            assert len(store.chunks_of(one.source)) == one.chunks
        assert store.count() == sum(one.chunks for one in store.documents())
        assert len(search_words(store, "words", 1000)) == store.count()
        store.close()
    assert store is not None
    last = Store(path)
    assert len(last.documents()) == 20
    last.close()


# damage


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_something_else_is_called_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="damaged") as caught:
        Store(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (x)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="damaged"):
        Store(path)
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    Store(tmp_path / "s").close()
    database = sqlite3.connect(tmp_path / "s")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(NewerError, match="newer seedbed"):
        Store(tmp_path / "s")


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = Store(path)
    keep(store, *(f"words number {place} " * 50 for place in range(500)))
    verify(store)
    store.close()
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // 16_384):
        data[page * 16_384 : page * 16_384 + 2000] = os.urandom(2000)
    path.write_bytes(data)
    damaged = Store(path)
    with pytest.raises(CorruptError, match="damaged"):
        damaged.chunks_of("a.txt")
    damaged.close()


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """No file may grow beyond a limit: the operating system refuses to write."""
    path = tmp_path / "store.sqlite"
    store = Store(path)
    old = keep(store, "what was there before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full") as caught:
            keep(store, *(f"{place} " * 2000 for place in range(1000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.search("before is there still", caught.value.why)
    assert store.chunks_of("a.txt") == old
    verify(store)
    keep(store, "room again")
    store.close()
    again = Store(path)
    assert [one.text for one in again.chunks_of("a.txt")] == ["room again"]
    again.close()


def test_a_full_disk_while_the_file_is_made_leaves_none(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full"):
            Store(tmp_path / "store.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_vectors_are_of_length_one() -> None:
    made = np.array([[3, 4], [0, 0], [1e-8, 0]], np.float32)
    assert np.linalg.norm(unit(made), axis=1) == pytest.approx([1, 0, 1])
