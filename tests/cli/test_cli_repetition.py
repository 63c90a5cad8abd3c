"""`seedbed chat`, `ask` and `show`: replies that repeat themselves, and sampling as a model's publishers state it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from serving import add_chain, add_model

from seedbed.chat.conversations import Conversations
from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection

Run = Callable[..., tuple[int, str, str]]
SOWING = {"(": "1", "1": ")", ")": "S", "S": "o", "o": "w", "w": "!", "!": "S"}
STOPPED = "the reply was stopped: it had repeated 4 tokens 16 times in a row"
ASKED = "When are carrots sown?"
DOCUMENTS = ("--docs", "garden", "--chain", "stuff", "--threshold", "0")
LONG = ("--max-tokens", "203")
WHOLE = "(1)" + "Sow!" * 50


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    torch.set_num_threads(1)
    library, text = Library(tmp_path_factory.mktemp("loops")), tmp_path_factory.mktemp("texts") / "sowing.txt"
    add_chain(library, "looping", SOWING)
    add_model(library, "stated", 5, generation={"temperature": 0.0, "top_k": 3, "top_p": 7, "eos_token_id": 2})
    add_model(library, "silent", 5)
    text.write_text("Carrots are sown in March.\n")
    collection = Collection.create(library, "garden")
    collection.add([str(text)])
    collection.close()
    return library


@pytest.fixture
def seedbed(library: Library, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    return invoke


def test_a_chat_says_that_a_reply_was_stopped_and_keeps_one_copy(seedbed: Run, library: Library) -> None:
    code, out, err = seedbed("chat", "looping", *LONG, "--save", "sowing", "--once", "What?")
    assert (code, out) == (0, "(1)" + "Sow!" * 16 + "S\n")
    assert f"({STOPPED}; the conversation keeps the first)" in err
    with Conversations.of(library) as saved:
        assert [entry.message.text for entry in saved.read("sowing")] == ["What?", "(1)Sow!"]
    found = json.loads(seedbed("chat", "looping", *LONG, "--once", "What?", "--json")[1])
    assert (found["text"], found["finish"], len(found["logprobs"])) == ("(1)Sow!", "length", 7)
    assert (found["repetition"]["period"], found["repetition"]["times"]) == (4, 16)


def test_it_can_be_switched_off(seedbed: Run) -> None:
    code, out, err = seedbed("chat", "looping", *LONG, "--once", "What?", "--no-repetition-guard")
    assert (code, out, "stopped" in err) == (0, f"{WHOLE}\n", False)
    found = seedbed("chat", "looping", *LONG, "--once", "What?", "--no-repetition-guard", "--json")[1]
    assert json.loads(found)["repetition"] is None


def test_a_continued_text_is_left_alone(seedbed: Run) -> None:
    assert seedbed("run", "looping", "x", *LONG, "--temperature", "0")[:2] == (0, f"{WHOLE}\n")


def test_ask_says_that_a_reply_was_stopped(seedbed: Run) -> None:
    flags = (*DOCUMENTS, "--model", "looping", *LONG, "--json")
    code, out, err = seedbed("ask", ASKED, *flags)
    assert (code, json.loads(out)["text"]) == (0, "(1)Sow!")
    assert f"({STOPPED})" in err
    code, out, err = seedbed("ask", ASKED, *flags, "--no-repetition-guard")
    assert (json.loads(out)["text"], "stopped" in err) == (WHOLE, False)


def test_ask_takes_the_sampling_options_of_chat(seedbed: Run) -> None:
    def answer(*flags: str) -> str:
        given = (*DOCUMENTS, "--model", "silent", "--max-tokens", "20", "--json", *flags)
        code, out, err = seedbed("ask", ASKED, *given)
        assert code == 0, err
        return str(json.loads(out)["text"])

    best = answer()
    drawn = answer("--temperature", "2", "--seed", "1")
    assert answer("--temperature", "0") == answer("--temperature", "2", "--top-k", "1") == best
    assert answer("--temperature", "2", "--seed", "1") == drawn != answer("--temperature", "2", "--seed", "2")
    assert drawn != best
    penalized = answer("--repetition-penalty", "10")
    assert penalized != best
    assert answer("--stop", best[3]) == best[: best.index(best[3])].strip()
    code, _, err = seedbed("ask", ASKED, "--docs", "garden", "--model", "silent", "--temperature", "9")
    assert (code, "temperature = 9.0 is out of range" in err) == (2, True)


def test_a_chat_is_sampled_as_the_publishers_state_unless_told(seedbed: Run) -> None:
    def answer(model: str, *flags: str) -> str:
        asked = ("--once", "What?", "--max-tokens", "20", "--seed", "3", "--json", "--no-repetition-guard")
        return str(json.loads(seedbed("chat", model, *asked, *flags)[1])["text"])

    best = answer("silent", "--temperature", "0")
    assert answer("stated") == best != answer("silent")
    assert answer("stated", "--temperature", "0.8") == answer("silent", "--top-k", "3")
    plain = [seedbed("run", name, "x", "--max-tokens", "20", "--seed", "3")[1] for name in ("stated", "silent")]
    assert plain[0] == plain[1]  # a continued text is sampled as it is asked for


def test_show_tells_how_a_model_is_sampled(seedbed: Run) -> None:
    lines = seedbed("show", "stated")[1].splitlines()
    assert "sampling temperature 0.0, top_k 3, eos_token_id [2]" in lines
    assert "left out top_p = 7 is out of range: top_p must be at least 0 and at most 1" in lines
    assert "sampling its publishers state none" in seedbed("show", "silent")[1].splitlines()
    found = json.loads(seedbed("show", "stated", "--json")[1])
    assert found["sampling"] == {"temperature": 0.0, "top_k": 3, "eos_token_id": [2]}
    assert len(found["sampling_left_out"]) == 1
