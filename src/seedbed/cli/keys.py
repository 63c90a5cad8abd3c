"""`seedbed keys`: make, list and remove the keys that `seedbed serve` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedbed.cli.common import common_flags, print_json, print_table
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.serve.auth import Keys


@click.group("keys")
def keys_command() -> None:
    """Make, list and remove API keys. Running servers see a change at once.

    \b
    Example:
      seedbed keys create laptop
      seedbed keys ls
      seedbed keys rm laptop
    """


@keys_command.command("create")
@click.argument("name")
@common_flags
def create_command(name: str, as_json: bool) -> None:
    """Make a key called NAME and print it: only its hash is kept, so it cannot be shown again.

    \b
    Example:
      seedbed keys create laptop
    """
    key = _keys().create(name)
    if as_json:
        print_json({"name": name, "key": key})
        return
    print(key)
    say("keep it: it is not shown again")


@keys_command.command("ls")
@common_flags
def ls_command(as_json: bool) -> None:
    """List names and ages of keys.

    \b
    Example:
      seedbed keys ls
    """
    entries = _keys().entries()
    if as_json:
        print_json([{"name": entry["name"], "created": entry["created"]} for entry in entries])
        return
    print_table(["name", "created"], [[entry["name"], entry["created"]] for entry in entries])


@keys_command.command("rm")
@click.argument("name")
@common_flags
def rm_command(name: str, as_json: bool) -> None:
    """Remove the key called NAME; what it stored stays unreachable.

    \b
    Example:
      seedbed keys rm laptop
    """
    _keys().remove(name)
    if as_json:
        print_json({"removed": name})
    say(f"removed {name}")


def _keys() -> Keys:
    from seedbed.cli.serve import keys_path
    from seedbed.core.artifacts import Library
    from seedbed.serve.auth import Keys

    return Keys(keys_path(Library()))
