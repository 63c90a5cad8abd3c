"""Passages of nearly the same text are counted, not listed, unless they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]
FERRY = "The ferry to the island leaves at nine from pier two. The crossing takes an hour."


def test_copies_are_counted_by_search_and_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for place in range(6):
        (folder / f"copy{place}.txt").write_text(FERRY)
    (folder / "winter.txt").write_text("In winter the ferry to the island leaves at ten, from pier four.")
    assert invoke("docs", "add", "ferries", str(folder))[0] == 0
    search = ("docs", "search", "ferries", "ferry island pier")
    _, out, err = invoke(*search, "--limit", "5")
    assert "winter.txt" in out
    assert "5 more have nearly the same text" in err
    _, out, _ = invoke(*search, "--limit", "7", "--copies", "--json")
    assert len(json.loads(out)) == 7
    _, out, err = invoke("ask", "When does the ferry leave in winter?", "--docs", "ferries")
    assert "at ten" in out
    assert "5 passages with nearly the same text" in err
