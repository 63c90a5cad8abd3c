"""Saved conversations: what was saved is read again, by several processes and past a kill at any moment."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from seedbed.chat.conversations import ConversationEntry, Conversations
from seedbed.chat.messages import Message, ToolCall, Usage
from seedbed.chat.summary import Summary
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, NewerError, NotFoundError, SeedbedError, UsageError

CALL = ToolCall("c1", "look", '{"at": "it"}')
TURN = [
    ConversationEntry(Message("user", "what is it? \ud800 {x}\0"), seconds=5.0),
    ConversationEntry(Message("assistant", "", (CALL,)), "tiny", Usage(7, 3), 6.0),
    ConversationEntry(Message("tool", "a thing", tool_call_id="c1"), seconds=6.5),
    ConversationEntry(Message("assistant", "a thing"), "tiny", Usage(12, 2), 7.0),
]
WRITE = """
import sys
from seedbed.chat.conversations import ConversationEntry as Entry, Conversations
from seedbed.chat.messages import Message
from pathlib import Path
path, name, turns = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
conversations = Conversations(path)
for turn in range(turns):
    said = f"{sys.argv[4]} {turn} " + "x" * 2000
    conversations.append(name, [Entry(Message(role, said)) for role in ("user", "assistant", "tool")])
    print(turn, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat" / "conversations.sqlite3"


def writer(path: Path, name: str, turns: int, who: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(path), name, str(turns), who]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_what_is_saved_is_read_again(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("notes", TURN[:1])
        saved.append("notes", TURN[1:])
    with Conversations(path) as again:
        assert again.read("notes") == TURN
        assert again.summary("notes") == Summary()
        again.keep_summary("notes", Summary("it is a thing", 2, "ab"))
        assert again.summary("notes") == Summary("it is a thing", 2, "ab")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_list_begins_with_the_one_used_last(path: Path) -> None:
    with Conversations(path) as saved:
        assert saved.all() == []
        saved.create("empty")
        saved.create("old", [ConversationEntry(Message("user", "hi"), seconds=3.0)])
        saved.create("notes", TURN)
        found = {one.name: one for one in saved.all()}
    assert list(found) == ["empty", "notes", "old"]
    assert (found["notes"].messages, found["notes"].usage, found["notes"].updated) == (4, Usage(19, 5), 7.0)
    assert (found["empty"].messages, found["empty"].updated) == (0, found["empty"].created)


def test_names_are_free_and_known(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("one", TURN)
        saved.create("two")
        with pytest.raises(UsageError, match="'one' already"):
            saved.create("one")
        with pytest.raises(UsageError, match="'one' already"):
            saved.rename("two", "one")
        with pytest.raises(UsageError, match="cannot be a name"):
            saved.rename("two", "../x")
        for call in (saved.read, saved.delete, saved.summary, lambda name: saved.append(name, TURN)):
            with pytest.raises(NotFoundError, match="'three'"):
                call("three")
        saved.check_free("three")
        saved.rename("one", "three")
        assert saved.read("three") == TURN


def test_what_is_deleted_is_gone_from_the_file(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("kept", [ConversationEntry(Message("user", "keep this"))])
        saved.create("secret", [ConversationEntry(Message("user", "forget the word abracadabra"))])
        saved.delete("secret")
        assert [one.name for one in saved.all()] == ["kept"]
        saved.create("secret")
        assert saved.read("secret") == []
    assert b"keep this" in path.read_bytes()
    assert not any(b"abracadabra" in one.read_bytes() for one in path.parent.iterdir())


def test_a_turn_is_saved_whole_or_not_at_all(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("notes", TURN)
        with pytest.raises(TypeError):
            saved.append("notes", [TURN[0], ConversationEntry(Message("user", object()))])  # type: ignore[arg-type]
        assert saved.read("notes") == TURN
        with pytest.raises(TypeError):
            saved.create("other", [ConversationEntry(Message("user", object()))])  # type: ignore[arg-type]
        saved.check_free("other")


def test_processes_that_write_at_once_lose_no_turn(path: Path) -> None:
    """Three that also make the file at the same time."""
    creators = [writer(path.with_name("new.sqlite3"), "none", 0, "x") for _ in range(3)]
    assert [one.wait(60) for one in creators] == [0, 0, 0]
    with Conversations(path) as saved:
        saved.create("shared")
        writers = [writer(path, "shared", 30, who) for who in "abc"]
        assert [one.wait(60) for one in writers] == [0, 0, 0]
        said = [entry.message.text.split()[:2] for entry in saved.read("shared")]
    turns = said[::3]
    assert [turn for turn in turns for _ in range(3)] == said  # no turn is torn by another
    for who in "abc":
        assert [turn for name, turn in turns if name == who] == [str(turn) for turn in range(30)]
    for process in (*creators, *writers):
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_process_loses_at_most_the_turn_it_was_writing(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("talk")
    before = 0
    for trial in range(12):
        process = writer(path, "talk", 100_000, f"t{trial}")
        assert process.stdout is not None
        told = -1
        for _ in range(trial % 5 + 1):  # few: each turn waits for the disk
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told = max([told, *map(int, process.stdout.read().split())])
        process.wait(60)
        process.stdout.close()
        with Conversations(path) as saved:
            entries = saved.read("talk")
        assert len(entries) % 3 == 0
        fresh = [entry.message.text.split()[:2] for entry in entries[before:]]
        assert fresh == [[f"t{trial}", str(turn)] for turn in range(len(fresh) // 3) for _ in range(3)]
        assert len(fresh) // 3 > told  # every turn that was confirmed is there
        before = len(entries)
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_a_damaged_file_is_told_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, and was never one" * 100)
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="is damaged"):
        Conversations(path)
    assert path.read_bytes() == before


def test_a_file_damaged_within_is_told(path: Path) -> None:
    with Conversations(path) as saved:
        saved.create("notes", [ConversationEntry(Message("user", "x" * 30_000))])
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="is damaged") as caught, Conversations(path) as saved:
        saved.read("notes")
    assert "move it aside" in caught.value.fix


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    with Conversations(path):
        pass
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version=9")
    later.close()
    with pytest.raises(NewerError, match="made by a newer seedbed"):
        Conversations(path)


def test_a_path_that_is_a_folder_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(SeedbedError, match="cannot be"):
        Conversations(path)


def test_the_library_has_its_own(tmp_path: Path) -> None:
    library = Library(tmp_path)
    with Conversations.of(library) as saved:
        saved.create("notes", TURN)
    with Conversations.of(library) as saved:
        assert len(saved.read("notes")) == 4
    assert library.all() == []  # and it is no artifact
    assert json.loads(json.dumps([one.name for one in library.root.iterdir()])) == ["chat"]
