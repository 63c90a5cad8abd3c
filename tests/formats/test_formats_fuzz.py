"""Thousands of damaged files: each opens or is refused as a SeedbedError, in a process that may take little memory.

The file is also the program of that process: ``python test_io_fuzz.py KIND COUNT SEED FOLDER``.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import quants
from safetensors.torch import save

from seedbed.core.errors import SeedbedError
from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.model import write_gguf_model
from seedbed.formats.importing import open_published
from seedbed.formats.published import load_published
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.config import ModelConfig
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

ROOM = 64 * 2**20
"""Bytes of memory beyond what the imports take; the files have a few thousand."""
EXTREME = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]


def safetensors_file(folder: Path) -> tuple[bytes, int]:
    tensors = {f"layer.{i}.weight": torch.randn(4, i + 1).to(dtype) for i, dtype in enumerate((torch.float32,) * 3)}
    whole = save({**tensors, "half": torch.ones(8, dtype=torch.bfloat16), "ids": torch.arange(3)}, {"format": "pt"})
    return whole, 8 + struct.unpack("<Q", whole[:8])[0]


def gguf_file(folder: Path) -> tuple[bytes, int]:
    path = folder / "whole.gguf"
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
    return path.read_bytes(), path.stat().st_size - 1500


def model_file(folder: Path) -> tuple[bytes, int]:
    """A whole model, whose metadata must fit its tensors."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "shared"))
    from gguf_models import BASE, CONFIGS, random_model

    tokenizer = train_tokenizer(["some text about seeds and trees"] * 3, TokenizerSettings(vocab_size=270))
    config = ModelConfig(**BASE | CONFIGS["llama 3.1's scaling"][1] | {"vocab_size": tokenizer.vocab_size})
    write_gguf_model(folder / "whole.gguf", random_model(config), tokenizer, "f16")
    whole = (folder / "whole.gguf").read_bytes()
    return whole, whole.index(b"output_norm.weight")  # in the list of tensors


FILES = {"safetensors": safetensors_file, "gguf": gguf_file, "model": model_file}


def damage(data: bytes, header: int, rng: random.Random) -> bytes:
    """One mutation, most of them within the first ``header`` bytes."""
    changed = bytearray(data)
    place = rng.randrange(header)
    kind = rng.randrange(7)
    if kind == 0:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(header)] = rng.randrange(256)
    elif kind == 1:
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        del changed[rng.randrange(len(data)) :]
    elif kind == 3:
        form = rng.choice("IQ")
        value = rng.choice([*EXTREME, len(data) - place, len(data), rng.randrange(2**16)])
        changed[place : place + struct.calcsize(form)] = struct.pack(
            f"<{form}", value % 2 ** (8 * struct.calcsize(form))
        )
    elif kind == 4:  # a piece of the header somewhere else
        start = rng.randrange(header)
        changed[place:place] = data[start : start + rng.randint(1, 200)]
    elif kind == 5:
        del changed[place : place + rng.randint(1, 100)]
    else:  # another number where the text has one, as JSON does
        digits = [found.span() for found in re.finditer(rb"\d+", data[8:header])]
        start, stop = rng.choice(digits) if digits else (0, 0)
        changed[8 + start : 8 + stop] = str(rng.choice([*EXTREME, -1, 1.5, 3])).encode()
        if rng.random() < 0.7:  # and the length to go with it
            changed[:8] = struct.pack("<Q", header - 8 + len(changed) - len(data))
    return bytes(changed)


def read_all(path: Path) -> None:
    if path.suffix == ".model":
        load_published(open_published(path.rename(path.with_suffix(".gguf"))))
    elif path.suffix == ".gguf":
        opened = open_gguf(path)
        for value in opened.metadata.values():
            repr(value)[:10]
        for name in opened.names():
            assert opened.read(name).shape == opened.shape(name)
    else:
        checkpoint = open_safetensors(path)
        for name in checkpoint.names():
            assert checkpoint.read(name).shape == checkpoint.shape(name)


def limit_memory() -> None:
    now = int(re.search(r"VmSize:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, now + ROOM))
    with suppress(MemoryError):  # so would a reader end that trusts a length
        bytearray(ROOM + 2**20)
        raise AssertionError("memory is not limited")


def main(kind: str, count: int, seed: int, folder: Path) -> None:
    whole, header = FILES[kind](folder)
    path = folder / f"damaged.{kind}"
    path.write_bytes(whole)
    read_all(path)
    limit_memory()
    refused: dict[str, int] = {}
    for number in range(count):
        path.write_bytes(damage(whole, header, random.Random(f"{kind} {seed} {number}")))
        try:
            read_all(path)
            outcome = "opened"
        except SeedbedError as error:
            outcome = type(error).__name__ if error.what and error.why and error.fix else "silent"
        except BaseException as error:
            raise AssertionError(f"mutation {number} of seed {seed}: {type(error).__name__}") from error
        refused[outcome] = refused.get(outcome, 0) + 1
    print(json.dumps(refused))


def fuzz(kind: str, count: int, seed: int, folder: Path) -> dict[str, int]:
    command = [sys.executable, __file__, kind, str(count), str(seed), str(folder)]
    paths = os.pathsep.join(filter(None, sys.path))  # tests/shared, for the child
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes: dict[str, int] = json.loads(done.stdout)
    return outcomes


def check(outcomes: dict[str, int], count: int) -> None:
    assert sum(outcomes.values()) == count
    assert "silent" not in outcomes
    assert outcomes["CorruptError"] > count / 4  # the damage reaches what is checked
    assert outcomes["opened"] > count / 100


@pytest.mark.parametrize("kind", list(FILES))
def test_damaged_files_are_refused_or_opened(tmp_path: Path, kind: str) -> None:
    check(fuzz(kind, 500, 0, tmp_path), 500)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(FILES))
def test_twelve_thousand_damaged_files(tmp_path: Path, kind: str) -> None:
    check(fuzz(kind, 12_000, 1, tmp_path), 12_000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
