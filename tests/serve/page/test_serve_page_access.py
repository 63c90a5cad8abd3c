"""Who can use the page, and what it lets in: keys, keyboard, narrow and dark pages, screen readers, hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from chat_page import LONG, Server, ask, conversations, finished, shown, until, written

Open = Callable[..., Any]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script> [a](javascript:alert(3)) `<b>` **<svg onload=alert(4)>**"
)
MARKDOWN = (
    "# Heading\n\nText with **bold**, `code` and [a link](https://example.org).\n\n- one\n- two\n\n"
    "| a | b |\n|---|---|\n" + "| a long cell of text without end | another one |\n" * 2 + "\n> said\n\n"
    "```python\n"
    + "x = 1  # a line that is much longer than a narrow page is wide, so that it has to scroll\n"
    + "```\n\n"
    + "Donaudampfschifffahrtsgesellschaftskapitänsmützenfabrikantenverband" * 2
)


def with_reply(page: Any, text: str) -> None:
    """Put a conversation with this reply into the browser's storage and open it."""
    tokens = [
        [word + " ", -0.4 * place, [[word + " ", -0.4 * place], ["other", -2.0]]]
        for place, word in enumerate(["How", "sure", "are", "you", "of", "that"])
    ]
    reply = {
        "role": "assistant",
        "text": text,
        "tokens": tokens,
        "model": "tiny",
        "finish": "stop",
        "children": [],
        "chosen": 0,
    }
    question = {"role": "user", "text": "A question", "children": [reply], "chosen": 0}
    kept = {"id": "x", "title": "Kept", "created": "2026-01-01", "updated": 9e15, "children": [question], "chosen": 0}
    page.evaluate("text => localStorage.setItem('seedbed.conversation.x', text)", json.dumps(kept))
    page.reload()
    page.evaluate("document.querySelector('.conversation').click()")


def test_the_policy_is_sent_with_every_file(server: Server) -> None:
    page = httpx.get(server.address + "/")
    assert page.headers["content-security-policy"] == POLICY
    for name in ("chat.js", "layout.css"):
        assert httpx.get(f"{server.address}/{name}").headers["content-security-policy"] == POLICY


def test_nothing_comes_from_elsewhere(chat: Open, server: Server) -> None:
    page = chat()
    addresses = list[str]()
    page.on("request", lambda request: addresses.append(request.url))
    page.reload()
    ask(page, "Hello")
    assert len(addresses) > 10
    assert all(address.startswith((server.address + "/", "data:")) for address in addresses)


def test_a_message_waits_for_the_list_of_models(chat: Open, server: Server) -> None:
    page = chat()
    held = list[Any]()
    page.route("**/v1/models", lambda route: held.append(route))
    page.reload()
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.post_data_json["model"]) if request.post_data else None)
    page.get_by_role("textbox", name="Message", exact=True).fill("Hello")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#input').value === ''")
    assert asked == []
    held[0].continue_()
    finished(page)
    assert asked == ["tiny"]
    page.unroute("**/v1/models")


def test_the_key_is_asked_for_once(server: Server, new_page: Open) -> None:
    page = new_page(expected="status of 401")
    page.goto(server.address)
    page.get_by_role("textbox", name="Key").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("did not accept that key").wait_for()
    page.get_by_role("textbox", name="Key").fill(server.key)
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#model').value === 'tiny'")
    page.reload()
    until(page, "document.querySelector('#model').value === 'tiny'")
    assert page.locator("dialog[open]").count() == 0
    assert page.evaluate("JSON.stringify(localStorage)").count(server.key) == 0


def test_a_key_not_given_is_asked_for_again_on_demand(server: Server, new_page: Open) -> None:
    page = new_page(expected="status of 401")
    page.goto(server.address)
    page.get_by_role("textbox", name="Key").press("Escape")
    page.get_by_role("button", name="Load the models").click()
    page.get_by_role("textbox", name="Key").fill(server.key)
    page.get_by_role("button", name="Use this key").click()
    until(page, "document.querySelector('#model').value === 'tiny'")


def test_the_key_leaves_the_address(chat: Open, server: Server) -> None:
    page = chat()
    assert page.url == server.address + "/"
    assert page.evaluate("sessionStorage['seedbed.key']") == server.key


def test_everything_works_with_the_keyboard(chat: Open) -> None:
    page = chat(settings=LONG)
    press = page.keyboard.press
    page.keyboard.type("First line")
    press("Shift+Enter")
    page.keyboard.type("second")
    press("Enter")
    written(page, 10)
    press("Escape")
    finished(page)
    assert shown(conversations(page)[0])[0]["text"] == "First line\nsecond"
    press("ArrowUp")
    assert page.evaluate("document.activeElement.value") == "First line\nsecond"
    press("Escape")
    press("Shift+Tab")  # from the box to the last action of the reply
    assert page.evaluate("document.activeElement.closest('article') !== null")
    press("c")
    assert page.locator("#confidence").get_attribute("aria-pressed") == "true"
    tokens = page.locator(".tokens .token")
    tokens.first.focus()
    press("ArrowRight")
    assert tokens.nth(1).evaluate("element => element === document.activeElement")
    assert page.locator("#peek").is_visible()
    assert tokens.nth(1).get_attribute("aria-describedby") == "peek"
    press("Escape")
    assert page.locator("#peek").is_hidden()
    press("?")
    assert page.get_by_role("dialog").inner_text().startswith("Shortcuts")
    press("Escape")
    press("n")
    assert page.locator(".message").count() == 0
    assert page.evaluate("document.activeElement.id") == "input"


def test_single_keys_can_be_turned_off(chat: Open) -> None:
    page = chat(settings='{"shortcuts": false}')
    page.locator("#new").focus()
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 0


def test_focus_is_visible(chat: Open) -> None:
    page = chat()
    page.locator(".skip").focus()
    seen = []
    for _ in range(9):
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        framed = "(document.activeElement.id === 'input' ? document.activeElement.form : document.activeElement)"
        assert page.evaluate(f"getComputedStyle({framed}).outlineStyle") in ("solid", "auto"), seen[-1]
        page.keyboard.press("Tab")
    assert seen == ["skip", "new", "theme", "help", "model", "confidence", "settings-open", "input", "send"]


def test_a_narrow_page_does_not_scroll_sideways(chat: Open) -> None:
    width = 390
    page = chat(viewport={"width": width, "height": 844}, has_touch=True)
    fits = f"document.documentElement.scrollWidth <= {width} && document.body.scrollWidth <= {width}"
    assert page.evaluate(fits)
    with_reply(page, MARKDOWN)
    assert page.locator(".body pre").evaluate("pre => pre.scrollWidth > pre.clientWidth")  # it scrolls by itself
    assert page.evaluate(fits)
    page.get_by_role("button", name="Confidence").click()
    page.locator(".tokens .token").last.tap()
    assert page.evaluate(fits)
    box = page.locator("#peek").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    page.get_by_role("button", name="Conversations").click()
    page.locator("#new").wait_for(state="visible")
    assert page.evaluate(fits)
    page.keyboard.press("Escape")
    page.locator("#new").wait_for(state="hidden")
    page.get_by_role("button", name="Settings").click()
    assert page.evaluate(fits)


def lightness(page: Any) -> float:
    red, green, blue = page.evaluate(
        """() => {
            const context = document.createElement("canvas").getContext("2d");
            context.fillStyle = getComputedStyle(document.body).backgroundColor;
            context.fillRect(0, 0, 1, 1);
            return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }"""
    )
    return float(red + green + blue) / 765


def test_dark_follows_the_system_and_the_switch(chat: Open) -> None:
    page = chat(color_scheme="dark")
    theme = page.get_by_role("button", name="Theme")
    assert lightness(page) < 0.15
    page.emulate_media(color_scheme="light")
    assert lightness(page) > 0.9
    theme.click()  # light
    page.emulate_media(color_scheme="dark")
    assert lightness(page) > 0.9
    page.reload()
    assert lightness(page) > 0.9
    theme.click()  # dark
    page.emulate_media(color_scheme="light")
    assert lightness(page) < 0.15


def test_motion_is_still_where_it_is_not_wanted(chat: Open) -> None:
    page = chat(settings=LONG)
    page.get_by_role("textbox", name="Message").fill("Go on for long")
    page.keyboard.press("Enter")
    written(page, 10)
    for motion, moves in (("no-preference", True), ("reduce", False)):
        page.emulate_media(reduced_motion=motion)
        until(page, f"(document.getAnimations().length > 0) === {str(moves).lower()}")
        lasts = page.evaluate("getComputedStyle(document.querySelector('#send')).transitionDuration")
        assert (lasts not in ("0s", "0s, 0s, 0s")) is moves
    page.keyboard.press("Escape")
    finished(page)


def test_a_screen_reader_hears_the_reply_once(chat: Open) -> None:
    page = chat()
    page.evaluate(
        """() => {
            window.heard = [];
            const live = [...document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]")];
            const note = () => window.heard.push(live.map((one) => one.textContent).join(""));
            const all = { childList: true, subtree: true, characterData: true };
            for (const one of live) new MutationObserver(note).observe(one, all);
            window.lives = live.map((one) => one.id);
        }"""
    )
    ask(page, "Hello")
    assert page.evaluate("window.lives") == ["status", "alert"]
    reply = shown(conversations(page)[0])[1]["text"]
    assert page.evaluate("window.heard") == ["The model is writing.", f"Reply: {reply}"]


def test_hostile_text_stays_text(chat: Open) -> None:
    page = chat()
    ask(page, HOSTILE)
    assert page.locator(".user .body").inner_text() == HOSTILE
    with_reply(page, HOSTILE)
    body = page.locator(".assistant .body")
    assert "<img src=x onerror=alert(1)><script>alert(2)</script> [a](javascript:alert(3))" in body.inner_text()
    tags = body.evaluate("body => [...body.querySelectorAll('*')].map((one) => one.tagName)")
    assert sorted(tags) == ["CODE", "P", "STRONG"]
    assert page.locator("body script, body img[src=x], body svg[onload]").count() == 0


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_nothing_serious(chat: Open, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = chat(color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True)

    def check(state: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], f"{state}: {json.dumps(serious, indent=1)[:3000]}"

    check("empty")
    with_reply(page, MARKDOWN)
    check("a conversation")
    page.get_by_role("button", name="Confidence").click()
    page.locator(".tokens .token").nth(2).focus()
    check("confidence")
    page.get_by_role("button", name="Settings").click()
    check("settings")
    page.keyboard.press("Escape")
    page.locator(".user .body").click()
    page.keyboard.press("?")
    check("shortcuts")
