"""`seedbed keys`: create, list and remove the keys that `seedbed serve` asks for."""

from __future__ import annotations

import click

from seedbed.cli import options
from seedbed.cli.common import confirm, print_json, print_list
from seedbed.cli.serve import KEYS, home
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.serve.auth import Keys


@options.group("keys")
def keys_command() -> None:
    """Create, list and remove API keys. Running servers see a change at once.

    $ seedbed keys create laptop
    $ seedbed keys ls
    $ seedbed keys rm laptop
    """


@keys_command.command("create")
@click.argument("name")
@click.option("--admin", is_flag=True, help="It may read the metrics of all keys, as a monitor does; nothing else.")
@options.common_flags
def create_command(name: str, admin: bool, as_json: bool) -> None:
    """Create a key called NAME and print it. Only its hash is stored: the key cannot be shown again.

    $ seedbed keys create laptop
    $ seedbed keys create monitor --admin
    """
    key = _keys().create(name, admin=admin)
    if as_json:
        print_json({"name": name, "key": key, "admin": admin})
        return
    echo(key)
    say("keep it: it is not shown again")


@keys_command.command("ls")
@options.common_flags
def ls_command(as_json: bool) -> None:
    """List names, ages and rights of keys.

    $ seedbed keys ls
    """
    entries = [{part: entry[part] for part in ("name", "created", "admin")} for entry in _keys().entries()]
    print_list(entries, ("name", "created", "admin"), as_json)


@keys_command.command("rm")
@click.argument("name")
@options.yes
@options.common_flags
def rm_command(name: str, yes: bool, as_json: bool) -> None:
    """Remove the key called NAME; asks first. Responses stored with it can no longer be read.

    $ seedbed keys rm laptop --yes
    """
    keys = _keys()
    if any(entry["name"] == name for entry in keys.entries()):
        confirm(f"remove the key {name}?", yes)
    keys.remove(name)
    if as_json:
        print_json({"removed": name})
    say(f"removed {name}")


def _keys() -> Keys:
    return Keys(home(Library()) / KEYS)
