"""Splitters: spans, what is kept, exact sizes, and LangChain's own splitters as the oracle."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.config import parse
from seedbed.core.errors import CapacityError, ConfigError, UsageError
from seedbed.documents.document import Chunk, Document, Heading
from seedbed.documents.splitting.characters import split_characters, split_recursive
from seedbed.documents.splitting.split import (
    SplitSettings,
    split,
    split_pieces,
    split_tokens,
)
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

TEXT = st.text(alphabet=st.sampled_from("ab.!? \n\tÄ。字-#1"), max_size=200)
SIZES = st.tuples(st.integers(1, 40), st.integers(0, 40)).map(lambda pair: (pair[0], min(pair)))
Splitter = Callable[[Document, int, int], list[Chunk]]
split_headings = partial(split_pieces, by="heading")
split_paragraphs = partial(split_pieces, by="paragraph")
split_sentences = partial(split_pieces, by="sentence")
EXACT: tuple[Splitter, ...] = (split_headings, split_paragraphs, split_sentences)


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


def pseudo_tokens(text: str) -> int:
    """Counts as byte-pair tokenizers do: letters in pairs inside a word, everything else alone, spaces with words."""
    return sum(len(word) // 2 + len(word) % 2 for word in re.findall(r" ?\w+|\W", text))


def by_tokens(document: Document, size: int, overlap: int) -> list[Chunk]:
    return split_tokens(document, lambda text: len(text.encode()), size + 3, overlap)


@pytest.mark.parametrize("splitter", [*EXACT, by_tokens, split_characters, split_recursive])
@given(text=TEXT, sizes=SIZES)
@settings(max_examples=150, deadline=None)
def test_chunks_are_spans_in_order_and_lose_nothing_but_white_space(
    splitter: Splitter, text: str, sizes: tuple[int, int]
) -> None:
    headings = tuple(Heading(found.start(), 1, "h") for found in re.finditer("#", text))
    document = Document("s", text, headings=headings)
    chunks = splitter(document, *sizes)
    kept = set()
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != ""
        kept.update(range(chunk.start, chunk.end))
    assert all(text[place].isspace() for place in range(len(text)) if place not in kept)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(starts)


@pytest.mark.parametrize("splitter", EXACT)
@given(text=TEXT, sizes=SIZES)
@settings(max_examples=150, deadline=None)
def test_no_chunk_is_larger_than_the_size_and_without_overlap_none_repeats_another(
    splitter: Splitter, text: str, sizes: tuple[int, int]
) -> None:
    document = Document("s", text)
    assert all(len(chunk.text) <= sizes[0] for chunk in splitter(document, *sizes))
    chunks = splitter(document, sizes[0], 0)
    assert all(before.end <= after.start for before, after in itertools.pairwise(chunks))


@given(text=TEXT, size=st.integers(3, 30), overlap=st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_no_chunk_has_more_tokens_than_it_may(text: str, size: int, overlap: int) -> None:
    for count in (lambda text: len(text.encode()), pseudo_tokens, lambda text: len(text) + 2 * text.count("\n")):
        chunks = split_tokens(Document("s", text), count, size, overlap)
        assert all(count(chunk.text) <= size for chunk in chunks)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    text = Path(re.__file__).read_text()
    return train_tokenizer([text], TokenizerSettings(vocab_size=600))


@pytest.mark.parametrize("size", [4, 17, 64, 500])
def test_tokens_are_those_of_a_real_tokenizer_and_chunks_are_well_filled(tokenizer: Tokenizer, size: int) -> None:
    text = Path(st.__file__).read_text()[:20_000]
    chunks = split_tokens(Document("s", text), lambda text: len(tokenizer.encode(text)), size)
    counts = [len(tokenizer.encode(chunk.text)) for chunk in chunks]
    assert max(counts) <= size
    assert sum(counts) / len(counts) > size / 2
    assert "".join("".join(texts(chunks)).split()) == "".join(text.split())


def test_a_chunk_of_tokens_ends_where_a_sentence_ends() -> None:
    text = "One two three. Four five six seven. Eight nine."
    chunks = split_tokens(Document("s", text), lambda text: len(text.split()), 5)
    assert texts(chunks) == ["One two three.", "Four five six seven.", "Eight nine."]
    overlapping = split_tokens(Document("s", "A a. B b. C c. D d."), lambda text: len(text.split()), 4, 2)
    assert texts(overlapping) == ["A a. B b.", "B b. C c.", "C c. D d."]


def test_a_character_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(CapacityError, match="no room"):
        split_tokens(Document("s", "字"), lambda text: len(text.encode()), 2)


def test_sections_carry_their_headings_and_pages() -> None:
    text = "Intro.\n\nA\n\nFirst. Second.\n\nB\n\nThird."
    headings = (Heading(8, 1, "A"), Heading(text.index("B"), 2, "B"))
    chunks = split_headings(Document("s", text, pages=(0, 20), headings=headings), 100)
    assert texts(chunks) == ["Intro.", "A\n\nFirst. Second.", "B\n\nThird."]
    assert [chunk.heading for chunk in chunks] == ["", "A", "A > B"]
    assert [chunk.page for chunk in chunks] == [1, 1, 2]


def test_headings_above_a_place_are_the_nearest_of_each_higher_level() -> None:
    levels = [2, 3, 1, 3, 3, 2, 4, 2]
    headings = tuple(Heading(10 * index, level, str(index)) for index, level in enumerate(levels))
    document = Document("s", "x" * 100, headings=headings)
    expected = ["0", "0 > 1", "2", "2 > 3", "2 > 4", "2 > 5", "2 > 5 > 6", "2 > 7"]
    assert [document.heading_at(10 * index + 5) for index in range(len(levels))] == expected


def test_paragraphs_stay_whole_while_they_fit() -> None:
    text = "One.\nStill one.\n \nTwo is here.\n\n\n\nThree. And four of them."
    assert texts(split_paragraphs(Document("s", text), 100)) == [text]
    assert texts(split_paragraphs(Document("s", text), 30)) == [
        "One.\nStill one.\n \nTwo is here.",
        "Three. And four of them.",
    ]
    assert texts(split_paragraphs(Document("s", text), 18)) == [
        "One.\nStill one.",
        "Two is here.",
        "Three.",
        "And four of them.",
    ]


@pytest.mark.parametrize("run", [" ", "\t", ".", "! ", "\n ", '."', "(", "- ", "a. ", "。", "x", "x "])
def test_long_runs_of_anything_are_cut_without_ado(run: str) -> None:
    """Each of these, as long as it is, would keep a pattern busy for hours that goes back over what it has read."""
    text = f"One two{run * 50_000}three. Four."
    for splitter in (split_headings, split_paragraphs, split_sentences, split_recursive):
        chunks = splitter(Document("s", text), 500, 0)
        assert "".join("".join(texts(chunks)).split()) == "".join(text.split())


def test_settings_choose_the_splitter_and_are_checked() -> None:
    document = Document("s", "A b. C d.\n\nE f.")
    assert split(document, SplitSettings("sentence", 4)) == split_sentences(document, 4)
    assert split(document, SplitSettings("characters", 9)) == split_characters(document, 9)
    assert split(document, SplitSettings("recursive", 9)) == split_recursive(document, 9)
    assert split(document, SplitSettings("heading", 9)) == split_headings(document, 9)
    assert split(document) == split_paragraphs(document)
    assert split(document, SplitSettings("tokens", 5), len) == split_tokens(document, len, 5)
    with pytest.raises(UsageError, match="tokenizer"):
        split(document, SplitSettings("tokens"))
    with pytest.raises(ConfigError):
        parse(SplitSettings, {"chunk_size": 10, "chunk_overlap": 11})


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (-1, 0), (2, -1), (2, 4)])
def test_impossible_sizes_are_refused(size: int, overlap: int) -> None:
    for splitter in (*EXACT, split_characters, split_recursive, by_tokens):
        if splitter is not by_tokens or size + 3 < overlap or overlap < 0:
            with pytest.raises(UsageError, match="cannot be made"):
                splitter(Document("s", "abc"), size, overlap)


LANGCHAIN = [
    # separator, size, overlap, text: the inputs of langchain-text-splitters' own tests
    (" ", 7, 3, "foo bar baz 123"),
    (" ", 2, 0, "foo  bar"),
    (" ", 2, 0, "f b"),
    (" ", 3, 1, "foo bar baz a a"),
    (" ", 3, 1, "a a foo bar baz"),
    (" ", 1, 1, "foo bar baz 123"),
    (" ", 9, 2, "foo bar baz"),
    (" ", 3, 0, "foo bar"),
    (".", 1, 0, "foo.bar.baz.123"),
    ("", 1, 0, "foo"),
]
LETTER = """Hi.\n\nI'm Harrison.\n\nHow? Are? You?\nOkay then f f f f.
This is a weird text to write, but gotta test the splittingggg some how.

Bye!\n\n-H."""
RECURSIVE = [
    # separators, size, overlap, text
    ((",", "."), 10, 0, "Apple,banana,orange and tomato."),
    (("X", "Y"), 6, 0, "....5X..3Y...4X....5Y..."),
    (("X", "Y"), 5, 0, "....5X..3Y...4X....5Y..."),
    (("\n\n", "\n", " ", ""), 6, 0, "w1 w1 w1 w1 w1 w1 w1 w1 w1"),
    (("\n\n", "\n", " ", ""), 10, 1, LETTER),
]
PROSE = st.lists(
    st.sampled_from(["one", "two.", "three", "a", "seventeen", "\n", "\n\n", "Supercalifragilistic"]), max_size=40
).map(lambda parts: re.sub(r"\s*\n\s*", lambda found: "\n\n" if found[0].count("\n") > 1 else "\n", " ".join(parts)))


@pytest.fixture(scope="module")
def langchain() -> object:
    return pytest.importorskip("langchain_text_splitters", reason="the oracle is not installed")


@pytest.mark.parametrize(("separator", "size", "overlap", "text"), LANGCHAIN)
@pytest.mark.parametrize("keep", [None, "start", "end"])
def test_characters_equal_langchains(
    langchain: object, separator: str, size: int, overlap: int, text: str, keep: str | None
) -> None:
    oracle = langchain.CharacterTextSplitter(  # type: ignore[attr-defined]
        separator=separator, chunk_size=size, chunk_overlap=overlap, keep_separator=keep or False
    )
    chunks = split_characters(Document("s", text), size, overlap, separator, keep)  # type: ignore[arg-type]
    assert texts(chunks) == oracle.split_text(text)


@pytest.mark.parametrize(("separators", "size", "overlap", "text"), RECURSIVE)
@pytest.mark.parametrize("keep", [None, "start", "end"])
def test_recursion_equals_langchains(
    langchain: object, separators: tuple[str, ...], size: int, overlap: int, text: str, keep: str | None
) -> None:
    oracle = langchain.RecursiveCharacterTextSplitter(  # type: ignore[attr-defined]
        separators=list(separators), chunk_size=size, chunk_overlap=overlap, keep_separator=keep or False
    )
    chunks = split_recursive(Document("s", text), size, overlap, separators, keep)  # type: ignore[arg-type]
    assert texts(chunks) == oracle.split_text(text)


@given(text=PROSE, sizes=st.tuples(st.integers(2, 60), st.integers(0, 60)).map(lambda pair: (pair[0], min(pair))))
@settings(max_examples=300, deadline=None)
def test_both_equal_langchains_on_prose(langchain: object, text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    document = Document("s", text)
    plain = langchain.CharacterTextSplitter(chunk_size=size, chunk_overlap=overlap)  # type: ignore[attr-defined]
    assert texts(split_characters(document, size, overlap)) == plain.split_text(text)
    recursive = langchain.RecursiveCharacterTextSplitter(  # type: ignore[attr-defined]
        chunk_size=size, chunk_overlap=overlap
    )
    assert texts(split_recursive(document, size, overlap)) == recursive.split_text(text)


def test_the_tutorials_own_answers_without_the_oracle() -> None:
    """The expected values that langchain-text-splitters' tests state."""
    assert texts(split_characters(Document("s", "foo bar baz 123"), 7, 3, " ")) == ["foo bar", "bar baz", "baz 123"]
    assert texts(split_characters(Document("s", "foo  bar"), 2, 0, " ")) == ["foo", "bar"]
    assert texts(split_characters(Document("s", "foo.bar.baz.123"), 1, 0, ".", "end")) == [
        "foo.",
        "bar.",
        "baz.",
        "123",
    ]
    fruit = Document("s", "Apple,banana,orange and tomato.")
    assert texts(split_recursive(fruit, 10, 0, (",", "."))) == ["Apple", ",banana", ",orange and tomato", "."]
    expected = "Hi.|I'm|Harrison.|How? Are?|You?|Okay then|f f f f.|This is a|weird|text to|write,|but gotta|test the|"
    expected += "splitting|gggg|some how.|Bye!|-H."
    assert texts(split_recursive(Document("s", LETTER), 10, 1)) == expected.split("|")
