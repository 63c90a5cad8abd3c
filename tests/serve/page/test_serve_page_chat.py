"""Talking on the page: what it shows is what the API answers, and nothing that was written gets lost."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_page import LONG, Server, ask, conversations, finish, finished, shown, start, until, written
from serving import add_chain

from seedbed.core.artifacts import Library

Open = Callable[..., Any]


def answer(server: Server, messages: list[dict[str, str]], **parameters: Any) -> Any:
    """The same question put to the API, unstreamed."""
    body = {"model": "tiny", "messages": messages, "max_tokens": 24, "seed": 7, **parameters}
    headers = {"Authorization": f"Bearer {server.key}"}
    reply = httpx.post(f"{server.address}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"][0]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_reply_is_the_one_the_api_gives(chat: Open, server: Server) -> None:
    page = chat()
    ask(page, "Hello")
    [question, reply] = shown(conversations(page)[0])
    expected = answer(server, [user("Hello")])["message"]["content"]
    assert (question["text"], reply["text"]) == ("Hello", expected)
    assert reply["stats"]["tokens"] == 24
    assert "24 tokens" in page.locator(".facts").inner_text()
    ask(page, "And now?")
    turns = [user("Hello"), {"role": "assistant", "content": expected}, user("And now?")]
    assert shown(conversations(page)[0])[3]["text"] == answer(server, turns)["message"]["content"]


def test_settings_reach_the_server(chat: Open, server: Server) -> None:
    page = chat()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("System message").fill("Be brief.")
    page.get_by_label("Temperature").fill("1.5")
    page.get_by_label("Top p").fill("0.9")
    page.get_by_label("Most tokens").fill("9")
    page.get_by_label("Seed").fill("3")
    page.get_by_role("button", name="Done").click()
    ask(page, "Hello")
    turns = [{"role": "system", "content": "Be brief."}, user("Hello")]
    expected = answer(server, turns, temperature=1.5, top_p=0.9, max_tokens=9, seed=3)
    assert shown(conversations(page)[0])[1]["text"] == expected["message"]["content"]
    page.reload()
    page.get_by_role("button", name="Settings").click()
    assert page.get_by_label("Temperature").input_value() == "1.5"


def test_a_reply_that_repeats_itself_says_so(tmp_path: Path, new_page: Open) -> None:
    """The text is trimmed to the first copy, and the conversation goes on so."""
    sowing = {"(": "1", "1": ")", ")": "S", "S": "o", "o": "w", "w": "!", "!": "S"}
    add_chain(Library(tmp_path), "looping", sowing)
    running = start(tmp_path, model="looping")
    page = new_page()
    page.goto(f"{running.address}/#key={running.key}")
    until(page, "document.querySelector('#model').value === 'looping'")
    ask(page, "What shall I do?")
    reply = page.locator("#thread .assistant").last
    assert reply.locator(".body").inner_text() == "(1)Sow!"
    assert reply.locator(".remark").inner_text().startswith("The reply was stopped: it had repeated 4 tokens 16 times")
    ask(page, "And then?")
    assert [one["text"] for one in shown(conversations(page)[0])][1] == "(1)Sow!"
    finish(running)


def test_a_setting_out_of_range_is_not_kept(chat: Open) -> None:
    page = chat()
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Temperature").fill("9")
    page.get_by_role("button", name="Done").click()
    assert page.locator("#settings").is_visible()
    assert "temperature" not in json.loads(page.evaluate("localStorage['seedbed.settings']"))


@pytest.mark.parametrize("how", ["button", "escape"])
def test_stop_keeps_what_was_written(chat: Open, how: str) -> None:
    page = chat(settings=LONG)
    page.get_by_role("textbox", name="Message").fill("Go on for long")
    page.keyboard.press("Enter")
    written(page, 20)
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    finished(page)
    reply = shown(conversations(page)[0])[1]
    assert reply["finish"] == "stopped"
    assert len(reply["text"]) > 20
    assert reply["stats"]["tokens"] < 40_000
    assert "Stopped." in page.locator(".assistant").inner_text()


def test_an_edited_message_is_asked_again_and_the_old_branch_stays(chat: Open, server: Server) -> None:
    page = chat()
    ask(page, "One")
    ask(page, "Two")
    page.locator(".user").first.hover()
    page.locator(".user").first.get_by_role("button", name="Edit").click()
    page.get_by_label("Edit your message").fill("Three")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.message').length === 2")
    finished(page)
    [question, reply] = shown(conversations(page)[0])
    assert question["text"] == "Three"
    assert reply["text"] == answer(server, [user("Three")])["message"]["content"]
    assert page.locator(".user .versions").inner_text().split() == ["‹", "2/2", "›"]
    page.get_by_role("button", name="Previous version").click()
    assert [body.strip() for body in page.locator(".user .body").all_inner_texts()] == ["One", "Two"]


def test_regenerate_keeps_versions_across_a_reload(chat: Open) -> None:
    page = chat(settings='{"max_tokens": 24}')  # no seed: replies differ
    ask(page, "Hello")
    page.get_by_role("button", name="Regenerate").click()
    until(page, "document.querySelector('.assistant .versions')")
    finished(page)
    versions = conversations(page)[0]["children"][0]["children"]
    assert len(versions) == 2
    assert versions[0]["text"] != versions[1]["text"]
    page.get_by_role("button", name="Previous version").click()
    assert "1/2" in page.locator(".versions").inner_text()
    page.reload()
    page.locator(".conversation").first.click()
    assert "1/2" in page.locator(".versions").inner_text()
    assert shown(conversations(page)[0])[1]["text"] == versions[0]["text"]


def test_a_deleted_message_can_be_brought_back(chat: Open) -> None:
    page = chat()
    ask(page, "One")
    before = conversations(page)[0]["children"]
    page.locator(".user").hover()
    page.locator(".user").get_by_role("button", name="Delete").click()
    assert page.locator(".message").count() == 0
    assert conversations(page)[0]["children"] == []
    page.get_by_role("button", name="Undo").click()
    assert page.locator(".message").count() == 2
    assert conversations(page)[0]["children"] == before


def test_conversations_are_renamed_exported_and_deleted(chat: Open, tmp_path: Path) -> None:
    page = chat()
    ask(page, "First question")
    page.get_by_role("button", name="New conversation").click()
    ask(page, "Second question")
    assert page.locator(".conversation").all_inner_texts() == ["Second question", "First question"]
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Title").fill("Bäume & Blätter")
    page.keyboard.press("Enter")
    assert page.locator(".conversation").first.inner_text() == "Bäume & Blätter"
    with page.expect_download() as caught:
        page.get_by_role("button", name="Export").click()
    assert caught.value.suggested_filename == "Bäume-Blätter.json"
    caught.value.save_as(tmp_path / "export.json")
    exported = json.loads((tmp_path / "export.json").read_text(encoding="utf-8"))
    kept = conversations(page)[0]
    assert [one["content"] for one in exported["messages"]] == [one["text"] for one in shown(kept)]
    assert exported["versions"] == kept["children"]
    page.locator("#sidebar").get_by_role("button", name="Delete").click()
    assert [one["title"] for one in conversations(page)] == ["First question"]
    page.get_by_role("button", name="Undo").click()
    assert {one["title"] for one in conversations(page)} == {"First question", "Bäume & Blätter"}


def test_full_storage_gives_up_probabilities_before_words(chat: Open) -> None:
    """The browser keeps 5 million characters; what goes first are the probabilities of other conversations."""
    page = chat()
    kept = page.evaluate(
        """async () => {
            const store = await import("/store.js");
            const saved = [0, 1].map((place) => {
                const conversation = { ...store.newConversation(), id: `full${place}` };
                store.add(conversation, { role: "assistant", text: "words", tokens: [["x".repeat(3e6), 0, []]] });
                return store.save(conversation);
            });
            const tooLong = { ...store.newConversation(), id: "full2", title: "x".repeat(6e6) };
            const read = (place) => store.path(store.load(`full${place}`))[0];
            const before = read(1).tokens[0][0].length;
            return [...saved, read(0).text, "tokens" in read(0), before, store.save(tooLong), read(1).text];
        }"""
    )
    assert kept == [True, True, "words", False, 3_000_000, False, "words"]


def test_confidence_shows_the_probabilities_of_the_api(chat: Open, server: Server) -> None:
    page = chat()
    ask(page, "Hello")
    page.get_by_role("button", name="Confidence").click()
    expected = answer(server, [user("Hello")], logprobs=True, top_logprobs=5)
    reply = shown(conversations(page)[0])[1]
    spelled = b"".join(bytes(entry["bytes"]) for entry in expected["logprobs"]["content"])
    assert "".join(text for text, _, _ in reply["tokens"]) == spelled.decode("utf-8", "replace")
    total = sum(entry["logprob"] for entry in expected["logprobs"]["content"])
    assert math.isclose(sum(logprob for _, logprob, _ in reply["tokens"]), total, abs_tol=0.01)
    first = page.locator(".tokens .token").first
    first.hover()
    peek = page.locator("#peek").inner_text()
    entry = expected["logprobs"]["content"][0]
    assert f"{100 * math.exp(entry['logprob']):.1f} %" in peek
    for other in entry["top_logprobs"]:
        assert f"{100 * math.exp(other['logprob']):.1f} %" in peek


def test_a_lost_server_leaves_the_partial_reply(own_server: Server, new_page: Open) -> None:
    page = new_page(expected="ERR_")  # chromium notes a broken connection on the console
    page.add_init_script(f"localStorage['seedbed.settings'] = {LONG!r}")
    page.goto(f"{own_server.address}/#key={own_server.key}")
    until(page, "document.querySelector('#model').value === 'tiny'")
    page.get_by_role("textbox", name="Message").fill("Go on for long")
    page.keyboard.press("Enter")
    written(page, 20)
    finish(own_server)
    finished(page)
    reply = shown(conversations(page)[0])[1]
    assert len(reply["text"]) > 20
    assert "connection was lost" in page.locator(".assistant .error").inner_text()
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("The server does not answer.").first.wait_for()
    finished(page)
    assert len(conversations(page)[0]["children"][0]["children"]) == 2


def test_an_error_of_the_server_is_shown_in_its_words(chat: Open, server: Server) -> None:
    page = chat(expected="status of 400")
    long = "word " * 20_000  # more tokens than the window holds
    ask(page, long)
    body = {"model": "tiny", "messages": [user(long.strip())], "max_tokens": 24, "seed": 7}
    refused = httpx.post(
        f"{server.address}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {server.key}"}
    )
    assert refused.status_code == 400
    assert page.locator(".assistant .error").inner_text().split() == refused.json()["error"]["message"].split()


def test_the_page_follows_the_reply_until_the_reader_scrolls_up(chat: Open) -> None:
    page = chat(settings=LONG, viewport={"width": 500, "height": 420})
    page.get_by_role("textbox", name="Message").fill("Go on for long")
    page.keyboard.press("Enter")
    left = "document.documentElement.scrollHeight - innerHeight - scrollY"
    until(page, "scrollY > 300")
    assert page.evaluate(left) < 60
    page.mouse.move(250, 150)
    page.mouse.wheel(0, -250)
    page.get_by_role("button", name="Latest").wait_for()
    place = page.evaluate("scrollY")
    height = page.evaluate("document.documentElement.scrollHeight")
    until(page, f"document.documentElement.scrollHeight > {height} + 200")
    assert page.evaluate("scrollY") == place
    page.get_by_role("button", name="Latest").click()
    until(page, f"{left} < 60")
    page.keyboard.press("Escape")
    finished(page)
