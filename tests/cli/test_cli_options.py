"""The command line is one thing: one option a meaning, the same verbs, a question before anything is deleted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from published_models import tiny_model

from seedbed.app.inventory import KINDS
from seedbed.chat.conversations import ConversationEntry, Conversations
from seedbed.chat.messages import Message
from seedbed.cli.main import COMMANDS, EXIT_CODES, GROUPS, cli
from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError

Run = Callable[..., tuple[int, str, str]]
GONE = {"--scheme", "--vocab", "-k", "--top", "--window", "--new", "--report", "--html", "--memory-limit", "--list"}
NOUNS = ("corpus", "docs", "chats", "models", "tokenizer", "runs")


@pytest.fixture
def seedbed(invoke: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return invoke


def commands() -> Iterator[tuple[str, click.Command]]:
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
        else:
            yield name, command


def options(command: click.Command) -> dict[str, click.Option]:
    return {flag: one for one in command.params if isinstance(one, click.Option) for flag in one.opts}


def test_no_meaning_has_two_names() -> None:
    for words, command in commands():
        assert not GONE & set(options(command)), words


def test_no_name_has_two_meanings() -> None:
    """An option is everywhere of one type: a flag, a number, a path or a choice."""
    seen: dict[str, tuple[str, bool, bool]] = {}
    for words, command in commands():
        for flag, option in options(command).items():
            kind = (re.sub("Range$", "", type(option.type).__name__).lower(), option.is_flag, option.nargs == 1)
            if flag == "--adapter":
                continue  # an adapter by its folder, or by its name in the library
            if flag in {"--to", "--quantization", "--split"} or isinstance(option.type, click.Choice):
                continue  # the same meaning, with fewer choices for one format
            kind = (kind[0].replace("intparamtype", "int").replace("floatparamtype", "float"), *kind[1:])
            assert seen.setdefault(flag, kind) == kind, (words, flag)


def test_every_noun_has_the_same_verbs() -> None:
    for noun in NOUNS:
        group = cli.get_command(click.Context(cli), noun)
        assert isinstance(group, click.Group)
        assert {"ls", "show", "rm"} <= set(group.commands), noun


def test_rm_of_anything_can_be_told_not_to_ask() -> None:
    removing = [(words, command) for words, command in commands() if words.split()[-1] == "rm"]
    assert len(removing) == len(NOUNS) + 2
    assert all("--yes" in options(command) for _, command in removing)


@pytest.mark.parametrize(
    ("arguments", "listing"),
    [
        (["models", "rm", "small"], ["models", "ls"]),
        (["rm", "small"], ["ls"]),
        (["docs", "rm", "guide"], ["docs", "ls"]),
        (["docs", "rm", "guide", "page.txt"], ["docs", "show", "guide"]),
        (["chats", "rm", "talk"], ["chats", "ls"]),
        (["keys", "rm", "phone"], ["keys", "ls"]),
    ],
)
def test_nothing_is_removed_unasked(seedbed: Run, arguments: list[str], listing: list[str]) -> None:
    tiny_model(Library(), "small")
    Path("page.txt").write_text("Ships sail on the sea.")
    assert seedbed("docs", "add", "guide", "page.txt")[0] == 0
    assert seedbed("keys", "create", "phone")[0] == 0
    with Conversations.of(Library()) as saved:
        saved.create("talk", [ConversationEntry(Message("user", "Hello"))])
    before = seedbed(*listing, "--json")
    code, out, err = seedbed(*arguments)
    assert (code, out) == (2, "")
    assert "error: Cannot ask: no terminal; add --yes" in err
    assert seedbed(*arguments, stdin="n\n")[0] == 130
    assert seedbed(*listing, "--json") == before
    assert seedbed(*arguments, "--yes")[0] == 0
    assert seedbed(*listing, "--json") != before


def test_a_wrong_kind_or_name_offers_the_nearest(seedbed: Run) -> None:
    tiny_model(Library(), "quickstart")
    assert seedbed("ls", "--kind", "models")[0] == 2
    assert "fix: did you mean `model`?" in seedbed("ls", "--kind", "models")[2]
    assert "fix: did you mean `corpus`?" in seedbed("rm", "quickstart", "--kind", "corpsu", "--yes")[2]
    code, _, err = seedbed("show", "quikstart")
    assert (code, "did you mean `quickstart`?" in err) == (4, True)


def test_every_kind_that_is_stored_can_be_listed() -> None:
    source = "\n".join(path.read_text() for path in Path(sys.modules["seedbed"].__path__[0]).rglob("*.py"))
    assert set(re.findall(r"library\.writing\(\s*\"(\w+)\"", source)) <= set(KINDS)


def test_the_list_holds_collections(seedbed: Run) -> None:
    Path("page.txt").write_text("Ships sail on the sea.")
    assert seedbed("docs", "add", "guide", "page.txt")[0] == 0
    [entry] = json.loads(seedbed("ls", "--json")[1])
    assert (entry["kind"], entry["names"], entry["id"]) == ("collection", ["guide"], None)
    assert entry["bytes"] > 0
    assert seedbed("ls", "--kind", "collection")[1].splitlines()[1].split()[:3] == ["collection", "-", "guide"]


def test_every_time_is_iso_in_utc(seedbed: Run) -> None:
    Path("page.txt").write_text("Ships sail on the sea.")
    assert seedbed("docs", "add", "guide", "page.txt")[0] == 0
    assert seedbed("keys", "create", "phone")[0] == 0
    with Conversations.of(Library()) as saved:
        saved.create("talk", [ConversationEntry(Message("user", "Hello"))])
    times = [
        json.loads(seedbed("ls", "--json")[1])[0]["created"],
        json.loads(seedbed("docs", "show", "guide", "--json")[1])["sources"][0]["added"],
        json.loads(seedbed("keys", "ls", "--json")[1])[0]["created"],
        json.loads(seedbed("chats", "ls", "--json")[1])[0]["updated"],
        json.loads(seedbed("chats", "show", "talk", "--json")[1])[0]["said"],
    ]
    for time in times:
        assert datetime.fromisoformat(time).utcoffset() == timedelta(0), time


def test_help_shows_groups_and_exit_codes(seedbed: Run) -> None:
    out = seedbed("--help")[1]
    for title, group in GROUPS.items():
        section = re.search(rf"^{title}:\n((?:  .*\n)+)", out, re.MULTILINE)
        assert section is not None
        assert re.findall(r"^  (\S+)", section[1], re.MULTILINE) == list(group)
    codes = {error.exit_code for error in SeedbedError.__subclasses__()} | {0}
    assert codes <= {int(code) for code, _ in EXIT_CODES}


@pytest.mark.parametrize(
    ("words", "expected"),
    [("seedbed show qu", ["quickstart"]), ("seedbed docs rm g", ["guide"]), ("seedbed corpus show qu", [])],
)
def test_the_shell_completes_names(seedbed: Run, tmp_path: Path, words: str, expected: list[str]) -> None:
    tiny_model(Library(), "quickstart")
    Path("page.txt").write_text("Ships sail on the sea.")
    assert seedbed("docs", "add", "guide", "page.txt")[0] == 0
    asked = {"_SEEDBED_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([sys.executable, "-m", "seedbed"], env=os.environ | asked, capture_output=True, text=True)
    assert [line.partition(",")[2] for line in done.stdout.split()] == expected
