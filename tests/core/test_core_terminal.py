"""The one door to the terminal: control characters never reach it, and nothing else prints."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import seedbed
from seedbed.core.errors import SeedbedError
from seedbed.core.terminal import echo, harmless, json_text

STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HOSTILE = "\x1b]0;title\x07 \x1b[2J \x9b31m \u202etxt.exe \x00\r\x7f"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@settings(max_examples=50)
@given(st.text() | st.just(HOSTILE))
def test_nothing_that_steers_is_printed(text: str) -> None:
    terminal, pipe = Terminal(), io.StringIO(newline="")
    echo(text, 5, file=terminal)
    echo(text, 5, file=pipe)
    assert not STEERS.search(terminal.getvalue())
    assert pipe.getvalue() == f"{text} 5\n"
    assert not STEERS.search(harmless(text))
    error = str(SeedbedError(text, why=text, fix=text, paste=text))
    assert not STEERS.search(error)


@given(st.dictionaries(st.text() | st.just(HOSTILE), st.text() | st.just(HOSTILE), max_size=3))
def test_json_escapes_and_means_the_same(value: dict[str, str]) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert not STEERS.search(text)


def test_nothing_prints_past_the_door() -> None:
    root = Path(seedbed.__file__).parent
    found = []
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"):
                found.append(str(path.relative_to(root)))
    assert found == ["core/terminal.py"]
