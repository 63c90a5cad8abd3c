"""Estimates against counts by hand: parameters read for a token, the cache, verdicts, recommendations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from seedbed.app.fit import RUNTIME, Machine, config_needs, fit, folder_needs, published_needs, recommend
from seedbed.core.errors import CorruptError, UsageError
from seedbed.core.machine import available_bytes, instruction_sets, memory_bytes
from seedbed.models.config import EncoderDecoderConfig, ModelConfig
from seedbed.models.factory import new_model
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.presets import presets
from seedbed.nn.experts import ExpertsConfig

SMALL = {"vocab_size": 100, "d_model": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "d_ff": 48, "max_length": 64}


def test_a_tied_embedding_is_read_and_a_separate_one_is_looked_up() -> None:
    tied, apart = count_parameters(ModelConfig(**SMALL)), count_parameters(ModelConfig(**SMALL, tied=False))
    assert apart.total == tied.total + 100 * 32
    assert tied.read == tied.total
    assert apart.read == apart.total - 100 * 32
    assert (tied.tied, apart.tied) == ({"output.weight": "embedding.weight"}, {})
    assert tied.total == sum(parameter.numel() for parameter in new_model(ModelConfig(**SMALL)).parameters())


def test_only_the_active_experts_are_read() -> None:
    config = ModelConfig(**SMALL, experts=ExpertsConfig(count=8, active=2))
    expert = 3 * 32 * 48  # three matrices of a gated layer
    found = count_parameters(config)
    assert found.read == found.total - 3 * 6 * expert


def test_the_cache_of_grouped_queries_windows_and_recurrence() -> None:
    """Head size 8, two key/value heads: 32 numbers a layer and position."""
    assert count_parameters(ModelConfig(**SMALL)).cached(10) == 3 * 32 * 10
    mixed = ModelConfig(**SMALL, mixers=("sliding", "attention", "lstm"), window=5)
    assert count_parameters(mixed).cached(10) == 32 * 10 + 32 * 5


def test_encoders_and_encoder_decoders() -> None:
    encoder = ModelConfig(**SMALL, causal=False, head="mlm")
    assert not count_parameters(encoder).generates
    both = EncoderDecoderConfig(ModelConfig(**SMALL, causal=False, head="none"), ModelConfig(**SMALL, cross=True))
    found = count_parameters(both)
    assert found.generates
    assert "encoder.embedding.weight" in found.tied
    assert found.read == found.total  # the one table of tokens is the output layer too
    assert found.total == sum(parameter.numel() for parameter in new_model(both).parameters())
    assert fit(config_needs("e", encoder), Machine(10**12, 10**12, 10**12, 1e9), 64)[0].tokens is None


def test_memory_and_speed_by_hand() -> None:
    """float32: 4 bytes a weight, the cache, the largest tensor once more, and the runtime; a token reads the weights
    and half of the cache."""
    needs = config_needs("small", ModelConfig(**SMALL))
    total, cache = needs.parts.total, 4 * 3 * 32 * 64
    row = fit(needs, Machine(10**12, 10**12, 10**12, 5e9), 64)[0]
    assert row.weights_bytes == 4 * total
    assert row.memory_bytes == 4 * total + cache + 4 * 32 * 100 + RUNTIME
    assert row.tokens == pytest.approx(5e9 / (4 * total + cache / 2))
    assert fit(needs, Machine(10**12, 10**12, 10**12, 5e9), 64)[3].weights_bytes == total * 4.5 / 8


@pytest.mark.parametrize(
    ("machine", "verdict"),
    [
        (Machine(10**12, 10**12, 10**12, 1e9), "yes"),
        (Machine(10**12, 10**6, 10**12, 1e9), "if other programs close"),
        (Machine(10**6, 10**6, 10**12, 1e9), "no"),
        (Machine(10**12, 10**12, 10**3, 1e9), "no"),
        (Machine(0, 0, 10**12, 1e9), "unknown"),
    ],
)
def test_verdicts(machine: Machine, verdict: str) -> None:
    rows = fit(config_needs("small", ModelConfig(**SMALL)), machine, 64)
    assert {row.verdict for row in rows} == {verdict}
    assert (recommend(rows) is None) == (verdict == "no")


def test_recommendations() -> None:
    """The most exact one that writes ten tokens a second; else the fastest that fits; a GPU counts."""
    needs = config_needs("gpt2-xl", presets()["gpt2-xl"])  # 6.2, 3.1, 1.7, 0.9 GB

    def best(
        memory: int = 10**11, bandwidth: float = 1e12, gpu_memory: int = 0, gpu_bandwidth: float = 0.0
    ) -> str | None:
        machine = Machine(memory, memory, 10**12, bandwidth, gpu_memory, gpu_bandwidth)
        row = recommend(fit(needs, machine, 1024))
        return row.precision if row else None

    assert best() == "float32"
    assert best(bandwidth=40e9) == "bfloat16"
    assert best(bandwidth=20e9) == "int8"
    assert best(bandwidth=1e9) == "int4"
    assert best(memory=5 * 10**9) == "bfloat16"
    assert best(memory=10**9) is None
    assert best(memory=10**9, gpu_memory=8 * 10**9, gpu_bandwidth=1e12) == "float32"


def test_an_unknown_family_is_estimated_from_the_size_of_its_weights() -> None:
    config = {
        "model_type": "something-new",
        "torch_dtype": "bfloat16",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "hidden_size": 64,
        "vocab_size": 1000,
        "tie_word_embeddings": False,
        "max_position_embeddings": 512,
    }
    needs = published_needs("new", config, 2_000_000)
    assert needs.parts.total == 1_000_000
    assert needs.parts.read == 1_000_000 - 64_000
    assert needs.parts.cached(1) == 2 * 2 * 16
    assert "something-new" in needs.note
    with pytest.raises(UsageError, match="cannot be told"):
        published_needs("new", config | {"torch_dtype": "strange"}, 2_000_000)


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no model"):
        folder_needs(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CorruptError, match="cannot be read"):
        folder_needs(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({}))
    with pytest.raises(UsageError, match="cannot be told"):
        folder_needs(tmp_path)


def test_a_gguf_file_written_by_its_own_package(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    tensors = {"token_embd.weight": (50, 64), "output.weight": (50, 64), "blk.0.attn_q.weight": (64, 64)}
    for name, shape in tensors.items():
        writer.add_tensor(name, torch.zeros(shape).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = folder_needs(tmp_path / "m.gguf").parts
    assert parts.total == 2 * 3200 + 4096
    assert parts.read == 3200 + 4096
    assert parts.cached(3) == 3 * 2 * 2 * 2 * 16
    assert parts.context == 128


def test_the_machine(tmp_path: Path) -> None:
    assert 0 < available_bytes() <= memory_bytes()
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nflags\t\t: fpu avx2 fma avx512f avx512_vnni\n")
    assert instruction_sets(info) == ("AVX2", "FMA", "AVX-512", "AVX-512 VNNI")
    info.write_text("Features : asimd asimddp i8mm\n")
    assert instruction_sets(info) == ("NEON", "NEON dot product", "NEON INT8 matrices")
    assert instruction_sets(tmp_path / "none") == ()
