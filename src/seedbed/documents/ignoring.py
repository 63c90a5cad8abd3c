"""Entries of a folder that hold no documents: hidden ones, what tools made, and what ``.gitignore`` files name.

``.gitignore`` files hold as they do for git (gitignore(5)): the one nearest to an entry decides, a later line of it
before an earlier one, ``!`` takes an entry in again, and nothing below a folder that is left out can be taken in. Those
of the folders above hold too, up to the repository's, and its ``.git/info/exclude``. A user's own list for all
repositories is not read, so that one folder means the same to everyone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from seedbed.core.files import open_regular

HIDDEN = "hidden"
MADE = "a build folder, a cache or an environment"
NAMED = "named in a .gitignore file"
_MADE = frozenset(
    ("__pycache__", "node_modules", "bower_components", "site-packages", "build", "_build", "dist", "htmlcov")
)
_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")
"""Files that mark a cache (bford.info/cachedir) and an environment of Python."""
_SET = re.compile(r"\\.|(\[\^?(?:\\.|[^\]\\])+\])", re.DOTALL)
_STARS = re.compile(r"(?:\[\^/\]\*){2,}")
_BETWEEN_STARS = re.compile(
    r"\[\^/\]\*((?:\\.|\(\?!/\)|\[\^?(?:\\.|[^\]\\])+\](?!\*)|[^\\\[\]/()*+?{}|$^.])+)(?=\[\^/\]\*)", re.DOTALL
)
"""Characters and sets between two stars of one name, as pathspec writes them."""
_MOST = 1_000_000  # bytes of a .gitignore file


@dataclass(frozen=True)
class IgnoreRules:
    """The ``.gitignore`` files that hold in a folder, each with its own folder, the nearest one first."""

    levels: tuple[tuple[Path, tuple[GitIgnoreSpecPattern, ...]], ...] = ()

    @classmethod
    def above(cls, folder: Path) -> IgnoreRules:
        """Return the rules that its repository has for a folder; none if they leave it out, as it was asked for."""
        home = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
        rules = cls()._with(home, home / ".git" / "info" / "exclude")
        chain = [*reversed([one for one in folder.parents if one.is_relative_to(home)]), folder]
        for outer, inner in pairwise(chain):
            rules = rules.within(outer)
            if rules.ignore(inner, is_folder=True):
                return cls()
        return rules

    def within(self, folder: Path) -> IgnoreRules:
        """Return the rules that hold inside a folder, with its own ``.gitignore`` file."""
        return self._with(folder, folder / ".gitignore")

    def _with(self, folder: Path, file: Path) -> IgnoreRules:
        patterns = tuple(_read(file))
        return IgnoreRules(((folder, patterns), *self.levels)) if patterns else self

    def ignore(self, path: Path, *, is_folder: bool) -> bool:
        """Return whether an entry is left out; the folders above it are taken to be read."""
        for folder, patterns in self.levels:
            name = path.relative_to(folder).as_posix() + "/" * is_folder
            for pattern in reversed(patterns):
                if pattern.include is not None and _fits(pattern, name):
                    return pattern.include
        return False


def is_made(folder: os.DirEntry[str] | Path) -> bool:
    """Return whether a folder is one that tools make: by its name, or by a file that marks it."""
    if folder.name in _MADE or folder.name.endswith(".egg-info"):
        return True
    return any(os.path.lexists(os.path.join(folder, mark)) for mark in _MARKS)  # noqa: PTH118 (one for each folder)


def _read(file: Path) -> Iterator[GitIgnoreSpecPattern]:
    """Yield the patterns of a file, if there is one. A line that is no pattern is passed over, as git does."""
    try:
        with open_regular(file) as stream:
            lines = os.fsdecode(stream.read(_MOST)).removeprefix("\ufeff").split("\n")
    except OSError:
        return
    for line in lines:
        with suppress(ValueError):
            pattern = GitIgnoreSpecPattern(line.removesuffix("\r"))
            if pattern.regex is not None:
                pattern.regex = re.compile(_without_retries(pattern.regex.pattern))
            yield pattern


def _without_retries(expression: str) -> str:
    """Return an expression that fits the same, without the retries that make ``*a*a*a*a*b`` slow on a long name.

    What follows a star up to the next one is taken where it first occurs, and not looked for again behind that: a later
    place leaves the rest less room, so it can fit nothing that the first does not. Sets fit no slash, as in git.
    """
    in_names = _SET.sub(lambda found: ("(?!/)" if found[1] and found[1] != "[^/]" else "") + found[0], expression)
    return _BETWEEN_STARS.sub(r"(?>[^/]*?\1)", _STARS.sub("[^/]*", in_names))


def _fits(pattern: GitIgnoreSpecPattern, name: str) -> bool:
    """Return whether a pattern means an entry itself; pathspec's fit what is below a folder, too.

    Its group ``ps_d`` is the slash after a folder that fits: of the entry, if it is the name's last character. One
    without that group (``build/**``) means what is below a folder, and not the folder.
    """
    if pattern.regex is None:
        return False
    if "ps_d" not in pattern.regex.groupindex:
        return any(one.end() < len(name) for one in pattern.regex.finditer(name))
    return any(one["ps_d"] is None or one.end("ps_d") == len(name) for one in pattern.regex.finditer(name))
