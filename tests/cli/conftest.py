"""The command line in this process: what a test runs, and what a user would see of it."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from seedbed.cli.main import main


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line: exit code, standard output, standard error."""

    def run(*arguments: str, stdin: bytes | str = b"") -> tuple[int, str, str]:
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sent), encoding="utf-8"))
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        captured = capsys.readouterr()
        return int(caught.value.code or 0), captured.out, captured.err

    return run
