"""Sentences are chosen, and questions refused, by words and by meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from answering import chunks_of
from numpy.linalg import norm

from seedbed.documents.document import Chunk
from seedbed.rag.answer import ask
from seedbed.rag.passages import NOT_FOUND
from seedbed.rag.sentence_choice import CLOSE, evidence_of, extract, rate_sentences
from seedbed.search.contracts import Hit
from seedbed.search.embedders import RememberingEmbedder
from seedbed.vectors.lsa import Vectors

BRIDGE = (
    "The bridge is of steel. It has two towers. Paint is applied every year.",
    "The bridge was opened in 1932 by the governor. Tolls ended in 1988.",
)


WORDS = {"car": (1, 0, 0), "automobile": (0.9, 0.1, 0), "soup": (0, 1, 0), "price": (0.2, 0, 1), "cost": (0.1, 0, 1)}


class Feeler:
    """An embedder of fixed vectors by word: a text's is their sum. ``shift`` moves all texts in one direction."""

    name, size = "feeler", 4

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, 4)."""
        rows = [self._sum(text) for text in texts]
        return np.array([row / max(norm(row), 1e-9) for row in rows], np.float32)

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (4,)."""
        return np.asarray(self.embed_documents([text])[0], np.float32)

    def _sum(self, text: str) -> np.ndarray:
        words = [word.strip(".?,") for word in text.lower().split()]
        known = np.array([(*WORDS[word], 0.0) for word in words if word in WORDS]).reshape(-1, 4)
        return known.sum(0) + np.array([0, 0, 0, self.shift or (0.0 if len(known) else 1e-3)])


def test_the_sentence_that_was_asked_for_is_the_answer() -> None:
    result = extract(rate_sentences("When was the bridge opened?", chunks_of(*BRIDGE)))
    assert result.text == "The bridge was opened in 1932 by the governor."
    (shown,) = result.shown
    assert (shown.number, shown.chunk.text[shown.start : shown.end]) == (2, result.text)
    assert extract(rate_sentences("When?", [])).text == NOT_FOUND
    assert extract(rate_sentences("Two towers?", chunks_of("It has\n  two towers."))).text == "It has two towers."
    assert len(rate_sentences("bridge", chunks_of(*BRIDGE))) == 5


def test_a_second_sentence_as_good_is_quoted_too() -> None:
    texts = (
        "The bridge was opened in 1932.",
        "In 1932 the bridge was opened.",
        "The bridge was opened by the governor.",
    )
    rated = rate_sentences("When was the bridge opened?", chunks_of(*texts))
    assert rated[1].score >= rated[0].score - CLOSE
    assert [one.number for one in extract(rated).shown] == [1, 2]


def test_a_heading_leads_to_the_sentence_below_it_and_is_not_quoted_with_it() -> None:
    text = "## shutil.copyfile(src, dst)\n\nCopies the contents. It returns the destination.\n\n## Bridges"
    result = extract(rate_sentences("What does copyfile do?", chunks_of(text)))
    assert result.text.startswith("Copies the contents.")
    assert "shutil" not in result.text
    assert extract(rate_sentences("Which bridges?", chunks_of(text))).text == "Bridges"


PAGE = """# Capitals of Europe

Setup takes a minute.

```sh
$ europe --capital france --install
$ europe --list-all countries
```

| Country | Capital |
|---|---|
| France | Paris |
| Norway | Oslo |

- Take the ferry to Bergen.
- Take the night train to Oslo.
"""


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Which capital does Norway have?", "| Norway | Oslo |"),  # a row, not the table
        ("How do I get to Bergen by ferry?", "- Take the ferry to Bergen."),  # an item, not the list
        ("How do I list all countries of Europe?", "$ europe --list-all countries"),  # code that was asked for
        ("How long does setup take?", "Setup takes a minute."),
    ],
)
def test_a_table_a_list_and_a_fence_are_quoted_line_by_line(question: str, answer: str) -> None:
    assert rate_sentences(question, chunks_of(PAGE))[0].sentence.text == answer


def test_code_is_not_quoted_for_a_word_that_it_happens_to_hold() -> None:
    texts = ("```sh\n$ pip install capital\n```\n\nAsk the capital of any state.", "Wine comes from France.")
    rated = rate_sentences("Which city is the capital of the country France?", chunks_of(*texts))
    assert not rated[0].sentence.text.startswith("$")
    assert [one.score for one in rated if one.sentence.text.startswith("$")] == [0]


def test_words_count_in_the_sentence_with_the_one_before_and_in_the_passage() -> None:
    """By hand: idf weights over the four sentences, three shares, their mean."""
    texts = ("Red cats sleep. They like milk.", "Blue birds sing. Fish swim.")
    rated = {one.sentence.text: one.score for one in rate_sentences("red milk", chunks_of(*texts))}
    once = math.log(1 + 3.5 / 1.5)  # both words are in one sentence of four
    share = once / (2 * once)
    assert rated["They like milk."] == pytest.approx((share + 1 + 1) / 3, abs=1e-4)
    assert rated["Red cats sleep."] == pytest.approx((share + share + 1) / 3, abs=1e-4)
    assert rated["Fish swim."] == 0


def test_meaning_finds_what_no_word_tells() -> None:
    texts = ("The soup is hot.", "An automobile has its cost.")
    question = "What is the price of a car?"
    assert rate_sentences(question, chunks_of(*texts))[0].score == 0
    best = rate_sentences(question, chunks_of(*texts), Feeler())[0]
    assert best.sentence.text == texts[1]
    assert best.score > 0.4


def test_an_embedder_whose_texts_are_all_alike_refuses_as_well() -> None:
    """Unrelated texts have a cosine near 1 with this one; above that level it tells the same."""
    narrow = Feeler(shift=3.0)
    question, texts = "The car?", ("Soup, soup.", "An automobile.")
    vectors = narrow.embed_documents([question, *texts])
    assert vectors[0] @ vectors[1] > 0.75
    scores = {one.sentence.text: one.score for one in rate_sentences(question, chunks_of(*texts), narrow)}
    assert scores["Soup, soup."] < 0.05
    assert scores["An automobile."] > scores["Soup, soup."] + 0.2


def test_the_same_sentence_of_another_file_is_not_quoted_twice() -> None:
    texts = ("The bridge was opened in 1932.", "The bridge was opened in 1932.", "The bridge was opened late.")
    rated = rate_sentences("When was the bridge opened?", chunks_of(*texts))
    assert extract(rated).text.count("1932") == 1


def test_a_sentence_that_is_said_again_and_again_answers_as_one_that_is_said_once() -> None:
    said, question = "The spare key lies under the third plank. ", "Where does the spare key lie?"
    others = ("The lake is north of the town.", "Boats are painted in May.")
    once, often = (rate_sentences(question, chunks_of(said * times, *others))[0] for times in (1, 8))
    assert often.sentence.text == once.sentence.text
    assert often.score == pytest.approx(once.score, abs=1e-3)


def test_the_vectors_of_texts_seen_before_are_not_computed_again() -> None:
    """The same vectors as without memory, in any order; of more texts than are kept, the oldest go."""
    asked: list[str] = []

    class Counting(Feeler):
        def embed_documents(self, texts: Sequence[str]) -> Vectors:
            asked.extend(texts)
            return super().embed_documents(texts)

    kept = RememberingEmbedder(Counting(), texts=3)
    for texts in (["car", "soup"], ["soup", "car", "soup"], ["price", "cost"], ["cost"], ["soup"]):
        assert np.array_equal(kept.embed_documents(texts), Feeler().embed_documents(texts))
    assert asked == ["car", "soup", "price", "cost"]
    assert kept.embed_documents([]).shape == (0, 4)
    assert np.array_equal(kept.embed_documents(["car"]), Feeler().embed_documents(["car"]))
    assert asked[-1] == "car"  # it had gone


def test_meaning_counts_in_the_sentence_with_the_one_before_and_in_the_passage() -> None:
    """By hand: a question without a word in common, so that only the three cosines count, halved by the words' zero."""
    rated = rate_sentences("car", chunks_of("Automobile. Soup. Cost."), Feeler())
    asked = np.array([1, 0, 0])
    first, second, third = (np.array(WORDS[word]) / norm(WORDS[word]) for word in ("automobile", "soup", "cost"))

    def cosine(vector: np.ndarray) -> float:
        return float(vector @ asked / norm(vector))

    whole = cosine(first + second + third)  # unrelated sentences have a vector of their own, at a right angle
    wanted = {
        "Automobile.": cosine(first) + cosine(first) + whole,
        "Soup.": cosine(second) + cosine(first + second) + whole,
        "Cost.": cosine(third) + cosine(second + third) + whole,
    }
    found = {one.sentence.text: one.score for one in rated}
    assert found == pytest.approx({text: value / 6 for text, value in wanted.items()}, abs=1e-4)


def test_a_sentence_is_not_quoted_again_with_its_heading() -> None:
    text = "# Bridges\n\nThe bridge was opened in 1932. Fish swim."
    (shown,) = extract(rate_sentences("When was the bridge opened?", chunks_of(text))).shown
    assert "1932" in shown.text


def test_a_question_without_a_word_of_meaning_is_far_from_everything() -> None:
    assert rate_sentences("is it?", chunks_of(*BRIDGE))[0].score == 0


def test_evidence_decides_before_a_model_is_asked() -> None:
    hits = [Hit(one, 1.0) for one in chunks_of("The soup is hot.", "An automobile has its cost.")]
    question = "What is the price of a car?"
    by_words = ask(question, lambda asked, k: hits, chain="extract")
    by_meaning = ask(question, lambda asked, k: hits, chain="extract", embedder=Feeler())
    assert (by_words.found, by_meaning.found) == (False, True)
    assert by_meaning.text == "An automobile has its cost."
    assert not ask("Soup?", lambda asked, k: hits[1:], chain="extract", embedder=Feeler()).found


def test_a_heading_counts_as_part_of_its_passage() -> None:
    bare = Chunk("a", 0, 18, "It needs a spade.")
    headed = Chunk("b", 0, 18, "It needs a spade.", heading="Planting trees")
    rated = rate_sentences("What does planting of trees need?", [bare, headed])
    assert rated[0].sentence.chunk.source == "b"


def test_evidence_is_less_where_no_passage_stands_out() -> None:
    """By hand: less half of what lacks to 0.2, 0 at least; what stands out more is no evidence."""
    (best, *_) = rated = rate_sentences("When was the bridge opened?", chunks_of(*BRIDGE))
    for standing, more in ((None, 0.0), (0.2, 0.0), (0.3, 0.0), (0.05, -0.075), (-9.0, -1.0)):
        assert evidence_of(rated, standing) == pytest.approx(max(0, best.score + more), abs=1e-4)
    assert evidence_of([], 0.5) == 0


def test_a_question_that_many_passages_are_near_is_refused() -> None:
    hits = [Hit(one, 1.0) for one in chunks_of("An automobile has its cost.")]
    asked: list[str] = []

    def standing(question: str) -> float:
        asked.append(question)
        return -0.4

    question = "What is the price of a car?"
    assert ask(question, lambda asked, k: hits, chain="extract", embedder=Feeler()).found
    refused = ask(question, lambda asked, k: hits, chain="extract", embedder=Feeler(), standing=standing)
    assert (refused.found, asked) == (False, [question])
