"""The model that `fit` is asked about, found by its name, and the machine it is to run on."""

from __future__ import annotations

import shutil
from pathlib import Path

from seedbed.app.fit import Machine, Needs, config_needs, folder_needs, hub_needs
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError
from seedbed.core.machine import available_bytes, gpu_bandwidth, gpus, memory_bytes, read_bandwidth
from seedbed.hub.hub import Hub
from seedbed.hub.repository import read_address
from seedbed.models.presets import presets
from seedbed.models.store import read_config, read_description


def find_needs(library: Library, model: str, revision: str | None, offline: bool) -> Needs:
    """Return the needs of a path, a name in the library, a preset, or a repository, looked for in this order.

    Raises:
        NotFoundError: there is none.
        HubError: the hub does not answer.
    """
    path = Path(model).expanduser()
    if (path.suffix.lower() == ".gguf" and path.is_file()) or (path / "config.json").is_file():
        return folder_needs(path)
    if not model.startswith("hf:"):
        try:
            return _stored(library, model)
        except NotFoundError as error:
            missing = error
        if model in presets():
            return config_needs(model, presets()[model])
        if "/" not in model:
            raise NotFoundError(
                f"there is no model {model!r}",
                why=f"{missing.why}; the published shapes are {', '.join(presets())}",
                fix="for a repository on the hub write hf:OWNER/NAME",
            ) from missing
    hub = Hub(offline=offline)
    return hub_needs(hub, hub.listing(read_address(model), revision))


def _stored(library: Library, model: str) -> Needs:
    artifact = library.get(model, "model")
    artifact.verify()
    return config_needs(model, read_config(read_description(artifact)["model"]))


def this_machine(root: Path) -> Machine:
    """Measure this machine; ``root`` is on the disk to fill."""
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    found = gpus()
    return Machine(
        memory=memory_bytes(),
        available=available_bytes(),
        disk=shutil.disk_usage(existing).free,
        bandwidth=read_bandwidth(2**28),
        gpu_memory=found[0]["free_bytes"] if found else 0,
        gpu_bandwidth=gpu_bandwidth() if found else 0.0,
    )
