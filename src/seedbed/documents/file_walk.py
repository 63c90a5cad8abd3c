"""The files of a source: of a folder, of a glob, a single one, or those of this Python's standard library.

Of a folder, what ``ignoring`` names is left out, and so are symbolic links that leave it, which could bring in what
nobody meant to give; both are reported, and :class:`WalkRules` takes them in. Links to folders inside are not followed
without a word: what they lead to is read in its own place. Every other file is either read or listed with the reason
why not. A file that is given by itself is always read.
"""

from __future__ import annotations

import glob
import os
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from seedbed.core.errors import DataError, NotFoundError
from seedbed.documents.ignoring import HIDDEN, MADE, NAMED, IgnoreRules, is_made
from seedbed.documents.readers import Skipped

STDLIB = "stdlib"
"""The name that stands for this Python's own library wherever a path is asked for."""
LEAVES = "symbolic links that leave the folder"
_TESTS = {"test", "tests", "idle_test"}
OnLeft = Callable[[Skipped], None]
"""Takes each entry that is left out: its name, and the kind it is of."""


@dataclass(frozen=True, slots=True)
class WalkRules:
    """The entries of a folder that are taken in.

    Attributes:
        ignore: leave out hidden files, build folders, caches and what ``.gitignore`` files name.
        follow_links: follow symbolic links that leave the folder, to files and to folders.
    """

    ignore: bool = True
    follow_links: bool = False


USUAL = WalkRules()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One raw file: where it is, and its path relative to the source's root (with forward slashes)."""

    location: Path
    path: str


def source_files(path: str, rules: WalkRules = USUAL, on_left: OnLeft | None = None) -> Iterator[SourceFile]:
    """Yield the files of a folder, a glob, one file or ``stdlib`` in a fixed order.

    Raises:
        NotFoundError: the path does not exist, or the glob fits nothing.
        DataError: the folder holds no files, or all are left out.
    """
    left = Counter[str]()

    def note(entry: Skipped) -> None:
        left[entry.reason] += 1
        if on_left is not None:
            on_left(entry)

    if path == STDLIB:
        library = folder_files(Path(sysconfig.get_paths()["stdlib"]), WalkRules(ignore=False))
        found: Iterator[SourceFile] = filter(_is_library_module, library)
    else:
        found = _path_files(path, rules, note)
    first = next(found, None)
    if first is None:
        why = "; ".join(left_lines(left)) or "it is empty"
        raise DataError(
            f"the folder {path} has no files", why=why, fix="put text files into it, or give another folder"
        )
    yield first
    yield from found


def left_lines(left: Counter[str]) -> Iterator[str]:
    """Yield lines that say how many entries of each kind were left out, and the option that takes them in."""
    ignored = [f"{count:,} {kind}" for kind, count in sorted(left.items()) if kind != LEAVES]
    if ignored:
        yield f"left out: {', '.join(ignored)} (--no-ignore takes them in)"
    if left[LEAVES]:
        yield f"left out: {left[LEAVES]:,} {LEAVES} (--follow-links follows them)"


def _path_files(text: str, rules: WalkRules, on_left: OnLeft) -> Iterator[SourceFile]:
    path = Path(text).expanduser()
    if path.is_dir():
        return folder_files(path, rules, on_left)
    if path.exists():
        return iter([SourceFile(path, _relative(path, path.parent))])
    if glob.has_magic(text):
        return _glob_files(str(path), rules, on_left)
    raise NotFoundError(
        f"there is no file or folder {text}", why=f"{path.absolute()} does not exist", fix="check the path"
    )


def folder_files(folder: Path, rules: WalkRules = USUAL, on_left: OnLeft = lambda entry: None) -> Iterator[SourceFile]:
    """Yield the files of a folder and of those in it, by name; their paths are relative to it."""
    walk = _Walk(folder, rules, on_left)
    return walk.files(folder, IgnoreRules.above(walk.base))


@dataclass
class _Walk:
    """One way through a folder."""

    root: Path
    rules: WalkRules
    on_left: OnLeft
    wanted: frozenset[str] = frozenset()  # names that a glob spells out
    followed: set[Path] = field(default_factory=set)  # folders outside that links led to

    def __post_init__(self) -> None:
        self.real = self.root.resolve()
        self.base = Path(os.path.abspath(self.root))  # noqa: PTH100 (Path.resolve follows links)

    def absolute(self, path: Path) -> Path:
        """Return an absolute path without resolving links."""
        return self.base / path.relative_to(self.root)

    def files(self, folder: Path, ignored: IgnoreRules) -> Iterator[SourceFile]:
        """Yield the files below a folder that is read."""
        ignored = ignored.within(self.absolute(folder)) if self.rules.ignore else ignored
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # reported in the place of what it holds
            yield SourceFile(folder, _relative(folder, self.root))
            return
        for entry in entries:
            path = Path(entry.path)
            is_folder = _is_folder(entry)
            if self.takes(path, ignored, is_folder=is_folder):
                if not is_folder:
                    yield SourceFile(path, _relative(path, self.root))
                elif not entry.is_symlink() or self._follow(path):
                    yield from self.files(path, ignored)

    def takes(self, path: Path, ignored: IgnoreRules, *, is_folder: bool) -> bool:
        """Return whether an entry is read; report one that is left out."""
        reason = self._reason(path, ignored, is_folder)
        if reason:
            self.on_left(Skipped(os.fsencode(path).decode("utf-8", "replace"), reason))
        return not reason

    def _reason(self, path: Path, ignored: IgnoreRules, is_folder: bool) -> str:
        if self.rules.ignore and path.name not in self.wanted:
            if path.name.startswith("."):
                return HIDDEN
            if is_folder and is_made(path):
                return MADE
            if ignored.ignore(self.absolute(path), is_folder=is_folder and not path.is_symlink()):
                return NAMED
        return LEAVES if not self.rules.follow_links and path.is_symlink() and self._leaves(path) else ""

    def _leaves(self, path: Path) -> bool:
        try:
            return path.exists() and not path.resolve().is_relative_to(self.real)
        except (OSError, RuntimeError):  # a link to itself, which is reported when it is read
            return False

    def _follow(self, link: Path) -> bool:
        """Return whether the folder that a link leads to is to be read here: outside, and not read already."""
        target = link.resolve()
        known = {self.real, *self.real.parents, *self.followed}
        if target in known or target.is_relative_to(self.real):
            return False
        self.followed.add(target)
        return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or leads to one; a link to itself is reported when it is read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _glob_files(pattern: str, rules: WalkRules, on_left: OnLeft) -> Iterator[SourceFile]:
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    paths = sorted(path for path in root.glob(str(Path(*parts[fixed:]))) if not path.is_dir())
    if not paths:
        raise NotFoundError(f"no file fits {pattern}", why="the glob matches nothing", fix="check the pattern")
    walk = _Walk(root, rules, on_left, frozenset(part for part in parts[fixed:] if not glob.has_magic(part)))
    taken = _Taken(walk)
    return (SourceFile(path, _relative(path, root)) for path in paths if taken.has(path))


class _Taken:
    """The answers of a walk for paths that were found in another way: an entry is read if all above it are."""

    def __init__(self, walk: _Walk) -> None:
        self._walk = walk
        self._rules = {walk.root: IgnoreRules.above(walk.base).within(walk.base)}
        self._left: set[Path] = set()

    def has(self, path: Path) -> bool:
        """Return whether a file is read; the first of its folders that is left out is reported once."""
        rules = self._rules[self._walk.root]
        for place in [*reversed(path.parents[: path.parents.index(self._walk.root)]), path]:
            if place in self._left:
                return False
            if place not in self._rules:
                if not self._walk.takes(place, rules, is_folder=place != path):
                    self._left.add(place)
                    return False
                self._rules[place] = rules if place == path else rules.within(self._walk.absolute(place))
            rules = self._rules[place]
        return True


def _is_library_module(file: SourceFile) -> bool:
    """Return whether a file is one of the standard library's own modules, written by hand.

    That is no test, no pydoc topics, in a package (not site-packages, config-3.11-…), and no codec that is a character
    table of gencodec.py.
    """
    *folders, name = file.path.split("/")
    stem, _, suffix = name.rpartition(".")
    if suffix != "py" or not all(part.isidentifier() for part in (*folders, stem)):
        return False
    if _TESTS & set(folders) or folders[:1] in (["pydoc_data"], ["__phello__"]):
        return False
    head = file.location.read_bytes()[:2000] if folders == ["encodings"] else b""
    return b"gencodec.py" not in head and b"generated from" not in head


def _relative(path: Path, root: Path) -> str:
    relative = path.relative_to(root).as_posix()
    return os.fsencode(relative).decode("utf-8", "replace")
