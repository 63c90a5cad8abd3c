"""The entry point: finds commands by name, imports only the one that runs, and prints errors as three lines."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any, NoReturn

import click

from seedbed.cli.faults import as_ours
from seedbed.cli.groups import NearestGroup
from seedbed.core.errors import SeedbedError, UsageError
from seedbed.core.files import private_files
from seedbed.core.terminal import echo
from seedbed.core.version import __version__

# group -> command -> (module, one line). The line is here so that `seedbed --help` imports nothing heavy.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("demo", "Build a model and answers with sources from a folder of text, and serve them."),
        "chat": ("chat", "Talk to a model in the terminal."),
        "ask": ("ask", "Answer a question from documents, with sources."),
        "serve": ("serve", "Serve models: an OpenAI-compatible API and a chat page."),
        "doctor": ("machine", "Check this machine and this library."),
    },
    "Documents": {
        "docs": ("docs", "Add, list, show, search and remove your own documents."),
        "corpus": ("corpus", "Build, list, show and remove corpora."),
        "chats": ("chats", "List, show and remove saved conversations."),
    },
    "Models": {
        "search": ("hub", "Find models on the hub."),
        "fit": ("machine", "Say whether a model fits this machine, and how fast it can write."),
        "pull": ("pull", "Bring a model or a data set from the hub into the library."),
        "push": ("hub", "Upload a model to the hub."),
        "import": ("transfer", "Take a published model from this disk into the library."),
        "export": ("transfer", "Write a model for other programs: Hugging Face's format or GGUF."),
        "models": ("show", "List, show and remove models."),
        "run": ("run", "Continue a prompt with a model."),
        "predict": ("predict", "Fill in masked tokens, classify a text, mark names in it, answer from it."),
        "quantize": ("transform", "Make a smaller, faster copy of a model, and measure its cost."),
        "prune": ("transform", "Make a copy of a model without weights, heads, layers or width it hardly uses."),
        "merge": ("transform", "Merge adapters into a model, or several models into one."),
        "bench": ("machine", "Measure how fast a model runs on this machine."),
    },
    "Train": {
        "plan": ("plan", "Count a model's parameters, memory, FLOPs and time before training it."),
        "tokenizer": ("tokenizer", "Train, list, show, remove, try and compare tokenizers."),
        "train": ("train", "Run a recipe: corpus, tokenizer, pretraining, fine-tuning, report."),
        "runs": ("runs", "List, show, compare and remove training runs; show traces of answers."),
        "eval": ("evaluate", "Measure bits per byte beside baselines, and write a report."),
    },
    "Manage": {
        "ls": ("library", "List the library: artifacts and collections of documents."),
        "show": ("show", "Show an artifact and its family tree."),
        "cp": ("library", "Give an artifact a further name."),
        "rm": ("library", "Remove an artifact, or one of its names."),
        "ps": ("serve", "List running servers."),
        "stop": ("serve", "Stop a running server."),
        "keys": ("keys", "Create, list and remove API keys of servers."),
    },
}
COMMANDS = {name: told for group in GROUPS.values() for name, told in group.items()}
EXIT_CODES = (
    ("0", "done"),
    ("1", "failed"),
    ("2", "a wrong command line or setting"),
    ("3", "a quality gate is red"),
    ("4", "not found"),
    ("5", "does not fit: memory, disk, context window, address"),
    ("130", "interrupted; a training run has saved a checkpoint"),
)


class LazyGroup(NearestGroup):
    """A group that imports a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"seedbed.cli.{COMMANDS[cmd_name][0]}")
        found = getattr(module, f"{cmd_name}_command")
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, group in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in group.items()], col_max=12)
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="seedbed")
def cli() -> None:
    """A language model on your own text, from corpus to chat.

    \b
    Example:
      seedbed demo --corpus path/to/folder
    Completion of commands, options and names in bash (zsh and fish likewise):
      eval "$(_SEEDBED_COMPLETE=bash_source seedbed)"
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with one of ``EXIT_CODES``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: a terminal may lack a model's characters
    try:
        with private_files():
            result: Any = cli.main(args=arguments, prog_name="seedbed", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except SeedbedError as error:
        if "--debug" in arguments:
            raise
        echo(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # a bare `seedbed` or `seedbed corpus` asks for help
        echo(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = context.command_path if context is not None else "seedbed"
        why = f"`{usage}` does not take these arguments"
        echo(UsageError(error.format_message(), why=why, fix=f"see `{usage} --help`"), file=sys.stderr)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still held back goes nowhere
        sys.exit(1)
    except SystemExit:
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        told = as_ours(error)
        if told is None or "--debug" in arguments:
            raise
        echo(told, file=sys.stderr)
        sys.exit(told.exit_code)
