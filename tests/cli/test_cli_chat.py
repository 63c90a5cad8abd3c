"""`seedbed chat` and `runs traces` as a user meets them: memory, saved conversations, servers, traces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from seedbed.chat.conversations import Conversations
from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]
SHORT = ("--max-tokens", "5", "--temperature", "0")


@pytest.fixture(scope="module")
def model_library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A tiny model in which an end token is never the best."""
    torch.set_num_threads(1)
    library = Library(tmp_path_factory.mktemp("home"))
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    shape = ModelConfig(tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, max_length=2000, tied=False)
    model = Decoder(shape)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(2))
    model.output.weight.data[sorted(tokenizer.special_ids)] = 0
    with library.writing("model", name="tiny") as draft:
        save_model(draft.path, model, tokenizer)
    return library


@pytest.fixture
def library(model_library: Library) -> Iterator[Library]:
    """With nothing saved in it."""
    yield model_library
    for path in (model_library.root / "chat").glob("*"):
        path.unlink()


@pytest.fixture
def seedbed(library: Library, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    return invoke


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (("chat", "tiny", *SHORT), "Größe?\nTschüß\n".encode("latin-1")),
        (("chat", "tiny", *SHORT), "¿Dónde está?\n".encode("cp1252")),
        (("chat", "tiny", *SHORT), "Grüße\n".encode("utf-16")),
        (("run", "tiny", "-", *SHORT), "Größe".encode("latin-1")),
        (("ask", "-", "--docs", "nothing"), "Größe".encode("latin-1")),
    ],
)
def test_input_of_another_encoding_is_refused_with_the_way_out(
    seedbed: Run, command: tuple[str, ...], sent: bytes
) -> None:
    code, out, err = seedbed(*command, stdin=sent)
    assert (code, out) == (2, "")
    assert "error: standard input cannot be read as text\nwhy: byte 0x" in err
    assert "iconv -f LATIN1 -t UTF-8" in err


def test_a_pipe_is_read_as_it_is_declared(library: Library, seedbed: Run) -> None:
    """By Python's own variable; and without the mark that PowerShell writes."""
    told = [sys.executable, "-m", "seedbed", "chat", "tiny", *SHORT, "--save"]
    environment = {**os.environ, "SEEDBED_HOME": str(library.root), "PYTHONIOENCODING": "latin-1"}
    subprocess.run([*told, "declared"], input="Größe?".encode("latin-1"), env=environment, check=True)
    assert seedbed(*told[3:], "marked", stdin="Größe?".encode("utf-8-sig"))[0] == 0
    saved = Conversations.of(library)
    for name in ("declared", "marked"):
        assert saved.read(name)[0].message.text == "Größe?"
    saved.close()


def answers(text: str) -> list[dict[str, Any]]:
    """The JSON documents that follow each other in a text."""
    decoder, place, found = json.JSONDecoder(), 0, []
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place += 1
    return found


def prompt_tokens(library: Library, *messages: tuple[str, str]) -> int:
    tokenizer = load_model(library.get("tiny", "model")).tokenizer
    chat = [{"role": role, "content": content} for role, content in messages]
    return len(tokenizer.encode_chat(chat, add_generation_prompt=True)[0])


def test_a_saved_conversation_goes_on_where_it_was(seedbed: Run, library: Library) -> None:
    code, out, _ = seedbed("chat", "tiny", *SHORT, "--json", "--system", "kind", stdin="one\ntwo\n")
    together = answers(out)
    assert code == 0
    code, first, _ = seedbed("chat", "tiny", *SHORT, "--json", "--system", "kind", "--save", "notes", "--once", "one")
    assert code == 0
    code, second, err = seedbed("chat", "tiny", *SHORT, "--json", "--continue", "notes", "--once", "two")
    assert code == 0
    assert "going on with notes: 3 messages" in err
    apart = answers(first + second)
    assert [one["text"] for one in apart] == [one["text"] for one in together]
    assert [one["prompt_tokens"] for one in apart] == [one["prompt_tokens"] for one in together]
    with Conversations.of(library) as saved:
        entries = saved.read("notes")
    assert [one.message.role for one in entries] == ["system", "user", "assistant", "user", "assistant"]
    assert [one.message.text for one in entries[2::2]] == [one["text"] for one in apart]
    assert (entries[4].model, entries[4].usage.prompt_tokens) == ("tiny", apart[1]["prompt_tokens"])


def test_saved_ones_are_listed_and_deleted(seedbed: Run) -> None:
    assert seedbed("chats", "ls", "--json")[1] == "[]\n"
    for name in ("old", "new"):
        assert seedbed("chat", "tiny", *SHORT, "--save", name, "--once", "x", "-q")[0] == 0
    code, out, _ = seedbed("chats", "ls")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()] == [["name", "messages"], ["new", "2"], ["old", "2"]]
    assert [one["name"] for one in json.loads(seedbed("chats", "ls", "--json")[1])] == ["new", "old"]
    assert seedbed("chats", "rm", "old", "--yes")[0] == 0
    assert [one["name"] for one in json.loads(seedbed("chats", "ls", "--json")[1])] == ["new"]


def test_slash_commands_save_rename_and_begin_again(seedbed: Run, library: Library) -> None:
    lines = [
        "one",
        "/save talk",
        "two",
        "/rename notes",
        "/reset",
        "three",
        "/list",
        "/continue notes",
        "four",
        "/save x",
    ]
    code, _, err = seedbed("chat", "tiny", *SHORT, stdin="\n".join(lines) + "\n")
    assert code == 0
    assert "notes stays saved; further turns are not" in err
    assert "going on with notes: 4 messages" in err
    with Conversations.of(library) as saved:
        assert sorted(one.name for one in saved.all()) == ["notes", "x"]
        said = [one.message.text for one in saved.read("notes") if one.message.role == "user"]
        assert said == ["one", "two", "four"]
        assert [entry.message for entry in saved.read("x")] == [entry.message for entry in saved.read("notes")]
        assert saved.read("notes")[1].model == "tiny"  # said before it was saved
    code, _, err = seedbed("chat", "tiny", *SHORT, stdin="/continue x\n/delete x\nfive\n/rename y\n")
    assert code == 2
    assert "x is deleted" in err
    assert "this conversation is not saved" in err
    with Conversations.of(library) as saved:
        assert [one.name for one in saved.all()] == ["notes"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["chat"], 2, "Missing argument 'MODEL'"),
        (["chat", "tiny", "--continue", "nothing"], 4, "no conversation called 'nothing'"),
        (["chat", "tiny", "--save", "../x"], 2, "'../x' cannot be a name"),
        (["chat", "tiny", "--continue", "a", "--save", "b"], 2, "--continue and --save contradict"),
        (["chat", "tiny", "--continue", "a", "--system", "b"], 2, "--continue and --system contradict"),
        (["chat", "tiny", "--memory-size", "3"], 2, "--memory-size does not apply"),
        (["chat", "tiny", "--memory", "window", "--memory-size", "-1"], 2, "turns = -1 is out of range"),
        (["chat", "tiny", "--memory", "elephant"], 2, "'elephant' is not one of"),
        (["chats", "rm", "nothing"], 4, "no conversation called 'nothing'"),
        (["chat", "http://127.0.0.1:1", "--beams", "2"], 2, "beam search needs a model of this library"),
        (["runs", "traces", "abc"], 4, "no trace 'abc'"),
    ],
)
def test_wrong_input_is_three_lines(seedbed: Run, arguments: list[str], code: int, message: str) -> None:
    found, out, err = seedbed(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]


def test_a_name_that_is_taken_is_refused_before_the_question(seedbed: Run, library: Library) -> None:
    assert seedbed("chat", "tiny", *SHORT, "--save", "notes", "--once", "x")[0] == 0
    code, out, err = seedbed("chat", "tiny", *SHORT, "--save", "notes", "--once", "y")
    assert (code, out) == (2, "")
    assert "--continue notes" in err
    with Conversations.of(library) as saved:
        assert len(saved.read("notes")) == 2


def test_a_question_that_does_not_fit_saves_nothing(seedbed: Run) -> None:
    assert seedbed("chat", "tiny", "--save", "notes", "--once", "x" * 3000)[0] == 5
    assert seedbed("chats", "ls", "--json")[1] == "[]\n"


def test_memory_decides_what_the_model_is_shown(seedbed: Run, library: Library) -> None:
    lines = "one\ntwo\nthree\n"
    found = answers(
        seedbed("chat", "tiny", *SHORT, "--json", "--memory", "window", "--memory-size", "1", stdin=lines)[1]
    )
    texts = [one["text"] for one in found]
    shown = [("user", "two"), ("assistant", texts[1]), ("user", "three")]
    assert [one["messages_left_out"] for one in found] == [0, 0, 2]
    assert found[2]["prompt_tokens"] == prompt_tokens(library, *shown)
    found = answers(
        seedbed("chat", "tiny", *SHORT, "--json", "--memory", "tokens", "--memory-size", "0", stdin=lines)[1]
    )
    assert [one["prompt_tokens"] for one in found] == [prompt_tokens(library, ("user", one)) for one in lines.split()]


def test_a_summary_is_kept_with_its_conversation(seedbed: Run, library: Library) -> None:
    flags = ("--memory", "summary", "--memory-size", "0", *SHORT)
    code, _, err = seedbed("chat", "tiny", *flags, "--save", "notes", stdin="one\ntwo\n")
    assert code == 0, err
    assert "(the oldest 2 messages are summarized)" in err
    with Conversations.of(library) as saved:
        kept = saved.summary("notes")
    assert kept.messages == 2
    assert kept.text
    code, _, err = seedbed("chat", "tiny", *flags, "--continue", "notes", "--once", "three", "--trace")
    assert code == 0, err
    with Conversations.of(library) as saved:
        assert saved.summary("notes").messages == 4
    tree = json.loads(
        seedbed("runs", "traces", json.loads(seedbed("runs", "traces", "--json")[1])[0]["id"], "--json")[1]
    )
    assert [one["name"] for one in tree] == ["chat", "summarize", "tiny", "tiny"]  # asked only for what was new


def test_a_trace_is_logged_without_texts_unless_asked(seedbed: Run, library: Library) -> None:
    assert seedbed("runs", "traces", "--json")[1] == "[]\n"
    assert seedbed("chat", "tiny", *SHORT, "--once", "abracadabra", "--trace")[0] == 0
    files = b"".join(path.read_bytes() for path in (library.root / "chat").iterdir())
    assert b"abracadabra" not in files
    assert seedbed("chat", "tiny", *SHORT, "--once", "abracadabra", "--trace-content")[0] == 0
    listed = json.loads(seedbed("runs", "traces", "--json")[1])
    assert [(one["name"], one["status"], one["completion_tokens"]) for one in listed] == [("chat", "ok", 5)] * 2
    assert listed[0]["prompt_tokens"] == prompt_tokens(library, ("user", "abracadabra"))
    assert json.loads(seedbed("runs", "traces", "--json", "--limit", "1")[1]) == listed[:1]
    out = seedbed("runs", "traces")[1]
    assert len(out.splitlines()) == 3
    assert listed[0]["id"][:8] in out
    tree = seedbed("runs", "traces", listed[0]["id"][:8])[1].splitlines()
    assert [line.split()[:2] for line in tree[1:]] == [["chain", "chat"], ["model", "tiny"]]
    assert tree[2].startswith("  model")
    assert "abracadabra" in tree[2]


class Server(BaseHTTPRequestHandler):
    """Answers every chat completion with how many messages it had, as a stream; knows nothing else."""

    asked: list[dict[str, Any]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            self.answer(404, b"{}", "application/json")
            return
        self.asked.append(body)
        text = f"heard {len(body['messages'])}"
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]} for part in text.split(" ")
        ]
        chunks[0]["choices"][0]["delta"]["content"] += " "
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        chunks.append({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        lines = [f"data: {json.dumps({'model': 'there', **one})}\n\n" for one in chunks]
        self.answer(200, "".join([*lines, "data: [DONE]\n\n"]).encode(), "text/event-stream")

    def do_GET(self) -> None:
        self.answer(200, json.dumps({"object": "list", "data": [{"id": "there"}]}).encode(), "application/json")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Server.asked.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_is_talked_to_like_a_model_of_ones_own(seedbed: Run, library: Library, url: str) -> None:
    flags = ("--context", "500", "--max-tokens", "9", "--seed", "4", "--save", "notes", "--trace")
    code, out, err = seedbed("chat", f"{url}#there", *flags, "--stop", "END", stdin="one\ntwo\n")
    assert (code, out) == (0, "heard 1\nheard 3\n"), err
    asked = Server.asked[1]
    assert [one["content"] for one in asked["messages"]] == ["one", "heard 1", "two"]
    assert (asked["model"], asked["max_tokens"], asked["seed"]) == ("there", 9, 4)
    assert asked["stop"] == ["END"]
    assert not {"temperature", "top_k", "repetition_penalty", "repetition_guard"} & set(asked)  # it knows its model
    with Conversations.of(library) as saved:
        entries = saved.read("notes")
    assert (entries[3].message.text, entries[3].model, entries[3].usage.prompt_tokens) == ("heard 3", "there", 7)
    assert [one["prompt_tokens"] for one in json.loads(seedbed("runs", "traces", "--json")[1])] == [7, 7]


def test_a_server_that_does_not_say_its_window_is_asked_about(seedbed: Run, url: str) -> None:
    code, _, err = seedbed("chat", f"{url}#there", "--once", "one")
    assert code == 2
    assert "the window of there is unknown" in err
