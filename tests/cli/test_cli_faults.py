"""Every command on a full disk, in a read-only library, without rights, descriptors or memory, by a wrong clock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cli_runs
import pytest
from cli_runs import COMMANDS, Ended

from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection
from seedbed.rag.collection import names as collections

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and users as Linux has them")
FAULTS: dict[str, tuple[Callable[[], object], Callable[[Path], object]]] = {
    "full disk": (cli_runs.full_disk, lambda home: None),
    "read-only": (cli_runs.without_rights, cli_runs.may_only_be_read),
    "no rights": (cli_runs.without_rights, cli_runs.may_not_be_read),
    "no descriptors": (cli_runs.no_descriptors, lambda home: None),
    "no memory": (cli_runs.no_memory, lambda home: None),
    "clock back": (cli_runs.shifted(-9e8), lambda home: None),
    "clock forward": (cli_runs.shifted(9e8), lambda home: None),
}
QUICK = ("ls", "docs add", "docs search", "keys create", "cp", "rm", "corpus build", "chats show", "doctor", "show")
READS = ("ls", "show", "docs ls", "docs search", "docs show", "ask", "models ls", "chats ls", "chats show", "run")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A library with one of each."""
    patch = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("faults") / "home"
    patch.setenv("SEEDBED_HOME", str(home))
    cli_runs.build(home)
    yield home
    patch.undo()


def under(fault: str, command: str, home: Path, tmp_path: Path) -> tuple[Ended, Path]:
    """Run a command under a fault in a copy of the library."""
    begin, prepare = FAULTS[fault]
    copy = cli_runs.copied(home, tmp_path / "home")
    prepare(copy)
    seconds = 4 if command in ("serve", "demo") else cli_runs.SECONDS
    return cli_runs.run(cli_runs.arguments(command, home.parent / "files"), copy, begin, seconds), copy


def check(fault: str, command: str, ended: Ended, copy: Path) -> None:
    """The end is said in three lines with the right code, and all that was there is there and whole."""
    about = f"{command} under {fault}: {ended}"
    assert "Traceback" not in ended.err, about
    assert "Fatal" not in ended.err, about
    assert ended.code in (0, 1, 2, 4, 5) or (command in ("serve", "demo") and ended.code == 130), about
    if ended.code not in (0, 130) and command != "doctor":
        assert ended.told == ["error", "why", "fix"], about
    cli_runs.open_again(copy)
    library = Library(copy)
    assert not library.unreadable(), about
    for artifact in library.all():
        artifact.verify()
    for name in collections(library):
        Collection.open(library, name).close()
    if ended.code != 0:
        assert {"tiny", "twin", "text", "pieces"} <= set(library.names()), about
        assert {"notes", "words"} <= set(collections(library)), about


def test_every_command_is_in_the_table() -> None:
    assert set(cli_runs.leaves()) == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in ("serve", "demo")])
def test_only_those_that_are_named_end_with_an_error_without_a_fault(home: Path, tmp_path: Path, command: str) -> None:
    copy = cli_runs.copied(home, tmp_path / "home")
    ended = cli_runs.run(cli_runs.arguments(command, home.parent / "files"), copy, seconds=120)
    assert (ended.code != 0) == (command in cli_runs.REFUSED), ended


@pytest.mark.parametrize("command", QUICK)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_three_lines(home: Path, tmp_path: Path, fault: str, command: str) -> None:
    check(fault, command, *under(fault, command, home, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in QUICK])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_of_every_command_ends_in_three_lines(home: Path, tmp_path: Path, fault: str, command: str) -> None:
    check(fault, command, *under(fault, command, home, tmp_path))


@pytest.mark.parametrize("command", READS)
def test_a_library_that_may_only_be_read_is_read(home: Path, tmp_path: Path, command: str) -> None:
    ended, copy = under("read-only", command, home, tmp_path)
    assert ended.code == 0, ended
    check("read-only", command, ended, copy)


def test_a_library_that_may_only_be_read_is_served_and_talked_with(home: Path, tmp_path: Path) -> None:
    copy = cli_runs.copied(home, tmp_path / "home")
    cli_runs.may_only_be_read(copy)
    talk = ["chat", "tiny", "--once", "hello", "--max-tokens", "2"]
    talked = cli_runs.run(talk, copy, cli_runs.without_rights)
    served = cli_runs.run(["serve", "tiny", "--port", "0"], copy, cli_runs.without_rights, 5)
    cli_runs.open_again(copy)
    assert talked.code == 0, talked
    assert "/v1" in served.out, served


@pytest.mark.parametrize("fault", ["clock back", "clock forward"])
@pytest.mark.parametrize("command", [*READS, "docs add", "corpus build", "keys create"])
def test_nothing_depends_on_the_clock(home: Path, tmp_path: Path, fault: str, command: str) -> None:
    ended, _ = under(fault, command, home, tmp_path)
    assert ended.code == 0, ended
