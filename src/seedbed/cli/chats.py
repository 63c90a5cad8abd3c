"""`seedbed chats`: saved conversations, which `seedbed chat --save` begins."""

from __future__ import annotations

from dataclasses import asdict

import click

from seedbed.chat.conversations import Conversations
from seedbed.cli import options
from seedbed.cli.common import confirm, print_json, print_list
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import iso_time


@options.group("chats")
def chats_command() -> None:
    """List, show and remove saved conversations; `seedbed chat MODEL --save NAME` begins one.

    $ seedbed chats ls
    """


@chats_command.command("ls")
@options.common_flags
def list_chats(as_json: bool) -> None:
    """List saved conversations, the one used last first.

    $ seedbed chats ls
    """
    with Conversations.of(Library()) as saved:
        listed = saved.all()
    found = [asdict(one) | {"tokens": one.usage.prompt_tokens + one.usage.completion_tokens} for one in listed]
    for one in found:
        one |= {"created": iso_time(one["created"]), "updated": iso_time(one["updated"])}
    print_list(found, ("name", "messages", "tokens", "updated"), as_json)


@chats_command.command("show")
@click.argument("name")
@options.common_flags
def show_chat(name: str, as_json: bool) -> None:
    """Show the messages of a saved conversation.

    $ seedbed chats show notes
    """
    with Conversations.of(Library()) as saved:
        entries = saved.read(name)
    if as_json:
        print_json([one.message.to_wire() | {"model": one.model, "said": iso_time(one.seconds)} for one in entries])
        return
    for one in entries:
        echo(f"{one.message.role}: {one.message.text}")


@chats_command.command("rm")
@click.argument("name")
@options.yes
@options.common_flags
def remove_chat(name: str, yes: bool, as_json: bool) -> None:
    """Remove a saved conversation; asks first.

    $ seedbed chats rm notes --yes
    """
    with Conversations.of(Library()) as saved:
        count = len(saved.read(name))
        confirm(f"remove the conversation {name} ({count} messages)?", yes)
        saved.delete(name)
    say(f"removed {name}")
    if as_json:
        print_json({"removed": name})
