"""`seedbed search` and `seedbed push`: finding repositories on the hub, and uploading a model to one."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

import click

from seedbed.cli.common import bytes_text, common_flags, count_text, print_json, print_table
from seedbed.cli.transfer import QUANTIZATIONS, export_model
from seedbed.core.progress import say


@click.command("search")
@click.argument("text")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100), help="Hits shown.")
@click.option("--task", help="Only models for a task, such as text-generation or fill-mask.")
@click.option("--datasets", is_flag=True, help="Data sets instead of models.")
@common_flags
def search_command(text: str, limit: int, task: str | None, datasets: bool, as_json: bool) -> None:
    """Find models on the hub by words in their names, most downloaded first.

    The formats are those that seedbed reads; a model without one of them cannot be pulled.

    \b
    Example:
      seedbed search SmolLM2 --limit 5
    """
    from seedbed.hub.hub import Hub

    found = Hub().search(text, limit, task, "dataset" if datasets else "model")
    if as_json:
        print_json([asdict(hit) for hit in found])
    elif found:
        rows = [
            [h.repo, h.task, ", ".join(h.formats), h.licence, count_text(h.downloads), str(h.likes), h.updated]
            for h in found
        ]
        print_table(["repository", "task", "formats", "licence", "downloads", "likes", "updated"], rows, right=(4, 5))
    else:
        say(f"nothing has {text!r} in its name")


@click.command("push")
@click.argument("model")
@click.argument("repository", metavar="REPO")
@click.option("--private", is_flag=True, help="Nobody else sees a repository that is made for it.")
@click.option("--to", "form", type=click.Choice(["hf", "gguf"]), default="hf", show_default=True, help="The format.")
@click.option(
    "--quantization", type=click.Choice(QUANTIZATIONS), default="f16", show_default=True, help="GGUF: the weights."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_flags
def push_command(
    model: str, repository: str, private: bool, form: str, quantization: str, yes: bool, as_json: bool
) -> None:
    """Upload MODEL to REPO on the hub, with a model card.

    The repository is made if there is none. Needs a token with write access in HF_TOKEN. Says what would be sent, and
    asks first; what has been published can be copied by others before it is removed again.

    \b
    Example:
      seedbed push quickstart OWNER/quickstart --private
    """
    from seedbed.cli.library import confirm
    from seedbed.core.artifacts import Library
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import read_address

    library, hub, address = Library(), Hub(), read_address(repository)
    artifact = library.get(model, "model")
    hub.require_online(address)
    hub.require_token(address)
    with tempfile.TemporaryDirectory(prefix=".pushing-", dir=library.root) as parent:
        folder = Path(parent) / address.short
        export_model(library, artifact, address.short, form, folder, quantization)
        sizes = {
            path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()
        }
        for name, size in sorted(sizes.items()):
            say(f"  {bytes_text(size):>8}  {name}")
        say(f"licence {artifact.manifest.licence or 'unknown'}; {'private' if private else 'public'}")
        confirm(f"upload {bytes_text(sum(sizes.values()))} to {hub.endpoint}/{address.page}?", yes)
        commit = hub.push(folder, address, private=private, message=f"{model} from seedbed")
    if as_json:
        print_json({"repository": str(address), "commit": commit, "files": sizes})
    else:
        print(commit)
