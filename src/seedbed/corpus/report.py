"""The report of a corpus: the share kept at every step, what was found, sources and their mix.

The mix table is that of GPT-3 (Brown et al. 2020, table 2.2): weight, size, share of the mix, and how often a
source's text is seen while the mix as a whole passes over as much text as the training split holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from seedbed.corpus.document import SPLITS, Split
from seedbed.corpus.refining import Findings
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.documents.document import Scalar

MAX_NAMED = 100
"""Files skipped, read in part or in other encodings that the report names; ``sources.jsonl`` names all."""


@dataclass
class SourceTotals:
    """Counts of one source."""

    settings: SourceSettings
    files: int = 0
    skipped: int = 0
    bad_lines: int = 0
    raw_bytes: int = 0
    licences: Counter[str] = field(default_factory=Counter)
    documents: Counter[Split] = field(default_factory=Counter)
    bytes: Counter[Split] = field(default_factory=Counter)


@dataclass
class Totals:
    """Everything that is counted while a corpus is built."""

    sources: dict[str, SourceTotals]
    counts: Counter[str] = field(default_factory=Counter)
    findings: Findings = field(default_factory=Findings)
    skipped: list[dict[str, str]] = field(default_factory=list)
    partly: list[dict[str, str]] = field(default_factory=list)
    decoded: list[dict[str, Scalar]] = field(default_factory=list)
    encodings: Counter[str] = field(default_factory=Counter)
    leaks: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def note(rows: list[dict[str, str]], source: str, reasons: list[tuple[str, str]]) -> None:
        """Add what was not read of a source, with its paths and reasons, as long as there is room."""
        room = max(0, MAX_NAMED - len(rows))
        rows += [{"source": source, "path": path, "why": why} for path, why in reasons[:room]]

    def documents(self, split: Split) -> int:
        """Return the documents of a split."""
        return sum(source.documents[split] for source in self.sources.values())

    def bytes(self, split: Split) -> int:
        """Return the bytes of a split."""
        return sum(source.bytes[split] for source in self.sources.values())


def report(totals: Totals, settings: CorpusSettings) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "steps": _steps(totals.counts),
        "repairs": {name: count for name, count in sorted(totals.counts.items()) if count and name in REPAIRS},
        "findings": _findings(totals.findings, settings.pii),
        "splits": _splits(totals),
        "leak_check": totals.leaks,
        "mix": mix_table(totals.sources),
        "sources": [_source(source) for source in totals.sources.values()],
        "encodings": {"files": dict(sorted(totals.encodings.items())), "named": totals.decoded},
        "skipped": totals.skipped,
        "read_in_part": totals.partly,
    }


REPAIRS = (
    "control or invisible characters removed",
    "lines of mojibake repaired",
    "ligatures and presentation forms written out",
    "Project Gutenberg frames removed",
    "boilerplate lines removed",
    "boilerplate lines found in code and kept",
    "documents of hardly anything but boilerplate kept whole",
    "documents that stood in another removed",
)


def _steps(counts: Counter[str]) -> list[dict[str, Any]]:
    """Return documents and bytes left after every step, and their share of what was read."""
    read, short = counts["documents read"], counts["documents too short"]
    rows = [
        ("read", read, counts["bytes read"]),
        ("cleaned", read, counts["bytes cleaned"]),
        ("boilerplate removed", read, counts["bytes without boilerplate"]),
        ("long enough", read - short, counts["bytes long enough"]),
        ("personal data handled", read - short, counts["bytes after masking"]),
        ("exact duplicates removed", counts["documents distinct"], counts["bytes distinct"]),
        ("near-duplicates removed", counts["documents kept"], counts["bytes kept"]),
    ]
    return [
        {
            "step": step,
            "documents": documents,
            "bytes": size,
            "documents_share": _share(documents, read),
            "bytes_share": _share(size, counts["bytes read"]),
        }
        for step, documents, size in rows
    ]


def _findings(findings: Findings, action: str) -> dict[str, Any]:
    kinds = {
        kind: {"count": count, "documents": findings.documents[kind], "examples": findings.examples[kind]}
        for kind, count in sorted(findings.count.items())
    }
    return {"action": action, "kinds": kinds}


def _splits(totals: Totals) -> dict[str, dict[str, Any]]:
    sizes = {split: totals.bytes(split) for split in SPLITS}
    return {
        split: {"documents": totals.documents(split), "bytes": size, "bytes_share": _share(size, sum(sizes.values()))}
        for split, size in sizes.items()
    }


def mix_table(sources: dict[str, SourceTotals]) -> list[dict[str, Any]]:
    """Return for every source its training text, its weight, its share of the mix and its epochs."""
    size = {name: source.bytes["train"] for name, source in sources.items()}
    pull = {name: source.settings.weight * size[name] for name, source in sources.items()}
    total, pulled = sum(size.values()), sum(pull.values())
    return [
        {
            "source": name,
            "weight": source.settings.weight,
            "documents": source.documents["train"],
            "bytes": size[name],
            "share": _share(pull[name], pulled),
            "epochs": round(source.settings.weight * total / pulled, 4) if pulled and size[name] else 0.0,
        }
        for name, source in sources.items()
    ]


def _source(source: SourceTotals) -> dict[str, Any]:
    return {
        "source": source.settings.name,
        "files": source.files,
        "files_skipped": source.skipped,
        "records_skipped": source.bad_lines,
        "raw_bytes": source.raw_bytes,
        "licences": dict(sorted(source.licences.items())),
        "documents": sum(source.documents.values()),
        "bytes": sum(source.bytes.values()),
    }


def _share(part: float, whole: float) -> float:
    return round(part / whole, 6) if whole else 0.0
