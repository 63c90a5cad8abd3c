"""A named collection of documents: a folder in the library with its settings and its store.

The splitter is fixed when the collection is made; the embedder too, until :meth:`Collection.embed` puts another in its
place, since vectors of different kinds cannot be compared. A collection may begin without one and answer by words at
once; its vectors are made later, in parts that are kept. ``ingest.py`` reads documents into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from seedbed.chat.tracing import Trace
from seedbed.core import config
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.files import new_directory
from seedbed.core.leftovers import remove_directory
from seedbed.core.locking import locked
from seedbed.core.references import check_name
from seedbed.documents.document import Chunk
from seedbed.documents.file_walk import USUAL, WalkRules
from seedbed.documents.limits import Limits
from seedbed.documents.splitting.split import split
from seedbed.rag import ingest, sql_ingest
from seedbed.rag.collection_settings import (
    SETTINGS,
    CollectionSettings,
    check_embedder,
    merged,
    no_store,
    other_settings,
    read_settings,
    vectors_kept,
    write_settings,
    written,
)
from seedbed.search.contracts import Embedder, Filter, Hit, VectorStore
from seedbed.search.embedders import (
    NO_EMBEDDER,
    TFIDF,
    RememberingEmbedder,
    compares_sentences,
    go_faster,
    open_embedder,
)
from seedbed.search.modes import Mode
from seedbed.search.retrieval import TFIDF_SHARES, HybridShares, Rerank, Retriever
from seedbed.search.servers import open_server, synchronize
from seedbed.search.store import Store
from seedbed.vectors.lsa import Latent

STORE = "store.sqlite"
_TYPICAL = 20
"""The place in the ranking of a passage that is near for no reason."""
COVERED = 0.9
"""The share of chunks with a vector from which vectors are searched too: those without one would rank too low."""


class Collection:
    """A collection of documents to ask, by :meth:`open` or :meth:`create`; ``key`` is of the embedder's server."""

    def __init__(self, folder: Path, library: Library, key: str | None = None) -> None:
        self.folder, self.name = folder, folder.name
        self._library, self._key = library, key
        self._known = (written(folder), read_settings(folder / SETTINGS))
        if not (folder / STORE).is_file():
            raise no_store(folder / STORE)
        self.store = Store(folder / STORE)
        self._learnt: tuple[str, Latent] | None = None
        self._models: dict[str, Embedder] = {}
        self._remembering: RememberingEmbedder | None = None

    @classmethod
    def create(
        cls, library: Library, name: str, given: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Collection:
        """Make a collection, or open it if it exists.

        Args:
            given: settings (:class:`CollectionSettings`) as a table; others are as they are, or at their defaults.

        Raises:
            UsageError: it exists with other settings than those given; or the name is not valid.
            NotFoundError: there is no such model to embed with.
        """
        folder, origin = home(library) / check_name(name), config.Origin("the settings of a collection", "")
        if (folder / SETTINGS).is_file():
            there = read_settings(folder / SETTINGS)
            wanted = config.parse(CollectionSettings, merged(config.to_dict(there), given or {}), origin)
            if wanted != there:
                raise other_settings(name, config.to_dict(there), config.to_dict(wanted))
            return cls(folder, library, key)
        settings = config.parse(CollectionSettings, given or {}, origin)
        check_embedder(settings, library, key)  # fail before anything is written
        with locked(folder.parent):
            if not (folder / SETTINGS).is_file():  # else another process has made it meanwhile
                with nullcontext(folder) if folder.exists() else new_directory(folder) as place:
                    Store(place / STORE).close()
                    write_settings(place / SETTINGS, settings)
        return cls(folder, library, key)

    @classmethod
    def open(cls, library: Library, name: str, key: str | None = None) -> Collection:
        """Open the collection of that name.

        Raises NotFoundError: there is none. CorruptError: its files are damaged.
        """
        return cls(_existing(library, name), library, key)

    def check_there(self) -> None:
        """Raise NotFoundError where another process has removed the collection since it was opened."""
        if not self.store.is_there():
            why = "another process has removed it; what was written since then went with it"
            raise NotFoundError(f"the collection {self.name} is gone", why=why, fix="add its documents again")

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    @property
    def settings(self) -> CollectionSettings:
        """The settings, read again after another process has changed the embedder."""
        now = written(self.folder)
        if now not in (None, self._known[0]):
            self._known = (now, read_settings(self.folder / SETTINGS))
        return self._known[1]

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return (self.folder / STORE).stat().st_size

    @property
    def digest(self) -> str:
        """The SHA-256 of the sorted hashes of all that was read: the same documents have the same digest."""
        return hashlib.sha256("\n".join(sorted(self.store.origins().values())).encode()).hexdigest()

    @property
    def embedder(self) -> Embedder | None:
        """The embedder of the vectors; None without one, and before TF-IDF is fitted.

        Raises UsageError: the model of that name is not the one that made them.
        """
        name = self.settings.embedder
        return None if name == NO_EMBEDDER else self._tfidf() if name == TFIDF else self._model(name)

    @property
    def sentence_embedder(self) -> Embedder | None:
        """The embedder, if it was made to compare sentences; None for TF-IDF, and for a model that writes."""
        if (name := self.settings.embedder) in (TFIDF, NO_EMBEDDER):
            return None
        if not compares_sentences(model := self._model(name)):
            return None
        if self._remembering is None or self._remembering.name != model.name:
            self._remembering = RememberingEmbedder(model)
        return self._remembering

    def add(
        self,
        sources: Iterable[str],
        limits: Limits | None = None,
        *,
        allow_private: bool = False,
        rules: WalkRules = USUAL,
        encoding: str = "",
    ) -> ingest.IngestReport:
        """Read what is new or has changed: files, folders, web addresses, or "stdlib"; see ``ingest.py``.

        Args:
            encoding: that of the text files; found for each when not given.

        Raises:
            UsageError: Python has no such encoding.
            NotFoundError: a path does not exist; nothing was read.
            CapacityError: the disk is full; what was there before is there still.
            SeedbedError: the embedder fails; what was read is kept, and the next call completes it.
        """
        report = self.read(sources, limits, allow_private=allow_private, rules=rules, encoding=encoding)
        self.complete()
        return report

    def read(
        self,
        sources: Iterable[str],
        limits: Limits | None = None,
        *,
        allow_private: bool = False,
        rules: WalkRules = USUAL,
        encoding: str = "",
    ) -> ingest.IngestReport:
        """Read as :meth:`add`, and leave the vectors to a later :meth:`complete`: words find the chunks at once."""
        return ingest.read_changed(self.store, self._split, list(sources), limits, allow_private, rules, encoding)

    def add_rows(
        self, database: str, query: str, column: str = "", limits: Limits | None = None
    ) -> ingest.IngestReport:
        """Read what is new or has changed of a database query's rows, each a document; see ``sql_ingest.py``."""
        report = sql_ingest.read_rows(self.store, self._split, database, query, column, limits)
        self.complete()
        return report

    def complete(self) -> None:
        """Give every chunk its vector, in the store and on the server; nothing without an embedder."""
        name = self.settings.embedder
        if name == TFIDF:
            ingest.complete_tfidf(self.store)
        elif name != NO_EMBEDDER and self.store.pending():
            ingest.complete(self.store, self._model(name))
        if self._server is not None:
            synchronize(self.store, self._server)

    def embed(self, embedder: str | None = None) -> None:
        """Make the vectors that are missing; by another embedder, where one is named, all of them.

        What was made stays when the process is killed, and the next call goes on. Searches meanwhile are by the vectors
        of the embedder before, where it had made nearly all, else by words.

        Raises:
            NotFoundError: there is no such model.
            UsageError: there is no embedder, it cannot count the chunks' tokens, or the vectors are on a server.
        """
        there = self.settings
        if NO_EMBEDDER in (embedder, embedder or there.embedder):
            why, fix = f"{self.name} has no embedder", f"name one: `seedbed docs embed {self.name} --embedder tfidf`"
            if there.embedder != NO_EMBEDDER:
                why, fix = vectors_kept(self.name, there.embedder)
            raise UsageError("there is nothing to make vectors with", why=why, fix=fix)
        if embedder is not None and embedder != there.embedder:
            if there.server and self.store.embedder[1]:
                why = f"{there.server} holds vectors of {there.embedder}, of another size perhaps"
                raise UsageError("the embedder cannot be changed", why=why, fix="make a collection of another name")
            wanted = replace(there, embedder=embedder)
            check_embedder(wanted, self._library, self._key)
            self._replace(embedder)
            with locked(self.folder.parent):
                self.check_there()
                write_settings(self.folder / SETTINGS, wanted)
        if (name := self.settings.embedder) != TFIDF:
            go_faster(self._model(name))
        self.complete()
        self._models = {}  # questions are embedded exactly again

    def _replace(self, embedder: str) -> None:
        """Exchange the vectors for those of another embedder; where too few chunks have one, drop them at once."""
        if embedder == TFIDF:
            with self.store.transaction():
                self.store.unbind()
                ingest.complete_tfidf(self.store)
            return
        made = open_embedder(embedder, self._library, self._key)
        made.embed_query("Is it there?")  # before vectors go
        if self.store.covered() < COVERED:
            self.store.unbind()
        else:
            go_faster(made)
            ingest.replace(self.store, made)

    def forget(self, source: str) -> int:
        """Delete a document, or all of a file, folder or address. Returns how many documents there were.

        Raises NotFoundError: there is none of that name.
        """
        origins = ingest.origins_of(self.store, source)
        if not origins:
            raise no_document(self, source)
        count = self.store.drop(origins)
        if self._server is not None:
            synchronize(self.store, self._server)
        return count

    def chunks_of(self, source: str) -> list[Chunk]:
        """Return a document's chunks, in its order; the path of a file may be relative.

        Raises NotFoundError: there is no such document.
        """
        names = ingest.names_of(source)
        chunks = next((found for name in names if (found := self.store.chunks_of(name))), None)
        if chunks is None:
            raise no_document(self, source)
        return chunks

    def search(
        self,
        query: str,
        k: int = 4,
        *,
        mode: Mode = "hybrid",
        where: Filter | None = None,
        diversity: float = 0.0,
        rerank: Rerank | None = None,
        copies: bool = False,
        trace: Trace | None = None,
    ) -> list[Hit]:
        """Return the ``k`` best chunks for a question, best first; see :class:`~seedbed.search.retrieval.Retriever`.

        Hits say the mode that was used: "words" instead of "hybrid" while too few chunks have a vector.

        Raises UsageError: the mode is "vector", and the collection has no embedder; or as the retriever.
        """
        used = self.mode_for(mode)
        if used == "vector" and self.settings.embedder == NO_EMBEDDER:
            fix = f"`seedbed docs embed {self.name} --embedder minilm`, or search by words"
            raise UsageError("there are no vectors to search", why=f"{self.name} has no embedder", fix=fix)
        embedder = None if used == "words" else self.embedder
        shares = TFIDF_SHARES if self.settings.embedder == TFIDF else HybridShares()
        retriever = Retriever(self.store, embedder, used, diversity, rerank, self._server, shares, copies)
        return [replace(hit, mode=used) for hit in retriever.search(query, k, where, trace)]

    def standing(self, question: str) -> float | None:
        """Return the question's cosine with the nearest passage less that with the twentieth.

        None where the vectors are not a sentence embedder's, on a server, or fewer than twenty.
        """
        embedder = self.sentence_embedder
        if embedder is None or self._server is not None or self.store.covered() < COVERED:
            return None
        ranked = self.store.nearest(embedder.embed_query(question), _TYPICAL)
        return ranked[0][1] - ranked[-1][1] if len(ranked) == _TYPICAL else None

    def mode_for(self, mode: Mode) -> Mode:
        """Return the mode that a search will use: "words" instead of "hybrid" while too few chunks have a vector."""
        return "words" if mode == "hybrid" and self.store.covered() < COVERED else mode

    def remark(self, mode: Mode) -> str:
        """Return a sentence on the vectors that a search in a mode does without; "" where there are none to miss."""
        lacking = self.store.pending() if mode != "words" else 0
        if not lacking or self.settings.embedder == NO_EMBEDDER:
            return ""
        found = f"{lacking:,} of {self.store.count():,} chunks have no vector yet"
        return f"searched by words: {found}" if self.mode_for(mode) == "words" else f"{found}: found by words only"

    @cached_property
    def _split(self) -> ingest.Splitter:
        """The splitter of documents; tokens are counted by the model that makes the vectors."""
        by_tokens = self.settings.split.by == "tokens"
        count = getattr(self.embedder, "count_tokens", None) if by_tokens else None
        return partial(split, settings=self.settings.split, count=count)

    def _tfidf(self) -> Latent | None:
        """Return the fitted TF-IDF, read again after another process has fitted it anew."""
        name, _ = self.store.embedder
        if self._learnt is None or self._learnt[0] != name:
            data = self.store.learnt
            self._learnt = (name, Latent.from_bytes(data)) if data else None
        return self._learnt[1] if self._learnt else None

    def _model(self, name: str) -> Embedder:
        if name not in self._models:
            self._models = {name: open_embedder(name, self._library, self._key)}
        made = self._models[name]
        self.store.bind(made.name, made.size)
        return made

    @property
    def _server(self) -> VectorStore | None:
        return self._opened if self.settings.server and self.store.embedder[1] else None

    @cached_property
    def _opened(self) -> VectorStore:
        return open_server(self.settings.server, self.name, self.store.embedder[1])


def home(library: Library) -> Path:
    """Return the folder of a library's collections."""
    return library.root / "docs"


def names(library: Library) -> list[str]:
    """Return the names of a library's collections."""
    return sorted({path.parent.name for one in (SETTINGS, STORE) for path in home(library).glob(f"[!.]*/{one}")})


def remove(library: Library, name: str) -> None:
    """Remove a collection. Raises NotFoundError: there is none."""
    folder = _existing(library, name)
    with locked(folder.parent):
        remove_directory(_existing(library, name))


def no_document(collection: Collection, source: str) -> NotFoundError:
    """Return the error for a source that a collection does not have."""
    why, fix = "no document, file or folder of that name was added", f"see `seedbed docs show {collection.name}`"
    return NotFoundError(f"{collection.name} has no document {source!r}", why=why, fix=fix)


def _existing(library: Library, name: str) -> Path:
    """Return the folder of a collection. Raises NotFoundError: there is none."""
    folder = home(library) / check_name(name)
    if name not in names(library):
        why = f"{home(library)} holds {', '.join(names(library)[:8]) or 'none'}"
        fix = f"make it with `seedbed docs add {name} PATH`, or check SEEDBED_HOME"
        raise NotFoundError(f"there is no collection {name!r}", why=why, fix=fix)
    return folder
