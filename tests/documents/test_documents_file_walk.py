"""The files of folders and globs: what .gitignore files leave out, links, pipes; git is the oracle for its patterns."""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from seedbed.core.errors import DataError
from seedbed.core.files import open_regular
from seedbed.documents.file_walk import LEAVES, WalkRules, folder_files, source_files
from seedbed.documents.ignoring import HIDDEN, MADE, NAMED, IgnoreRules
from seedbed.documents.readers import Skipped
from seedbed.documents.reading import read


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"text of {name}")
    return folder


def found(folder: Path, rules: WalkRules | None = None) -> tuple[list[str], Counter[str]]:
    left: list[Skipped] = []
    files = [file.path for file in folder_files(folder, rules or WalkRules(), left.append)]
    return files, Counter(entry.reason for entry in left)


def test_hidden_files_caches_and_build_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a.md", ".env", ".git/config", "x/node_modules/p/readme.md", "build/a.html", "dist/b.txt")
    fill(tmp_path, "env/pyvenv.cfg", "env/lib/x.py", "cache/CACHEDIR.TAG", "cache/y.txt", "p.egg-info/PKG-INFO")
    fill(tmp_path, "notes/build", "notes/dist.md")  # files of these names are nobody's build folders
    files, left = found(tmp_path)
    assert files == ["a.md", "notes/build", "notes/dist.md"]
    assert left == {HIDDEN: 2, MADE: 6}
    assert len(found(tmp_path, WalkRules(ignore=False))[0]) == 13
    assert found(tmp_path / "build")[0] == ["a.html"]  # it was asked for


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, check=True, text=True).stdout


PATTERNS = (
    *("*.log", "!keep.log", "a/", "/b", "foo/*", "!foo/keep.log", "**/x.log", "a/**", "a/**/b", "*", "!*/", "!*.txt"),
    *("!y.txt", "b/", "\\!x", "#", "[ab]", "?", "foo", "!foo/", "/foo/*", "!/foo/a", "!a/", "build", "**", "!**/y.txt"),
    *("ü*", "/*", "!/a/", "**/", "!", "//", "x.log\\", "[a", "x.log "),
)
NAMES = ["a", "b", "build", "x.log", "y.txt", "foo", "keep.log", "ü.txt", "!x"]


@pytest.mark.parametrize("seed", range(25))
def test_gitignore_files_hold_as_for_git(tmp_path: Path, seed: int) -> None:
    drawn = random.Random(seed)
    git(tmp_path, "init", "-q")
    for _ in range(25):
        path = tmp_path.joinpath(*drawn.choices(NAMES, k=drawn.randint(1, 4)))
        if not any(parent.is_file() for parent in path.parents) and not path.exists():
            fill(path.parent, path.name)
    folders = [tmp_path, *sorted(path for path in tmp_path.rglob("*") if path.is_dir() and ".git" not in path.parts)]
    for folder in drawn.sample(folders, min(len(folders), drawn.randint(1, 3))):
        ends = drawn.choice(["\n", "\r\n"])
        (folder / ".gitignore").write_bytes("".join(line + ends for line in drawn.choices(PATTERNS, k=4)).encode())
    (tmp_path / ".git" / "info" / "exclude").write_text(drawn.choice(["", "foo/a\n", "*.txt\n"]))
    listed = git(tmp_path, "-c", "core.quotepath=off", "ls-files", "-z", "-o", "--exclude-standard").split("\0")
    expected = {name for name in listed if name and "build" not in Path(name).parent.parts}
    assert set(found(tmp_path)[0]) == {name for name in expected if not Path(name).name.startswith(".")}


def test_a_folder_that_is_taken_in_again_takes_in_nothing_below_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    fill(tmp_path, "a/b/x.md", "a/y.md")
    (tmp_path / ".gitignore").write_text("a/**/b\n!/a/\n")
    listed = git(tmp_path, "ls-files", "-o", "--exclude-standard").split()
    assert listed == [".gitignore", "a/y.md"]
    assert found(tmp_path)[0] == ["a/y.md"]


def test_rules_of_the_repository_hold_in_a_folder_of_it_but_do_not_forbid_the_folder(tmp_path: Path) -> None:
    fill(tmp_path, ".git/HEAD", "docs/a.md", "docs/b.tmp", "out/c.md", "out/d.tmp")
    (tmp_path / ".gitignore").write_text("*.tmp\n/out/\n")
    assert found(tmp_path / "docs") == (["a.md"], Counter({NAMED: 1}))
    assert found(tmp_path / "out") == (["c.md", "d.tmp"], Counter())
    assert found(tmp_path / "docs" / ".." / "docs")[0] == ["a.md"]
    assert not IgnoreRules.above(tmp_path).levels


def test_without_a_repository_the_folders_own_files_hold(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.md", "in/b.tmp", "in/deep/c.tmp", "in/deep/d.md")
    (tmp_path / ".gitignore").write_text("*.md\n")  # above what is read, and of no repository
    (tmp_path / "in" / ".gitignore").write_bytes(b"\xef\xbb\xbf*.tmp\n!deep/*\n")
    assert found(tmp_path / "in")[0] == ["a.md", "deep/c.tmp", "deep/d.md"]


def test_a_glob_leaves_out_the_same_unless_it_spells_it_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.md", "sub/b.md", "sub/no.md", "build/c.md", ".x/d.md", "node_modules/p/e.md")
    (tmp_path / ".gitignore").write_text("no.md\n")
    left: list[Skipped] = []
    files = source_files(f"{tmp_path}/**/*.md", WalkRules(), left.append)
    assert [file.path for file in files] == ["a.md", "sub/b.md"]
    assert Counter(entry.reason for entry in left) == {MADE: 2, HIDDEN: 1, NAMED: 1}
    fill(tmp_path, "x/build/f.md")
    assert [file.path for file in source_files(f"{tmp_path}/*/build/*.md")] == ["x/build/f.md"]


def test_links_that_leave_the_folder_are_not_followed_unless_asked(tmp_path: Path) -> None:
    inside, outside = fill(tmp_path / "in", "a.md", "b/c.md"), fill(tmp_path / "out", "d.md", "e/f.md")
    (inside / "file.md").symlink_to(outside / "d.md")
    (inside / "folder").symlink_to(outside)
    (inside / "own.md").symlink_to("a.md")
    (inside / "own").symlink_to("b")
    (outside / "back").symlink_to(inside)
    (outside / "again").symlink_to(outside)
    assert found(inside) == (["a.md", "b/c.md", "own.md"], Counter({LEAVES: 2}))
    followed = ["a.md", "b/c.md", "file.md", "folder/d.md", "folder/e/f.md", "own.md"]
    assert found(inside, WalkRules(follow_links=True)) == (followed, Counter())
    assert [file.path for file in source_files(f"{inside}/**/*.md")] == ["a.md", "b/c.md", "own.md"]
    with pytest.raises(DataError, match="no files"):
        next(source_files(f"{inside}/f*/*.md"))
    (tmp_path / "link").symlink_to(inside)  # a folder that is given by a link is the folder
    assert found(tmp_path / "link")[0] == ["a.md", "b/c.md", "own.md"]


@pytest.mark.timeout(30)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    os.mkfifo(tmp_path / "pipe.txt.gz")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s.txt"))
    skipped: list[Skipped] = []
    assert list(read(tmp_path, on_skip=skipped.append)) == []
    server.close()
    assert [Path(one.source).name for one in skipped] == ["pipe.txt", "pipe.txt.gz", "s.txt"]
    assert all("no regular file" in one.reason and "save what it gives in a file" in one.reason for one in skipped)
    for place in (tmp_path / "pipe.txt", Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="no regular file"):
            open_regular(place)


@pytest.mark.timeout(30)
def test_a_file_that_becomes_a_pipe_before_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "a.txt")
    regular = fill(tmp_path, "b.txt").joinpath("b.txt").stat()
    monkeypatch.setattr(Path, "stat", lambda path, **_: regular)  # it was a file when it was asked
    with pytest.raises(OSError, match="no regular file"):
        open_regular(tmp_path / "a.txt")


def test_a_folder_of_which_all_is_left_out_says_so(tmp_path: Path) -> None:
    fill(tmp_path, ".a", "build/b.md")
    with pytest.raises(DataError) as caught:
        list(source_files(str(tmp_path)))
    assert "1 hidden" in caught.value.why
    assert "--no-ignore" in caught.value.why


def test_what_is_taken_in_again_below_a_folder_is_read(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "build2" / "deep").mkdir(parents=True)
    for name in ("yes.txt", "no.txt", "deep/no.txt"):
        (tmp_path / "build2" / name).write_text("text")
    (tmp_path / ".gitignore").write_text("build2/**\n!build2/yes.txt\n")
    listed = git(tmp_path, "ls-files", "-o", "--exclude-standard").split()
    assert listed == [".gitignore", "build2/yes.txt"]
    assert [file.path for file in folder_files(tmp_path)] == ["build2/yes.txt"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "pattern", ["*a" * 12 + "b", "*" * 300 + "b", "[a-z]*" * 12 + "9", "*[!b]" * 12 + "b", "*?a" * 12 + "b"]
)
def test_a_pattern_of_many_stars_takes_no_time(tmp_path: Path, pattern: str) -> None:
    fill(tmp_path, "a" * 200 + ".txt", ".gitignore")
    (tmp_path / ".gitignore").write_text(pattern + "\n")
    assert len(list(source_files(str(tmp_path)))) == 1
