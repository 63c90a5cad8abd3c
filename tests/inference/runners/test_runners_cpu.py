"""The kernel's runner against the PyTorch decoder, and against itself cut and batched otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from seedbed.core.errors import CorruptError
from seedbed.inference.engine import Engine
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request
from seedbed.inference.runner import BLOCK, TokenChunk
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.kernel.library import library
from seedbed.models.decoder import Decoder
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.lora import LowRank
from seedbed.nn.position import RopeScaling
from seedbed.transform.quantize import quantize

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
GPT2: dict[str, Any] = {
    "norm": "layer", "norm_eps": 1e-5, "mlp": "plain", "activation": "gelu_tanh", "position": "learned",
    "qkv_bias": True, "out_bias": True, "mlp_bias": True, "n_kv_heads": None,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "default": {"qk_norm": True},
    "llama": {"tied": False, "vocab_size": 77, "n_heads": 8, "n_kv_heads": 1},
    "gpt2": GPT2,
    "gpt1": {**GPT2, "norm_place": "post", "final_norm": False, "activation": "gelu"},
    "sliding": {"mixers": ("sliding", "attention"), "window": 23, "rope_share": 0.5, "embedding_norm": True},
    "wide heads": {"head_dim": 24, "activation": "relu2", "d_ff": 50},
    "no feed-forward": {"mlp": "none", "position": "none", "n_kv_heads": None},
    "relu": {"mlp": "plain", "activation": "relu", "qk_norm": True, "norm": "layer"},
    "sandwich": {
        "norm_place": "sandwich", "norm": "rms1", "mixers": ("sliding", "attention"), "window": 23,
        "rope_theta_local": 100.0, "rope_scaling": RopeScaling("linear", 8.0), "qk_norm": True, "embedding_scale": 8.0,
        "attention_cap": 2.0, "attention_scale": 0.4, "logit_cap": 3.0, "activation": "gelu_tanh", "vocab_size": 77,
    },
    "alibi": {
        **GPT2, "position": "alibi", "n_heads": 6, "n_kv_heads": 3, "head_dim": 12, "embedding_norm": True,
        "mixers": ("attention", "sliding"), "window": 40,
    },
    "parallel": {**GPT2, "position": "rope", "norm_place": "parallel", "rope_share": 0.5, "tied": False},
    "shared": {
        **GPT2, "position": "rope", "norm_place": "shared", "tied": False, "head_bias": True, "vocab_size": 77,
        "logit_scale": 0.3, "activation": "gelu_quick",
    },
    "offset": {**GPT2, "position_offset": 2, "activation": "tanh"},
    "sinusoids": {**GPT2, "position": "sinusoidal", "embedding_scale": 8.0},
    "experts": {"experts": ExpertsConfig(7, 3, 90), "dense_layers": (0,), "d_ff": 50},
    "experts beside": {
        "experts": ExpertsConfig(5, 2, renormalize=False), "norm_place": "parallel", "mlp": "plain",
        "activation": "gelu", "attention_cap": 5.0, "position": "alibi",
    },
}  # fmt: skip
LENGTH = 150


@pytest.fixture
def small(make_decoder: Callable[..., Decoder]) -> Callable[..., Decoder]:
    def make(**changes: Any) -> Decoder:
        model = make_decoder(**{"d_model": 64, **changes})
        for name, parameter in model.named_parameters():
            parameter.data.mul_(0.3)
            if "norm" in name and name.endswith("weight"):
                parameter.data.add_(1.0)
        return model

    return make


def tokens_of(model: Decoder, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(model.config.vocab_size, (LENGTH,), generator=generator).tolist()


def whole(runner: CpuRunner, tokens: list[int]) -> Tensor:
    return runner.forward([TokenChunk(tokens, 0, [2, 0, 1], len(tokens), 0)]).logits.clone()


@pytest.mark.parametrize("family", list(FAMILIES))
def test_logits_are_the_decoders(small: Callable[..., Decoder], family: str) -> None:
    torch.set_num_threads(2)
    model = small(**FAMILIES[family])
    tokens = tokens_of(model)
    with torch.no_grad():
        expected = model(torch.tensor([tokens]))[0][0]
        hidden = model.hidden(torch.tensor([tokens]))[0][0]
    runner = CpuRunner(model)
    rows = runner.forward([TokenChunk(tokens, 0, [2, 0, 1], len(tokens), 0)])
    scale = float(expected.abs().max())
    assert (rows.logits - expected).abs().max() < 1e-5 * scale
    assert rows.best == rows.logits.argmax(-1).tolist()
    torch.testing.assert_close(torch.tensor(rows.logsumexp), expected.logsumexp(-1), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(runner.hidden(tokens), hidden, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("quantization", [None, "int8", "int4", "int8-row"])
@pytest.mark.parametrize("family", ["default", "gpt2", "sliding", "llama", "sandwich", "experts", "experts beside"])
def test_a_sequence_cut_and_batched_otherwise_has_the_same_bits(
    small: Callable[..., Decoder], family: str, quantization: str | None
) -> None:
    torch.set_num_threads(2)
    model = small(**FAMILIES[family])
    if quantization:
        quantize(model, quantization)
    runner, choose = CpuRunner(model, 2**24), random.Random(1)
    tokens, other = tokens_of(model), tokens_of(model, seed=1)
    expected = whole(runner, tokens)
    at, beside, parts = 0, 0, []
    while at < LENGTH:
        count = min(choose.choice([1, 1, 2, 3, 5, 8, 17, 40]), LENGTH - at)
        more = min(choose.choice([1, 2, 7, 30]), LENGTH - beside)
        chunks = [TokenChunk(tokens[at : at + count], at, [4, 3, 7], count, 0)]
        if more:
            chunks.append(TokenChunk(other[beside : beside + more], beside, [8, 5, 9], 1, 1))
        last = choose.random() < 0.5
        logits = runner.forward(chunks[::-1] if last else chunks).logits
        parts.append((logits[-count:] if last else logits[:count]).clone())
        at, beside = at + count, beside + more
    assert torch.equal(torch.cat(parts), expected)


def test_a_model_in_half_precision_is_computed_in_float32(small: Callable[..., Decoder]) -> None:
    model = small(**FAMILIES["alibi"]).bfloat16()
    tokens = tokens_of(model)
    found = whole(CpuRunner(model), tokens)
    with torch.no_grad():
        expected = model.float()(torch.tensor([tokens]))[0][0]
    assert (found - expected).abs().max() < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_a_quantized_model_is_the_decoders(small: Callable[..., Decoder], quantization: str) -> None:
    """The last bits of activations differ, so a few round the other way: by one of 127 steps of a group."""
    model = small(**FAMILIES["default"])
    quantize(model, quantization)
    tokens = tokens_of(model)
    with torch.no_grad():
        expected = model(torch.tensor([tokens]))[0][0]
    difference = (whole(CpuRunner(model), tokens) - expected).abs() / expected.abs().max()
    assert difference.max() < 0.05
    assert difference.median() < 1e-5


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        ("default", ("feedforward.gate", "feedforward.down")),
        ("sandwich", ("feedforward.up", "feedforward.down")),
        ("experts", ("feedforward.experts.2.gate", "feedforward.experts.5.down", "feedforward.router")),
    ],
)
def test_adapters_add_to_the_layers_of_their_rows_alone(
    small: Callable[..., Decoder], family: str, parts: tuple[str, ...]
) -> None:
    model = small(**FAMILIES[family])
    generator = torch.Generator().manual_seed(3)
    adapter = {}
    attention = ("blocks.0.mixer.q", "blocks.1.mixer.v", "blocks.0.mixer.out")
    for path in (*attention, *(f"blocks.1.{part}" for part in parts)):
        n, k = model.get_submodule(path).weight.shape  # type: ignore[union-attr, misc]
        pair = torch.randn(4, k, generator=generator) * 0.1, torch.randn(n, 4, generator=generator) * 0.1
        adapter[path] = LowRank(*pair, scale=0.5)
    tokens = tokens_of(model)
    plain = whole(CpuRunner(model), tokens)
    runner = CpuRunner(model, 2**24, {"tuned": adapter})
    rows = runner.forward(
        [TokenChunk(tokens, 0, [0, 1, 2], LENGTH, 0), TokenChunk(tokens, 0, [3, 4, 5], LENGTH, 1, "tuned")]
    )
    assert torch.equal(rows.logits[:LENGTH], plain)
    with torch.no_grad():
        for path, part in adapter.items():
            model.get_submodule(path).weight += part.scale * part.up @ part.down  # type: ignore[operator]
        merged = model(torch.tensor([tokens]))[0][0]
    assert (rows.logits[LENGTH:] - merged).abs().max() < 1e-5 * float(merged.abs().max())
    assert (merged - plain).abs().max() > 0.1


@pytest.mark.parametrize("family", ["llama", "experts", "sandwich"])
@pytest.mark.parametrize("temperature", [0, 1])
def test_a_request_whose_numbers_overflow_fails_alone(
    small: Callable[..., Decoder], temperature: int, family: str
) -> None:
    model = small(**{**FAMILIES[family], "tied": False})
    model.embedding.weight.data[7] = float("nan")
    engine = Engine(CpuRunner(model, 2**24), [7])
    sampling = Sampling(temperature=temperature, max_tokens=5, logit_bias=((7, -100.0),))
    engine.add(Request("sound", [1, 2, 3], sampling))
    engine.add(Request("poisoned", [1, 7], Sampling(temperature=temperature, max_tokens=5)))
    events = []
    while not engine.idle:
        events += engine.step()
    assert [type(event.error) for event in events if event.request_id == "poisoned"] == [CorruptError]
    assert len([event.token for event in events if event.request_id == "sound" and event.token]) == 5


def test_a_window_that_no_memory_holds_is_cut_to_what_fits(
    make_decoder: Callable[..., Decoder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A published window of a million positions on a machine of 4 MB: what is within reach answers as ever."""
    short, long = (make_decoder(max_length=length, position="rope") for length in (256, 1_000_000))
    long.load_state_dict(short.state_dict())
    expected = CpuRunner(short)
    size = 4 * expected.width
    monkeypatch.setattr("seedbed.inference.runners.cpu.memory_bytes", lambda: 4 * size * 3)
    runner = CpuRunner(long)
    assert (runner.max_length, runner.block_count) == (3 * BLOCK, 3)
    assert "is cut from 1,000,000 to 192 tokens" in capsys.readouterr().err
    tokens = list(range(20))
    assert torch.equal(runner.hidden(tokens), expected.hidden(tokens))
