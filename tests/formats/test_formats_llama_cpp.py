"""Our GGUF files in llama.cpp: every architecture that it shares with us gives the same logits and the same tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gguf_models import (
    BASE,
    BERT,
    CONFIGS,
    FAMILIES,
    VOCABULARY,
    exported,
    random_model,
    reopened,
    vocabulary,
)

from seedbed.core.errors import UsageError
from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.model import gguf_metadata, write_gguf_parts
from seedbed.models.config import ModelConfig
from seedbed.models.factory import AnyModel
from seedbed.models.task_model import TaskModel
from seedbed.nn.feedforward import ACTIVATIONS, FeedForward

llama_cpp = pytest.importorskip("llama_cpp", reason="llama_cpp is not installed")


def as_llama_cpp_computes(model: AnyModel) -> AnyModel:
    """Every GELU is its tanh form, from a table over float16 numbers; with ours so too, the rest compares closely."""
    for module in model.modules():
        if isinstance(module, FeedForward) and module.activation in (ACTIVATIONS["gelu_tanh"], ACTIVATIONS["gelu"]):
            module.activation = lambda x: F.gelu(x.half().float(), approximate="tanh").half().float()
    return model


class Runner:
    """A file open in llama.cpp, with a cache in float32."""

    def __init__(self, path: Path, window: int) -> None:
        self._llama = llama_cpp.Llama(
            str(path), n_ctx=window, n_threads=1, n_threads_batch=1, logits_all=True, type_k=0, type_v=0, verbose=False
        )

    def logits(self, ids: list[int]) -> np.ndarray:
        """(T, V) of ids that follow those before."""
        before = self._llama.n_tokens
        self._llama.eval(ids)
        found: np.ndarray = self._llama.scores[before : before + len(ids)].copy()
        return found

    def greedy(self, ids: list[int], count: int) -> list[int]:
        """The best ``count`` tokens after ids, one at a time."""
        self._llama.reset()
        found: list[int] = []
        for _ in range(count):
            found.append(int(self.logits(found[-1:] or ids)[-1].argmax()))
        return found

    def close(self) -> None:
        self._llama.close()


@pytest.fixture
def run() -> Iterator[Callable[[Path, int], Runner]]:
    """Opens files and closes them afterwards."""
    with ExitStack() as stack:

        def start(path: Path, window: int) -> Runner:
            runner = Runner(path, window)
            stack.callback(runner.close)
            return runner

        yield start


def our_logits(model: AnyModel, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model(torch.tensor([ids]))[0][0].numpy()
    return found


def our_greedy(model: AnyModel, ids: list[int], count: int) -> list[int]:
    found: list[int] = []
    for _ in range(count):
        found.append(int(our_logits(model, ids + found)[-1].argmax()))
    return found


IDS = [int(number) for number in np.random.default_rng(3).integers(3, VOCABULARY - 2, 24)]


@pytest.mark.parametrize("case", CONFIGS)
def test_llama_cpp_agrees_in_float32(tmp_path: Path, case: str, run: Callable[[Path, int], Runner]) -> None:
    path = tmp_path / "x.gguf"
    model = as_llama_cpp_computes(exported(path, case, "f32"))
    ours, runner = our_logits(model, IDS), run(path, 64)
    assert abs(runner.logits(IDS) - ours).max() < 1e-4 * abs(ours).max()
    assert runner.greedy(IDS, 12) == our_greedy(model, IDS, 12)


@pytest.mark.parametrize("case", CONFIGS)
def test_llama_cpp_agrees_in_float16(tmp_path: Path, case: str, run: Callable[[Path, int], Runner]) -> None:
    """Its products of float16 weights round the other side to float16 too, hence the wider bound."""
    path = tmp_path / "x.gguf"
    exported(path, case, "f16")
    model = as_llama_cpp_computes(reopened(path))
    ours, runner = our_logits(model, IDS), run(path, 64)
    assert abs(runner.logits(IDS) - ours).max() < 5e-3 * abs(ours).max()
    assert runner.greedy(IDS, 12) == our_greedy(model, IDS, 12)


@pytest.mark.parametrize("case", [case for case in CONFIGS if "," not in case])
def test_tied_or_not_llama_cpp_opens_it(tmp_path: Path, case: str, run: Callable[[Path, int], Runner]) -> None:
    """The other way than above; Gemma's output embedding is the input embedding always."""
    path, (architecture, fields) = tmp_path / "x.gguf", CONFIGS[case]
    model = random_model(ModelConfig(**BASE | fields | {"tied": not fields.get("tied", True)}))
    family = FAMILIES.get(architecture)
    if architecture.startswith("gemma"):
        with pytest.raises(UsageError, match="tied"):
            gguf_metadata(model.config, architecture)
        return
    write_gguf_parts(path, model, vocabulary(), "f32", family=family)
    ours = our_logits(as_llama_cpp_computes(model), IDS)
    assert abs(run(path, 64).logits(IDS) - ours).max() < 1e-4 * abs(ours).max()


@pytest.mark.parametrize(("kind", "file_type"), [("Q4_K", 15), ("Q5_K", 17), ("Q6_K", 18)])
def test_what_llama_cpp_quantizes_opens_here(
    tmp_path: Path, kind: str, file_type: int, run: Callable[[Path, int], Runner]
) -> None:
    """It also rounds what weights are multiplied with to eight bits, so that logits are near, not equal."""
    full, small = tmp_path / "full.gguf", tmp_path / "small.gguf"
    sizes = {"d_model": 256, "n_heads": 4, "n_kv_heads": 2, "d_ff": 512, "tied": False}
    write_gguf_parts(full, random_model(ModelConfig(**BASE | sizes)), vocabulary(), "f32")
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = file_type, 1
    assert llama_cpp.llama_model_quantize(str(full).encode(), str(small).encode(), ctypes.byref(settings)) == 0
    file = open_gguf(small)
    assert kind in {file.kind(name) for name in file.names()}
    ours, theirs = our_logits(reopened(small), IDS), run(small, 64).logits(IDS)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.998
    assert np.corrcoef(our_logits(reopened(full), IDS).ravel(), theirs.ravel())[0, 1] < 0.9999  # it did quantize


def test_an_encoders_embedding_is_llama_cpps(tmp_path: Path) -> None:
    model = random_model(ModelConfig(**BASE | BERT))
    assert isinstance(model, TaskModel)
    path = tmp_path / "x.gguf"
    write_gguf_parts(path, model, word_pieces(), "f32")
    llama = llama_cpp.Llama(str(path), embedding=True, n_ctx=64, n_threads=1, n_threads_batch=1, verbose=False)
    theirs = np.array(llama.embed("w5 w7 w9 w5", normalize=False))
    llama.close()
    with torch.no_grad():
        ours = as_llama_cpp_computes(model).pooled(model(torch.tensor([[1, 5, 7, 9, 5, 2]])))[0].numpy()
    assert abs(theirs - ours).max() < 1e-4 * abs(ours).max()


def word_pieces() -> dict[str, Any]:
    """BERT's kind of vocabulary: words begin with a mark."""
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"\u2581w{number}" for number in range(4, VOCABULARY))]
    ids = {"padding": 0, "cls": 1, "bos": 1, "seperator": 2, "eos": 2, "unknown": 3}
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, 3, 2, *[1] * (len(tokens) - 4)],
        **{f"tokenizer.ggml.{name}_token_id": number for name, number in ids.items()},
    }
