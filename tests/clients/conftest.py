"""A `seedbed serve` process for clients that others wrote, with tiny models of random weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

TEXTS = ["Größe, naïve café, 日本語のテキスト, 🌱 seeds in a bed. " * 5]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run all async tests here in one event loop: clients keep connections, which belong to the loop that made them."""
    try:
        from pytest_asyncio import is_async_test
    except ImportError:
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@dataclass(frozen=True)
class Endpoint:
    """A server as clients are told of it; ``home`` is its library."""

    home: Path
    base_url: str
    key: str


def build_model(scale: float, window: int, width: int = 32) -> tuple[Tokenizer, Decoder]:
    """A byte-level decoder with normal weights: nearly uniform at a scale of 0.02, far from it at 0.3."""
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="byte"))
    shape = {"d_model": width, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "max_length": window}
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, **shape))
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, scale, generator=generator)
    return tokenizer, model


def store_model(library: Library, name: str, scale: float, window: int) -> Artifact:
    """Store such a model."""
    tokenizer, model = build_model(scale, window)
    with library.writing("model", name=name) as draft:
        save_model(draft.path, model.eval(), tokenizer)
    return draft.result


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[Endpoint]:
    """A `seedbed serve` process of a library."""
    command = [sys.executable, "-m", "seedbed", "serve", "--port", "0", "--cache-gb", "0.05", "--json", *arguments]
    environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        told = ""
        while not told.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, "the server ended"
            told += line
        said = json.loads(told)
        yield Endpoint(home, f"{said['url']}/v1", said["key"])
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A server of the models ``plain``, whose replies end soon, and ``sharp``, whose tokens differ in probability."""
    library = Library(tmp_path_factory.mktemp("library"))
    store_model(library, "plain", 0.02, window=8192)
    store_model(library, "sharp", 0.3, window=1024)
    with serving(library.root) as endpoint:
        yield endpoint


def pytest_configure(config: pytest.Config) -> None:
    """Run clients' asynchronous tests, which expect this mode of pytest-asyncio."""
    config.option.asyncio_mode = "auto"
