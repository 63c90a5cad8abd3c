"""Copies do not fill a search: one stands for all, and names the others."""

from __future__ import annotations

import pytest

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Hit
from seedbed.search.copies import Distinct
from seedbed.search.modes import Mode
from seedbed.search.retrieval import Retriever
from seedbed.search.store import Store
from seedbed.vectors.lsa import Latent

FERRY = "The ferry to the island leaves at nine from pier two. The crossing takes an hour."
WINTER = "In winter the ferry to the island leaves at ten, from pier four."
LONG = " ".join(f"Paragraph {place} tells of rope, sail and anchor number {place}." for place in range(20))


def chunk(source: str, text: str) -> Chunk:
    return Chunk(source, 0, len(text), text)


def distinct(*texts: str, most: int = 5) -> list[Hit]:
    found = Distinct(most)
    found.add(Hit(chunk(f"{place}.txt", text), 1.0) for place, text in enumerate(texts))
    return found.hits


@pytest.mark.parametrize("mode", ["words", "vector", "hybrid"])
def test_copies_do_not_fill_k(mode: Mode) -> None:
    """More copies than the ranking is deep at first."""
    texts = [FERRY] * 150 + [WINTER, "Bread is sold at the pier."]
    latent = Latent.fit(texts)
    store = Store()
    store.add([chunk(f"{place}.txt", text) for place, text in enumerate(texts)], latent.embed_documents(texts))
    hits = Retriever(store, latent, mode).search("ferry island pier", 3)
    assert {hit.chunk.text for hit in hits} == set(texts)
    copied = next(hit for hit in hits if hit.chunk.text == FERRY)
    assert len(copied.copies) == 149
    assert {copied.chunk.source, *copied.copies} == {f"{place}.txt" for place in range(150)}
    every = Retriever(store, latent, mode, copies=True).search("ferry island pier", 3)
    assert [hit.copies for hit in every] == [(), (), ()]
    assert len({hit.chunk.text for hit in every}) < 3
    store.close()


@pytest.mark.parametrize(
    ("other", "copied"),
    [
        (LONG.upper().replace(".", " !"), True),  # letter case, marks and spaces
        (LONG.replace("Paragraph 3 tells", "Paragraph 3 speaks"), True),
        (LONG.replace("anchor number 7", "anchor number 70"), False),  # another number
        (LONG.replace("Paragraph 3 tells", "Paragraph 3 never tells"), False),
        (LONG[: len(LONG) // 2], False),
        (FERRY, False),
    ],
)
def test_a_copy_says_the_same_in_nearly_the_same_words(other: str, copied: bool) -> None:
    assert len(distinct(LONG, other)) == (1 if copied else 2)


def test_enough_is_said_only_when_another_text_follows() -> None:
    found = Distinct(1)
    assert not found.add([Hit(chunk("a", FERRY), 2.0), Hit(chunk("b", FERRY), 1.0)])
    assert found.add([Hit(chunk("c", WINTER), 0.5)])
    assert (found.hits[0].chunk.source, found.hits[0].copies) == ("a", ("b",))
