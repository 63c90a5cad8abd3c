"""Statements of a text: sentences as ever, and lines of tables, lists and code alone."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from seedbed.documents.sentences import sentence_spans
from seedbed.documents.statements import statements


def parts(text: str) -> list[tuple[str, str]]:
    return [(one.kind, text[slice(*one.span)]) for one in statements(text)]


def test_prose_has_its_sentences() -> None:
    text = "It opens at six. It has room\nfor forty.\n\nDr. Smith runs it."
    assert [one.span for one in statements(text)] == sentence_spans(text)


def test_each_line_of_a_table_a_list_and_a_fence_is_one() -> None:
    text = (
        "# Depots\n\nTwo of them.\n\n| Name | Room |\n|---|---|\n| Hill | 12 |\n\n```sh\n$ run it\nx = 1\n```\n\n"
        "- one item\n  goes on\n- two\n\nName: Ann\nAge: 9\n\nA cell | another\n\n>>> print(1)\n\na\tb\n"
    )
    assert parts(text) == [
        ("heading", "# Depots"),
        ("sentence", "Two of them."),
        ("row", "| Name | Room |"),
        ("row", "| Hill | 12 |"),
        ("code", "$ run it"),
        ("code", "x = 1"),
        ("item", "- one item\n  goes on"),
        ("item", "- two"),
        ("row", "Name: Ann"),
        ("row", "Age: 9"),
        ("row", "A cell | another"),
        ("code", ">>> print(1)"),
        ("row", "a\tb"),
    ]
    assert len({one.block for one in statements(text)[2:4]}) == 1


def test_a_long_item_has_its_sentences_and_one_line_with_a_colon_is_prose() -> None:
    assert parts("- First do this. Then that.")[0] == ("sentence", "- First do this.")
    assert parts("Note: it is late.") == [("sentence", "Note: it is late.")]


def test_a_chunk_that_begins_inside_a_fence_is_code_up_to_its_end() -> None:
    assert parts("x = f(1)\ny = g(2)\n```\n\nThat is all.") == [
        ("code", "x = f(1)"),
        ("code", "y = g(2)"),
        ("sentence", "That is all."),
    ]


@given(st.text(alphabet="ab.|-#`>$ \t\n:", max_size=80))
def test_statements_stand_in_order_and_lose_no_word(text: str) -> None:
    spans = [one.span for one in statements(text)]
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert all(text[slice(*span)].strip() == text[slice(*span)] != "" for span in spans)
    if "`" not in text:
        inside = {at for span in spans for at in range(*span)}
        assert {at for at, one in enumerate(text) if one in "ab"} <= inside
