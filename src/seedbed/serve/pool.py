"""The models of a server: loaded on the first request; the longest unused idle ones make room for others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.inference.encoding import Encoder, embeds
from seedbed.inference.engine import Engine, Stats
from seedbed.inference.engine_client import EngineClient, EngineThread, ends_of, sampling_of_publishers
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import check_prompt
from seedbed.inference.published_sampling import NOTHING_STATED, PublishedSampling
from seedbed.inference.runners.making import make_runner
from seedbed.models.factory import AnyModel
from seedbed.models.store import Loaded, LoadedModel, load_any, load_model, read_config, read_description
from seedbed.serve.adapters import ServedAdapter, read_adapters
from seedbed.serve.errors import ApiError
from seedbed.serve.settings import ServeSettings
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Ready:
    """A model that is ready, alone or with an adapter."""

    name: str
    loaded: Loaded[AnyModel]
    window: int  # positions it has room for
    size: int  # numbers in a vector
    adapter: Artifact | None = field(default=None, kw_only=True)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the model was trained with."""
        return self.loaded.tokenizer

    @property
    def fingerprint(self) -> str:
        """Identify everything but the request that a reply depends on: weights, tokenizer, quantization, adapter."""
        parts = ["sb", self.loaded.artifact.id[:12], self.tokenizer.hash[:12], self.loaded.quantization or "none"]
        return "-".join([*parts, *([self.adapter.id[:12]] if self.adapter else [])])

    @property
    def origin(self) -> str:
        """The full ids of model, tokenizer and adapter."""
        adapter = f"; adapter={self.adapter.id}" if self.adapter else ""
        return f"model={self.loaded.artifact.id}; tokenizer={self.tokenizer.hash}{adapter}"


@dataclass(frozen=True)
class Served(Ready):
    """A decoder that answers."""

    loaded: LoadedModel
    engine: EngineThread
    stated: PublishedSampling = NOTHING_STATED  # what chats have where a request does not say

    def client(self, salt: str = "", owner: str = "", seconds: float | None = None) -> EngineClient:
        """Return a client of its engine, for one request."""
        adapter = self.name if self.adapter else None
        return EngineClient(self.engine, salt=salt, owner=owner, seconds=seconds, adapter=adapter)

    def encode(self, text: str, *, around: bool = True) -> list[int]:
        """Return the ids of a text; ``around``: with the special tokens before a text."""
        return self.tokenizer.encode_prompt(text) if around else self.tokenizer.encode(text)

    def embed(self, ids: Sequence[int], owner: str = "") -> NDArray[np.float32]:
        """Return the mean (D,) of a text's last hidden states; waits for it."""
        return np.asarray(self.client(owner=owner).embed(ids).float().cpu(), np.float32)

    def close(self) -> None:
        """Stop its engine."""
        self.engine.close()


@dataclass(frozen=True)
class ServedEncoder(Ready):
    """An encoder that makes vectors, of one text at a time."""

    encoder: Encoder
    _lock: Lock = field(default_factory=Lock)

    def encode(self, text: str, *, around: bool = True) -> list[int]:
        """Return the ids of a text; ``around``: with the special tokens around a text."""
        return self.encoder.ids(text) if around else self.tokenizer.encode(text)

    def embed(self, ids: Sequence[int], owner: str = "") -> NDArray[np.float32]:
        """Return a text's vector (D,), as the model was published; waits for it."""
        check_prompt(ids, self.encoder.model.config.vocab_size, self.window)
        with self._lock:
            return np.asarray(self.encoder.embed([ids])[0], np.float32)

    def close(self) -> None:
        """Do nothing: no thread runs."""


@dataclass
class _Slot:
    """A model that is loaded or being loaded; ``users`` requests hold it."""

    size: int
    task: asyncio.Task[Served | ServedEncoder]
    users: int = 0
    used: int = 0


class ModelPool:
    """Serves the models of a library, or only those named; ``adapters``, by the name they are served under, beside one.

    Raises UsageError for adapters without exactly one model, or of another one; more as :func:`read_adapters`.
    """

    def __init__(
        self, library: Library, names: Sequence[str], settings: ServeSettings, adapters: Mapping[str, str] | None = None
    ) -> None:
        self._library, self._names, self._settings = library, tuple(names), settings
        self._adapters: dict[str, ServedAdapter] = {}
        self._base: Artifact | None = None  # as it was when the adapters were checked
        if adapters:
            if len(names) != 1:
                why = f"{len(names)} models are named" if names else "no model is named, so all are served"
                raise UsageError("an adapter needs its base model", why=why, fix="name the one model it belongs to")
            self._base = library.get(names[0], "model")
            self._adapters = read_adapters(library, names[0], adapters)
        self._entries: dict[str, _Slot] = {}
        self._told: set[Path] = set()  # models that cannot be read, said once
        self._loading, self._clock = asyncio.Lock(), itertools.count()

    def models(self) -> dict[str, Artifact]:
        """Return what may be served, adapters too, by name, or by the beginning of its id where it has none."""
        if self._names:
            found = {name: self._library.get(name, "model") for name in self._names}
            return found | {name: one.artifact for name, one in self._adapters.items()}
        every = self._library.all("model")
        for path, error in self._library.unreadable("model").items():
            if path not in self._told:
                say(f"left out: {error.what}: {error.why}")
                self._told.add(path)
        return {name: one for one in every for name in self._library.names_of(one) or [one.id[:12]]}

    def find(self, name: str) -> Artifact:
        """Return the model or adapter of that name. Raises ApiError where it is not served."""
        if (found := self.models().get(name)) is None:
            why, fix = f"this server has no model {name!r}", "see /v1/models"
            raise ApiError(404, "unknown model", why=why, fix=fix, code="model_not_found", param="model")
        return found

    def parent(self, name: str) -> str | None:
        """Return the name of an adapter's base model; None for a model."""
        return self._names[0] if name in self._adapters else None

    def stats(self) -> dict[str, Stats]:
        """Return the state of the engines of loaded models."""
        done = (one.task for one in self._entries.values() if one.task.done() and not one.task.exception())
        ready = (task.result() for task in done)
        return {one.name: one.engine.stats() for one in ready if isinstance(one, Served)}

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Served | ServedEncoder]:
        """Lend a loaded model that stays loaded meanwhile. Raises ApiError where it is unknown or has no room."""
        artifact = await asyncio.to_thread(self.find, name)
        adapter, model = self._adapters.get(name), self.parent(name) or name
        if adapter and self._base:
            artifact = self._base
        if (entry := self._entries.get(artifact.id)) is None:
            beside = sum(one.artifact.size for one in self._adapters.values())
            size = artifact.size + self._settings.cache_bytes + beside
            entry = _Slot(size, asyncio.create_task(self._load(model, artifact, size)))
            self._entries[artifact.id] = entry
        entry.users += 1
        try:
            found = await asyncio.shield(entry.task)  # who waits may leave; the others still want it
            yield replace(found, name=name, adapter=adapter.artifact) if adapter else found
        finally:
            entry.users, entry.used = entry.users - 1, next(self._clock)
            if entry.task.done() and entry.task.exception() and self._entries.get(artifact.id) is entry:
                del self._entries[artifact.id]

    async def close(self) -> None:
        """Stop all engines."""
        for entry in self._entries.values():
            if entry.task.done() and not entry.task.exception():
                await asyncio.to_thread(entry.task.result().close)

    async def _load(self, name: str, artifact: Artifact, size: int) -> Served | ServedEncoder:
        async with self._loading:  # one after another: each needs to know what room the others left
            await self._make_room(size)
            return await asyncio.to_thread(self._open, name, artifact)

    async def _make_room(self, size: int) -> None:
        while sum(one.size for one in self._entries.values() if one.task.done()) + size > self._settings.memory_bytes:
            idle = {key: one for key, one in self._entries.items() if one.task.done() and not one.users}
            if not idle:
                why = f"it needs {size >> 20} MiB of {self._settings.memory_bytes >> 20}, and others are in use"
                raise ApiError(503, "no memory for the model", why=why, fix="raise --memory, or wait", code="no_memory")
            oldest = min(idle, key=lambda key: idle[key].used)
            await asyncio.to_thread(self._entries.pop(oldest).task.result().close)

    def _open(self, name: str, artifact: Artifact) -> Served | ServedEncoder:
        if embeds(read_config(read_description(artifact)["model"])):
            encoder = Encoder(load_any(artifact))
            return ServedEncoder(name, encoder.loaded, encoder.window, encoder.size, encoder)
        loaded = load_model(artifact)
        adapters = {one: adapter.parts for one, adapter in self._adapters.items() if artifact == self._base}
        runner = make_runner(loaded, cache_bytes=self._settings.cache_bytes, adapters=adapters, together=True)
        grammars = GrammarCompiler(loaded.tokenizer)
        engine, stated = Engine(runner, ends_of(loaded), grammars=grammars), sampling_of_publishers(loaded)
        config = loaded.model.config
        return Served(name, loaded, config.max_length, config.d_model, EngineThread(engine), stated)
