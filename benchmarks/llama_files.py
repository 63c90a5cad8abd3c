"""Random LLaMA weights on disk for both sides of ``decode.py`` and ``serve.py``: our safetensors, and GGUF."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.core.progress import say
from seedbed.models.config import ModelConfig

FILE_TYPES = {"q8_0": 7, "q4_0": 2}
"""llama.cpp's ``llama_ftype``."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Of the made-up vocabulary, what a text is read as: each letter is a token."""
END = 2
"""The token that ends a reply in the made-up vocabulary."""


def write_seedbed(config: ModelConfig, scheme: str, folder: Path) -> None:
    """``<scheme>.safetensors`` with random weights, unless it is there."""
    from seedbed.models.decoder import Decoder
    from seedbed.models.store import save_weights
    from seedbed.transform.quantize import quantize

    path = folder / f"{scheme}.safetensors"
    if path.exists():
        return
    say(f"writing {path.name}")
    model = Decoder(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0, 0.02)
    quantize(model, scheme)
    save_weights(model, path)


def write_gguf(config: ModelConfig, kind: str, folder: Path) -> None:
    """``<kind>.gguf`` as llama.cpp's own quantizer writes it, unless it is there."""
    path, full = folder / f"{kind}.gguf", folder / "f16.gguf"
    if path.exists():
        return
    say(f"writing {path.name}")
    import llama_cpp as api

    if not full.exists():
        _write_full(config, full)
    settings = api.llama_model_quantize_default_params()
    settings.ftype, settings.nthread = FILE_TYPES[kind], 2
    if api.llama_model_quantize(str(full).encode(), str(path).encode(), ctypes.byref(settings)) != 0:
        raise RuntimeError(f"llama.cpp could not quantize {full}")


def _write_full(config: ModelConfig, path: Path) -> None:
    import gguf

    writer: Any = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(config.max_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    _add_vocabulary(writer, config.vocab_size)
    for name, shape in _tensors(config):
        writer.add_tensor(name, _random(shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, size: int) -> None:
    """Unknown, begin, end, the letters, and words that no text is read as: their halves are no tokens."""
    import gguf

    tokens = ["<unk>", "<s>", "</s>", *LETTERS]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    tokens += [f"w{token}," for token in range(len(tokens), size)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * (size - len(kinds))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(False)


def _random(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    return (np.random.default_rng(0).standard_normal(shape, dtype=np.float32) * 0.02).astype(np.float16)


def _tensors(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, kv, hidden = config.d_model, config.kv_heads * config.head_size, config.hidden
    yield "token_embd.weight", (config.vocab_size, width)
    for layer in range(config.n_layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (width,)
        yield f"{block}.attn_q.weight", (width, width)
        yield f"{block}.attn_k.weight", (kv, width)
        yield f"{block}.attn_v.weight", (kv, width)
        yield f"{block}.attn_output.weight", (width, width)
        yield f"{block}.ffn_norm.weight", (width,)
        yield f"{block}.ffn_gate.weight", (hidden, width)
        yield f"{block}.ffn_up.weight", (hidden, width)
        yield f"{block}.ffn_down.weight", (width, hidden)
    yield "output_norm.weight", (width,)
    if not config.tied:
        yield "output.weight", (config.vocab_size, width)
