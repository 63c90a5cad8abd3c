"""A corpus as token shards: memory-mapped integers with the place of every document.

A packed document is ``[bos] + tokens + [end]``; documents follow each other with nothing between them and nothing is
dropped. Every split and source has shards of its own (``train-stdlib-00000.bin``), so that training can draw from
sources by weight without a copy of the text. Documents are not shuffled here: the order of training is the training
source's decision.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.files import disk_errors, read_json, write_json
from seedbed.core.progress import ProgressBar, progress
from seedbed.corpus.document import SPLITS, Split
from seedbed.corpus.store import Corpus
from seedbed.tokenizers.tokenizer import Tokenizer

Tokens = NDArray[np.unsignedinteger[Any]]
Item = TypeVar("Item")

INDEX = "index.json"
SHARD_TOKENS = 2**26
"""Tokens in one shard file: 128 MiB of 16-bit tokens."""
_BATCH_CHARS = 1_000_000


def pack_corpus(corpus: Artifact, tokenizer: Artifact, library: Library, name: str | None = None) -> Artifact:
    """Encode every document of a corpus and store the tokens.

    Raises CorruptError or NotFoundError as opening the two does, and CapacityError where the disk is full.
    """
    opened, encoder = Corpus.open(corpus), Tokenizer.open(tokenizer)
    total = sum(row["bytes"] for row in opened.report["splits"].values())
    with (
        library.writing("tokens", parents=(corpus, tokenizer), name=name) as draft,
        disk_errors(library.root),
        progress("packing", total / 1e6, "MB") as bar,
    ):
        index = _pack(opened, encoder, draft.path, bar)
        write_json(draft.path / INDEX, index)
        tokens = {split: sum(row["tokens"] for row in rows.values()) for split, rows in index["splits"].items()}
        size = sum(row["bytes"] for rows in index["splits"].values() for row in rows.values())
        draft.licence = corpus.manifest.licence
        draft.metrics = {"tokens": tokens, "bytes_per_token": size / max(1, sum(tokens.values()))}
    return draft.result


def _pack(corpus: Corpus, encoder: Tokenizer, folder: Path, bar: ProgressBar) -> dict[str, Any]:
    dtype = np.dtype("<u2" if encoder.vocab_size <= 2**16 else "<u4")
    splits: dict[str, dict[str, Any]] = {}
    for split in SPLITS:
        writers = {source: TokenWriter(folder, f"{split}-{source}", dtype) for source in corpus.sources}
        for batch in runs_of_size(corpus.documents(split), lambda one: len(one.text), _BATCH_CHARS):
            for document, ids in zip(batch, encoder.encode_batch([item.text for item in batch]), strict=True):
                writers[document.source].add([encoder.bos_id, *ids, encoder.end_id], document.bytes)
            bar.advance(sum(document.bytes for document in batch) / 1e6)
        splits[split] = {source: writer.close() for source, writer in writers.items()}
    return {
        "tokenizer": encoder.hash,
        "vocab_size": encoder.vocab_size,
        "dtype": dtype.str,
        "bos_id": encoder.bos_id,
        "end_id": encoder.end_id,
        "weights": _shares(corpus.weights, splits["train"]),
        "splits": splits,
    }


def runs_of_size(items: Iterable[Item], size_of: Callable[[Item], int], limit: int) -> Iterator[list[Item]]:
    """Yield runs of items, each ended by the item that brings its size to ``limit``."""
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += size_of(item)
        if size >= limit:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _shares(weights: Mapping[str, float], train: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Return the share of training tokens to draw from each source."""
    pull = {source: weights[source] * train[source]["tokens"] for source in train}
    total = sum(pull.values())
    return {source: amount / total if total else 0.0 for source, amount in pull.items()}


class TokenWriter:
    """Writes the tokens of one split and source, a new file whenever a shard is full."""

    def __init__(self, folder: Path, stem: str, dtype: np.dtype[Any], shard_tokens: int = SHARD_TOKENS) -> None:
        self._folder, self._stem, self._dtype, self._shard_tokens = folder, stem, dtype, shard_tokens
        self._starts, self._bytes = array("q"), array("q")
        self._tokens = self._room = 0
        self._shards: list[str] = []
        self._file: BinaryIO = BytesIO()  # nothing is written to it: the first token opens a shard

    def add(self, ids: Sequence[int], size: int) -> None:
        """Append one document's tokens; ``size`` is the UTF-8 bytes of its text."""
        self._starts.append(self._tokens)
        self._bytes.append(size)
        rest = np.array(ids, dtype=self._dtype)
        self._tokens += len(rest)
        while len(rest):
            if not self._room:
                self._file.close()
                self._shards.append(f"{self._stem}-{len(self._shards):05}.bin")
                self._file, self._room = (self._folder / self._shards[-1]).open("wb"), self._shard_tokens
            part, rest = rest[: self._room], rest[self._room :]
            self._file.write(part.tobytes())
            self._room -= len(part)

    def close(self) -> dict[str, Any]:
        """Write the boundaries. Returns this part of the index."""
        self._file.close()
        np.save(self._folder / f"{self._stem}-starts.npy", np.array(self._starts, dtype="<i8"))
        np.save(self._folder / f"{self._stem}-bytes.npy", np.array(self._bytes, dtype="<i8"))
        counts = {"documents": len(self._starts), "bytes": sum(self._bytes), "tokens": self._tokens}
        return {"stem": self._stem, **counts, "shards": self._shards}


@dataclass(frozen=True)
class TokenSplit:
    """The tokens of a split, one after another over all its files."""

    shards: tuple[Tokens, ...]  # the memory-mapped files in order; their concatenation is the token stream
    starts: NDArray[np.int64]  # (documents,) the place of each document's first token, its BOS
    bytes: NDArray[np.int64]  # (documents,) UTF-8 bytes of each document's text

    def __len__(self) -> int:
        return sum(len(shard) for shard in self.shards)

    def read(self, start: int, stop: int) -> Tokens:
        """Return tokens ``start`` up to ``stop`` as an array (stop - start,); fewer at the end of the stream."""
        edges = np.cumsum([0, *(len(shard) for shard in self.shards)])
        parts = [
            shard[max(0, start - low) : max(0, stop - low)]
            for shard, (low, high) in zip(self.shards, pairwise(edges.tolist()), strict=True)
            if start < high and stop > low
        ]
        if len(parts) == 1:
            return np.asarray(parts[0])
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint16)


@dataclass(frozen=True)
class TokenShards:
    """Stored token shards."""

    artifact: Artifact
    index: Mapping[str, Any]

    @classmethod
    def open(cls, artifact: Artifact) -> TokenShards:
        """Open token shards: NotFoundError for another kind of artifact, CorruptError where a file lost its hash."""
        if artifact.kind != "tokens":
            raise NotFoundError(
                f"{artifact.id[:12]} holds no tokens",
                why=f"it is a {artifact.kind}",
                fix="pack a corpus with a tokenizer first",
            )
        artifact.verify()
        return cls(artifact, read_json(artifact.file(INDEX)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the names of the sources."""
        return tuple(self.index["weights"])

    @property
    def weights(self) -> dict[str, float]:
        """Return the share of training tokens to draw from each source; they sum to one."""
        return dict(self.index["weights"])

    @property
    def vocab_size(self) -> int:
        """Return the size of the vocabulary: every token is smaller."""
        return int(self.index["vocab_size"])

    @property
    def tokenizer_hash(self) -> str:
        """Return the hash of the tokenizer that made the tokens."""
        return str(self.index["tokenizer"])

    def split(self, split: Split, source: str | None = None) -> TokenSplit:
        """Return the tokens of a split: of one source (NotFoundError where it is not there), or of all in order."""
        table = self.index["splits"][split]
        if source is not None and source not in table:
            raise NotFoundError(
                f"there is no source {source!r}", why=f"the sources are {', '.join(table)}", fix="name one of them"
            )
        return self._joined(table.values() if source is None else [table[source]])

    def _joined(self, rows: Iterable[Mapping[str, Any]]) -> TokenSplit:
        shards: list[Tokens] = []
        starts, sizes, before = [], [], 0
        for row in rows:
            shards += [
                np.memmap(self.artifact.file(file), dtype=self.index["dtype"], mode="r") for file in row["shards"]
            ]
            starts.append(np.load(self.artifact.file(f"{row['stem']}-starts.npy")) + before)
            sizes.append(np.load(self.artifact.file(f"{row['stem']}-bytes.npy")))
            before += row["tokens"]
        return TokenSplit(tuple(shards), np.concatenate(starts), np.concatenate(sizes))
