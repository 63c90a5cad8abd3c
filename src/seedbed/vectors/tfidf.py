"""TF-IDF weights of words, and latent semantic analysis of them: vectors from the collection's own texts, no model.

A text's weights are ``(1 + ln tf) * idf`` with ``idf = 1 + ln((1 + N) / (1 + df))``, made to length 1: what
scikit-learn's TfidfVectorizer computes with ``sublinear_tf=True, smooth_idf=True``. Latent semantic analysis
(Deerwester et al. 1990) projects them onto the strongest right singular vectors of the collection's matrix, so that
texts can be close without a word in common; a text that comes later is "folded in" by the same projection. The
decomposition is torch's randomized one (Halko et al. 2011).
"""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seedbed.core.errors import CorruptError
from seedbed.vectors.arrays import Vectors, unit
from seedbed.vectors.words import Stemmer, words

SIZE = 256
"""Numbers in a latent vector."""
MOST_TERMS = 32_768
"""The stems that most texts have are kept."""
_POWER_STEPS, _MORE = 4, 16
_BLOCK = 256  # texts projected at once
_stemmer = Stemmer()


@dataclass(frozen=True)
class SparseRows:
    """Sparse rows: row ``i`` has ``values[starts[i]:starts[i + 1]]`` in ``columns[starts[i]:starts[i + 1]]``."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Vectors

    def __len__(self) -> int:
        return len(self.starts) - 1

    def dense(self, width: int) -> Vectors:
        """(N, width)."""
        found = np.zeros((len(self), width), np.float32)
        found[np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns] = self.values
        return found


def stems(texts: Iterable[str]) -> list[Counter[str]]:
    """How often each stem stands in each text."""
    counts = [Counter(words(text)) for text in texts]
    stem_of = _stemmer.stems({word for count in counts for word in count})
    found = []
    for count in counts:
        stemmed: Counter[str] = Counter()
        for word, times in count.items():
            stemmed[stem_of[word]] += times
        found.append(stemmed)
    return found


@dataclass(frozen=True)
class Tfidf:
    """What TF-IDF learns from a collection: its terms and how rare they are.

    Attributes:
        terms: in the order of their columns.
        idf: (terms,).
    """

    terms: tuple[str, ...]
    idf: Vectors

    @classmethod
    def fit(cls, texts: Sequence[str], most: int = MOST_TERMS) -> Tfidf:
        """Learn from texts. Of more than ``most`` terms, those that most texts have are kept."""
        found = Counter(term for count in stems(texts) for term in count)
        frequent = sorted(found, key=lambda term: (-found[term], term))[:most]
        terms = tuple(sorted(frequent))
        idf = [1 + math.log((1 + len(texts)) / (1 + found[term])) for term in terms]
        return cls(terms, np.array(idf, np.float32))

    def weights(self, texts: Sequence[str]) -> SparseRows:
        """(N, terms), each row of length 1; terms that were not learnt count nothing."""
        starts, columns, values = [0], list[int](), list[float]()
        for count in stems(texts):
            row = sorted((self._column[term], times) for term, times in count.items() if term in self._column)
            weights = [(1 + math.log(times)) * float(self.idf[column]) for column, times in row]
            length = math.sqrt(sum(weight * weight for weight in weights)) or 1.0
            columns += [column for column, _ in row]
            values += [weight / length for weight in weights]
            starts.append(len(columns))
        return SparseRows(np.array(starts), np.array(columns, np.int64), np.array(values, np.float32))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}


@dataclass(frozen=True)
class Latent:
    """Latent semantic analysis: an :class:`~seedbed.search.contracts.Embedder` that was fitted to a collection.

    Attributes:
        axes: (terms, size), as many of them zero as the collection has too few texts for.
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
        """Tells fits to different texts apart."""
        learnt = hashlib.sha256("\n".join(self.tfidf.terms).encode() + self.axes.tobytes()).hexdigest()
        return f"tfidf-{self.size}-{learnt[:12]}"

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(N, size); zeros for a text without a known word."""
        found = np.zeros((len(texts), self.size), np.float32)
        for first in range(0, len(texts), _BLOCK):
            rows = self.tfidf.weights(texts[first : first + _BLOCK])
            for row in range(len(rows)):
                part = slice(rows.starts[row], rows.starts[row + 1])
                found[first + row] = rows.values[part] @ self.axes[rows.columns[part]]
        return unit(found)

    def embed_query(self, text: str) -> Vectors:
        """(size,)."""
        return np.asarray(self.embed_documents([text])[0], np.float32)

    def to_bytes(self) -> bytes:
        """For :meth:`from_bytes`; the axes in half precision."""
        file = io.BytesIO()
        terms = np.frombuffer("\n".join(self.tfidf.terms).encode(), np.uint8)
        seen = np.array([self.texts, self.last_row])
        np.savez(file, terms=terms, idf=self.tfidf.idf, axes=self.axes.astype(np.float16), seen=seen)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Latent:
        """Raises CorruptError for what is none."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                terms = tuple(found["terms"].tobytes().decode().splitlines())
                axes = found["axes"].astype(np.float32)
                return cls(Tfidf(terms, found["idf"]), axes, *map(int, found["seen"]))
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            why, fix = str(error), "remove the collection and add its documents again"
            raise CorruptError("what TF-IDF has learnt cannot be read", why=why, fix=fix) from error


def _axes(rows: SparseRows, width: int, size: int) -> Vectors:
    """The strongest right singular vectors (width, at most ``size``) of sparse rows."""
    import torch

    rank = min(size, len(rows), width)
    if not rank or not len(rows.values):
        return np.zeros((width, 0), np.float32)
    places = np.stack([np.repeat(np.arange(len(rows)), np.diff(rows.starts)), rows.columns])
    shape, values = (len(rows), width), torch.from_numpy(rows.values)
    matrix = torch.sparse_coo_tensor(torch.from_numpy(places), values, shape, check_invariants=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sought = min(rank + _MORE, len(rows), width)
        _, _, found = torch.svd_lowrank(matrix.coalesce(), q=sought, niter=_POWER_STEPS)
    return found[:, :rank].numpy().astype(np.float16).astype(np.float32)  # as they are stored
