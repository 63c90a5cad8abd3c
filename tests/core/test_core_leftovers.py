"""Drafts that killed processes left are cleared or put back; those of living ones stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.core import files, leftovers

CHILD = """
import sys
from pathlib import Path
from seedbed.core import files, leftovers
target = Path(sys.argv[1])
def wait():
    print("ready", flush=True)
    sys.stdin.read()
def directory():
    with files.new_directory(target) as draft:
        (draft / "text").write_text("half")
        wait()
def file():
    with leftovers.draft_file(target) as (_, draft):
        draft.write_text("half")
        wait()
def aside():
    with leftovers.moved_aside(target):
        wait()
globals()[sys.argv[2]]()
"""


@pytest.fixture
def child(tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a process that is in the middle of making ``tmp_path/thing``."""

    def start(kind: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(tmp_path / "thing"), kind]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return start


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_only_the_draft_of_a_killed_process_goes(
    tmp_path: Path, child: Callable[[str], subprocess.Popen[str]], kind: str
) -> None:
    process = child(kind)
    assert len(leftovers.left_in(tmp_path)) == 1
    assert leftovers.clear(tmp_path) == []  # it works on it
    kill(process)
    assert len(leftovers.clear(tmp_path)) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_next_of_its_kind_clears(tmp_path: Path, child: Callable[[str], subprocess.Popen[str]]) -> None:
    kill(child("directory"))
    with files.new_directory(tmp_path / "thing") as draft:
        (draft / "text").write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_what_stepped_aside_comes_back(tmp_path: Path, child: Callable[[str], subprocess.Popen[str]]) -> None:
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "text").write_text("old")
    process = child("aside")
    assert leftovers.clear(tmp_path) == []
    assert not (tmp_path / "thing").exists()
    kill(process)
    leftovers.clear(tmp_path)
    assert (tmp_path / "thing" / "text").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fork_that_lives_on_holds_its_draft(tmp_path: Path) -> None:
    with leftovers.draft_directory(tmp_path / "thing"):
        assert leftovers.clear(tmp_path) == []


def test_a_part_of_a_draft_needs_none_of_its_own(tmp_path: Path) -> None:
    with files.new_directory(tmp_path / "thing") as outer:
        with files.new_directory(outer) as inner:
            (inner / "text").write_text("whole")
        assert leftovers.clear(tmp_path) == []
    assert (tmp_path / "thing" / "text").read_text() == "whole"


def test_other_hidden_files_and_links_stay(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / ".hidden.draft").write_text("a user's")
    (tmp_path / ".thing.abcdefgh.draft").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / ".pipe.abcdefgh.draft")
    leftovers.clear(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"outside", ".hidden.draft", ".thing.abcdefgh.draft"}


def test_a_clock_that_jumps_changes_nothing(tmp_path: Path, child: Callable[[str], subprocess.Popen[str]]) -> None:
    process = child("directory")
    for seconds in (0, 4_000_000_000):
        for path in leftovers.left_in(tmp_path):
            os.utime(path, (seconds, seconds))
        assert leftovers.clear(tmp_path) == []
    kill(process)
    assert len(leftovers.clear(tmp_path)) == 1
