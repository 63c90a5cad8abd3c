"""Indexing and search speed of collections, beside LangChain with Chroma and LlamaIndex's default store.

    python benchmarks/rag_speed.py                    # 10,000 documents to index, 100,000 x 384 vectors to search
    python benchmarks/rag_speed.py --million          # ours alone, with a million vectors

All get the same made-up texts (words as frequent as Zipf's law has them) and the same cheap vectors (random, by a
text's hash), so that what is timed is cutting, keeping and finding, not a model. Ours searches hybrid, words and
vectors, each vector compared; Chroma by its approximate index alone, LlamaIndex by comparing each. Competitors are
processes of their own and take turns; one that is not installed is left out by name.
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
CHUNK_SIZE, CHUNK_OVERLAP = 1000, 0
PEERS = {"langchain+chroma": "langchain_chroma", "llamaindex": "llama_index.core"}
VOCABULARY = 30_000


def main() -> None:
    """Run the parent, or a worker of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents to index")
    parser.add_argument("--vectors", type=int, default=100_000, help="chunks to search")
    parser.add_argument("--rounds", type=int, default=5, help="turns of searching")
    parser.add_argument("--queries", type=int, default=100, help="searches a turn (LlamaIndex: a fiftieth)")
    parser.add_argument("--million", action="store_true", help="only our store, with a million vectors")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--options", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve(WORKERS[options.worker](**options.options).answer)
        return
    result = million() if options.million else compare(options)
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines(result)))


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Index, then search in turns."""
    folder = Path(tempfile.mkdtemp(prefix="rag_speed-"))
    names = ["seedbed", *(name for name, module in PEERS.items() if _installed(module))]
    for name in PEERS.keys() - set(names):
        print(f"{name} is not installed: left out", file=sys.stderr)
    competitors = {name: Competitor(Path(__file__), name, {"folder": str(folder / name)}) for name in names}
    load = OtherLoad(list(competitors.values()))
    try:
        index = {name: one.ask(do="index", documents=options.documents) for name, one in competitors.items()}
        fill = {name: one.ask(do="fill", vectors=options.vectors) for name, one in competitors.items()}
        search: dict[str, list[list[float]]] = {name: [] for name in names}
        for turn in range(options.rounds + 1):
            for name, one in competitors.items():
                count = max(2, options.queries // 50) if name == "llamaindex" else options.queries
                found = one.ask(do="search", count=count, seed=turn)
                if turn:  # the first one warms up
                    search[name].append(found)
        memory = {name: one.ask(do="memory") for name, one in competitors.items()}
    finally:
        for one in competitors.values():
            one.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {**vars(options), "index": index, "fill": fill, "search": search, "memory": memory, "other": load.share()}


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    if "million" in result and result["million"] is not False:
        yield from (f"{key}: {value}" for key, value in result["million"].items())
        return
    yield f"{'':18s} {'documents/s':>12s} {'p50 ms':>9s} {'p99 ms':>9s} {'memory':>9s}"
    for name, turns in result["search"].items():
        every = np.array([one for turn in turns for one in turn]) * 1000
        rate = result["documents"] / result["index"][name]["seconds"]
        p50, p99 = np.percentile(every, [50, 99])
        yield f"{name:18s} {rate:12,.0f} {p50:9.2f} {p99:9.2f} {result['memory'][name] / 2**20:7.0f} M"
    ours = [statistics.median(turn) for turn in result["search"]["seedbed"]]
    for name in result["search"].keys() - {"seedbed"}:
        theirs = [statistics.median(turn) for turn in result["search"][name]]
        ratio = summary([their / our for their, our in zip(theirs, ours, strict=True)])
        faster = result["index"][name]["seconds"] / result["index"]["seedbed"]["seconds"]
        yield f"ours beside {name}: indexes {faster:.1f}x, searches {ratio['median']:.1f}x as fast"
        yield f"  (search, over turns: {ratio['min']:.1f} to {ratio['max']:.1f})"
    if warning := busy_warning(result["other"]):
        yield warning


class Seedbed:
    """Our store, with the splitter that is LangChain's too."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True)
        self.store: Any = None

    def answer(self, request: dict[str, Any]) -> Any:
        """One line of the parent."""
        do = request.pop("do")
        return getattr(self, do)(**request)

    def memory(self) -> int:
        """Bytes at most."""
        return peak_memory()

    def index(self, documents: int) -> Any:
        """Seconds from texts to a searchable store on disk."""
        from seedbed.rag.document import Document
        from seedbed.rag.split import SplitSettings, split
        from seedbed.rag.store import Entry, Store

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

    def fill(self, vectors: int) -> Any:
        """Keep chunks with vectors, to search."""
        from seedbed.rag.document import Chunk
        from seedbed.rag.store import Store

        self.store = Store(self.folder / "search.sqlite")
        started = time.perf_counter()
        for first, found in batches(vectors):
            chunks = [Chunk(f"{first + place}.txt", 0, len(text), text) for place, text in enumerate(found)]
            self.store.add(chunks, vectors_of(found))
        return {"seconds": time.perf_counter() - started}

    def search(self, count: int, seed: int, mode: str = "hybrid") -> list[float]:
        """Seconds of each of ``count`` searches."""
        from seedbed.rag.retrieval import Retriever

        retriever = Retriever(self.store, Cheap(), mode)  # type: ignore[arg-type]
        return timed(lambda query: retriever.search(query, K), queries(count, seed))


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

    def fill(self, vectors: int) -> Any:
        """Keep chunks with vectors, to search."""
        from langchain_chroma import Chroma

        self.store = Chroma("search", self._embeddings(), persist_directory=str(self.folder / "search"))
        started = time.perf_counter()
        for first, found in batches(vectors):
            self.store.add_texts(found, [{"source": f"{first + place}.txt"} for place in range(len(found))])
        return {"seconds": time.perf_counter() - started}

    def search(self, count: int, seed: int) -> list[float]:  # type: ignore[override]
        """Seconds of each of ``count`` searches."""
        return timed(lambda query: self.store.similarity_search_with_score(query, k=K), queries(count, seed))

    def _embeddings(self) -> Any:
        from langchain_core.embeddings import Embeddings

        class Same(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return vectors_of(texts).tolist()

            def embed_query(self, text: str) -> list[float]:
                return vectors_of([text])[0].tolist()

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

    def fill(self, vectors: int) -> Any:
        """Keep chunks with vectors, to search."""
        from llama_index.core import VectorStoreIndex
        from llama_index.core.schema import TextNode

        index = VectorStoreIndex(nodes=[], embed_model=self._embeddings())
        started = time.perf_counter()
        for first, found in batches(vectors):
            index.insert_nodes([TextNode(text=text, id_=str(first + place)) for place, text in enumerate(found)])
        self.store = index.as_retriever(similarity_top_k=K)
        return {"seconds": time.perf_counter() - started}

    def search(self, count: int, seed: int) -> list[float]:  # type: ignore[override]
        """Seconds of each of ``count`` searches."""
        return timed(self.store.retrieve, queries(count, seed))

    def _embeddings(self) -> Any:
        from llama_index.core.embeddings import BaseEmbedding

        class Same(BaseEmbedding):
            def _get_text_embedding(self, text: str) -> list[float]:
                return vectors_of([text])[0].tolist()

            def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
                return vectors_of(texts).tolist()

            def _get_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

            async def _aget_query_embedding(self, query: str) -> list[float]:
                return self._get_text_embedding(query)

        return Same(embed_batch_size=1000)


WORKERS = {"seedbed": Seedbed, "langchain+chroma": LangChain, "llamaindex": LlamaIndex}


def million(count: int = 1_000_000) -> dict[str, Any]:
    """Our store with a million vectors: in memory, and read anew for each search."""
    from seedbed.rag.store import Store

    with tempfile.TemporaryDirectory(prefix="rag_speed-") as folder:
        one = Seedbed(f"{folder}/s")
        filled = one.fill(count)["seconds"]
        path = one.folder / "search.sqlite"
        first = one.search(1, 0)[0]
        hybrid, vector = one.search(100, 1), one.search(100, 1, "vector")
        words, memory = one.search(100, 1, "words"), peak_memory()
        one.store.close()
        one.store = Store(path, memory=0)
        streamed = one.search(5, 2, "vector")
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


class Cheap:
    """Random vectors by a text's hash."""

    name, size = "cheap", SIZE

    def embed_documents(self, found: Sequence[str]) -> Any:
        """(N, SIZE)."""
        return vectors_of(found)

    def embed_query(self, text: str) -> Any:
        """(SIZE,)."""
        return vectors_of([text])[0]


def vectors_of(found: Sequence[str]) -> Any:
    """Random vectors of length 1 (N, SIZE), the same for the same text."""
    made = np.empty((len(found), SIZE), np.float32)
    for place, text in enumerate(found):
        made[place] = np.random.Generator(np.random.SFC64(zlib.crc32(text.encode()))).standard_normal(SIZE, np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


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
