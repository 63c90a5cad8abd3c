"""A question's nearest passage stands out by its cosine less that of the twentieth, where that can be told."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding_server import Answering

from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection


def vector(text: str) -> list[float]:
    return np.random.default_rng(zlib.crc32(text.encode())).normal(size=8).tolist()


@pytest.fixture
def server() -> Iterator[Answering]:
    def answer(body: Any) -> Any:
        return {"data": [{"index": at, "embedding": vector(text)} for at, text in enumerate(body["input"])]}

    made = Answering(answer)
    yield made
    made.close()


@pytest.mark.parametrize("count", [25, 20, 19])
def test_the_nearest_is_compared_with_the_twentieth(tmp_path: Path, server: Answering, count: int) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    texts = [f"Text {place} of some." for place in range(count)]
    for place, text in enumerate(texts):
        (folder / f"{place}.txt").write_text(text)
    collection = Collection.create(Library(tmp_path / "home"), "texts", {"embedder": f"{server.url}/v1#one"})
    collection.add([str(folder)])
    rows = np.array([vector(text) for text in texts])
    asked = np.array(vector("Which text?"))
    cosines = np.sort(rows @ asked / np.linalg.norm(rows, axis=1) / np.linalg.norm(asked))[::-1]
    wanted = None if count < 20 else pytest.approx(cosines[0] - cosines[19], abs=1e-5)
    assert collection.standing("Which text?") == wanted
    collection.close()


def test_vectors_of_words_do_not_tell(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(f"Text {place} of some." * 40 for place in range(30)))
    for embedder in ("tfidf", "none"):
        collection = Collection.create(Library(tmp_path / "home"), embedder, {"embedder": embedder})
        collection.add([str(tmp_path / "a.txt")])
        assert collection.store.count() >= 20
        assert collection.standing("Which text?") is None
        collection.close()
