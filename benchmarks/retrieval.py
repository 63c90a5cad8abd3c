"""Retrieval quality: nDCG@10 and recall@100 of TF-IDF, BM25, vectors and both fused, on judged questions.

Every set under ``$SEEDBED_DATA/tasks/retrieval`` (``NAME_docs.jsonl.xz``, ``NAME_queries_dev.jsonl``,
``NAME_qrels_dev.jsonl``); a document is one chunk, its title before its text. bm25s (Lù 2024) gets the same words,
k1, b and kind of idf, and should rank alike, as should FTS5's own ``bm25()``. ``--embedder`` measures a model's vectors
beside TF-IDF's. Each system's gain over BM25 is that of the same questions, with a bootstrap's 95 %, and so is a
hybrid's over the better of its parts. The vectors' share, and how many by words count, were chosen on Cranfield: what
hybrid gains there over its parts is no forecast for other documents; CISI was in sight of earlier choices. nDCG is
Järvelin and Kekäläinen's (2002) with the grade as the gain, as trec_eval has it.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Embedder
from seedbed.search.embedders import open_embedder
from seedbed.search.modes import MODES
from seedbed.search.retrieval import TFIDF_SHARES, HybridShares, Retriever
from seedbed.search.store import Store
from seedbed.vectors.lsa import SIZE, Latent, SparseRow, Tfidf, Vectors
from seedbed.vectors.words import stemmed, words

DEPTH = 100
RESAMPLES = 2000
Search = Callable[[str], list[int]]
"""A question to the places of documents, best first."""


@dataclass(frozen=True)
class TestSet:
    """Documents, questions, and the grade of each judged document for each question."""

    name: str
    texts: list[str]
    questions: list[str]
    grades: list[dict[int, int]]


def main() -> None:
    """Measure all sets, print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("SEEDBED_DATA", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data) / "tasks" / "retrieval", help="folder of the sets")
    parser.add_argument("--embedder", metavar="MODEL|URL", help="also measure its vectors")
    parser.add_argument("--size", type=int, default=SIZE, help=f"numbers of a latent vector [{SIZE}]")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    options = parser.parse_args()
    results = {one.name: measure(one, options.embedder, options.size) for one in test_sets(options.data)}
    print(json.dumps(results, indent=2) if options.json else "\n\n".join(tables(results)))


def test_sets(folder: Path) -> Iterator[TestSet]:
    """Return the sets of a folder, by name."""
    for path in sorted(folder.glob("*_docs.jsonl.xz")):
        name = path.name.removesuffix("_docs.jsonl.xz")
        documents = rows(path)
        place = {row["id"]: number for number, row in enumerate(documents)}
        questions = {row["qid"]: row["query"] for row in rows(folder / f"{name}_queries_dev.jsonl")}
        grades: dict[str, dict[int, int]] = {question: {} for question in questions}
        for row in rows(folder / f"{name}_qrels_dev.jsonl"):
            if row["qid"] in grades and row["rel"] > 0:
                grades[row["qid"]][place[row["doc"]]] = int(row["rel"])
        judged = [question for question in questions if grades[question]]
        texts = [content(row["title"], row["text"]) for row in documents]
        yield TestSet(name, texts, [questions[one] for one in judged], [grades[one] for one in judged])


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file, packed or not."""
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def content(title: str, text: str) -> str:
    """Some texts begin with their title."""
    return text if text.startswith(title) else f"{title}\n{text}"


def measure(one: TestSet, embedder: str | None, size: int) -> dict[str, Any]:
    """Each system's figures for each question."""
    say(f"{one.name}: {len(one.texts):,} documents, {len(one.questions)} questions")
    found = {name: score(search, one) for name, search in systems(one, embedder, size)}
    return {"documents": len(one.texts), "questions": len(one.questions), "systems": found}


def systems(one: TestSet, embedder: str | None, size: int) -> Iterator[tuple[str, Search]]:
    """Yield the compared systems, by name."""
    yield "TF-IDF", tfidf(one.texts)
    yield from in_store(one, "latent", Latent.fit(one.texts, size))
    if embedder is not None:
        yield from in_store(one, embedder, open_embedder(embedder, Library()))
    try:
        yield "bm25s", bm25s(one.texts)
    except ImportError:
        say("bm25s is not installed: left out")


def in_store(one: TestSet, name: str, embedder: Embedder) -> Iterator[tuple[str, Search]]:
    """Our store with an embedder's vectors, in all its modes."""
    chunks = [Chunk(str(place), 0, len(text), text) for place, text in enumerate(one.texts)]
    store = Store(":memory:")
    store.add(chunks, embedder.embed_documents(one.texts))
    for mode in MODES:
        if mode == "words" and name != "latent":
            continue
        if mode == "words":
            yield (
                "FTS5's bm25()",
                lambda query: [int(one.chunk.source) for one in store.hits(fts5(store, query, DEPTH))],
            )
        label = {"hybrid": f"hybrid BM25 + {name}", "words": "BM25", "vector": name}[mode]
        shares = TFIDF_SHARES if name == "latent" else HybridShares()  # as collections do
        retriever = Retriever(store, embedder, mode, shares=shares)
        yield label, lambda query, found=retriever: places_of(found, query)
    store.close()


def places_of(retriever: Retriever, query: str) -> list[int]:
    """Return the places that a retriever finds."""
    return [int(hit.chunk.source) for hit in retriever.search(query, DEPTH)]


def fts5(store: Store, query: str, k: int, rare: bool = False) -> list[tuple[int, float]]:
    """Return the rows and scores of FTS5's own ``bm25()`` for any of a question's words.

    ``rare``: leave out words of more than half of the chunks, as our search does.
    """
    found = words(query)
    with store._database.reading() as connection:
        if rare:
            held = "SELECT COALESCE(max(doc), 0) FROM temp.totals WHERE term = ?"
            counts = [connection.execute(held, (stem,)).fetchone()[0] for stem in stemmed(found)]
            half = connection.execute("SELECT count(*) FROM words_docsize").fetchone()[0] / 2
            found = [word for word, count in zip(found, counts, strict=True) if count <= half] or found
        match = " OR ".join(f'"{word}"' for word in found)
        select = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?"
        return list(connection.execute(select, (match, k)))


def tfidf(texts: Sequence[str]) -> Search:
    """Cosines of the weights themselves, without latent axes."""
    fitted = Tfidf.fit(texts, most=10**9)
    matrix = dense(fitted.weights(texts), len(fitted.terms))
    return lambda query: best(matrix @ dense(fitted.weights([query]), len(fitted.terms))[0])


def dense(rows: Sequence[SparseRow], width: int) -> Vectors:
    """Return sparse rows as an array (N, width)."""
    found = np.zeros((len(rows), width), np.float32)
    for row, (columns, values) in zip(found, rows, strict=True):
        row[columns] = values
    return found


def bm25s(texts: Sequence[str]) -> Search:
    """Return the library bm25s with FTS5's constants and idf, on our words."""
    import bm25s as library

    index = library.BM25(method="robertson", k1=1.2, b=0.75)
    index.index([stemmed(words(text)) for text in texts], show_progress=False)
    return lambda query: best(index.get_scores(stemmed(words(query))))


def best(scores: Any) -> list[int]:
    """Return the places of the highest scores above 0."""
    order = np.argsort(-scores, kind="stable")[:DEPTH]
    return [int(place) for place in order if scores[place] > 0]


def score(search: Search, one: TestSet) -> dict[str, list[float]]:
    """nDCG@10 and recall@100 of each question."""
    found = [search(question) for question in one.questions]
    return {
        "ndcg@10": [ndcg(places, grades) for places, grades in zip(found, one.grades, strict=True)],
        "recall@100": [recall(places, grades) for places, grades in zip(found, one.grades, strict=True)],
    }


def ndcg(places: Sequence[int], grades: Mapping[int, int], depth: int = 10) -> float:
    """Return the discounted gain of a ranking, over that of the best one."""
    gains = [grades.get(place, 0) for place in places[:depth]]
    ideal = sorted(grades.values(), reverse=True)[:depth]
    return _discounted(gains) / _discounted(ideal)


def recall(places: Sequence[int], grades: Mapping[int, int], depth: int = 100) -> float:
    """Return the share of the relevant documents that a ranking has."""
    return sum(place in grades for place in places[:depth]) / len(grades)


def _discounted(gains: Sequence[int]) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % of the means of resampled questions (bootstrap)."""
    chance = random.Random(seed)
    means = sorted(fmean(chance.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """Return a table for each set."""
    for name, result in results.items():
        lines = [f"{name}: {result['documents']:,} documents, {result['questions']} questions", ""]
        lines += [f"{'':24s}  {'nDCG@10':>7s}  {'95 %':^13s}  {'recall@100':>10s}  {'95 %':^13s}"]
        for system, figures in result["systems"].items():
            cells = []
            for key, width in (("ndcg@10", 7), ("recall@100", 10)):
                low, high = interval(figures[key])
                cells.append(f"{fmean(figures[key]):{width}.4f}  {low:.3f} – {high:.3f}")
            lines.append(f"{system:24s}  {'  '.join(cells)}")
        lines += ["", *against(result["systems"], "BM25"), *over_parts(result["systems"])]
        yield "\n".join(lines)


def against(systems: Mapping[str, Any], baseline: str) -> Iterator[str]:
    """Each other system's nDCG@10 less a baseline's, question by question."""
    for system, figures in systems.items():
        if system != baseline:
            pairs = zip(figures["ndcg@10"], systems[baseline]["ndcg@10"], strict=True)
            gains = [mine - its for mine, its in pairs]
            low, high = interval(gains)
            yield f"{system:24s}  {fmean(gains):+7.4f}  {low:+.3f} – {high:+.3f}  nDCG@10 over {baseline}"


def over_parts(systems: Mapping[str, Any]) -> Iterator[str]:
    """Each hybrid's nDCG@10 less that of the better one of its two parts."""
    for name in [one for one in systems if one.startswith("hybrid BM25 + ")]:
        parts = ("BM25", name.removeprefix("hybrid BM25 + "))
        better = max(parts, key=lambda part: fmean(systems[part]["ndcg@10"]))
        yield from against({name: systems[name], better: systems[better]}, better)


if __name__ == "__main__":
    main()
