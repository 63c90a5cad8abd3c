"""Citations, the words they rest on, and what a model's probabilities add."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
from answering import Recorder, Scorer, chunks_of, long_document, random_model
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Document, Heading
from seedbed.documents.sentences import sentences
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import SUPPORTED, Citation, Passage, cite, passages_of
from seedbed.rag.prompt_plan import fill, quoted
from seedbed.rag.scoring import leave_one_out, mean_logprob
from seedbed.vectors.words import TermWeights, common_subsequence, coverage, terms

BRIDGES = "The bridge was opened in 1932. It is painted grey every year. Two towers carry it."
FERRIES = "Ferries run twice an hour. The last one leaves at midnight."
TEXT = f"Bridges\n\n{BRIDGES}\n\nFerries\n\n{FERRIES}"
SECOND = TEXT.index("Ferries")
GUIDE = Document("guide.md", TEXT, "", (0, SECOND), (Heading(0, 1, "Bridges"), Heading(SECOND, 1, "Ferries")))


def guide() -> list[Passage]:
    return passages_of(
        [GUIDE.chunk(start, start + len(one)) for one in (BRIDGES, FERRIES) for start in [TEXT.index(one)]]
    )


def only(answer: str, question: str = "") -> Citation:
    (citation,), unsupported = cite(answer, guide(), question=question)
    assert unsupported == ()
    return citation


def test_each_sentence_is_linked_to_its_place_in_the_source() -> None:
    answer = "The bridge was opened in 1932. The last one leaves at midnight sharp."
    (first, second), unsupported = cite(answer, guide())
    assert unsupported == ()
    assert (answer[first.start : first.end], answer[second.start : second.end]) == tuple(sentences(answer))
    assert GUIDE.text[first.source_start : first.source_end] == first.quote == "The bridge was opened in 1932."
    assert GUIDE.text[second.source_start : second.source_end] == second.quote == "The last one leaves at midnight."
    assert (first.page, first.heading, second.page, second.heading) == (1, "Bridges", 2, "Ferries")
    assert (first.passage, second.passage) == (1, 2)
    assert second.chunk == guide()[1].chunk.id
    assert first.support == 1.0
    assert 0.5 <= second.support < 1.0


@pytest.mark.parametrize(
    "answer", ["Elephants never forget.", "The bridge was demolished by engineers during 1987.", "Опера закрыта."]
)
def test_a_sentence_that_no_passage_says_is_marked(answer: str) -> None:
    text = f"Ferries run twice an hour. {answer}"
    citations, unsupported = cite(text, guide())
    assert [text[start:end] for start, end in unsupported] == [answer]
    assert [one.quote for one in citations] == ["Ferries run twice an hour."]


def test_two_neighbours_support_a_sentence_that_draws_on_both() -> None:
    citation = only("Opened in 1932, painted grey every year.")
    assert citation.quote == "The bridge was opened in 1932. It is painted grey every year."


def test_the_question_decides_between_equals() -> None:
    texts = ("Cats purr twice daily.", "Ferries run twice daily.")
    for question, place in (("How often do ferries run?", 2), ("How often do cats purr?", 1), ("", 1)):
        (citation,), _ = cite("Twice daily.", passages_of(chunks_of(*texts)), question=question)
        assert citation.passage == place


def test_words_of_no_meaning_are_neither_cited_nor_marked() -> None:
    assert cite("And so it is. --- ", guide()) == ((), ())
    assert cite("", guide()) == ((), ())
    assert cite("Anything.", []) == ((), ((0, 9),))


def test_only_what_was_shown_is_cited() -> None:
    whole = guide()[0]
    shown = Passage(1, whole.chunk, 31, len(whole.chunk.text))
    assert cite("The bridge was opened in 1932.", [shown])[1] == ((0, 30),)
    (citation,), _ = cite("Two towers carry it.", [shown])
    assert GUIDE.text[citation.source_start : citation.source_end] == "Two towers carry it."


@given(st.lists(st.text(alphabet="abc .\n日", max_size=60), max_size=4), st.text(alphabet="abc .\n日", max_size=60))
def test_every_citation_is_a_span_of_its_source_and_every_sentence_is_in_one_place(
    texts: list[str], answer: str
) -> None:
    chunks = [Chunk("s", 100, 100 + len(text), text) for text in texts]
    citations, unsupported = cite(answer, passages_of(chunks))
    for one in citations:
        chunk = chunks[one.passage - 1]
        assert chunk.text[one.source_start - 100 : one.source_end - 100] == one.quote
        assert SUPPORTED <= one.support <= 1
    spans = sorted([*((one.start, one.end) for one in citations), *unsupported])
    assert [answer[start:end] for start, end in spans] == [one for one in sentences(answer) if terms(one)]


def test_words_are_compared_by_stem_and_without_function_words() -> None:
    assert terms("Who opened the bridges, and when?") == terms("opening bridge")
    assert terms("日本語 text") == ["日", "日本", "本", "本語", "語", "text"]
    assert terms("In 1932 and 1,932") == ["1932", "1", "932"]


def test_weights_are_those_of_bm25() -> None:
    weights = TermWeights([["a", "b"], ["a"], ["a", "c", "c"]])
    held = {"a": 3, "b": 1, "c": 1, "unknown": 0}
    for word, count in held.items():
        assert weights[word] == pytest.approx(math.log(1 + (3 - count + 0.5) / (count + 0.5)))


@given(st.text("abcd", max_size=7), st.text("abcd", max_size=7))
def test_order_is_the_heaviest_common_subsequence(wanted: str, text: str) -> None:
    weights = TermWeights(["ab", "abc", "a"])

    @cache
    def heaviest(one: str, two: str) -> float:
        if not one or not two:
            return 0.0
        both = heaviest(one[1:], two[1:]) + weights[one[0]] if one[0] == two[0] else 0.0
        return max(both, heaviest(one[1:], two), heaviest(one, two[1:]))

    total = sum(weights[word] for word in wanted)
    assert common_subsequence(wanted, text, weights) == pytest.approx(heaviest(wanted, text) / total if wanted else 0.0)
    assert common_subsequence(wanted, text, weights) <= 1 + 1e-12
    different = set(wanted)
    held = sum(weights[word] for word in different & set(text))
    whole = sum(weights[word] for word in different)
    assert coverage(wanted, text, weights) == pytest.approx(held / whole if wanted else 0.0)


def test_taking_a_passage_away_says_what_it_adds() -> None:
    """Each word of the answer has log p = -3 without, -1 with "beta", -2 with "alpha" alone, by construction."""

    def logprob(prompt: str, word: str) -> float:
        return -1.0 if "beta" in prompt else -2.0 if "alpha" in prompt else -3.0

    scorer = Scorer(str, logprob=logprob)
    passages = passages_of(chunks_of("alpha", "beta", "gamma"))
    assert leave_one_out(scorer, "why", passages, "two words") == {1: 0.0, 2: 2.0, 3: 0.0}
    evidence = leave_one_out(scorer, "why", passages[:1], "two words")
    assert evidence == {1: 2.0}
    (citation,), _ = cite("Alpha.", passages, evidence={1: 0.25})
    assert citation.evidence == 0.25


def test_evidence_is_of_the_passages_that_fit_with_the_answer() -> None:
    scorer = Scorer(str, window=90)
    passages = passages_of(chunks_of("alpha " * 10, "beta " * 100, "gamma"))
    assert set(leave_one_out(scorer, "why", passages, "an answer")) == {1}


def test_a_real_model_tells_what_a_passage_adds(tmp_path: Path) -> None:
    model = random_model(tmp_path, 512, [long_document(1).text])
    passages = passages_of(chunks_of("Box 40 holds seed 1.", "Box 41 holds seed 2."))
    found = leave_one_out(model, "Which?", passages, "seed 2")

    def logprob(*some: Passage) -> float:
        return sum(model.score(fill(STUFF, context="\n\n".join(map(quoted, some)), question="Which?"), "seed 2"))

    whole = logprob(*passages)
    assert found[1] == pytest.approx(whole - logprob(passages[1]), abs=1e-4)
    assert found[2] == pytest.approx(whole - logprob(passages[0]), abs=1e-4)
    assert found[1] != 0


def test_a_model_that_tells_no_probabilities_is_refused() -> None:
    class Silent(Scorer):
        def can_score(self) -> bool:
            return False

    for model in (Recorder(str), Silent(str)):
        with pytest.raises(UsageError, match="how probable"):
            leave_one_out(model, "why", guide(), "answer")
    assert mean_logprob(Scorer(str), [], "") == float("-inf")
