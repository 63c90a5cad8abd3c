"""Indexing and search speed of collections, beside LangChain with Chroma and LlamaIndex's default store.

    python benchmarks/rag_speed.py                    # 10,000 documents to index, 100,000 x 384 vectors to search
    python benchmarks/rag_speed.py --million          # ours alone, with a million vectors
    python benchmarks/rag_speed.py --words            # our BM25 beside FTS5's own bm25(), 100,000 chunks

All get the same made-up texts (words as frequent as Zipf's law has them) and the same cheap vectors (by a text's hash),
so that what is timed is cutting, keeping and finding, not a model. Vectors are of two shapes: "random" ones point
anywhere, which is the worst case of an index; "clustered" ones are a mixture of a thousand Gaussians whose variance
falls with the direction, as text embeddings' does. Beside each time stands recall@4: how many of the four truly nearest
were found. Ours and LlamaIndex compare every vector; Chroma's index (HNSW) approximates, so it is shown as it comes
(ef_search = 100) and with the smallest of some ef_search that finds 99 %, or the largest of them. Ours searches hybrid,
words and vectors, as it does unless told otherwise; the others, and our second line, vectors alone.

Comparing every vector has a floor, bytes over bandwidth: 100,000 x 384 codes of 8 bits are 38.4 MB, 1.7 ms for one
core at 22 GB/s. Below it only an index comes that skips vectors, and so may miss some.

Competitors are processes of their own and take turns; one that is not installed is left out by name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness import Competitor, OtherLoad, busy_warning, peak_memory, serve, summary

SIZE, K = 384, 4
TESTED = 100
"""Queries whose recall is measured."""
CHUNK_SIZE, CHUNK_OVERLAP = 1000, 0
PEERS = {"langchain+chroma": "langchain_chroma", "llamaindex": "llama_index.core"}
VOCABULARY = 30_000
SHAPES, CLUSTERS = ("random", "clustered"), 1000
EFFORTS = (100, 200, 400, 800, 1600, 3200, 6400)
"""Chroma's ef_search: its default, and what is tried to find as much as an exact search does."""


def main() -> None:
    """Run the parent, or a worker of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents to index")
    parser.add_argument("--vectors", type=int, default=100_000, help="chunks to search")
    parser.add_argument("--rounds", type=int, default=5, help="turns of searching")
    parser.add_argument("--queries", type=int, default=100, help="searches a turn (LlamaIndex: a fiftieth)")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES, help="of the vectors to search")
    parser.add_argument("--million", action="store_true", help="only our store, with a million vectors")
    parser.add_argument("--words", action="store_true", help="only our search by words, beside FTS5's bm25()")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(WORKERS[options.worker](**options.options).answer)
        return
    if options.words:
        print("\n".join(by_words(options.vectors, options.queries)))
        return
    result = million() if options.million else compare(options)
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines(result)))


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Index, then search in turns, for each shape of vectors."""
    folder = Path(tempfile.mkdtemp(prefix="rag_speed-"))
    names = ["seedbed", *(name for name, module in PEERS.items() if _installed(module))]
    for name in PEERS.keys() - set(names):
        print(f"{name} is not installed: left out", file=sys.stderr)
    competitors = {name: Competitor(Path(__file__), name, {"folder": str(folder / name)}) for name in names}
    load = OtherLoad(list(competitors.values()))
    try:
        index = {name: one.ask(do="index", documents=options.documents) for name, one in competitors.items()}
        search = {shape: _searched(competitors, options, shape) for shape in options.shapes}
        memory = {name: one.ask(do="memory") for name, one in competitors.items()}
    finally:
        for one in competitors.values():
            one.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {**vars(options), "index": index, "search": search, "memory": memory, "other": load.share()}


def _searched(competitors: dict[str, Competitor], options: argparse.Namespace, shape: str) -> dict[str, Any]:
    """For each line of the table: recall, and the seconds of each search of each turn."""
    for one in competitors.values():
        one.ask(do="fill", vectors=options.vectors, shape=shape)
    truth = nearest_of(options.vectors, shape, queries(TESTED, 0))
    rows: dict[str, dict[str, Any]] = {}
    for name, one in competitors.items():
        for label, request in _ways(name, one, truth):
            found = one.ask(do="recall", truth=truth, **request)
            rows[label] = {"worker": name, "request": request, "recall": found, "turns": []}
    for turn in range(options.rounds + 1):
        for row in rows.values():
            count = max(2, options.queries // 50) if row["worker"] == "llamaindex" else options.queries
            found = competitors[row["worker"]].ask(do="search", count=count, seed=turn, **row["request"])
            if turn:  # the first one warms up
                row["turns"].append(found)
    return rows


def _ways(name: str, one: Competitor, truth: list[list[str]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ways to search with a competitor: the label of a line, and what the request says."""
    if name == "seedbed":
        yield from (("seedbed hybrid", {"mode": "hybrid"}), ("seedbed vectors", {"mode": "vector"}))
    elif name == "llamaindex":
        yield name, {}
    else:
        yield f"{name} ef={EFFORTS[0]}", {"effort": EFFORTS[0]}
        enough = (one_effort for one_effort in EFFORTS if one.ask(do="recall", truth=truth, effort=one_effort) >= 0.99)
        chosen = next(enough, EFFORTS[-1])
        if chosen != EFFORTS[0]:
            yield f"{name} ef={chosen}", {"effort": chosen}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield the printed lines."""
    if "million" in result and result["million"] is not False:
        yield from (f"{key}: {value}" for key, value in result["million"].items())
        return
    yield f"{'indexing':26s} {'documents/s':>12s} {'beside ours':>12s} {'memory':>9s}"
    for name, found in result["index"].items():
        slower = result["index"]["seedbed"]["seconds"] / found["seconds"]
        rate, memory = result["documents"] / found["seconds"], result["memory"][name] / 2**20
        yield f"{name:26s} {rate:12,.0f} {slower:11.2f}x {memory:7.0f} M"
    for shape, rows in result["search"].items():
        yield f"\n{f'search, {shape} vectors':26s} {'recall@4':>9s} {'p50 ms':>9s} {'p99 ms':>9s}  beside hybrid"
        ours = [statistics.median(turn) for turn in rows["seedbed hybrid"]["turns"]]
        for label, row in rows.items():
            p50, p99 = np.percentile(np.concatenate(row["turns"]) * 1000, [50, 99])
            theirs = [statistics.median(turn) for turn in row["turns"]]
            ratio = summary([their / our for their, our in zip(theirs, ours, strict=True)])
            spread = f"{ratio['median']:6.2f}x ({ratio['min']:.2f} to {ratio['max']:.2f})"
            yield f"{label:26s} {row['recall']:9.3f} {p50:9.2f} {p99:9.2f}  {spread}"
    if warning := busy_warning(result["other"]):
        yield warning


class Seedbed:
    """Our store, with the splitter that is LangChain's too."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.store: Any = None
        self.shape = SHAPES[0]

    def answer(self, request: dict[str, Any]) -> Any:
        """One line of the parent."""
        do = request.pop("do")
        return getattr(self, do)(**request)

    def memory(self) -> int:
        """Bytes at most."""
        return peak_memory()

    def index(self, documents: int) -> Any:
        """Seconds from texts to a searchable store on disk."""
        from seedbed.documents.document import Document
        from seedbed.documents.splitting.split import SplitSettings, split
        from seedbed.search.store import Entry, Store

        found = texts(documents, words=250)
        settings, store = SplitSettings("recursive", CHUNK_SIZE, CHUNK_OVERLAP), Store(self.folder / "index.sqlite")
        started = time.perf_counter()
        for number, text in enumerate(found):
            document = Document(f"{number}.txt", text)
            store.put(document.source, str(number), [Entry(document.source, split(document, settings))])
        chunks = sum(store.complete(vectors_of))
        seconds = time.perf_counter() - started
        store.close()
        return {"seconds": seconds, "chunks": chunks}

    def fill(self, vectors: int, shape: str = SHAPES[0]) -> Any:
        """Keep chunks with vectors, to search."""
        from seedbed.documents.document import Chunk
        from seedbed.search.store import Store

        if self.store is not None:
            self.store.close()
        self.store, self.shape = Store(self.folder / f"{shape}.sqlite"), shape
        started = time.perf_counter()
        for first, found in batches(vectors):
            chunks = [Chunk(f"{first + place}.txt", 0, len(text), text) for place, text in enumerate(found)]
            self.store.add(chunks, vectors_of(found, shape))
        return {"seconds": time.perf_counter() - started}

    def search(self, count: int, seed: int, **request: Any) -> list[float]:
        """Seconds of each of ``count`` searches."""
        return timed(self.finder(**request), queries(count, seed))

    def recall(self, truth: list[list[str]], **request: Any) -> float:
        """Return the share of what is nearest that a search finds, over as many queries as there are answers.

        Ours that is hybrid has no such share, but its vectors' part is the same search.
        """
        find = self.finder(**({"mode": "vector"} if request.get("mode") == "hybrid" else request))
        found = [self.sources(find(query)) for query in queries(len(truth), 0)]
        shares = [len(set(right) & set(one)) / len(right) for right, one in zip(truth, found, strict=True)]
        return statistics.fmean(shares)

    def finder(self, mode: str = "hybrid") -> Callable[[str], Any]:
        """Return a function that searches for a text."""
        from seedbed.search.retrieval import Retriever

        retriever = Retriever(self.store, Cheap(self.shape), mode)  # type: ignore[arg-type]
        return lambda query: retriever.search(query, K)

    def sources(self, found: Any) -> list[str]:
        """Return the names of what was found."""
        return [hit.chunk.source for hit in found]


class LangChain(Seedbed):
    """langchain-chroma with LangChain's splitter."""

    def index(self, documents: int) -> Any:
        """Seconds from texts to a searchable store on disk."""
        from langchain_chroma import Chroma
        from langchain_core.documents import Document
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        found = texts(documents, words=250)
        started = time.perf_counter()
        splitter = RecursiveCharacterTextSplitter(chunk_size=CHUNK_SIZE, chunk_overlap=CHUNK_OVERLAP)
        whole = [Document(page_content=text, metadata={"source": f"{place}.txt"}) for place, text in enumerate(found)]
        chunks = splitter.split_documents(whole)
        store = Chroma("index", self._embeddings(), persist_directory=str(self.folder / "index"))
        for first in range(0, len(chunks), 5000):  # Chroma takes no more at once
            store.add_documents(chunks[first : first + 5000])
        return {"seconds": time.perf_counter() - started, "chunks": len(chunks)}

    def fill(self, vectors: int, shape: str = SHAPES[0]) -> Any:
        """Keep chunks with vectors, to search."""
        self.shape, self.effort = shape, EFFORTS[0]
        self._open()
        started = time.perf_counter()
        for first, found in batches(vectors):
            self.store.add_texts(found, [{"source": f"{first + place}.txt"} for place in range(len(found))])
        return {"seconds": time.perf_counter() - started}

    def finder(self, effort: int = EFFORTS[0]) -> Callable[[str], Any]:  # type: ignore[override]
        """Return a function that searches for a text. Another ``ef_search`` is read when the files are opened anew."""
        if effort != self.effort:
            self.effort = effort
            self.store._collection.modify(configuration={"hnsw": {"ef_search": effort}})
            self._open()
            for query in queries(20, 9**5):  # reads the files
                self.store.similarity_search_with_score(query, k=K)
        return lambda query: self.store.similarity_search_with_score(query, k=K)

    def sources(self, found: Any) -> list[str]:
        """Return the names of what was found."""
        return [document.metadata["source"] for document, _ in found]

    def _open(self) -> None:
        from chromadb.api.shared_system_client import SharedSystemClient
        from langchain_chroma import Chroma

        SharedSystemClient.clear_system_cache()
        self.store = Chroma(self.shape, self._embeddings(), persist_directory=str(self.folder / self.shape))

    def _embeddings(self) -> Any:
        from langchain_core.embeddings import Embeddings

        shape = self.shape

        class Same(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return vectors_of(texts, shape).tolist()

            def embed_query(self, text: str) -> list[float]:
                return vectors_of([text], shape)[0].tolist()

        return Same()


class LlamaIndex(Seedbed):
    """llama-index-core's VectorStoreIndex with its SimpleVectorStore."""

    def index(self, documents: int) -> Any:
        """Seconds from texts to a searchable store, written to disk."""
        from llama_index.core import Document, VectorStoreIndex
        from llama_index.core.node_parser import SentenceSplitter

        found = texts(documents, words=250)
        started = time.perf_counter()
        splitter = SentenceSplitter(chunk_size=CHUNK_SIZE, chunk_overlap=CHUNK_OVERLAP, tokenizer=list)
        whole = [Document(text=text, metadata={"source": f"{place}.txt"}) for place, text in enumerate(found)]
        index = VectorStoreIndex.from_documents(whole, transformations=[splitter], embed_model=self._embeddings())
        index.storage_context.persist(str(self.folder / "index"))
        return {"seconds": time.perf_counter() - started, "chunks": len(index.docstore.docs)}

    def fill(self, vectors: int, shape: str = SHAPES[0]) -> Any:
        """Keep chunks with vectors, to search."""
        from llama_index.core import VectorStoreIndex
        from llama_index.core.schema import TextNode

        self.shape = shape
        index = VectorStoreIndex(nodes=[], embed_model=self._embeddings())
        started = time.perf_counter()
        for first, found in batches(vectors):
            index.insert_nodes([TextNode(text=text, id_=f"{first + place}.txt") for place, text in enumerate(found)])
        self.store = index.as_retriever(similarity_top_k=K)
        return {"seconds": time.perf_counter() - started}

    def finder(self) -> Callable[[str], Any]:  # type: ignore[override]
        """Return a function that searches for a text."""
        return self.store.retrieve  # type: ignore[no-any-return]

    def sources(self, found: Any) -> list[str]:
        """Return the names of what was found."""
        return [hit.node.node_id for hit in found]

    def recall(self, truth: list[list[str]], **request: Any) -> float:
        """Measure two queries only: one takes a second or two."""
        return super().recall(truth[:2], **request)

    def _embeddings(self) -> Any:
        from llama_index.core.embeddings import BaseEmbedding

        shape = self.shape

        class Same(BaseEmbedding):
            def _get_text_embedding(self, text: str) -> list[float]:
                return vectors_of([text], shape)[0].tolist()

            def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
                return vectors_of(texts, shape).tolist()

            def _get_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

        return Same(embed_batch_size=1000)


WORKERS = {"seedbed": Seedbed, "langchain+chroma": LangChain, "llamaindex": LlamaIndex}


def million(count: int = 1_000_000) -> dict[str, Any]:
    """Our store with a million vectors: in memory, and read anew for each search."""
    from seedbed.search.store import Store

    with tempfile.TemporaryDirectory(prefix="rag_speed-") as folder:
        one = Seedbed(f"{folder}/s")
        filled = one.fill(count)["seconds"]
        path = one.folder / f"{SHAPES[0]}.sqlite"
        first = one.search(1, 0)[0]
        hybrid, vector = one.search(100, 1), one.search(100, 1, mode="vector")
        words, memory = one.search(100, 1, mode="words"), peak_memory()
        one.store.close()
        one.store = Store(path, memory=0)
        streamed = one.search(5, 2, mode="vector")
        figures = {
            "indexed": f"{count / filled:,.0f} chunks/s",
            "file": f"{path.stat().st_size / 2**30:.2f} GiB",
            "first search, which reads the vectors": f"{first:.2f} s",
            "memory": f"{memory / 2**30:.2f} GiB",
        }
        for name, found in (("hybrid", hybrid), ("vector", vector), ("words", words), ("without memory", streamed)):
            p50, p99 = np.percentile(np.array(found) * 1000, [50, 99])
            figures[name] = f"p50 {p50:,.1f} ms, p99 {p99:,.1f} ms"
        one.store.close()
    return {"million": figures}


def by_words(count: int, searches: int) -> Iterator[str]:
    """Search the same chunks by words, question by question in turn: ours, and FTS5's own ``bm25()``.

    After opening, our first search reads the lengths of all chunks and the lists of its words; a later one reads the
    lists of new words only, and one that comes again reads nothing.
    """
    from seedbed.documents.document import Chunk
    from seedbed.search.store import Entry, Store

    with tempfile.TemporaryDirectory(prefix="rag_speed-") as folder:
        path = Path(folder, "s")
        store = Store(path)
        for first, found in batches(count):
            chunks = [Chunk(f"{first + place}.txt", 0, len(text), text) for place, text in enumerate(found)]
            store.put(str(first), "", [Entry(str(first), chunks)])
        yield f"{'ms, median':32s} {'ours':>8s} {'FTS5':>8s}  FTS5 over ours (5 % to 95 %)"
        for length in (3, 8, 60):
            rows: dict[str, list[list[float]]] = {}
            for number, query in enumerate(texts(searches, words=length, seed=10**6 + length)):
                for label, seconds in _turns(store, query, Store(path) if number < searches // 5 else None):
                    rows.setdefault(f"{length} words, {label}", []).append(seconds)
            yield from (_beside(label, found) for label, found in rows.items())
        store.close()


def _turns(store: Any, query: str, fresh: Any) -> Iterator[tuple[str, list[float]]]:
    """Seconds of our search and of FTS5's for one question; ``fresh`` is the same store, just opened."""
    from retrieval import DEPTH, fts5

    theirs = timed(lambda one: fts5(store, one, DEPTH), [query])
    for label in ("new words", "again"):
        yield label, [*timed(lambda one: store.matching(one, DEPTH), [query]), *theirs]
    yield (
        "FTS5 without frequent",
        [
            *timed(lambda one: store.matching(one, DEPTH), [query]),
            *timed(lambda one: fts5(store, one, DEPTH, rare=True), [query]),
        ],
    )
    if fresh is not None:
        ours = timed(lambda one: fresh.matching(one, DEPTH), [query])
        fresh.close()
        yield "first after opening", [*ours, *theirs]


def _beside(label: str, found: list[list[float]]) -> str:
    """Return a line of medians and the ratios' spread."""
    ours, theirs = np.array(found).T
    low, middle, high = np.percentile(theirs / ours, [5, 50, 95])
    medians = f"{np.median(ours) * 1000:8.2f} {np.median(theirs) * 1000:8.2f}"
    return f"{label:32s} {medians}  {middle:.2f} ({low:.2f} to {high:.2f})"


class Cheap:
    """Made-up vectors by a text's hash."""

    name, size = "cheap", SIZE

    def __init__(self, shape: str = SHAPES[0]) -> None:
        self.shape = shape

    def embed_documents(self, found: Sequence[str]) -> Any:
        """Return vectors (N, SIZE)."""
        return vectors_of(found, self.shape)

    def embed_query(self, text: str) -> Any:
        """Return a vector (SIZE,)."""
        return vectors_of([text], self.shape)[0]


def vectors_of(found: Sequence[str], shape: str = SHAPES[0]) -> Any:
    """Vectors of length 1 (N, SIZE), the same for the same text."""
    made = np.empty((len(found), SIZE), np.float32)
    hashes = [zlib.crc32(text.encode()) for text in found]
    for place, one in enumerate(hashes):
        made[place] = np.random.Generator(np.random.SFC64(one)).standard_normal(SIZE, np.float32)
    if shape == "clustered":
        middles, spread = _mixture()
        made = middles[np.array(hashes) % CLUSTERS] + made * spread
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@cache
def _mixture() -> Any:
    """Return the clusters' middles, of length 1 (CLUSTERS, SIZE), and the standard deviations around them, together 1.

    The variance of direction i is as 1 / i.
    """
    middles = np.random.default_rng(0).standard_normal((CLUSTERS, SIZE)).astype(np.float32)
    variance = 1 / np.arange(1, SIZE + 1)
    spread = np.sqrt(variance / variance.sum()).astype(np.float32)
    return middles / np.linalg.norm(middles, axis=1, keepdims=True), spread


def nearest_of(count: int, shape: str, found: Sequence[str]) -> list[list[str]]:
    """Return the sources of the ``K`` texts of :func:`batches` nearest to each of these, by NumPy."""
    wanted = vectors_of(found, shape)
    scores = np.concatenate([vectors_of(part, shape) @ wanted.T for _, part in batches(count)])
    return [[f"{place}.txt" for place in np.argsort(-column)[:K]] for column in scores.T]


def batches(count: int) -> Iterator[tuple[int, list[str]]]:
    """Texts of 60 words in parts of 5,000, each with the number of its first one."""
    for first in range(0, count, 5000):
        yield first, texts(min(5000, count - first), words=60, seed=first + 1)


def texts(count: int, words: int, seed: int = 0) -> list[str]:
    """Made-up sentences whose words are as frequent as Zipf's law has them."""
    chance, known = np.random.default_rng(seed), vocabulary()
    picked = known[chance.choice(VOCABULARY, (count, words), p=_frequencies())]
    return [". ".join(" ".join(row[at : at + 12]) for at in range(0, words, 12)) + "." for row in picked]


def queries(count: int, seed: int) -> list[str]:
    """Questions of eight words, as frequent as in the texts."""
    return texts(count, words=8, seed=10**6 + seed)


@cache
def vocabulary() -> Any:
    """Words of two to four syllables."""
    chance, found = random.Random(0), dict[str, None]()
    while len(found) < VOCABULARY:
        found[
            "".join(chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(chance.randint(2, 4)))
        ] = None
    return np.array(list(found))


@cache
def _frequencies() -> Any:
    ranks = 1 / np.arange(1, VOCABULARY + 1)
    return ranks / ranks.sum()


def timed(search: Callable[[str], Any], found: Sequence[str]) -> list[float]:
    """Seconds of each search."""
    seconds = []
    for query in found:
        started = time.perf_counter()
        search(query)
        seconds.append(time.perf_counter() - started)
    return seconds


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


if __name__ == "__main__":
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    main()
