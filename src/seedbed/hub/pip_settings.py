"""Package indexes as the machine's owner has set them up for pip: index, mirrors, wheel folders, proxy, certificate.

Read where pip reads (https://pip.pypa.io/en/stable/topics/configuration): ``PIP_…`` variables, then the file that
``PIP_CONFIG_FILE`` names, then the environment's, the user's and the machine's ``pip.conf``, of each the sections
``[global]`` and ``[download]``. pip itself need not be installed.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from seedbed.core.errors import UsageError
from seedbed.core.files import read_text

PYPI = "https://pypi.org/simple"
_TRUE = ("1", "true", "yes", "on", "y", "t")


@dataclass(frozen=True)
class PipSettings:
    """Sources of packages, in pip's words.

    Attributes:
        indexes: addresses of simple indexes (PEP 503), with the user names and passwords they hold.
        find_links: folders, files and pages of wheels.
        trusted: hosts whose certificates are not checked.
        certificate: a file of certificates in place of the system's. proxy: an address; "" as the environment says.
    """

    indexes: tuple[str, ...] = (PYPI,)
    find_links: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    certificate: str = ""
    proxy: str = ""


def read_pip_settings(environment: Mapping[str, str] = os.environ) -> PipSettings:
    """Read pip's settings from the environment and from its files; unreadable files count as absent."""
    found: dict[str, str] = {}
    for table in (_variables(environment), *map(_file, _files(environment))):
        found = table | found  # the first that sets a key wins
    none = found.get("no-index", "").lower() in _TRUE
    indexes = () if none else (found.get("index-url") or PYPI, *found.get("extra-index-url", "").split())
    places = tuple(found.get("find-links", "").split())
    for place in (*indexes, *places, found.get("proxy", "")):
        _check(place)
    return PipSettings(
        tuple(index.rstrip("/") for index in indexes),
        places,
        tuple(found.get("trusted-host", "").split()),
        found.get("cert", ""),
        found.get("proxy", ""),
    )


def _check(place: str) -> None:
    try:
        urlsplit(place).port  # noqa: B018 (it is parsed when it is read)
    except ValueError as error:
        raise UsageError(
            f"{place!r} is no address", why=f"{error}; pip's settings name it", fix="correct it (`pip config list`)"
        ) from error


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        key.removeprefix("PIP_").lower().replace("_", "-"): value
        for key, value in environment.items()
        if key.startswith("PIP_") and value
    }


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield pip's files, the strongest first."""
    stated = environment.get("PIP_CONFIG_FILE", "")
    if stated == os.devnull:  # pip's own way of saying: none
        return
    if stated:
        yield Path(stated)
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path(environment.get("HOME") or Path.home())
    yield Path(sys.prefix, name)
    if sys.platform == "darwin":
        yield home / "Library/Application Support/pip" / name
    if sys.platform == "win32":
        yield Path(environment.get("APPDATA") or home, "pip", name)
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", name)
    yield home / ".pip" / name
    for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
        yield Path(folder, "pip", name)
    yield Path("/etc", name)


def _file(path: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(read_text(path))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    sections = [dict(parser[name]) for name in ("global", "download") if name in parser]
    return {key.replace("_", "-"): value for section in sections for key, value in section.items()}
