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


def test_a_quotation_is_asked_without_what_shapes_a_models_words(choose: Callable[..., Any]) -> None:
    page = choose("Quote from garden", settings='{"system": "Be brief.", "temperature": 0.7, "seed": 7}')
    ask(page, "How deep are carrots sown?")
    assert page.get_by_role("region", name="Sources").is_visible()


def test_an_answer_shows_its_sources(choose: Callable[..., Any], garden: Path) -> None:
    page = choose("Quote from garden")
    ask(page, "How deep are carrots sown?")
    source = page.get_by_role("region", name="Sources").inner_text()
    assert source == f"Sow carrots 🥕 two centimetres deep.\n[1] {garden.parent.name}/garden.md · Légumes 🌱"
    assert page.locator(".sources .where").get_attribute("title") == str(garden)
    assert page.locator("#thread .assistant .body").inner_text() == source  # said once
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
    assert page.locator(".own").inner_text() == "Not in the documents."
    page.get_by_text("The nearest passages").click()
    assert page.locator(".sources li").count() > 0
    assert page.locator(".sources b").count() == 0  # a passage is text


def test_what_no_passage_supports_stands_below_the_quotation(choose: Callable[..., Any]) -> None:
    """The random model writes letters: nothing of it is an answer."""
    page = choose("Answer from garden")
    ask(page, "How deep are carrots sown?")
    node = shown(conversations(page)[0])[-1]
    assert (node["answer"]["chain"], node["stats"]["tokens"]) == ("cited", 24)
    assert "draft" not in node
    assert page.locator(".sources .quotation").inner_text().startswith("Sow carrots 🥕 two centimetres deep.\n[1]")
    demoted = page.get_by_role("region", name="Not supported")
    assert " ".join(node["answer"]["demoted"]) in demoted.inner_text()
    top = [page.locator(one).bounding_box()["y"] for one in (".quotation", ".demoted", ".meter")]
    assert top == sorted(top)
    meter = node["answer"]["meter"]
    assert page.locator(".meter").inner_text() == (
        f"The model read 1 of 1 passages, {meter['tokens_read']} of {meter['tokens_found']} tokens."
    )


HOLD = """() => {
  const ask = window.fetch;
  window.fetch = async (url, options) => {
    const response = await ask(url, options);
    if (!String(url).endsWith("v1/chat/completions")) return response;
    const events = (await response.text()).match(/[^]+?\\n\\n/g).map((one) => new TextEncoder().encode(one));
    const half = events.length >> 1;
    const start = (stream) => {
      events.slice(0, half).forEach((one) => stream.enqueue(one));
      window.release = () => { events.slice(half).forEach((one) => stream.enqueue(one)); stream.close(); };
    };
    return new Response(new ReadableStream({ start }), response);
  };
}"""
"""Holds the second half of the server's reply until `release`: a small model is done before a test can look."""


def test_the_quotation_and_the_draft_are_there_before_the_answer_is_whole(choose: Callable[..., Any]) -> None:
    page = choose("Answer from garden", settings='{"seed": 7}')
    page.evaluate(HOLD)
    page.get_by_role("textbox", name="Message", exact=True).fill("How deep are carrots sown?")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.running .draft')?.textContent.length > 5")
    assert page.locator(".running .quotation").is_visible()
    page.evaluate("window.release()")
    until(page, "!document.querySelector('.running')")
    assert page.locator(".quotation").is_visible()  # the sources stay; a draft that nothing supports does not
    assert page.locator(".draft").count() == 0


def test_a_sentence_of_the_answer_leads_to_its_source(choose: Callable[..., Any]) -> None:
    """An answer as the server would send it, for a model that can write one."""
    page = choose("Answer from garden")
    ask(page, "How deep are carrots sown?")
    page.evaluate(
        """() => {
            const [key, kept] = Object.entries(localStorage).find(([name]) => name.startsWith("seedbed.conversation."));
            const conversation = JSON.parse(kept);
            const { answer } = conversation.children[0].children[0];
            answer.text = "🥕 are sown deep.";
            answer.citations = [{ ...answer.citations[0], start: 0, end: 16, number: 1 }];
            localStorage[key] = JSON.stringify(conversation);
        }"""
    )
    page.reload()
    page.locator(".conversation").first.click()
    assert page.locator(".own").inner_text() == "🥕 are sown deep. [1]"
    page.get_by_role("button", name="Source 1").click()
    assert page.evaluate("document.activeElement.className") == "quotation"


def test_a_follow_up_shows_the_question_that_was_asked(choose: Callable[..., Any]) -> None:
    page = choose("Quote from garden")
    ask(page, "How deep are carrots sown?")
    ask(page, "And the beans?")
    rewritten = shown(conversations(page)[0])[-1]["answer"]["rewritten"]
    assert rewritten == "How deep are carrots sown? And the beans?"  # the model's letters are no question
    assert f"Asked of the documents: {rewritten}" in page.locator("#thread .assistant").last.inner_text()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_nothing_serious(choose: Callable[..., Any], scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 844}, "bypass_csp": True}
    page = choose("Answer from garden", **options)
    for question in ("How deep are carrots sown?", "Which emperor of Rome sold carrots to merchants in winter?"):
        ask(page, question)
        found = axe.run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(serious, indent=1)[:3000]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
