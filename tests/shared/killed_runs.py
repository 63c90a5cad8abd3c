"""Commands killed at random moments; the library afterwards."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cli_runs
from cli_runs import Ended

from seedbed.chat.conversations import Conversations
from seedbed.core import leftovers
from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection
from seedbed.rag.collection import names as collections


@dataclass(frozen=True)
class Work:
    """A command to kill, what completes it afterwards, and the exit codes with which that may end."""

    line: str
    again: str = ""
    codes: tuple[int, ...] = (0,)
    before: str = ""


WORK = {
    "docs add": Work("docs add fresh TEXT"),
    "docs update": Work("docs add notes MORE"),
    "docs embed": Work("docs embed words --embedder tfidf"),
    "docs rm source": Work("docs rm notes TEXT --yes", codes=(0, 4)),
    "docs rm": Work("docs rm notes --yes", codes=(0, 4)),
    "corpus build": Work("corpus build TEXT MORE --name fresh --licence MIT"),
    "tokenizer train": Work("tokenizer train text --algorithm bpe --vocab-size 280 --name fresh"),
    "train": Work("train RECIPE.toml", again="train RECIPE.toml --restart"),
    "import": Work("import PUBLISHED --name fresh"),
    "quantize": Work("quantize tiny --quantization int8 --name fresh"),
    "rm": Work("rm twin --yes", codes=(0, 4)),
    "name": Work("cp tiny fresh"),
    "keys create": Work("keys create fresh", again="keys create fresher"),
    "keys rm": Work("keys rm first --yes", codes=(0, 4)),
    "chat": Work("chat tiny --once hello --max-tokens 2 --save fresh", again="chats ls"),
    "export": Work("export tiny --output OUT", again="export tiny --output OUT2"),
    "serve": Work("serve tiny --port 0", again="ps"),
}


def kill(told: list[str], home: Path, seconds: float) -> Ended:
    """Run a command and kill it, and all that it has started, after so many seconds."""

    def begin() -> None:
        os.setsid()

    def stop(child: int) -> None:
        for end in (os.killpg, os.kill):
            try:
                end(child, signal.SIGKILL)
                return
            except OSError:
                continue

    timers: list[threading.Timer] = []

    def started(child: int) -> None:
        timers.append(threading.Timer(seconds, stop, (child,)))
        timers[0].start()

    ended = cli_runs.run(told, home, begin, started=started)
    timers[0].cancel()
    return ended


def lasting(work: Work, home: Path, files: Path) -> float:
    """Return the seconds that a command takes undisturbed."""
    before = time.monotonic()
    cli_runs.run(cli_runs.with_paths(work.line.split(), files), home, seconds=3 if "serve" in work.line else 60)
    return time.monotonic() - before


def faults(work: Work, home: Path, files: Path) -> list[str]:
    """Return the faults of a library after a kill: before and after the command has been completed."""
    found = [f"before: {one}" for one in _inconsistent(home)]
    ended = cli_runs.run(cli_runs.with_paths((work.again or work.line).split(), files), home, seconds=120)
    if ended.code not in work.codes:
        found.append(f"again: {ended}")
    found += [f"after: {one}" for one in _inconsistent(home)]
    cli_runs.run(["doctor", "--offline"], home)
    return found + [f"left: {path}" for path in left(home)]


def _inconsistent(home: Path) -> list[str]:
    library, found = Library(home), []
    found += [f"{path}: {error}" for path, error in library.unreadable().items()]
    checks: list[tuple[str, Callable[[], object]]] = [(one.id, one.verify) for one in library.all()]
    checks += [(name, lambda name=name: Collection.open(library, name).close()) for name in collections(library)]  # type: ignore[misc]
    checks += [("chats", lambda: Conversations.of(library).close())]
    for name, check in checks:
        try:
            check()
        except Exception as error:
            found.append(f"{name}: {error}")
    for line in (["ls"], ["docs", "ls"], ["chats", "ls"], ["keys", "ls"], ["ps"]):
        ended = cli_runs.run(line, home)
        if ended.code or "cannot be read" in ended.err:
            found.append(f"{line}: {ended}")
    return found


def left(home: Path) -> list[Path]:
    """Return what should not be there: drafts, files of dead servers, and names that point nowhere."""
    folders = (home, *(path for path in home.rglob("*") if path.is_dir()))
    drafts = [path for folder in folders for path in leftovers.left_in(folder)]
    hidden = [path for path in home.rglob(".*") if not path.name.endswith(".lock") and path not in drafts]
    working = list((home / "work").glob("*")) if (home / "work").exists() else []
    return drafts + hidden + working


def moments(seed: int, longest: float, count: int) -> list[float]:
    """Return random moments within a time."""
    chance = random.Random(seed)
    return [chance.uniform(0, longest) for _ in range(count)]
