"""`seedbed models`: models by the verbs of every noun; they are made by `train`, `pull`, `import`, `quantize` and so on."""

from __future__ import annotations

import click

from seedbed.cli.groups import NearestGroup
from seedbed.cli.library import add_verbs
from seedbed.cli.show import add_show


@click.group("models", cls=NearestGroup)
def models_command() -> None:
    """List, show and remove models.

    \b
    Example:
      seedbed models ls
    """


add_verbs(models_command, "model")
add_show(models_command, "model")
