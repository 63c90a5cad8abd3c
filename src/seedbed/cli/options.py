"""Options and arguments that several commands share: one name a meaning (the table is in docs/decisions.md)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from seedbed.cli.groups import NearestGroup, help_text
from seedbed.core.artifacts import Library
from seedbed.core.progress import set_quiet
from seedbed.corpus.columns import Columns
from seedbed.search.modes import Mode

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Function], Function]


def group(name: str) -> Callable[[Callable[..., None]], NearestGroup]:
    """Make a group of commands."""
    return click.group(name, cls=NearestGroup)


def common_flags(function: Function) -> Function:
    """Add `--json` (passed on as ``as_json``), `-q/--quiet`, `--debug` and the help text to a command."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks on standard error.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def wrapped(*args: Any, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        set_quiet(quiet)
        return function(*args, **kwargs)

    wrapped.__doc__ = help_text(function.__doc__)
    return wrapped  # type: ignore[return-value]


PATH = click.Path(path_type=Path)
no_ignore = click.option(
    "--no-ignore", "ignore", flag_value=False, default=True, help="Take in hidden, built and .gitignored files too."
)
follow_links = click.option("--follow-links", is_flag=True, help="Follow symbolic links that leave a folder.")
yes = click.option("--yes", is_flag=True, help="Do not ask.")
offline = click.option("--offline", is_flag=True, help="Use no network.")
revision = click.option("--revision", help="On the hub: a branch, tag or commit. [default: main]")
settings = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting; repeatable.")
limits = click.option(
    "--set", "overrides", multiple=True, metavar="LIMIT=NUMBER", help="Change a cap of reading, such as file_bytes."
)
stored_as = click.option(
    "--quantization",
    help="Store a decoder as integers: int8, int4, int8-row … [default: floats that hold it exactly]",
)
measure = click.option(
    "--measure/--no-measure", default=True, show_default=True, help="Measure quality on held-out text."
)


def name(text: str = "Name in the library.", *, required: bool = False) -> Decorator[Any]:
    """Add `--name`: the name of what is made."""
    return click.option("--name", required=required, help=text)


def limit(default: int, text: str, most: int = 1000) -> Decorator[Any]:
    """Add `--limit`: the largest number of results."""
    return click.option("--limit", type=click.IntRange(1, most), default=default, show_default=True, help=text)


def context(text: str) -> Decorator[Any]:
    """Add `--context`: the tokens of a model's window."""
    return click.option("--context", type=click.IntRange(1, 10**7), metavar="TOKENS", help=text)


def output(text: str, default: str | None = None) -> Decorator[Any]:
    """Add `--output`: the file or folder to write."""
    return click.option("--output", type=PATH, default=default, show_default=True, help=text)


def choice(*flags: str, of: Any, text: str, **more: Any) -> Decorator[Any]:
    """Return an option whose values are those of a ``Literal``, or any other words."""
    values = getattr(of, "__args__", of)
    return click.option(*flags, type=click.Choice(list(values)), help=text, **more)


mode = choice("--mode", of=Mode, text="How to find passages.", default="hybrid", show_default=True)


class StoredName(click.types.StringParamType):
    """A name in the library, completed by the shell: of artifacts of one kind or of any, or of collections."""

    def __init__(self, kind: str | None = None) -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin like that; none where the library cannot be read."""
        library = Library()
        try:
            held = {path.name: path.parent.name for path in library.root.glob("*/*")}
            names = [name for name, target in library.names().items() if self.kind in (None, held.get(target))]
            if self.kind == "collection":
                names = sorted(path.parent.name for path in library.root.glob("docs/*/collection.json"))
        except OSError:
            names = []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def stored(argument: str, kind: str | None = None, **more: Any) -> Decorator[Any]:
    """Return an argument that is the name of an artifact."""
    return click.argument(argument, type=StoredName(kind), **more)


COLLECTION = StoredName("collection")
model = stored("model", "model")
collection = click.argument("collection", type=COLLECTION)


def take_columns(given: dict[str, Any]) -> Columns:
    """Take the options ``--NAME-column`` out of a command's, as the columns of a data set."""
    names = [name for name in given if name.endswith("_column")]
    return Columns(**{name.removesuffix("_column"): given.pop(name) or "" for name in names})
