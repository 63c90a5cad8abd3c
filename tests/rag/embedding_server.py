"""A model of random weights, our server with it on a real socket, and one that answers embeddings as it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.serve.auth import Keys
from seedbed.serve.context import Server
from seedbed.serve.pool import ModelPool
from seedbed.serve.process import HttpServer
from seedbed.serve.settings import ServeSettings
from seedbed.serve.shelf import Shelf
from seedbed.serve.store import Store
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

WIDTH, WINDOW = 32, 64


def add_model(library: Library, name: str, seed: int) -> None:
    """Store a decoder with a short window; its tokens are bytes."""
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    shape = {"d_model": WIDTH, "n_layers": 2, "n_heads": 4, "max_length": WINDOW}
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, **shape)).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3, generator=generator)
    with library.writing("model", name=name) as draft:
        save_model(draft.path, model, tokenizer)


class Live:
    """Our server with the library's model "tiny", and the key to it."""

    def __init__(self, library: Library, home: Path) -> None:
        keys, settings = Keys(home / "keys.json"), ServeSettings(memory_bytes=1 << 30, cache_bytes=16 << 20)
        self.key = keys.create("test")
        store = Store(home / "responses.sqlite3", settings.stored_bytes, settings.stored_seconds)
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self._http = HttpServer(Server(settings, keys, ModelPool(library, ("tiny",), settings), store, Shelf(library)))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._http.serve([listening])))
        self._thread.start()

    def close(self) -> None:
        self._http.should_exit = True
        self._thread.join()


class Answering:
    """Answers every POST with what a function makes of its body, and keeps the bodies."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        asked = self.asked = list[Any]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                data = json.dumps(answer(asked[-1])).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
