"""The entry point: finds commands by name, imports only the one that runs, and prints errors as three lines."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

import click

from seedbed.core.errors import SeedbedError
from seedbed.core.version import __version__

# command -> (module, one line). The line is here so that `seedbed --help` imports nothing heavy.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Text in, a model you can talk to out: the whole recipe, then a server."),
    "train": ("train", "Run a recipe: corpus, tokenizer, pretraining, fine-tuning, report."),
    "chat": ("chat", "Talk to a model in the terminal."),
    "docs": ("docs", "Add, list, show, search and remove your own documents."),
    "ask": ("ask", "Answer a question from documents, with sources."),
    "run": ("run", "Continue a prompt with a model."),
    "predict": ("predict", "Fill in masked tokens, classify a text, mark names in it, answer from it."),
    "serve": ("serve", "Serve models: an OpenAI-compatible API and a chat page."),
    "ps": ("serve", "List running servers."),
    "stop": ("serve", "Stop a running server."),
    "keys": ("keys", "Make, list and remove API keys of servers."),
    "plan": ("plan", "Count a model's parameters, memory, FLOPs and time before training it."),
    "eval": ("evaluate", "Measure bits per byte beside baselines, and write a report."),
    "show": ("show", "Show an artifact and its family tree."),
    "ls": ("show", "List every artifact in the library."),
    "cp": ("library", "Give an artifact a further name."),
    "rm": ("library", "Remove an artifact, or one of its names."),
    "search": ("hub", "Find models on the hub."),
    "pull": ("pull", "Bring a model or a data set from the hub into the library."),
    "push": ("hub", "Upload a model to the hub."),
    "import": ("transfer", "Take a published model from this disk into the library."),
    "export": ("transfer", "Write a model for other programs: Hugging Face's format or GGUF."),
    "fit": ("fit", "Say whether a model fits this machine, and how fast it can write."),
    "doctor": ("doctor", "Check this machine and this library."),
    "corpus": ("corpus", "Build, show, list and remove corpora."),
    "tokenizer": ("tokenizer", "Train, show, try and compare tokenizers."),
    "quantize": ("quantize", "Make a smaller, faster copy of a model, and measure what it costs."),
    "merge": ("merge", "Merge adapters into a model, or several models into one."),
    "prune": ("prune", "Make a smaller copy of a model: without weights, heads, layers or width it hardly uses."),
    "bench": ("bench", "Measure how fast a model runs on this machine."),
    "runs": ("runs", "List, show and compare training runs, and traces of answers."),
}


class LazyGroup(click.Group):
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
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            raise _unknown_command(args[0]) from error


def _unknown_command(name: str) -> SeedbedError:
    import difflib

    from seedbed.core.errors import UsageError

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    fix = f"did you mean `seedbed {near[0]}`?" if near else "see `seedbed --help`"
    return UsageError(f"there is no command {name!r}", why=f"the commands are {', '.join(COMMANDS)}", fix=fix)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="seedbed")
def cli() -> None:
    """A language model on your own text, from corpus to chat.

    \b
    Example:
      seedbed demo --corpus path/to/folder
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 ok, 1 failed, 2 usage, 3 gate red, 4 not found, 5 no room, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result: Any = cli.main(args=arguments, prog_name="seedbed", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except SeedbedError as error:
        if "--debug" in arguments:
            raise
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # a bare `seedbed` or `seedbed corpus` asks what there is
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = context.command_path if context is not None else "seedbed"
        message = error.format_message()
        print(
            f"error: {message}\nwhy: the command line cannot be read that way\nfix: see `{usage} --help`",
            file=sys.stderr,
        )
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
