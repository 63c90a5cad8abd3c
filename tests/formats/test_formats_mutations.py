"""Thousands of damaged files: each opens or is refused as a SeedbedError, in a process that may take little memory.

``SEEDBED_MUTATIONS`` sets how many of each kind the slow test makes, ``SEEDBED_SEED`` from which seed.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import quants
from gguf_models import BASE, CONFIGS, random_model
from mutations import KINDS, Found, mutate, random_tensors
from safetensors.torch import save

from seedbed.formats.gguf.model import write_gguf_model
from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Inexpressible
from seedbed.models.families.registry import FAMILIES
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

COUNT, SEED = int(os.environ.get("SEEDBED_MUTATIONS", "12000")), int(os.environ.get("SEEDBED_SEED", "1"))
BATCH = 2000
TEXTS = ["some text about seeds and trees"] * 3
TEMPLATE = """{%- set ns = namespace(system='') %}{{- bos_token }}
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- set ns.system = message['content'] | trim %}
{%- elif '</think>' in message.content %}{{- message.content.split('</think>')[-1].lstrip('\\n') }}
{%- else %}{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | tojson + '<|im_end|>' }}{%- endif %}
{%- endfor %}{%- macro out(text) %}{{ text[:3] ~ "%5d" | format(text | length) }}{%- endmacro %}{{ out('abc') }}
{%- if add_generation_prompt %}{% generation %}{{- '<|im_start|>assistant\\n' }}{% endgeneration %}{%- endif %}"""


def safetensors_file(folder: Path) -> int:
    whole = save(random_tensors(), {"format": "pt"})
    (folder / "whole").write_bytes(whole)
    return 8 + struct.unpack("<Q", whole[:8])[0]


def gguf_file(folder: Path) -> int:
    path = folder / "whole"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_uint32("general.alignment", 32)
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.add_token_list([f"token {i}" for i in range(20)])
    writer.add_token_scores([float(i) for i in range(20)])
    writer.add_array("flags", [True, False])
    writer.add_chat_template("{{ messages }}")
    random_numbers = np.random.default_rng(0)
    writer.add_tensor("plain", random_numbers.standard_normal((3, 5), dtype=np.float32))
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.BF16):
        rows = random_numbers.standard_normal((2, 64), dtype=np.float32)
        writer.add_tensor(kind.name, quants.quantize(rows, kind), raw_dtype=kind)
    for kind in (gguf.GGMLQuantizationType.Q4_K, gguf.GGMLQuantizationType.Q6_K):
        block = random_numbers.integers(0, 256, (2, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
        writer.add_tensor(kind.name, block, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.stat().st_size - 1500


def model_file(folder: Path) -> int:
    """Write a whole model, whose metadata must fit its tensors."""
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(vocab_size=270))
    config = ModelConfig(**BASE | CONFIGS["llama 3.1's scaling"][1] | {"vocab_size": tokenizer.vocab_size})
    write_gguf_model(folder / "whole", random_model(config), tokenizer, "f16")
    return (folder / "whole").read_bytes().index(b"output_norm.weight")  # in the list of tensors


def tokenizer_file(folder: Path) -> int:
    train_tokenizer(TEXTS, TokenizerSettings(vocab_size=270)).save(folder)
    table = json.loads((folder / "tokenizer.json").read_text())
    table["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "NFKC"},
            {"type": "Prepend", "prepend": "a"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
        ],
    }
    end = table["added_tokens"][1]
    table["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": end["content"], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {end["content"]: {"id": end["content"], "ids": [end["id"]], "tokens": [end["content"]]}},
    }
    (folder / "tokenizer.json").unlink()
    (folder / "whole").write_text(json.dumps(table))
    return (folder / "whole").stat().st_size


def config_file(folder: Path) -> int:
    """Write a configuration with the entries of every family that can say it, and scaled positions; Llama's count."""
    config = ModelConfig(**BASE | CONFIGS["llama 3.1's scaling"][1] | {"vocab_size": 270})
    entries: dict[str, object] = {}
    for family in reversed(FAMILIES):
        try:
            entries |= family.publish(config)
        except Inexpressible:
            continue
    (folder / "whole").write_text(json.dumps(entries))
    return (folder / "whole").stat().st_size


def template_file(folder: Path) -> int:
    (folder / "whole").write_text(TEMPLATE)
    return len(TEMPLATE)


FILES: dict[str, Callable[[Path], int]] = {
    "safetensors": safetensors_file,
    "gguf": gguf_file,
    "model": model_file,
    "tokenizer": tokenizer_file,
    "config": config_file,
    "template": template_file,
}


def mutations(kind: str, folder: Path, count: int, seed: int, seconds: float = 1e9) -> Found:
    """Read mutations in batches, until there are so many or so much time is over."""
    header, found, started = FILES[kind](folder), Found(), time.monotonic()
    for first in range(0, count, BATCH):
        if time.monotonic() - started < seconds:
            found.add(mutate(kind, folder / "whole", header, first, min(BATCH, count - first), seed))
    return found


def check(found: Found) -> None:
    count = found.outcomes.total()
    assert found.unexpected[:5] == []
    refused = sum(number for outcome, number in found.outcomes.items() if outcome.endswith("Error"))
    assert refused > count / 4  # the damage reaches what is checked
    assert found.outcomes["read"] > count / 100


@pytest.mark.parametrize("kind", list(KINDS))
def test_damaged_files_are_refused_or_opened(tmp_path: Path, kind: str) -> None:
    check(mutations(kind, tmp_path, 500, 0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_many_damaged_files(tmp_path: Path, kind: str) -> None:
    found = mutations(kind, tmp_path, COUNT, SEED)
    print(kind, SEED, dict(found.outcomes))
    check(found)
