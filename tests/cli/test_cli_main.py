"""The command line as a whole: help with examples and without heavy imports, three-line errors, exit codes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from seedbed import __version__
from seedbed.cli.main import COMMANDS, cli, main
from seedbed.core import errors

HEAVY = {"torch", "numpy", "tokenizers", "transformers", "pandas", "scipy", "rich"}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def commands() -> Iterator[tuple[list[str], click.Command]]:
    """Every command with the words that call it, groups and what is in them."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        yield [name], command
        if isinstance(command, click.Group):
            yield from (([name, inner], found) for inner, found in command.commands.items())


def test_every_command_has_one_line_an_example_and_the_common_flags() -> None:
    seen = 0
    for words, command in commands():
        text = command.get_help(click.Context(command, info_name=" ".join(words)))
        summary = (command.help or "").splitlines()[0]
        assert summary.endswith("."), words
        assert "Example:" in text, words
        assert f"seedbed {words[0]}" in text.partition("Example:")[2], words
        if not isinstance(command, click.Group):
            flags = {flag for parameter in command.params for flag in parameter.opts}
            assert {"--json", "--quiet", "--debug"} <= flags, words
        seen += 1
    assert seen > len(COMMANDS)


def test_every_option_is_explained() -> None:
    for words, command in commands():
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                told = parameter.help or isinstance(parameter.type, click.Choice) or parameter.show_default
                assert told, (words, parameter.name)


def test_no_help_page_imports_anything_heavy() -> None:
    """In one new process, command after command: what is imported by then was imported by some help page."""
    script = f"""
import sys
from seedbed.cli.main import COMMANDS, cli
pages = [[], *([name] for name in COMMANDS)]
for page in pages:
    cli.main([*page, "--help"], standalone_mode=False)
    print("IMPORTED", page, sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("IMPORTED")]
    assert [line for line in found if not line.endswith(" []")] == []
    assert len(found) == len(COMMANDS) + 1


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "seedbed", "--help"], capture_output=True, text=True, check=True)
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert "Example:" in done.stdout
    done = subprocess.run([sys.executable, "-m", "seedbed", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        (["plna"], "there is no command 'plna'", "did you mean `seedbed plan`?"),
        (["qqqqq"], "there is no command 'qqqqq'", "see `seedbed --help`"),
        (["--nonsense"], "No such option", "see `seedbed --help`"),
        (["ls", "--knid", "model"], "No such option", "see `seedbed ls --help`"),
        (["show"], "Missing argument 'REFERENCE'", "see `seedbed show --help`"),
        (["show", "one", "two"], "unexpected extra argument", "see `seedbed show --help`"),
        (["plan", "--depth", "many"], "'many' is not a valid integer", "see `seedbed plan --help`"),
        (["plan", "--depth", "0"], "0 is not in the range 1<=x<=1000", "see `seedbed plan --help`"),
        (["corpus", "bulid"], "there is no command 'bulid'", "did you mean `seedbed corpus build`?"),
    ],
)
def test_a_wrong_command_line_is_three_lines(
    capsys: pytest.CaptureFixture[str], arguments: list[str], error: str, fix: str
) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.partition(":")[0] for line in lines] == ["error", "why", "fix"]
    assert error in lines[0]
    assert fix in lines[2]


@click.command()
@click.argument("kind")
@click.option("--debug", is_flag=True)
def failing_command(kind: str, debug: bool) -> None:
    if kind == "interrupt":
        raise KeyboardInterrupt
    raise getattr(errors, kind)("what", why="why", fix="fix")


@pytest.fixture
def _failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails as it is told, beside the real ones."""
    monkeypatch.setitem(COMMANDS, "failing", ("failing", "Fail."))
    monkeypatch.setitem(sys.modules, "seedbed.cli.failing", sys.modules[__name__])


@pytest.mark.usefixtures("_failing")
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("DataError", 1),
        ("CorruptError", 1),
        ("TrainingError", 1),
        ("UsageError", 2),
        ("ConfigError", 2),
        ("GateError", 3),
        ("NotFoundError", 4),
        ("CapacityError", 5),
        ("InterruptedRun", 130),
    ],
)
def test_every_error_has_its_exit_code(capsys: pytest.CaptureFixture[str], kind: str, code: int) -> None:
    assert run("failing", kind) == code
    assert capsys.readouterr() == ("", "error: what\nwhy: why\nfix: fix\n")


@pytest.mark.usefixtures("_failing")
def test_an_interrupt_is_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("failing", "interrupt") == 130
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "interrupted")


@pytest.mark.usefixtures("_failing")
def test_debug_lets_the_error_through() -> None:
    with pytest.raises(errors.DataError):
        main(["failing", "DataError", "--debug"])


def test_debug_shows_a_traceback() -> None:
    plain, debug = (
        subprocess.run([sys.executable, "-m", "seedbed", "show", "nothing", *more], capture_output=True, text=True)
        for more in ([], ["--debug"])
    )
    assert plain.returncode == 4
    assert plain.stderr.startswith("error: no artifact called 'nothing'\nwhy: ")
    assert "Traceback" not in plain.stderr
    assert debug.returncode != 0
    assert debug.stderr.startswith("Traceback")
    assert "NotFoundError" in debug.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """As `seedbed ls | head -0` does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "seedbed", "ls", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert err == b""
