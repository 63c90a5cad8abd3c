"""Settings of a corpus. What is not here (five-word shingles, 128 hash functions …) is a constant beside its use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from seedbed.core.config import setting
from seedbed.corpus.document import Split
from seedbed.documents.encoding import check_encoding
from seedbed.documents.file_walk import STDLIB, WalkRules
from seedbed.documents.limits import Limits

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class SourceSettings:
    """One place that text comes from."""

    name: str = field(metadata={"doc": "a short name, used in reports and file names"})
    path: str = field(metadata={"doc": "'stdlib' (this Python's own library), a folder, a glob or a file"})
    licence: str = setting("unknown", "the licence of texts that do not state their own, as an SPDX identifier")
    weight: float = setting(1.0, "how often a text is seen for each time one of weight 1 is", unit="x", at_least=0)
    ignore: bool = setting(True, "leave out hidden files, build folders and what .gitignore files name")
    follow_links: bool = setting(False, "follow symbolic links that leave the folder")
    encoding: str = setting("", "the encoding of its text files, such as cp1250; empty: found for each")

    @property
    def rules(self) -> WalkRules:
        """Return the entries of a folder that are taken in."""
        return WalkRules(self.ignore, self.follow_links)

    def __post_init__(self) -> None:
        if self.encoding:
            check_encoding(self.encoding)
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} cannot be a source's name: use letters, digits, '.', '_' and '-'")


LIMITS = Limits(text_bytes=10**12, unpacked_bytes=10**10)
"""Those of collections, but a plain text, which is read in parts, may have any size."""
STDLIB_SOURCE = SourceSettings(name=STDLIB, path=STDLIB, licence="PSF-2.0")


@dataclass(frozen=True)
class CorpusSettings:
    """The settings of a corpus."""

    sources: tuple[SourceSettings, ...] = setting((STDLIB_SOURCE,), "where the text comes from")
    min_chars: int = setting(32, "shorter documents are dropped", unit="characters", at_least=1)
    boilerplate_share: float = setting(
        0.3, "a line that stands in more than this share of a source's documents is boilerplate; 0 = off", at_least=0
    )
    pii: Literal["report", "mask", "off"] = setting("report", "what to do with personal data and secrets")
    near_duplicate: float = setting(
        0.8,
        "share of five-word runs, or of the smaller one's text, that near-duplicates have in common; 0 = off",
        at_least=0,
        at_most=1,
    )
    near_duplicate_action: Literal["remove", "keep"] = setting(
        "remove", "remove near-duplicates, or keep them together on one side of the split"
    )
    valid_share: float = setting(0.1, "share of the documents for validation", at_least=0, at_most=0.5)
    test_share: float = setting(0.1, "share of the documents for testing", at_least=0, at_most=0.5)
    seed: int = setting(0, "another seed is another split", at_least=0)
    limits: Limits = setting(LIMITS, "the caps of reading files")

    @property
    def shares(self) -> dict[Split, float]:
        """Return the share of each split."""
        return {"train": 1 - self.valid_share - self.test_share, "valid": self.valid_share, "test": self.test_share}

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if not names:
            raise ValueError("a corpus needs at least one source")
        if len(set(names)) < len(names):
            raise ValueError(f"two sources have the same name: {', '.join(names)}")
        if not any(source.weight > 0 for source in self.sources):
            raise ValueError("every source has weight 0")
        if self.valid_share + self.test_share > 0.9:
            raise ValueError("valid_share and test_share leave less than a tenth for training")
