"""The second stage, in worker processes: boilerplate out, short documents dropped, personal data, signatures."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.boilerplate import Boilerplate, hash64
from seedbed.corpus.clean import squeeze_blank_lines
from seedbed.corpus.document import CorpusDocument, Kind, read_chunk, write_chunk
from seedbed.corpus.minhash import PERMUTATIONS, Keys, shingles, signature
from seedbed.corpus.overlap import Samples, sample
from seedbed.corpus.pii import excerpt, find_pii, mask_pii
from seedbed.corpus.settings import CorpusSettings

_LEAST_LEFT = 0.1  # of a document without its boilerplate
EXAMPLES = 5
"""Examples of each kind of finding that the report shows."""


@dataclass
class Findings:
    """Personal data by kind: how often, in how many documents, and a few excerpts."""

    count: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[dict[str, str]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, other: Findings) -> None:
        """Add what was found in a later chunk."""
        self.count += other.count
        self.documents += other.documents
        for kind, examples in other.examples.items():
            self.examples[kind] = (self.examples[kind] + examples)[:EXAMPLES]


@dataclass
class RefineResult:
    """A chunk's documents after this stage (the chunk file is replaced), a value each in every column."""

    chunk: Path
    hashes: Keys
    groups: Keys
    sizes: NDArray[np.int64]
    signatures: NDArray[np.uint32]  # (documents, PERMUTATIONS); no rows when near-duplicates are off
    samples: Samples  # likewise
    licences: Counter[str]
    counts: Counter[str]
    findings: Findings

    def forget_comparison(self) -> None:
        """Drop signatures and samples, once they have been stored."""
        self.signatures, self.samples = self.signatures[:0], sample([])


def refine_chunk(chunk: Path, boilerplate: dict[Kind, Boilerplate], settings: CorpusSettings) -> RefineResult:
    """Take a chunk of the first stage through this one, given the boilerplate of its source."""
    counts, findings = Counter[str](), Findings()
    documents = []
    for document in read_chunk(chunk):
        counts["bytes cleaned"] += document.bytes
        text = _without_boilerplate(document, boilerplate, settings, counts)
        counts["bytes without boilerplate"] += len(text.encode())
        if len(text.strip()) < settings.min_chars:
            counts["documents too short"] += 1
            continue
        counts["bytes long enough"] += len(text.encode())
        documents.append(replace(document, text=_protect(replace(document, text=text), settings, findings)))
    write_chunk(chunk, documents)
    texts = [document.text for document in documents]
    hashed = [shingles(text) for text in texts] if settings.near_duplicate > 0 else []
    return RefineResult(
        chunk=chunk,
        hashes=hash64(texts),
        groups=hash64([f"{document.source}\0{document.group}" for document in documents]),
        sizes=np.array([document.bytes for document in documents], dtype=np.int64),
        signatures=np.array([signature(one) for one in hashed], dtype=np.uint32).reshape(-1, PERMUTATIONS),
        samples=sample(hashed),
        licences=Counter(document.licence for document in documents),
        counts=counts,
        findings=findings,
    )


def _without_boilerplate(
    document: CorpusDocument, boilerplate: dict[Kind, Boilerplate], settings: CorpusSettings, counts: Counter[str]
) -> str:
    """Return a document's text without boilerplate lines; all of it where next to nothing else would be left.

    Such a document is no page with furniture but a copy, in a slightly other form, and is left to the comparison of
    whole documents: otherwise no copy would be kept.
    """
    known = boilerplate.get(document.kind)
    if known is None:
        return document.text
    if document.kind == "code":  # a licence header belongs to the file it stands in
        counts["boilerplate lines found in code and kept"] += known.count(document.text)
        return document.text
    removed = Counter[str]()
    text = known.strip(document.text, removed)
    if text == document.text:
        return text
    text = squeeze_blank_lines(text).strip("\n") + "\n"
    least = max(settings.min_chars, _LEAST_LEFT * len(document.text))
    if len(text) < least and len(document.text) >= settings.min_chars:
        counts["documents of hardly anything but boilerplate kept whole"] += 1
        return document.text
    counts += removed
    return text


def _protect(document: CorpusDocument, settings: CorpusSettings, findings: Findings) -> str:
    if settings.pii == "off":
        return document.text
    found = find_pii(document.text)
    findings.documents.update({finding.kind for finding in found})
    findings.count.update(finding.kind for finding in found)
    for finding in found:
        examples = findings.examples[finding.kind]
        if len(examples) < EXAMPLES:
            examples.append({"path": document.path, "excerpt": excerpt(document.text, finding)})
    return mask_pii(document.text, found) if settings.pii == "mask" else document.text
