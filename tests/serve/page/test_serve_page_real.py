"""A real model answers from this repository's own documentation on the page, and a picture is taken of it.

Skipped where the packaged SmolLM2 cannot be had. Seconds are printed, not judged. SEEDBED_PICTURE names a file for the
picture: `docs/chat-page.png` was made so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_page import Server, ask, conversations, finish, finished, shown, start, until

from seedbed.app.assistant import OPEN_NAME, pull_open_model
from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError
from seedbed.rag.collection import Collection

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[3] / "docs"
QUESTION = "How does a collection search?"
FOLLOWING = "And when do its vectors go to a server?"
ELSEWHERE = "Which emperor of Rome sold carrots to merchants in winter?"


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of SmolLM2 and a collection of the repository's documentation."""
    library = Library(tmp_path_factory.mktemp("assistant"))
    try:
        pull_open_model(library)
    except SeedbedError as error:
        pytest.skip(f"SmolLM2 cannot be had: {error.what}")
    collection = Collection.create(library, "docs")
    collection.add([str(DOCS)])
    collection.close()
    running = start(library.root, model=OPEN_NAME)
    yield running
    finish(running)


def test_a_real_model_answers_from_documents(
    assistant: Server, new_page: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = new_page(viewport={"width": 720, "height": 700}, color_scheme="light")
    page.goto(f"{assistant.address}/#key={assistant.key}")
    until(page, "document.querySelectorAll('#documents option').length === 3")
    page.get_by_role("combobox", name="Documents", exact=True).select_option(label="Answer from docs")
    page.evaluate("""localStorage['seedbed.settings'] = '{"temperature": 0}'""")

    page.get_by_role("textbox", name="Message", exact=True).fill(QUESTION)
    began = time.perf_counter()
    page.keyboard.press("Enter")
    page.locator(".sources .where").first.wait_for()
    sources = time.perf_counter() - began
    finished(page)
    whole = time.perf_counter() - began
    answer = shown(conversations(page)[0])[-1]["answer"]
    assert answer["found"]
    for one in answer["sources"]:
        assert Path(one["source"]).is_relative_to(DOCS)
        assert one["quote"] in Path(one["source"]).read_text(encoding="utf-8")
    assert len(answer["citations"]) > 0
    assert page.locator(".sources .quotation").first.is_visible()
    picture = Path(os.environ.get("SEEDBED_PICTURE", tmp_path / "chat-page.png"))
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=picture)

    ask(page, FOLLOWING)
    rewritten = shown(conversations(page)[0])[-1]["answer"]["rewritten"]
    assert f"Asked of the documents: {rewritten}" in page.locator("#thread .assistant").last.inner_text()
    page.set_viewport_size({"width": 1000, "height": 700})  # with the list of conversations beside the thread
    page.get_by_role("button", name="New conversation").click()
    ask(page, ELSEWHERE)
    assert page.locator("#thread .assistant .own").last.inner_text() == "Not in the documents."
    with capsys.disabled():
        print(f"\nsources after {sources:.1f} s, answer after {whole:.1f} s: {answer['text']}")
        print(f"asked of the documents: {rewritten}; picture: {picture}, {picture.stat().st_size} bytes")
