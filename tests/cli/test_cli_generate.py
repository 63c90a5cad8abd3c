"""`seedbed run` and `seedbed chat` as a user meets them: text, pipes, scripts, a terminal, and wrong input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch
from engine_clients import client_of

from seedbed.core.artifacts import Library
from seedbed.inference.parameters import Sampling
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel, load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]
GOES_ON = "--no-repetition-guard"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Two tiny models in which an end token is never the best: one with a short window, one with a long one."""
    torch.set_num_threads(1)
    library = Library(tmp_path_factory.mktemp("home"))
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    for name, window in (("short", 100), ("long", 50_000)):
        shape = ModelConfig(tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, max_length=window, tied=False)
        model = Decoder(shape)
        for parameter in model.parameters():
            parameter.data.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(2))
        model.output.weight.data[sorted(tokenizer.special_ids)] = 0
        with library.writing("model", name=name) as draft:
            save_model(draft.path, model, tokenizer)
    return library


@pytest.fixture
def seedbed(library: Library, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(library.root))
    return invoke


def open_model(library: Library, name: str) -> LoadedModel:
    return load_model(library.get(name, "model"))


def test_run_prints_the_greedy_continuation(seedbed: Run, library: Library) -> None:
    loaded = open_model(library, "short")
    tokens = list(
        client_of(loaded.model).stream(loaded.tokenizer.encode_prompt("héllo"), Sampling(temperature=0, max_tokens=20))
    )
    code, out, err = seedbed("run", "short", "héllo", "--temperature", "0", "--max-tokens", "20")
    assert code == 0
    assert out == loaded.tokenizer.decode([token.id for token in tokens]) + "\n"
    assert err.startswith("20 tokens, ")


def test_run_json_holds_ids_logprobs_and_the_seed_to_repeat_it(seedbed: Run, library: Library) -> None:
    code, out, _ = seedbed("run", "short", "abc", "--json", "--max-tokens", "8")
    first = json.loads(out)
    assert code == 0
    assert first["finish"] in {"length", "end"}  # the seed is drawn, and a rare one ends the reply
    assert first["prompt_tokens"] == 4
    assert len(first["tokens"]) == 8 or first["finish"] == "end"
    assert all(token["logprob"] < 0 for token in first["tokens"])
    assert first["model"] == library.get("short").id
    _, out, _ = seedbed("run", "short", "abc", "--json", "--max-tokens", "8", "--seed", str(first["seed"]))
    assert json.loads(out)["tokens"] == first["tokens"]


def test_run_reads_the_prompt_from_a_pipe(seedbed: Run) -> None:
    _, direct, _ = seedbed("run", "short", "grün\n", "--seed", "1", "-q")
    code, piped, err = seedbed("run", "short", "-", "--seed", "1", "-q", stdin="grün\n".encode())
    assert (code, err) == (0, "")
    assert piped == direct


def test_run_searches_beams_without_being_told_a_temperature(seedbed: Run) -> None:
    code, out, _ = seedbed("run", "short", "abc", "--beams", "3", "--max-tokens", "6", "--json")
    assert code == 0
    assert len(json.loads(out)["tokens"]) == 6


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "shrt", "x"], 4, "no model called 'shrt'"),
        (["chat", "shrt"], 4, "no model called 'shrt'"),
        (["run", "short", "x", "--top-p", "1.5"], 2, "top_p = 1.5 is out of range"),
        (["run", "short", "x", "--temperature", "hot"], 2, "'hot' is not a valid float"),
        (["run", "short", "x", "--beams", "2", "--temperature", "1"], 2, "cannot be combined with temperature"),
        (["run", "short", "x" * 100], 5, "the prompt has 101 tokens, 100 are allowed"),
        (["chat", "short", "--once", "x" * 100], 5, "75 are allowed"),
        (["run", "short"], 2, "Missing argument 'PROMPT'"),
    ],
)
def test_wrong_input_is_three_lines(seedbed: Run, arguments: list[str], code: int, message: str) -> None:
    found, out, err = seedbed(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]


def test_a_prompt_that_is_not_text_is_refused(seedbed: Run) -> None:
    code, _, err = seedbed("run", "short", "-", stdin=b"\xff\xfe\x00")
    assert code == 2
    assert err.startswith("error: standard input cannot be read as text\nwhy: ")


def test_a_model_with_another_tokenizer_is_refused(seedbed: Run, library: Library) -> None:
    loaded = open_model(library, "short")
    other = train_tokenizer(["abcabc" * 9], TokenizerSettings("char"))
    with library.writing("model", name="mixed") as draft:
        save_model(draft.path, loaded.model, loaded.tokenizer)
        other.save(draft.path)
    code, _, err = seedbed("run", "mixed", "abc")
    assert code == 2
    assert "was made with another tokenizer" in err


def test_chat_answers_each_line_of_a_pipe_with_the_history_before_it(seedbed: Run, library: Library) -> None:
    tokenizer = open_model(library, "long").tokenizer
    flags = ("--json", "--temperature", "0", "--max-tokens", "10", "--system", "be kind")
    code, out, err = seedbed("chat", "long", *flags, stdin=b"one\n\n  two  \n/reset\nthree\n/quit\nfour\n")
    answers = read_documents(out)
    assert code == 0
    assert len(answers) == 3
    messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "one"}]
    expected = [list(messages)]
    messages += [{"role": "assistant", "content": answers[0]["text"]}, {"role": "user", "content": "two"}]
    expected += [messages, [messages[0], {"role": "user", "content": "three"}]]
    counts = [len(tokenizer.encode_chat(chat, add_generation_prompt=True)[0]) for chat in expected]
    assert [answer["prompt_tokens"] for answer in answers] == counts
    assert "cleared" in err


def test_chat_says_what_no_longer_fits(seedbed: Run) -> None:
    lines = ("x" * 30 + "\n") * 4
    code, out, err = seedbed("chat", "short", "--json", "--max-tokens", "10", stdin=lines.encode())
    answers = read_documents(out)
    assert code == 0
    assert answers[0]["messages_left_out"] == 0
    assert answers[-1]["messages_left_out"] > 0
    assert "no longer fit in the window of 100 tokens" in err


def test_chat_once_is_one_answer(seedbed: Run) -> None:
    flags = ("--once", "hello", "--seed", "3", "--max-tokens", "9", "-q")
    code, out, err = seedbed("chat", "short", *flags)
    assert (code, err) == (0, "")
    assert out.endswith("\n")
    assert seedbed("chat", "short", *flags)[1] == out
    assert seedbed("chat", "short", "-q", *flags[2:], stdin=b"hello\n")[1] == out


def test_chat_commands(seedbed: Run) -> None:
    code, out, err = seedbed("chat", "short", stdin=b"/help\n/nonsense\n/system be brief\n")
    assert (code, out) == (0, "")
    assert "/reset" in err
    assert "there is no command /nonsense" in err
    assert "the system message is set" in err


@pytest.mark.parametrize("command", ["run", "chat"])
def test_help_has_an_example_and_imports_nothing_heavy(command: str) -> None:
    script = f"import sys; from seedbed.cli.main import cli; cli.main(['{command}', '--help'], standalone_mode=False)"
    check = "; print('heavy' if {'torch', 'numpy', 'tokenizers'} & set(sys.modules) else 'light')"
    out = subprocess.run([sys.executable, "-c", script + check], capture_output=True, text=True, check=True).stdout
    assert "Example:" in out
    assert "--top-k" in out
    assert out.endswith("light\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_in_a_terminal_control_c_stops_the_answer_and_control_d_leaves(library: Library) -> None:
    import pty

    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "seedbed", "chat", "long", "--max-tokens", "12000", "--temperature", "0", GOES_ON],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "SEEDBED_HOME": str(library.root), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: take_terminal(slave),
    )
    os.close(slave)
    try:
        read_until(master, b"> ")
        os.write(master, b"x\n")
        answer = read_until(master, b"x\r\n", at_least=2000)  # the echo of the question, then an answer under way
        assert not set(range(32)) - {9, 10, 13} & set(answer.partition(b"x\r\n")[2])  # a model cannot steer a terminal
        os.write(master, b"\x03")
        stopped = read_until(master, b"(stopped)")
        prompt = stopped.partition(b"(stopped)")[2]  # the prompt, or a part of it, may have come with it
        while b"> " not in prompt:
            prompt += read_until(master, b"")
        press_until(master, b"\x03", b"/quit leaves)")
        with contextlib.suppress(OSError):  # the other side is closed; to go on writing would fill its buffer
            while process.poll() is None:  # Ctrl-D, until it is seen
                os.write(master, b"\x04")
                if select.select([master], [], [], 1)[0]:
                    os.read(master, 4096)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)


def take_terminal(terminal: int) -> None:
    """Make the pseudo-terminal the new process's own, so that Ctrl-C in it sends an interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a shell ignores for what runs in the background
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def press_until(terminal: int, key: bytes, wanted: bytes) -> None:
    """Press a key until it is answered: readline misses a signal that comes just before it begins to wait."""
    seen, deadline = b"", time.monotonic() + 60
    while wanted not in seen:
        assert time.monotonic() < deadline, f"no {wanted!r} in {seen!r}"
        os.write(terminal, key)
        while wanted not in seen and select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096)


def read_until(terminal: int, wanted: bytes, at_least: int = 0, to_the_end: bool = False) -> bytes:
    """Read what the program writes until ``wanted`` is in it, or until it has closed the terminal."""
    seen, deadline = b"", time.monotonic() + 60
    while to_the_end or not seen or wanted not in seen or len(seen) < at_least:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], f"no {wanted!r} in {seen!r}"
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            chunk = b""
        if not chunk:
            assert to_the_end, f"no {wanted!r} in {seen!r}"
            break
        seen += chunk
    return seen


def read_documents(text: str) -> list[dict]:
    """The JSON documents that follow each other in a text."""
    decoder, place, found = json.JSONDecoder(), 0, []
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        found.append(value)
        place += 1  # the line end
    return found
