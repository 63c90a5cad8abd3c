"""Clients of engines over bare decoders, in the test's own thread."""

from __future__ import annotations

from collections.abc import Collection

from seedbed.inference.engine import Engine
from seedbed.inference.engine_client import EngineClient
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.runners.torch import TorchRunner
from seedbed.models.decoder import Decoder


def client_of(model: Decoder, ends: Collection[int] = (), grammars: GrammarCompiler | None = None) -> EngineClient:
    return EngineClient(Engine(TorchRunner(model), ends, grammars=grammars), decoder=model)
