"""Text that every machine has (modules of the running Python's library), and a tokenizer of each kind from it."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import get_args

import pytest

from seedbed.tokenizers.settings import Kind, TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

STDLIB = Path(sysconfig.get_paths()["stdlib"])
MODULES = ("argparse", "textwrap", "json/decoder", "json/encoder", "csv", "shutil", "string", "heapq")
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [(STDLIB / f"{module}.py").read_text(encoding="utf-8") for module in MODULES]


@pytest.fixture(scope="session")
def trained(texts: list[str]) -> dict[str, Tokenizer]:
    """One tokenizer of each kind."""
    return {kind: train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=800)) for kind in KINDS}


@pytest.fixture
def bpe(trained: dict[str, Tokenizer]) -> Tokenizer:
    return trained["bpe"]
