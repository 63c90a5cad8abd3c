"""The files of a source: of a folder, of a glob, a single one, or those of this Python's standard library.

Hidden files, caches and version-control folders are left out without a word; every other file is either read or
listed with the reason why not. Links to folders are not followed (they may go in circles).
"""

from __future__ import annotations

import glob
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed.core.errors import DataError, NotFoundError

STDLIB = "stdlib"
"""The name that stands for this Python's own library wherever a path is asked for."""
_IGNORED = {"__pycache__", "node_modules"}
_TESTS = {"test", "tests", "idle_test"}


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One raw file: where it is, and its path relative to the source's root (with forward slashes)."""

    location: Path
    path: str


def source_files(path: str) -> Iterator[SourceFile]:
    """Yield the files of a folder, a glob, one file or ``stdlib`` in a fixed order.

    Raises:
        NotFoundError: the path does not exist, or the glob fits nothing.
        DataError: the folder holds no files.
    """
    if path == STDLIB:
        found: Iterator[SourceFile] = filter(_is_library_module, folder_files(Path(sysconfig.get_paths()["stdlib"])))
    else:
        found = _path_files(path)
    first = next(found, None)
    if first is None:
        why, fix = "it is empty, or holds only hidden files", "put text files into it, or give another folder"
        raise DataError(f"the folder {path} has no files", why=why, fix=fix)
    yield first
    yield from found


def _path_files(text: str) -> Iterator[SourceFile]:
    path = Path(text).expanduser()
    if path.is_dir():
        return folder_files(path)
    if path.exists():
        return iter([SourceFile(path, _relative(path, path.parent))])
    if glob.has_magic(text):
        return _glob_files(str(path))
    raise NotFoundError(
        f"there is no file or folder {text}", why=f"{path.absolute()} does not exist", fix="check the path"
    )


def folder_files(folder: Path, root: Path | None = None) -> Iterator[SourceFile]:
    """Yield the files of a folder and of those in it, by name; paths are relative to ``root``, by default it."""
    root = root or folder
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:  # reported in the place of what it holds
        yield SourceFile(folder, _relative(folder, root))
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _IGNORED:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from folder_files(Path(entry.path), root)
        elif not _is_folder(entry):
            yield SourceFile(Path(entry.path), _relative(Path(entry.path), root))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether a link leads to a folder; one that leads to itself is reported when it is read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _glob_files(pattern: str) -> Iterator[SourceFile]:
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed])
    paths = sorted(path for path in root.glob(str(Path(*parts[fixed:]))) if not path.is_dir())
    if not paths:
        raise NotFoundError(f"no file fits {pattern}", why="the glob matches nothing", fix="check the pattern")
    return (SourceFile(path, _relative(path, root)) for path in paths)


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
