"""Asking documents on the page: the choice, the answer with its sources, and what the documents do not tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_page import ask, conversations, shown, until

from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection, remove

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def garden(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A document in the collection "garden"; é and 🌱 stand before the answer, as browsers count them otherwise."""
    file = tmp_path_factory.mktemp("garden") / "garden.md"
    file.write_text("# Légumes 🌱\n\nSow carrots 🥕 two centimetres deep. Beans <b>climb</b> on poles.\n")
    collection = Collection.create(Library(home), "garden")
    collection.add([str(file)])
    collection.close()
    yield file
    remove(Library(home), "garden")


@pytest.fixture
def choose(chat: Open, garden: Path) -> Callable[..., Any]:
    def open_and_choose(way: str, **options: Any) -> Any:
        page = chat(**options)
        until(page, "document.querySelectorAll('#documents option').length === 3")
        page.get_by_role("combobox", name="Documents", exact=True).select_option(label=way)
        return page

    return open_and_choose


def test_without_documents_there_is_nothing_to_choose(chat: Open) -> None:
    page = chat()
    assert not page.get_by_role("combobox", name="Documents", exact=True).is_visible()


def test_an_answer_shows_its_sources(choose: Callable[..., Any], garden: Path) -> None:
    page = choose("Quote from garden")
    ask(page, "How deep are carrots sown?")
    assert page.locator("#thread .assistant .body").inner_text() == "Sow carrots 🥕 two centimetres deep. [1]"
    source = page.get_by_role("region", name="Sources").inner_text()
    assert f"[1] {garden} · Légumes 🌱" in source
    assert "Sow carrots 🥕 two centimetres deep." in source
    page.reload()  # the conversation is kept with its sources, and the choice with the browser
    page.locator(".conversation").first.click()
    assert page.get_by_role("region", name="Sources").is_visible()
    until(page, "document.querySelector('#documents').value.includes('extract')")
    kept = shown(conversations(page)[0])[-1]
    assert kept["text"] == "Sow carrots 🥕 two centimetres deep."
    assert kept["documents"] == {"collection": "garden", "chain": "extract"}


def test_what_is_not_in_the_documents_is_said(choose: Callable[..., Any]) -> None:
    page = choose("Quote from garden")
    ask(page, "Which emperor of Rome sold carrots to merchants in winter?")
    assert page.locator("#thread .assistant .body").inner_text() == "Not in the documents."
    page.get_by_text("The nearest passages").click()
    assert page.locator(".sources li").count() > 0
    assert page.locator(".sources b").count() == 0  # a passage is text


def test_the_model_writes_from_documents(choose: Callable[..., Any]) -> None:
    page = choose("Answer from garden")
    ask(page, "How deep are carrots sown?")
    answer = shown(conversations(page)[0])[-1]
    assert answer["answer"]["chain"] == "stuff"
    assert answer["stats"]["tokens"] == 24
    marks = page.locator("#thread .assistant .body").inner_text().count("[?]")
    assert marks == len(answer["answer"]["unsupported"]) > 0
    assert page.get_by_text("No passage says this").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_nothing_serious(choose: Callable[..., Any], scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 844}, "bypass_csp": True}
    page = choose("Quote from garden", **options)
    for question in ("How deep are carrots sown?", "Which emperor of Rome sold carrots to merchants in winter?"):
        ask(page, question)
        found = axe.run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(serious, indent=1)[:3000]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
