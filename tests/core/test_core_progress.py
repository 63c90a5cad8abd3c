"""Progress: plain lines, silence, and a bar on a real pseudo-terminal."""

from __future__ import annotations

import contextvars
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from seedbed.core import progress
from seedbed.core.progress import duration


@pytest.fixture(autouse=True)
def _loud() -> Iterator[None]:
    progress.set_quiet(False)
    yield
    progress.set_quiet(False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (48 * 3600 - 1, "47 h 59 min"),
        (76 * 3600, "3 d 04 h"),
        (1200 * 86400 + 7200, "1,200 d"),
        (float("inf"), "?"),
        (float("nan"), "?"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_plain_lines_hold_share_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    with progress.progress("reading", 40, "files") as bar:
        bar.advance(10, "notes.txt")
        bar.say("a remark")
        bar.advance(20)
    first, remark, second = capsys.readouterr().err.splitlines()
    shape = r"reading:  {}%, {} files, [\d,]+/s, \d+ s left, notes.txt"
    assert re.fullmatch(shape.format(25, 10), first)
    assert remark == "a remark"
    assert re.fullmatch(shape.format(75, 30), second)


def test_plain_lines_without_a_total(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    assert list(progress.track("ab", "counting")) == ["a", "b"]
    out, err = capsys.readouterr()
    assert out == ""
    assert [re.sub(r"[\d,]+/s", "N/s", line) for line in err.splitlines()] == [
        "counting: 1, N/s",
        "counting: 2, N/s",
    ]


def test_quick_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.track(range(1000), "counting", 1000)) == list(range(1000))
    assert capsys.readouterr() == ("", "")


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.0)
    progress.set_quiet(True)
    progress.say("a remark")
    with progress.progress("reading", 2) as bar:
        bar.advance()
        bar.say("another")
    assert capsys.readouterr() == ("", "")


def test_quiet_belongs_to_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    contextvars.copy_context().run(progress.set_quiet, True)
    progress.say("still heard")
    assert capsys.readouterr().err == "still heard\n"


SCRIPT = """
from seedbed.core.progress import progress
with progress("reading", 4, "files") as bar:
    bar.advance(1, "first note")
    bar.say("a [remark] above")
    bar.advance(3, "last note")
print("data")
"""


def on_a_terminal(script: str, columns: int) -> tuple[bytes, list[str]]:
    """Standard output, and the lines that a terminal of that width is sent."""
    import pty

    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    out = subprocess.run(
        [sys.executable, "-c", script], stderr=slave, stdout=subprocess.PIPE, env=environment, check=True
    ).stdout
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            seen += chunk
    except OSError:  # the other side is closed
        pass
    finally:
        os.close(master)
    return out, re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode()).strip())


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_bar_on_a_terminal() -> None:
    out, lines = on_a_terminal(SCRIPT, 120)
    assert out == b"data\n"
    assert "a [remark] above" in lines
    last = lines[-1]
    assert last.startswith("reading")
    assert "100%" in last
    assert "files/s" in last
    assert "last note" in last


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_narrow_terminal_shows_the_figures_in_one_line() -> None:
    long = SCRIPT.replace('"reading", 4, "files"', '"checking artifacts", 4e6, "documents"').replace("(3,", "(2e6,")
    last = on_a_terminal(long.replace("last note", "loss 2.345, valid 2.456, rate 0.001"), 60)[1][-1]
    assert len(last.rstrip()) <= 60
    assert last.startswith("checking artifacts")
    assert " 50%" in last
    assert "documents/s" in last
