"""`seedbed search` and `seedbed push`: finding repositories on the hub, and uploading a model to one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import confirm, print_json, print_table
from seedbed.cli.transfer import precision, to_format
from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError
from seedbed.core.files import scratch_directory
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, count_text
from seedbed.formats.published_forms import GgufPrecision, PublishedForm

if TYPE_CHECKING:
    from seedbed.hub.catalog import CatalogModel
    from seedbed.hub.hub import Hub, SearchHit
    from seedbed.hub.repository import RepoKind


@click.command("search")
@click.argument("text", default="")
@options.limit(10, "Repositories shown.", 100)
@click.option("--task", help="Only models for a task, such as text-generation or fill-mask.")
@click.option("--datasets", is_flag=True, help="Data sets instead of models.")
@options.common_flags
def search_command(text: str, limit: int, task: str | None, datasets: bool, as_json: bool) -> None:
    """Find models by words in their names: in the catalog, then on the hub, most downloaded first.

    The catalog holds open models that package registries carry; without TEXT it is listed alone. The formats are those
    that seedbed reads; a model without one of them cannot be pulled.

    $ seedbed search
    $ seedbed search SmolLM2 --limit 5
    """
    from seedbed.hub.catalog import search_catalog
    from seedbed.hub.hub import Hub

    catalog = [] if datasets or task else search_catalog(text)
    found, failure = _on_hub(Hub(), text, limit, task, "dataset" if datasets else "model")
    if failure is not None and not catalog:
        raise failure
    if as_json:
        print_json({"catalog": [_catalog_row(one) for one in catalog], "hub": [asdict(hit) for hit in found]})
        return
    if catalog:
        rows = [[one.name, one.title, one.purpose, one.licence, bytes_text(one.bytes), _fits(one)] for one in catalog]
        print_table(["in the catalog", "model", "what for", "licence", "size", "fits here"], rows, right=(4,))
    if failure is not None:
        say(f"the hub was not searched: {failure.why}")
    if found:
        rows = [
            [h.repo, h.task, ", ".join(h.formats), h.licence, count_text(h.downloads), str(h.likes), h.updated]
            for h in found
        ]
        print_table(["repository", "task", "formats", "licence", "downloads", "likes", "updated"], rows, right=(4, 5))
    elif text and failure is None:
        say(f"no repository has {text!r} in its name")


def _on_hub(
    hub: Hub, text: str, limit: int, task: str | None, kind: RepoKind
) -> tuple[list[SearchHit], SeedbedError | None]:
    """Search the hub, unless nothing is asked of it; where it does not answer, return why."""
    from seedbed.hub.hub_errors import HubError

    if not (text or task):
        return [], None
    if why := hub.unreachable():  # its library would try for half a minute
        return [], HubError(f"no answer from {hub.endpoint}", why=why, fix="check the network or HF_ENDPOINT")
    try:
        return hub.search(text, limit, task, kind), None
    except SeedbedError as error:
        return [], error


def _catalog_row(model: CatalogModel) -> dict[str, Any]:
    return asdict(model) | {"fits": _fits(model) == "yes"}


def _fits(model: CatalogModel) -> str:
    """Return whether a model runs in the memory that is free here, at two bytes a weight."""
    from seedbed.app.fit import RUNTIME
    from seedbed.core.machine import available_bytes

    return "yes" if 2 * model.parameters + RUNTIME < available_bytes() else "no"


@click.command("push")
@options.model
@click.argument("repository", metavar="REPO")
@click.option("--private", is_flag=True, help="A new repository is visible to you alone.")
@to_format
@precision
@options.yes
@options.common_flags
def push_command(
    model: str,
    repository: str,
    private: bool,
    form: PublishedForm,
    precision: GgufPrecision | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Upload MODEL to REPO on the hub, with a model card.

    The repository is made if there is none. Needs a token with write access in HF_TOKEN. Says what would be sent, and
    asks first; what has been published can be copied by others before it is removed again.

    $ seedbed push quickstart OWNER/quickstart --private
    """
    from seedbed.app.transfer import write_published
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import read_address

    library, hub, address = Library(), Hub(), read_address(repository)
    artifact = library.get(model, "model")
    hub.require_online(address)
    hub.require_token(address)
    with scratch_directory(library.root / "pushing") as parent:
        folder = parent / address.short
        sizes = write_published(library, artifact, address.short, form, folder, precision).files
        for name, size in sorted(sizes.items()):
            say(f"  {bytes_text(size):>8}  {name}")
        say(f"licence {artifact.manifest.licence or 'unknown'}; {'private' if private else 'public'}")
        confirm(f"upload {bytes_text(sum(sizes.values()))} to {hub.endpoint}/{address.page}?", yes)
        commit = hub.push(folder, address, private=private, message=f"{model} from seedbed")
    if as_json:
        print_json({"repository": str(address), "commit": commit, "files": sizes})
    else:
        echo(commit)
