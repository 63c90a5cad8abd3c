"""Every command of the command line, in a forked process that a fault has been put into."""

from __future__ import annotations

import ctypes
import io
import os
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import click
import torch
from serving import add_model

from seedbed.chat.conversations import ConversationEntry, Conversations
from seedbed.chat.messages import Message
from seedbed.cli.main import cli, main
from seedbed.core.artifacts import Library

COMMANDS: dict[str, str] = {
    "ask": "How-is-the-lamp-lit? --docs notes",
    "bench": "tiny --prompt-tokens 8 --max-tokens 2 --sequences 1",
    "chat": "tiny --once hello --max-tokens 2 --save other",
    "chats ls": "",
    "chats rm": "talk --yes",
    "chats show": "talk",
    "corpus build": "TEXT --name second --licence MIT",
    "corpus ls": "",
    "corpus pairs": "PAIRS/pairs.jsonl --prompt-column de --reply-column en",
    "corpus rm": "text --yes --force",
    "corpus show": "text",
    "cp": "tiny other",
    "demo": "--corpus TEXT --no-model",
    "docs add": "notes MORE",
    "docs embed": "words --embedder tfidf",
    "docs ls": "",
    "docs rm": "notes --yes",
    "docs search": "notes lamp",
    "docs show": "notes",
    "doctor": "--offline",
    "eval": "tiny TEXT/one.txt",
    "export": "tiny --output OUT",
    "fit": "tiny",
    "import": "PUBLISHED --name second",
    "keys create": "second",
    "keys ls": "",
    "keys rm": "first --yes",
    "ls": "",
    "merge": "tiny twin --name merged",
    "models ls": "",
    "models rm": "tiny --yes --force",
    "models show": "tiny",
    "plan": "tiny",
    "predict": "tiny lamp",
    "prune": "tiny --method layers --share 0.5 --text TEXT/one.txt --name pruned",
    "ps": "",
    "pull": "hf:team/none --offline",
    "push": "tiny team/none",
    "quantize": "tiny --quantization int8 --name small",
    "rm": "twin --yes",
    "run": "tiny lamp --max-tokens 2",
    "runs compare": "one two",
    "runs ls": "",
    "runs rm": "one --yes",
    "runs show": "one",
    "runs traces": "",
    "search": "llama",
    "serve": "tiny --port 0",
    "show": "tiny",
    "stop": "1",
    "tokenizer compare": "pieces --text TEXT/one.txt",
    "tokenizer encode": "pieces lamp",
    "tokenizer ls": "",
    "tokenizer rm": "pieces --yes --force",
    "tokenizer show": "pieces",
    "tokenizer train": "text --algorithm byte --name other",
    "train": "RECIPE.toml",
}
"""A command → arguments with which it works, but for those of :data:`REFUSED`."""
REFUSED = frozenset(
    {"predict", "pull", "push", "search", "stop", "runs compare", "runs rm", "runs show"}
)  # they end with an error without any fault too: they need a network, a server, a run or a model with a head
RECIPE = """
name = "short"
[[stage]]
kind = "corpus"
[[stage.settings.sources]]
name = "text"
path = "{text}"
licence = "MIT"
[[stage]]
kind = "tokenizer"
[stage.settings]
kind = "byte"
[[stage]]
kind = "tokens"
[[stage]]
name = "pretrain"
kind = "train"
objective = "causal_lm"
source = "packed"
[stage.model]
depth = 1
context = 32
[stage.settings]
steps = 3
sample_seconds = 0.0
warmup = 1
batch = 2
save_every = 1
evaluate_every = 0
evaluate_batches = 1
"""
SECONDS = 20  # of a command; `serve` and `demo` go on by themselves


class Ended(NamedTuple):
    """The end of a command."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> list[str]:
        """The first words of the last three lines of standard error."""
        return [line.partition(":")[0] for line in self.err.splitlines()[-3:]]


def leaves(group: click.Group = cli, before: str = "") -> Iterator[str]:
    """Yield every command with the groups that it is in."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def build(home: Path) -> None:
    """Make a library with one of each, and files to read."""
    files = home.parent / "files"
    for folder, words in (("TEXT", "lamp"), ("MORE", "stair")):
        (files / folder).mkdir(parents=True)
        for name in ("one", "two", "three", "four"):
            lines = [f"The {words} of house {name} is number {number}; it is lit at dusk." for number in range(40)]
            (files / folder / f"{name}.txt").write_text("\n".join(lines))
    rows = [f'{{"de": "das Haus {n} ist alt", "en": "house {n} is old and grey"}}' for n in range(50)]
    (files / "PAIRS").mkdir()
    (files / "PAIRS" / "pairs.jsonl").write_text("\n".join(rows))
    (files / "RECIPE.toml").write_text(RECIPE.format(text=files / "TEXT"))
    os.environ["SEEDBED_HOME"] = str(home)
    library = Library(home)
    for name, seed in (("tiny", 1), ("twin", 2)):
        add_model(library, name, seed)
    with Conversations.of(library) as saved:
        saved.create("talk", [ConversationEntry(Message("user", "hello"))])
    for line in (
        f"corpus build {files / 'TEXT'} --name text --licence MIT -q",
        "tokenizer train text --algorithm byte --name pieces -q",
        f"docs add notes {files / 'TEXT'} -q",
        f"docs add words {files / 'TEXT'} --embedder none -q",
        "keys create first -q",
        f"export tiny --output {files / 'PUBLISHED'} -q",
    ):
        ended = run(line.split(), home)
        assert ended.code == 0, (line, ended)


def arguments(command: str, files: Path) -> list[str]:
    """Return a command line of the table, with the files' own paths."""
    return with_paths([*command.split(), *COMMANDS[command].split()], files)


def with_paths(told: list[str], files: Path) -> list[str]:
    """Return a command line with the files' own paths."""
    names = [path.name for path in files.iterdir()] + ["OUT", "OUT2"]
    return [str(files / one) if one.partition("/")[0] in names else one for one in told]


def run(
    told: list[str],
    home: Path,
    fault: Callable[[], object] = lambda: None,
    seconds: int = SECONDS,
    started: Callable[[int], object] = lambda child: None,
) -> Ended:
    """Run a command line in a fork of this process, with a library, after ``fault``; ``started`` is told its number."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _child(told, home, fault, seconds, out.fileno(), err.fileno())
        started(child)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), out.read().decode(), err.read().decode(errors="replace"))


def _child(told: list[str], home: Path, fault: Callable[[], object], seconds: int, out: int, err: int) -> None:
    """Never return."""
    code = 99
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, mode, closefd=False), encoding="utf-8", line_buffering=True)
            if mode == "w"
            else io.TextIOWrapper(io.BufferedReader(io.FileIO(number, mode, closefd=False)))
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        signal.signal(signal.SIGALRM, _interrupt)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(seconds)
        os.environ |= {"SEEDBED_HOME": str(home), "HF_HUB_OFFLINE": "1", "SEEDBED_KERNEL": "torch"}
        torch.set_num_threads(1)
        fault()
        main(told)
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        import traceback

        with suppress(BaseException):
            traceback.print_exc()
    finally:
        with suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _interrupt(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def copied(home: Path, target: Path) -> Path:
    """Return a copy of a library, to be harmed."""
    shutil.copytree(home, target, symlinks=True)
    return target


def full_disk() -> None:
    """Let no file grow past a kilobyte, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def no_descriptors() -> None:
    """Leave two file descriptors."""
    used = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def no_memory() -> None:
    """Leave two megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + (2 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def without_rights() -> None:
    """Give up the right of root to write where permissions forbid it."""
    if os.getuid() == 0:
        header = struct.pack("Ii", 0x20080522, 0)  # the version of the call, and this process
        data = ctypes.create_string_buffer(struct.calcsize("6I"))
        if ctypes.CDLL(None, use_errno=True).capset(header, data):
            raise OSError(ctypes.get_errno(), "capset")


def shifted(seconds: float) -> Callable[[], None]:
    """Return a fault: a clock that is wrong by so much."""

    def shift() -> None:
        right = time.time
        time.time = lambda: right() + seconds

    return shift


def may_only_be_read(home: Path) -> None:
    """Take the right to write from all users."""
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def may_not_be_read(home: Path) -> None:
    """Take all rights from all users."""
    for path in (*home.rglob("*"), home):
        path.chmod(0)


def open_again(home: Path) -> None:
    """Give the rights back to the owner."""
    home.chmod(0o700)
    for path in home.iterdir():
        if path.is_dir() and not path.is_symlink():
            open_again(path)
        else:
            path.chmod(0o600)
