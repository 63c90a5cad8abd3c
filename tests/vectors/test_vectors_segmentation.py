"""Words of all scripts: as the full-text index sees them, and as people write the same thing in different ways."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.vectors.segmentation import fold, is_plain, pieces, runs
from seedbed.vectors.words import TOKENIZER, indexed, smallest_words, stemmed, terms, words

EVERY = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]


def fts5_words(texts: list[str]) -> list[list[str]]:
    """Return the terms of each text that FTS5 itself puts into an index."""
    database = sqlite3.connect(":memory:")
    database.execute(f'CREATE VIRTUAL TABLE held USING fts5(text, tokenize="{TOKENIZER}")')
    database.execute("CREATE VIRTUAL TABLE found USING fts5vocab(held, 'instance')")
    database.executemany("INSERT INTO held (rowid, text) VALUES (?, ?)", enumerate(texts))
    seen: list[list[str]] = [[] for _ in texts]
    for row, term in database.execute("SELECT doc, term FROM found ORDER BY doc, offset"):
        seen[row].append(term)
    return seen


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_the_index_sees_our_words(text: str) -> None:
    assert fts5_words([indexed(text)]) == [stemmed(words(text))]


def test_every_character_is_one_word_to_the_index_or_none() -> None:
    found = sorted({word for one in EVERY for word in words(f"q{one}q")})
    assert [word for word, seen in zip(found, fts5_words(found), strict=True) if len(seen) != 1] == []


def test_plain_characters_are_the_same_to_the_index_as_cut_here() -> None:
    plain = [f"q{one}q" for one in EVERY if is_plain(one)]
    cut = [[piece for script, run in runs(text) for piece in pieces(script, run)] for text in plain]
    assert [words(text) for text in plain] == cut
    assert fts5_words(plain) == fts5_words([" ".join(one) for one in cut])
    assert len(plain) > 1000  # Western and Central European, Cyrillic, typographic marks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("住宿费上限", ["住", "住宿", "宿", "宿费", "费", "费上", "上", "上限", "限"]),
        ("酒", ["酒"]),
        ("東京タワー", ["東", "東京", "京", "京タ", "タワ", "ワー"]),
        ("GPS定位3次", ["gps", "定", "定位", "位", "3", "次"]),
        ("숙박비는", ["숙박비는", "숙박", "박비", "비는"]),
        ("집에", ["집에", "집"]),
        ("สระว่าย", ["สร", "ระ", "ะว่", "ว่า", "าย", "สระ", "ระว่", "ะว่า", "ว่าย"]),
        ("ស្រី", ["ស្រី"]),
        ("བོད་ཡིག", ["བོད", "ཡིག"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
    ],
)
def test_words_of_scripts(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ＡＢＣ１２３", "abc123"),  # full width
        ("ｶﾞｽ料金", "ガス料金"),  # half width
        ("مُدَرِّسٌ", "مدرس"),  # vowel points
        ("الإجــازة", "الاجازة"),  # the stroke that lengthens, the hamza
        ("٤٥٠ يوما", "450 يوما"),  # digits
        ("๔๕ บาท", "45 บาท"),
        ("שָׁלוֹם", "שלום"),
        ("STRASSE", "straße"),
        ("ΣΟΦΟΣ", "σοφός"),
        ("İzmir", "izmir"),
        ("ﬁrst oﬀicer", "first officer"),  # ligatures
        ("co\u00adopera\u200dtion", "cooperation"),
        ("ﻣﺪﺭﺳﺔ", "مدرسة"),  # presentation forms
        ("5 m²", "5 m2"),
        ("Zu\u0308rich", "Zürich"),
        ("각", "각"),  # Korean written by letters
    ],
)
def test_the_same_word_in_another_form(one: str, other: str) -> None:
    assert words(one) == words(other) != []
    assert terms(one) == terms(other)


def test_marks_that_end_no_word() -> None:
    assert words("Windows™ 11") == ["windows", "11"]
    assert words("🙂 fine ✓") == ["fine"]
    assert words("ไท\u200bลา") == ["ไท", "ลา"]
    assert fold("a\u200bb") == "a b"


def test_smallest_words_do_not_overlap() -> None:
    assert smallest_words("GPS住宿费 น้ำใส 숙박비는") == ["gps", "住", "宿", "费", "น้ํ", "า", "ใ", "ส", "숙박비는"]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("住宿费上限是多少？", "住 住宿 宿 宿费 费 费上 上 上限 限"),
        ("什么是酒？", "酒"),
        ("宿泊費の上限はいくらですか", "宿 宿泊 泊 泊費 費 上 上限 限"),
        ("숙박비의 상한은 얼마입니까?", "숙박 박비 상한"),
        ("벼는 언제 심습니까?", "벼 심"),
        ("ใครเป็นผู้ปกครอง", "ผู้ปก ปกค กคร ครอ รอง"),
        ("How much is the 停车费?", "停 停车 车 车费 费"),
    ],
)
def test_terms_are_what_a_question_is_about(question: str, expected: str) -> None:
    assert terms(question) == expected.split()
