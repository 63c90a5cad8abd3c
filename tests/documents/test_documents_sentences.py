"""Sentences of scripts that have marks of their own, or none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.documents.sentences import sentence_spans, sentences


@pytest.mark.parametrize(
    "expected",
    [
        ["住宿费每晚上限为四百五十元。", "真的吗？！", "是的。"],
        ["他买了3.5公斤.", "然后走了!", "价格是4.5元"],
        ["彼は来た｡", "版は３．５である．", "終わり"],
        ["من يحق له؟", "كل موظف.", "ثلاثون يوما؟", "نعم"],
        ["یہ کتاب ہے۔", "وہ قلم ہے۔"],
        ["यह किताब है।", "वह कलम है॥"],
        ["ហាងបើកនៅម៉ោង៨។", "ហាងបិទនៅម៉ោង៥។"],
        ["ဆိုင်ဖွင့်သည်။", "ဆိုင်ပိတ်သည်။"],
        ["བོད་ཡིག་རེད།", "ཡག་པོ་འདུག།"],
        ["ይህ ቤት ነው።", "ያ መንገድ ነው፧"],
        ["Սա գիրք է։", "Նա եկավ։"],
        ["สระว่ายน้ำเปิดทุกวันตั้งแต่หกโมงเช้า", "เด็กอายุต่ำกว่าสิบสองปีต้องมีผู้ปกครอง"],
        ["ຫ້ອງສະໝຸດເປີດທຸກມື້ຕັ້ງແຕ່ເກົ້າໂມງ", "ສະມາຊິກຢືມປຶ້ມໄດ້ສິບຫົວ"],
    ],
)
def test_sentences_end_at_the_marks_of_their_script(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("公司差旅报销制度\n员工须在十日内提交申请。", ["公司差旅报销制度", "员工须在十日内提交申请。"]),
        ("กฎการใช้สระว่ายน้ำ\nสระเปิดทุกวัน", ["กฎการใช้สระว่ายน้ำ", "สระเปิดทุกวัน"]),
        ("如果明天下雨，\n我们就不去。", ["如果明天下雨，\n我们就不去。"]),  # the line ends in a comma
        ("一二三四五六七八" * 4 + "\n九十。", ["一二三四五六七八" * 4 + "\n九十。"]),  # a full line is cut by its width
        ("นาย สมชาย ใจดี มาทำงาน", ["นาย สมชาย ใจดี มาทำงาน"]),  # names have spaces too
        ("他说……然后走了。", ["他说……然后走了。"]),
    ],
)
def test_titles_and_what_goes_on(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="字ก กา\n。.! ?؟a，1", max_size=60))
def test_only_white_space_is_between_sentences(text: str) -> None:
    at = 0
    for start, end in sentence_spans(text):
        assert not text[at:start].strip()
        assert start < end
        at = end
    assert not text[at:].strip()
