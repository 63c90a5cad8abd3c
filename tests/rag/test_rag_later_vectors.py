"""Vectors made later: words answer at once, a killed process loses a batch at most, and a search says its mode."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import add_model

from seedbed.chat.failures import RemoteError
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.rag.collection import COVERED, Collection
from seedbed.search.embedders import open_embedder

DOCUMENTS = 400


@pytest.fixture
def library(tmp_path: Path) -> Library:
    torch.set_num_threads(1)
    made = Library(tmp_path / "library")
    add_model(made, "tiny", 5, window=64)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(DOCUMENTS):
        (folder / f"{number:03}.txt").write_text(f"ship{number} sails to harbour{number}")
    return folder


@pytest.fixture
def words_only(library: Library, folder: Path) -> Iterator[Collection]:
    made = Collection.create(library, "notes", {"embedder": "none"})
    made.add([str(folder)])
    yield made
    made.close()


def modes(collection: Collection, query: str = "ship7 harbour7") -> set[str | None]:
    return {hit.mode for hit in collection.search(query, 3)}


def test_words_answer_before_there_are_vectors(words_only: Collection) -> None:
    hits = words_only.search("where does ship7 sail?", 1)
    assert hits[0].chunk.source.endswith("007.txt")
    assert (hits[0].mode, words_only.store.pending(), words_only.remark("hybrid")) == ("words", DOCUMENTS, "")
    with pytest.raises(UsageError, match="no vectors"):
        words_only.search("ship7", 1, mode="vector")
    with pytest.raises(UsageError, match="nothing to make vectors with"):
        words_only.embed()


def test_vectors_made_later_are_those_of_the_embedder(library: Library, words_only: Collection) -> None:
    elsewhere = Collection.open(library, "notes")
    assert modes(elsewhere) == {"words"}
    words_only.embed("tiny")
    assert modes(words_only) == {"hybrid"}
    assert modes(elsewhere) == {"hybrid"}  # opened before, as a server has it
    elsewhere.close()
    chunk = words_only.chunks_of(_path(words_only, 77))[0]
    content = f"{chunk.heading}\n{chunk.text}".lstrip()
    row = words_only.store.rows([chunk.id])[chunk.id]
    wanted = open_embedder("tiny", library).embed_documents([content])[0]
    assert np.allclose(words_only.store.vectors_of([row])[row], wanted, atol=1e-6)


EMBED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection
Collection.open(Library(Path(sys.argv[1])), "notes").embed("tiny")
"""


def test_a_killed_process_keeps_what_it_made_and_the_next_goes_on(library: Library, words_only: Collection) -> None:
    process = subprocess.Popen([sys.executable, "-c", EMBED, str(library.root)], stderr=subprocess.DEVNULL)
    while words_only.store.pending() == DOCUMENTS and process.poll() is None:
        threading.Event().wait(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    lacking = words_only.store.pending()
    assert 0 < lacking < DOCUMENTS
    rows = range(1, words_only.store.last_row() + 1)
    kept = words_only.store.vectors_of(rows)
    assert len(kept) == DOCUMENTS - lacking
    if lacking > DOCUMENTS * (1 - COVERED):
        assert modes(words_only) == {"words"}
        assert words_only.remark("hybrid").startswith(f"searched by words: {lacking} of {DOCUMENTS}")
    asked = _count_embedded(words_only)
    words_only.embed()
    assert sum(asked) == lacking  # nothing is made twice
    after = words_only.store.vectors_of(rows)
    assert all(np.array_equal(after[row], vector) for row, vector in kept.items())
    assert modes(words_only) == {"hybrid"}


def test_documents_that_come_later_are_found_by_words_and_counted(
    library: Library, words_only: Collection, folder: Path
) -> None:
    words_only.embed("tiny")
    (folder / "new.txt").write_text("The lighthouse keeper Ysolde lit belvanite lamps.")
    _read_without_vectors(words_only, folder)
    hits = words_only.search("belvanite lamps Ysolde", 3)
    assert any(hit.chunk.source.endswith("new.txt") and hit.mode == "hybrid" for hit in hits)
    assert words_only.remark("hybrid").startswith(f"1 of {DOCUMENTS + 1} chunks have no vector")
    for number in range(60):  # now more than one in ten
        (folder / f"late{number}.txt").write_text(f"late{number} lamp")
    _read_without_vectors(words_only, folder)
    assert modes(words_only) == {"words"}
    words_only.add([str(folder)])
    assert (words_only.store.pending(), modes(words_only)) == (0, {"hybrid"})


def test_another_embedder_makes_all_vectors_anew(library: Library, words_only: Collection) -> None:
    words_only.embed("tiny")
    add_model(library, "other", 6, window=64)
    words_only.embed("other")
    assert words_only.store.embedder[0] == f"model-{library.get('other', 'model').id[:16]}"
    assert (words_only.store.pending(), words_only.settings.embedder) == (0, "other")
    words_only.embed("tfidf")
    assert (words_only.store.pending(), modes(words_only)) == (0, {"hybrid"})


def test_an_embedder_that_does_not_answer_costs_no_vector(words_only: Collection) -> None:
    words_only.embed("tiny")
    with pytest.raises(RemoteError):
        words_only.embed("http://127.0.0.1:1")
    assert (words_only.settings.embedder, words_only.store.pending()) == ("tiny", 0)


def test_an_embedder_that_was_changed_meanwhile_writes_no_vector(library: Library, words_only: Collection) -> None:
    """Both make 32 numbers: the size alone does not tell whose they are."""
    add_model(library, "other", 6, window=64)
    words_only.store.bind("first", 32)
    work = words_only.store.complete(lambda texts: np.ones((len(texts), 32), np.float32))
    next(work)
    words_only.store.unbind()
    words_only.store.bind("second", 32)
    with pytest.raises(UsageError, match="changed meanwhile"):
        next(work)
    assert words_only.store.pending() == DOCUMENTS


def _path(collection: Collection, number: int) -> str:
    return next(one.source for one in collection.store.documents() if one.source.endswith(f"{number:03}.txt"))


def _count_embedded(collection: Collection) -> list[int]:
    """Return a list that grows by the number of texts of every call of the collection's embedder."""
    counts: list[int] = []
    embedder = collection.embedder
    assert embedder is not None
    made = embedder.embed_documents

    def counted(texts: list[str]) -> object:
        counts.append(len(texts))
        return made(texts)

    embedder.embed_documents = counted  # type: ignore[method-assign, assignment]
    return counts


def _read_without_vectors(collection: Collection, folder: Path) -> None:
    """Read new documents as a process that is killed before it embeds them."""
    from seedbed.rag import ingest

    ingest.read_changed(collection.store, collection._split, [str(folder)])


REPLACE = EMBED.replace('"tiny"', '"other"')


def test_the_vectors_there_are_stay_until_another_embedders_are_whole(library: Library, words_only: Collection) -> None:
    """Interrupted again and again: searches are by the old vectors, to the bit; nothing is made twice."""
    words_only.embed("tiny")
    add_model(library, "other", 6, window=64)
    rows = range(1, words_only.store.last_row() + 1)
    before, found = words_only.store.vectors_of(rows), words_only.search("ship7 harbour7", 3)
    process = subprocess.Popen([sys.executable, "-c", REPLACE, str(library.root)], stderr=subprocess.DEVNULL)
    while not words_only.store.staged() and process.poll() is None:
        threading.Event().wait(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    made = words_only.store.staged()
    assert 0 < made < DOCUMENTS
    assert (words_only.settings.embedder, words_only.store.pending()) == ("tiny", 0)
    after = words_only.store.vectors_of(rows)
    assert all(np.array_equal(after[row], vector) for row, vector in before.items())
    assert [hit.score for hit in words_only.search("ship7 harbour7", 3)] == [hit.score for hit in found]
    words_only.embed()  # nothing is missing, and nothing is lost
    assert words_only.store.staged() == made
    words_only.embed("other")
    assert (words_only.settings.embedder, words_only.store.pending(), words_only.store.staged()) == ("other", 0, 0)
    chunk = words_only.chunks_of(_path(words_only, 77))[0]
    row = words_only.store.rows([chunk.id])[chunk.id]
    wanted = open_embedder("other", library).embed_documents([chunk.text])[0]
    assert np.allclose(words_only.store.vectors_of([row])[row], wanted, atol=1e-6)


def test_documents_that_come_and_go_between_two_embedders_have_the_new_ones_vectors(
    library: Library, words_only: Collection, folder: Path
) -> None:
    words_only.embed("tiny")
    add_model(library, "other", 6, window=64)
    other = open_embedder("other", library)
    work = words_only.store.stage(other.name, other.size, other.embed_documents)
    next(work)
    (folder / "new.txt").write_text("The lighthouse keeper lit the lamps.")
    (folder / "007.txt").unlink()
    words_only.add([str(folder)])
    assert (words_only.settings.embedder, words_only.store.pending()) == ("tiny", 0)
    words_only.embed("other")
    assert (words_only.store.embedder[0], words_only.store.pending()) == (other.name, 0)
    assert len(words_only.store.vectors_of(range(1, words_only.store.last_row() + 1))) == DOCUMENTS


def test_a_third_embedder_begins_anew(library: Library, words_only: Collection) -> None:
    words_only.embed("tiny")
    for seed in (6, 7):
        add_model(library, f"model{seed}", seed, window=64)
    six, seven = (open_embedder(f"model{seed}", library) for seed in (6, 7))
    next(words_only.store.stage(six.name, six.size, six.embed_documents))
    assert words_only.store.staged() == 128
    words_only.embed("model7")
    vectors = words_only.store.vectors_of(range(1, words_only.store.last_row() + 1))
    texts = [words_only.chunks_of(_path(words_only, number))[0] for number in (0, 399)]
    for chunk in texts:
        row = words_only.store.rows([chunk.id])[chunk.id]
        assert np.allclose(vectors[row], seven.embed_documents([chunk.text])[0], atol=1e-6)


def test_an_embedder_that_fails_halfway_costs_no_vector(library: Library, words_only: Collection) -> None:
    words_only.embed("tiny")

    def fail(texts: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        raise RemoteError("the server is gone", why="it was stopped", fix="start it")

    with pytest.raises(RemoteError):
        next(words_only.store.stage("gone", 32, fail))
    assert (words_only.store.embedder[0], words_only.store.pending()) == (
        f"model-{library.get('tiny', 'model').id[:16]}",
        0,
    )


@pytest.mark.parametrize("has", ["none", "tiny"])
def test_no_embedder_is_refused_with_a_fix_that_works(library: Library, words_only: Collection, has: str) -> None:
    if has == "none":
        with pytest.raises(UsageError) as caught:
            words_only.embed()
        assert "`seedbed docs embed notes --embedder tfidf`" in caught.value.fix
        words_only.embed("tfidf")
        return
    words_only.embed(has)
    for refused in (
        lambda: words_only.embed("none"),
        lambda: Collection.create(library, "notes", {"embedder": "none"}),
    ):
        with pytest.raises(UsageError) as caught:
            refused()
        assert "has vectors of tiny" in caught.value.why
        assert "`seedbed docs search notes QUERY --mode words`" in caught.value.fix
    assert words_only.search("ship7", 1, mode="words")
