"""A real server on a real socket, with tiny models of random weights in a library of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import torch

from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.serve.auth import Keys
from seedbed.serve.collection_cache import CollectionCache
from seedbed.serve.context import Server
from seedbed.serve.pool import ModelPool
from seedbed.serve.process import HttpServer
from seedbed.serve.response_store import ResponseStore
from seedbed.serve.settings import ServeSettings
from seedbed.tokenizers.published import DEFAULT_NAME
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

TEXTS = ["Größe, naïve café, 日本語のテキスト, 🌱 seeds in a bed. " * 5]
WINDOW = 1024
SMALL = ServeSettings(memory_bytes=1 << 30, cache_bytes=16 << 20)


def add_model(
    library: Library,
    name: str,
    seed: int,
    window: int = WINDOW,
    generation: dict[str, Any] | None = None,
    template: str = "",
) -> None:
    """Store a decoder with large random weights, so that what it predicts differs from token to token.

    ``generation``: as a generation_config.json has it. ``template``: of chats, if not ours.
    """
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="byte"))
    if template:
        tokenizer.chat_template, tokenizer.chat_templates = template, {DEFAULT_NAME: template}
    shape = {"d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "max_length": window}
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, **shape)).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3, generator=generator)
    with library.writing("model", name=name) as draft:
        save_model(draft.path, model, tokenizer, published=generation and {"generation": generation})


def add_chain(library: Library, name: str, followers: dict[str, str]) -> None:
    """Store a decoder that is a Markov chain: a character's followers are equally likely, any other's is the first key.

    All blocks are zero, so that the normalized embedding, a unit vector, goes straight to the output.
    """
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="byte"))
    shape = {"d_model": 264, "n_layers": 1, "n_heads": 4, "max_length": WINDOW, "tied": False}
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, **shape)).eval()
    for parameter in model.parameters():
        parameter.data.zero_()
    model.norm.weight.data.fill_(1.0)
    model.embedding.weight.data[:, : tokenizer.vocab_size] = torch.eye(tokenizer.vocab_size)
    scores = torch.full((tokenizer.vocab_size, 264), -3.0)  # the norm multiplies by 16
    ids = {text: tokenizer.encode(text)[0] for text in "".join([*followers, *followers.values()])}
    scores[ids[next(iter(followers))]] = 0.0
    for text, following in followers.items():
        scores[:, ids[text]] = -3.0
        scores[[ids[one] for one in following], ids[text]] = 0.0
    model.output.weight.data.copy_(scores)
    with library.writing("model", name=name) as draft:
        save_model(draft.path, model, tokenizer)


class Live:
    """A running server, the key to it, and clients."""

    def __init__(
        self,
        library: Library,
        home: Path,
        settings: ServeSettings,
        models: tuple[str, ...] = (),
        adapters: dict[str, str] | None = None,
    ) -> None:
        pool = ModelPool(library, models, settings, adapters)
        self.keys = Keys(home / "keys.json")
        names = [entry["name"] for entry in self.keys.entries()]
        self.key = self.keys.create(f"key{len(names)}")
        store = ResponseStore(home / "responses.sqlite3", settings.stored_bytes, settings.stored_seconds)
        self.state = Server(settings, self.keys, pool, store, CollectionCache(library))
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._http = HttpServer(self.state)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._http.serve([self.listening])))
        self._thread.start()
        self.client = self.connect(self.key)

    def connect(self, key: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(path, json={"model": "tiny", **body})

    def ok(self, path: str, **body: Any) -> Any:
        response = self.post(path, **body)
        assert response.status_code == 200, response.text
        return response.json()

    def until(self, condition: Callable[[], bool]) -> None:
        """Ask the server for its state until it is the expected one; the test's own time limit ends the wait."""
        while not condition():
            self.client.get("/health")

    def idle(self) -> bool:
        """Whether no engine has anything to do, and all blocks are free."""
        stats = self.state.pool.stats().values()
        return all(one.running == one.waiting == 0 and one.free_blocks == one.blocks for one in stats)

    def sockets(self) -> list[Any]:
        """The server's ends of its open connections."""
        return [one.transport.get_extra_info("socket") for one in self._http.server_state.connections]

    def close(self) -> None:
        self.client.close()
        self._http.should_exit = True
        self._thread.join()
        self.state.store.close()
