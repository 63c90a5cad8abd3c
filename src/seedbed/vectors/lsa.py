"""Latent semantic analysis (Deerwester et al. 1990): short vectors from TF-IDF weights, without a model.

A text's TF-IDF weights are ``(1 + ln tf) * idf`` with ``idf = 1 + ln((1 + N) / (1 + df))``, scaled to length 1, as
scikit-learn's TfidfVectorizer computes with ``sublinear_tf=True, smooth_idf=True``. They are projected onto the
strongest right singular vectors of the collection's matrix, so that texts can be close without a word in common; a
text that comes later is "folded in" by the same projection. The decomposition is torch's randomized one (Halko et al.
2011).
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seedbed.core.errors import CorruptError
from seedbed.vectors.words import stem_counts

Vectors = NDArray[np.float32]
"""Vectors as float32: (N, size), or (size,) for one."""
SparseRow = tuple[NDArray[np.int64], Vectors]
"""The columns (n,), ascending, and the values (n,) of a row that is zero elsewhere."""
MOST_TERMS = 32_768
"""Terms that are kept: those in the most texts."""
SIZE = 256
"""Numbers in a latent vector."""
_POWER_STEPS, _OVERSAMPLING = 4, 16


def unit(vectors: Vectors) -> Vectors:
    """Return vectors (N, size) scaled to length 1; zeros stay zeros."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), np.float32)


@dataclass(frozen=True)
class Tfidf:
    """The terms of a collection and how rare they are.

    Attributes:
        terms: in the order of their columns.
        idf: (terms,).
    """

    terms: tuple[str, ...]
    idf: Vectors

    @classmethod
    def fit(cls, texts: Sequence[str], most: int = MOST_TERMS) -> Tfidf:
        """Learn from texts. Of more than ``most`` terms, those in the most texts are kept."""
        found = Counter(term for count in stem_counts(texts) for term in count)
        frequent = sorted(found, key=lambda term: (-found[term], term))[:most]
        terms = tuple(sorted(frequent))
        idf = [1 + math.log((1 + len(texts)) / (1 + found[term])) for term in terms]
        return cls(terms, np.array(idf, np.float32))

    def weights(self, texts: Sequence[str]) -> list[SparseRow]:
        """Return each text's weights, of length 1 together; unknown terms count nothing."""
        found = []
        for count in stem_counts(texts):
            row = sorted((self._column[term], times) for term, times in count.items() if term in self._column)
            columns = np.array([column for column, _ in row], np.int64)
            values = (1 + np.log([times for _, times in row])) * self.idf[columns]
            found.append((columns, (values / (np.linalg.norm(values) or 1.0)).astype(np.float32)))
        return found

    @cached_property
    def _column(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}


@dataclass(frozen=True)
class Latent:
    """An embedder (:class:`~seedbed.search.contracts.Embedder`) fitted to a collection.

    Attributes:
        axes: (terms, size); the last ones are zero where the collection has too few texts.
        texts: how many the collection had.
        last_row: the number of its last one.
    """

    tfidf: Tfidf
    axes: Vectors
    texts: int = 0
    last_row: int = 0

    @classmethod
    def fit(cls, sample: Sequence[str], size: int = SIZE, *, texts: int = 0, last_row: int = 0) -> Latent:
        """Learn from a sample of a collection's texts. The same sample gives the same vectors."""
        tfidf = Tfidf.fit(sample)
        axes = np.zeros((len(tfidf.terms), size), np.float32)
        strongest = _axes(tfidf.weights(sample), len(tfidf.terms), size)
        axes[:, : strongest.shape[1]] = strongest
        return cls(tfidf, axes, texts or len(sample), last_row)

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return int(self.axes.shape[1])

    @cached_property
    def name(self) -> str:
        """The size and a hash of terms and axes: another fit has another name."""
        learnt = hashlib.sha256("\n".join(self.tfidf.terms).encode() + self.axes.tobytes()).hexdigest()
        return f"tfidf-{self.size}-{learnt[:12]}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size); zeros for a text without a known word."""
        found = [values @ self.axes[columns] for columns, values in self.tfidf.weights(texts)]
        return unit(np.array(found, np.float32).reshape(len(texts), self.size))

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""
        return np.asarray(self.embed_documents([text])[0], np.float32)

    def to_bytes(self) -> bytes:
        """Serialize for :meth:`from_bytes`; the axes in half precision."""
        file = io.BytesIO()
        terms = np.frombuffer("\n".join(self.tfidf.terms).encode(), np.uint8)
        seen = np.array([self.texts, self.last_row])
        np.savez(file, terms=terms, idf=self.tfidf.idf, axes=self.axes.astype(np.float16), seen=seen)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Latent:
        """Read what :meth:`to_bytes` wrote. Raises CorruptError for anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                terms = tuple(found["terms"].tobytes().decode().splitlines())
                axes = found["axes"].astype(np.float32)
                return cls(Tfidf(terms, found["idf"]), axes, *map(int, found["seen"]))
        except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            fix = "put back a copy, or take another embedder (`seedbed docs embed NAME --embedder MODEL`)"
            raise CorruptError("the TF-IDF data of the collection cannot be read", why=str(error), fix=fix) from error


def _axes(rows: Sequence[SparseRow], width: int, size: int) -> Vectors:
    """Return the strongest right singular vectors (width, at most ``size``) of sparse rows."""
    import torch

    rank = min(size, len(rows), width)
    lengths = [len(columns) for columns, _ in rows]
    if not rank or not sum(lengths):
        return np.zeros((width, 0), np.float32)
    columns, values = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    places = torch.from_numpy(np.stack([np.repeat(np.arange(len(rows)), lengths), columns]))
    matrix = torch.sparse_coo_tensor(places, torch.from_numpy(values), (len(rows), width), check_invariants=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sought = min(rank + _OVERSAMPLING, len(rows), width)
        _, _, found = torch.svd_lowrank(matrix.coalesce(), q=sought, niter=_POWER_STEPS)
    return found[:, :rank].numpy().astype(np.float16).astype(np.float32)  # as they are stored
