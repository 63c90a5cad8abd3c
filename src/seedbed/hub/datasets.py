"""Choose the files of a data set's repository: by its card's configurations, else by the names of its files.

The hub's conventions (https://huggingface.co/docs/hub/datasets-data-files-configuration): the card lists
configurations, each with splits and patterns of paths; without a card the words train, validation and test in a path
say it. Loading scripts are left out: they are programs of whoever made the data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from seedbed.core.errors import NotFoundError, UsageError
from seedbed.hub.repository import Listing, RemoteFile

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")
"""Suffixes that are read, in the order of preference where a repository has the same data in several."""
_COMPRESSED = (".gz", ".xz", ".zst")
_SPLIT = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval"),
}
_NOT_DATA = ("README.md", "LICENSE.md", "LICENSE.txt", "dataset_infos.json", "dataset_info.json", "state.json")


@dataclass(frozen=True)
class DataChoice:
    """The data files to download, with the configuration and split they belong to ("" where there is none)."""

    files: tuple[RemoteFile, ...]
    config: str
    split: str
    form: str


def choose_data(listing: Listing, config: str | None = None, split: str | None = None) -> DataChoice:
    """Choose the files of one configuration and split, by default the training split.

    Raises:
        NotFoundError: there is no such configuration or split.
        UsageError: there are several configurations to choose from, or nothing that is read.
    """
    name, patterns = _configuration(listing, config)
    data = [file for file in listing.files if form_of(file.path) and file.path.rpartition("/")[2] not in _NOT_DATA]
    if patterns is not None:
        by_split = {part: [file for file in data if _fits(file.path, globs)] for part, globs in patterns.items()}
    else:
        within = [file for file in data if not config or config in file.path.split("/")[:-1]]
        if config and not within:
            raise _no_config(listing, config, sorted({file.path.split("/")[0] for file in data if "/" in file.path}))
        by_split = _by_name(within)
    chosen, files = _chosen_split({part: found for part, found in by_split.items() if found}, split, listing)
    form = min((form_of(file.path) for file in files), key=FORMATS.index)
    return DataChoice(tuple(file for file in files if form_of(file.path) == form), name, chosen, form)


def _configuration(listing: Listing, wanted: str | None) -> tuple[str, Mapping[str, Sequence[str]] | None]:
    """Return a configuration of the card and its patterns by split; None where the card states none."""
    stated = dict(_stated(listing.card))
    if not stated:
        return wanted or "", None
    default = [name for name, entry in stated.items() if entry.get("default") is True or name == "default"]
    name = wanted or (default or list(stated))[0]
    if wanted is None and not default and len(stated) > 1:
        raise UsageError(
            f"{listing.address} has {len(stated)} configurations",
            why=", ".join(list(stated)[:20]),
            fix=f"choose one: `seedbed pull {listing.address} --config {name}`",
        )
    if name not in stated:
        raise _no_config(listing, name, list(stated))
    return name, _patterns(stated[name].get("data_files"), str(stated[name].get("data_dir") or ""))


def _stated(card: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    configs = card.get("configs")
    for entry in configs if isinstance(configs, list) else ():
        if isinstance(entry, dict) and (entry.get("data_files") or entry.get("data_dir")):
            yield str(entry.get("config_name", "default")), entry


def _patterns(stated: object, folder: str) -> dict[str, list[str]]:
    """Return patterns by split from the card's forms: a pattern, a list, a table or a list of tables by split."""
    if stated is None:
        return {"": [f"{folder}/*"]}
    if isinstance(stated, dict):
        stated = [{"split": split, "path": path} for split, path in stated.items()]
    found: dict[str, list[str]] = {}
    for entry in stated if isinstance(stated, list) else [stated]:
        split, path = (entry.get("split", ""), entry.get("path")) if isinstance(entry, dict) else ("", entry)
        found.setdefault(str(split), []).extend(map(str, path if isinstance(path, list) else [path]))
    return found


def _fits(path: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(path, glob.replace("**/", "*").removeprefix("./")) for glob in globs)


def _by_name(files: Sequence[RemoteFile]) -> dict[str, list[RemoteFile]]:
    found: dict[str, list[RemoteFile]] = {}
    for file in files:
        found.setdefault(_split_of(file.path), []).append(file)
    return found


def _split_of(path: str) -> str:
    """Return the split in a path: ``train`` for ``data/train-00000.parquet`` and ``en/training/a.csv``; "" if none."""
    words = set(re.split(r"[^a-z0-9]+", path.lower()))
    return next((split for split, names in _SPLIT.items() if words & set(names)), "")


def _chosen_split(
    by_split: Mapping[str, list[RemoteFile]], wanted: str | None, listing: Listing
) -> tuple[str, list[RemoteFile]]:
    if not by_split:
        raise UsageError(
            f"{listing.address} has no data that can be read",
            why=f"it holds {', '.join(file.path for file in listing.files[:8]) or 'nothing'}",
            fix=f"choose a data set of {', '.join(FORMATS)} files",
        )
    if wanted is None:
        split = "train" if "train" in by_split else next(iter(by_split))
        return split, by_split[split]
    names = next((names for names in _SPLIT.values() if wanted.lower() in names), (wanted,))
    found = next((split for split in by_split if split in (wanted, *names)), None)
    if found is None:
        raise NotFoundError(
            f"{listing.address} has no split {wanted!r}",
            why=f"it has {', '.join(split or 'files without a split' for split in by_split)}",
            fix="name one of them with --split, or leave it out",
        )
    return found, by_split[found]


def form_of(path: str) -> str:
    """Return the suffix that names the format; "" for one that is not read."""
    lower = path.lower()
    for packed in _COMPRESSED:
        lower = lower.removesuffix(packed)
    return next((form for form in FORMATS if lower.endswith(form)), "")


def _no_config(listing: Listing, wanted: str, known: Sequence[str]) -> NotFoundError:
    return NotFoundError(
        f"{listing.address} has no configuration {wanted!r}",
        why=f"it has {', '.join(known[:20]) or 'only one, without a name'}",
        fix="name one of them with --config, or leave it out",
    )
