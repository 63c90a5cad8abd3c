"""`seedbed models`: list, show and remove models; `train`, `pull`, `import`, `quantize` and others make them."""

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
