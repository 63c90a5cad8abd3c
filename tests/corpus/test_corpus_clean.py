"""Cleaning: what goes, what stays, and that doing it twice changes nothing."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedbed.corpus.boilerplate import LineCounts, document_lines
from seedbed.corpus.clean import clean_text
from seedbed.corpus.document import Kind


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("a  \t\nb \n", "a\nb\n"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb\n"),
        ("bell\x07 nul\x00 tab\tkept", "bell nul tab\tkept\n"),
        ("\ufeffzero\u200bwidth soft\xadhyphen", "zerowidth softhyphen\n"),
        ("cafe\u0301", "caf\u00e9\n"),
        ("nami\u200cwe \U0001f469\u200d\U0001f4bb", "nami\u200cwe \U0001f469\u200d\U0001f4bb\n"),
        ("itâ€™s a cafÃ©\nit is “naïve” Œuvre", "it’s a café\nit is “naïve” Œuvre\n"),
        ("page\x0cbreak", "page\nbreak\n"),
        ("The ﬁrst oﬃcer’s ﬂag, x² and ½", "The first officer’s flag, x² and ½\n"),
        ("\ufee3\ufea4\ufee4\ufeaa \ufefb \ufd3e\ufdfd\ufd3f ＡＢ", "محمد لا \ufd3e\ufdfd\ufd3f ＡＢ\n"),
        ("lone \ud800 surrogate", "lone  surrogate\n"),
        (" \n \n", ""),
    ],
)
def test_prose_becomes_plain(dirty: str, clean: str) -> None:
    assert clean_text(dirty, "prose", Counter()) == clean


def test_ligatures_are_counted_and_code_keeps_them() -> None:
    counts: Counter[str] = Counter()
    clean_text("ﬁrst ﬂag", "prose", counts)
    assert counts["ligatures and presentation forms written out"] == 2
    assert clean_text("print('ﬁ')", "code", Counter()) == "print('ﬁ')\n"


def test_code_keeps_its_indentation_and_blank_lines() -> None:
    code = "class A:\n\tdef f(self):\n\t\treturn '  x  '\n\n\n\n\n\nif x:\n    y()\n"
    assert clean_text(code, "code", Counter()) == code


def test_a_gutenberg_frame_is_taken_off() -> None:
    text = (
        "The Project Gutenberg eBook of Emma\n\n*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***\n\nEmma Woodhouse,\n"
        "handsome.\n\n*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***\n\nUpdated editions will replace …\n"
    )
    counts: Counter[str] = Counter()
    assert clean_text(text, "prose", counts) == "Emma Woodhouse,\nhandsome.\n"
    assert counts["Project Gutenberg frames removed"] == 1


@given(st.text(max_size=200), st.sampled_from(["prose", "code"]))
@example("\xadÞ\x80", "prose")  # without the soft hyphen it is mojibake
def test_cleaning_is_idempotent_and_gives_nfc(text: str, kind: Kind) -> None:
    once = clean_text(text, kind, Counter())
    assert clean_text(once, kind, Counter()) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode()


def test_repeated_lines_are_found_with_the_share_they_need() -> None:
    header, rare = "Copyright 2031 by the Example Company, all rights reserved", "This line stands in a fifth of them"
    texts = [
        "\n".join(
            [
                header,
                "# A heading that is everywhere as well",
                "short",
                f"Something of its own, number {number}, in every document",
                *([rare] if number % 5 == 0 else []),
                header,
            ]
        )
        for number in range(100)
    ]
    lines = LineCounts()
    for start in range(0, 100, 7):
        part = [document_lines(text) for text in texts[start : start + 7]]
        lines.add(np.concatenate(part), len(part))
    found = lines.frequent(0.3)
    assert found is not None
    counts: Counter[str] = Counter()
    assert found.strip(texts[5], counts).split("\n") == texts[5].split("\n")[1:-1]
    assert counts["boilerplate lines removed"] == 2
    both = lines.frequent(0.15)
    assert both is not None
    assert both.holds(rare)
    assert not found.holds(rare)
    exactly = lines.frequent(0.2)  # it is in a fifth, which is no more than a fifth
    assert exactly is not None
    assert not exactly.holds(rare)


def test_few_documents_have_no_boilerplate() -> None:
    lines = LineCounts()
    for _ in range(10):
        lines.add(document_lines("The very same line in all of the documents"), 1)
    assert lines.frequent(0.3) is None
    lines.add(document_lines("The very same line in all of the documents"), 1)
    assert lines.frequent(0.3) is not None
