"""The real server with a tiny random model, and a real browser: Debian's chromium, driven by Playwright.

Anything the browser reports on its console (a violation of the content policy, an exception, a failed load) fails the
test, but for what the test says it expects.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_page import Server, finish, start, until

from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
WRITTEN = {bytes([byte]) for byte in b"abcdefghijklmnopqrstuvwxyz \n\xc3\xa9"}
NOTHING = r"(?!)"  # matches no message
SHORT = '{"max_tokens": 24, "seed": 7}'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with one tiny random model that writes letters, white space and halves of é, and never ends by itself.

    One dimension of the residual stream is large and positive in every token; the output layer takes a multiple of it
    from the logits of all other tokens.
    """
    torch.set_num_threads(1)
    library = Library(tmp_path_factory.mktemp("home"))
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    shape = ModelConfig(tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, max_length=50_000, tied=False)
    model = Decoder(shape)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # the gains of the norms stay 1
            parameter.data.normal_(0.0, 0.3, generator=generator)
    model.embedding.weight.data[:, 0] = 100.0
    written = [tokenizer.token_bytes(token) in WRITTEN for token in range(tokenizer.vocab_size)]
    model.output.weight.data[:, 0] = torch.where(torch.tensor(written), 0.0, -100.0)
    with library.writing("model", name="tiny") as draft:
        save_model(draft.path, model, tokenizer)
    return library.root


@pytest.fixture(scope="package")
def server(home: Path) -> Iterator[Server]:
    running = start(home)
    yield running
    finish(running)


@pytest.fixture
def own_server(home: Path) -> Iterator[Server]:
    """A server that the test may stop."""
    running = start(home)
    yield running
    finish(running)


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watch:
    """Collects what a browser reports, but for messages that a test expects."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def over(self, page: Any, expected: str) -> Callable[[], None]:
        """Listen to a page. Returns what ends it."""

        def note(text: str) -> None:
            if not re.search(expected, text):
                self.problems.append(text)

        def console(message: Any) -> None:
            if message.type in ("error", "warning"):
                note(f"{message.text} {message.location['url']}")

        def dismiss(dialog: Any) -> None:
            note(f"a dialog: {dialog.message}")
            dialog.dismiss()

        heard = {
            "console": console,
            "pageerror": lambda error: note(str(error)),
            "dialog": dismiss,
        }
        for event, listener in heard.items():
            page.on(event, listener)

        def end() -> None:
            for event, listener in heard.items():
                page.remove_listener(event, listener)

        return end


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Makes pages in contexts of their own; `expected` is a pattern of console messages that are no failure."""
    contexts, watch = [], Watch()

    def make(expected: str = NOTHING, **options: Any) -> Any:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        watch.over(page, expected)
        return page

    yield make
    for context in contexts:
        context.close()
    assert watch.problems == []


@pytest.fixture(scope="package")
def shared_page(browser: Any) -> Iterator[Any]:
    """A page for the tests that need no context of their own: a new one costs half a second."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def chat(server: Server, shared_page: Any, new_page: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Opens the page with empty storage and its key; replies are short and their seed fixed unless told otherwise.

    Options of a browser context give the page a context of its own.
    """
    watch, endings = Watch(), []

    def open_chat(expected: str = NOTHING, settings: str = SHORT, **options: Any) -> Any:
        page = new_page(expected, **options) if options else shared_page
        if not options:
            page.goto("about:blank")
            endings.append(watch.over(page, expected))
            page.emulate_media(color_scheme="light", reduced_motion="reduce")
            empty = {"origin": server.address, "storageTypes": "local_storage"}
            page.context.new_cdp_session(page).send("Storage.clearDataForOrigin", empty)
        page.goto(f"{server.address}/#key={server.key}")
        until(page, "document.querySelector('#model').value === 'tiny'")
        page.evaluate(f"localStorage['seedbed.settings'] = {settings!r}")
        return page

    yield open_chat
    for end in endings:
        end()
    assert watch.problems == []
