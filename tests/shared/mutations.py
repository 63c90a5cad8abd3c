"""Mutations of files from outside, fed by the thousand to the readers that meet such files, in capped children.

A mutation is known by its kind, seed and number. Each must end well: the file is read, or refused by one of our errors
with all three lines; no other error, no crash, no hang, no more memory than a small file needs.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from gguf import quants  # noqa: F401 (imported before memory is counted)

from seedbed.core.errors import SeedbedError
from seedbed.core.sandbox import Budget, OutOfBudget, run
from seedbed.core.sandboxed import tightened
from seedbed.formats.gguf import tokenizer as gguf_tokenizers
from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.model import model_weights, precision, read_shape
from seedbed.formats.huggingface import tokenizer as folder_tokenizers
from seedbed.formats.huggingface.folder import read_json
from seedbed.formats.huggingface.quantization import scaling_of
from seedbed.formats.published import Published, load_published
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.factory import skeleton
from seedbed.models.families.registry import publish, read_published
from seedbed.tokenizers import template_engine

ROOM = 64 * 2**20
"""Bytes of memory beyond what reading the whole file took; the files have some thousand bytes."""
SECONDS = 0.1  # of a batch, for each mutation; and ten
EXTREME = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1]
VALUES = [None, True, False, -1, 0.5, 1e308, "", "a", "\0", [], [[]], {}, {"": {}}, *EXTREME, 10**30, "a" * 5000]
CHAT = [{"role": "user", "content": "Hi <|im_end|> 12?"}, {"role": "assistant", "content": "</think> yes"}]


@dataclass
class Found:
    """Counts of a batch's outcomes, and what should not have been: a mutation's number and its end."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unexpected: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Found) -> None:
        self.outcomes += other.outcomes
        self.unexpected += other.unexpected


def damaged_bytes(data: bytes, header: int, rng: random.Random) -> bytes:
    """One mutation of a binary file, most of them within the first ``header`` bytes."""
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


def damaged_json(data: bytes, header: int, rng: random.Random) -> bytes:
    """One mutation of a JSON file: of its members for the most part, else of its bytes."""
    if rng.random() < 0.15:
        return damaged_bytes(data, header, rng)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        holder, key = rng.choice(list(_members(value)))
        others = [one[at] for one, at in _members(value)]
        kind = rng.randrange(6)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice([f"{key}s", "type", "id", ""])] = holder.pop(key)
        elif kind == 2:  # a graft
            holder[key] = json.loads(json.dumps(rng.choice(others)))
        elif kind == 3 and isinstance(holder[key], list):
            holder[key] = holder[key] * rng.choice((0, 2, 50))
        elif kind == 4:
            for _ in range(rng.choice((1, 30, 200))):
                holder[key] = rng.choice(([holder[key]], {"type": "Sequence", "normalizers": [holder[key]]}))
        else:
            holder[key] = json.loads(json.dumps(rng.choice(VALUES)))  # a copy: later mutations go into it
        if not value:
            break
    text = json.dumps(value)
    if rng.random() < 0.02:  # deeper than any stack
        text = text.replace(rng.choice(("1", "true", "null")), "[" * 50_000 + "]" * 50_000, 1)
    return text.encode()


def damaged_text(data: bytes, header: int, rng: random.Random) -> bytes:
    """One mutation of a template: pieces between its marks taken out, doubled, moved or replaced."""
    parts = re.split(r"(\{%-?|-?%\}|\{\{-?|-?\}\}|\W)", data.decode())
    for _ in range(rng.randint(1, 4)):
        place, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        kind = rng.randrange(4)
        if kind == 0:
            parts[place] = ""
        elif kind == 1:
            parts[place] = parts[other]
        elif kind == 2:
            parts[place] *= rng.choice((2, 3, 200))
        else:
            parts[place] = rng.choice(("range(9)", "'a'", "9" * 30, "{%", "}}", "loop", "*", "|", "~", "(", "messages"))
    return "".join(parts).encode()


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield containers with the keys of their members; of long ones the first few and the last."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in [*keys[:12], *keys[12:][-2:]]:
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])


def read_safetensors(path: Path) -> None:
    checkpoint = open_safetensors(path)
    for name in checkpoint.names():
        assert checkpoint.read(name).shape == checkpoint.shape(name)


def read_gguf(path: Path) -> None:
    opened = open_gguf(path)
    for value in opened.metadata.values():
        repr(value)[:10]
    for name in opened.names():
        assert opened.read(name).shape == opened.shape(name)


def read_model(path: Path) -> None:
    """Read a GGUF file as ``read_gguf_model`` does, and its tokenizer without a further child."""
    file = open_gguf(path)
    architecture, config = read_shape(file)
    family, written = publish(config, architecture.published)
    rows = architecture.family.table(config)
    gguf_tokenizers._read(dict(file.metadata))
    load_published(Published(str(path), family, written, config, model_weights(file), rows, precision=precision(file)))


def read_tokenizer(path: Path) -> None:
    tokenizer = folder_tokenizers._read(path.parent)
    for text in ("The cats aren't 12 cats", "e\u0301漢 🌱<|end|>", "  \n"):
        tokenizer.decode(tokenizer.encode(text))


def read_config(path: Path) -> None:
    config = read_json(path)
    scaling_of(config, str(path))
    family, shape = read_published(config)
    skeleton(shape)
    family.table(shape)


def read_template(path: Path) -> None:
    template = path.read_text(encoding="utf-8")
    template_engine.texts_of(template)
    template_engine.variables_of(template)
    template_engine.render(template, CHAT, {"add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"})


@dataclass(frozen=True)
class Kind:
    """A kind of file: its name, the reader, the mutation, and causes that may end its child."""

    name: str
    read: Callable[[Path], None]
    damage: Callable[[bytes, int, random.Random], bytes]
    stopped_by: tuple[str, ...] = ()


KINDS = {
    "safetensors": Kind("damaged.safetensors", read_safetensors, damaged_bytes),
    "gguf": Kind("damaged.gguf", read_gguf, damaged_bytes),
    "model": Kind("damaged.gguf", read_model, damaged_bytes),
    "tokenizer": Kind("tokenizer.json", read_tokenizer, damaged_json),
    "config": Kind("config.json", read_config, damaged_json),
    "template": Kind("chat_template.jinja", read_template, damaged_text, ("seconds", "memory")),  # as in use: it ends
}


def mutate(kind: str, whole: Path, header: int, first: int, count: int, seed: int) -> Found:
    """Read mutations ``first … first + count - 1`` of a file in a child, and halves of them again where it died."""
    order = {"kind": kind, "whole": str(whole), "header": header, "first": first, "count": count, "seed": seed}
    try:
        told = run(f"{__name__}:batch", order, Budget(10 + SECONDS * count, memory_bytes=2**28))
        return Found(Counter(told["outcomes"]), [tuple(one) for one in told["unexpected"]])
    except OutOfBudget as error:
        if error.cause not in ("seconds", "memory", "crash"):
            raise
        if count == 1:
            allowed = error.cause in KINDS[kind].stopped_by
            return Found(Counter({error.cause: 1}), [] if allowed else [(first, str(error))])
    found, half = mutate(kind, whole, header, first, count // 2, seed), count // 2
    found.add(mutate(kind, whole, header, first + half, count - half, seed))
    return found


def batch(kind: str, whole: str, header: int, first: int, count: int, seed: int) -> dict[str, Any]:
    """Read mutations of a file; for the child."""
    data, found, this = Path(whole).read_bytes(), Found(), KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / this.name
        for beside in Path(whole).parent.glob("*config.json"):
            shutil.copy(beside, folder)
        path.write_bytes(data)
        this.read(path)
        with tightened(ROOM):
            for number in range(first, first + count):
                path.write_bytes(this.damage(data, header, random.Random(f"{kind} {seed} {number}")))
                found.outcomes[_outcome(this, path, number, found)] += 1
    return {"outcomes": found.outcomes, "unexpected": found.unexpected[:20]}


def _outcome(kind: Kind, path: Path, number: int, found: Found) -> str:
    try:
        kind.read(path)
    except SeedbedError as error:
        if error.what and error.why and error.fix:
            return type(error).__name__
        found.unexpected.append((number, f"{type(error).__name__} says too little: {error}"))
    except MemoryError:
        if "memory" in kind.stopped_by:
            return "memory"
        found.unexpected.append((number, "MemoryError"))
    except RecursionError as error:
        if kind.stopped_by:  # the sandbox makes it an error of ours
            return "depth"
        found.unexpected.append((number, repr(error)[:300]))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        found.unexpected.append((number, repr(error)[:300]))
    else:
        return "read"
    return "unexpected"


def random_tensors() -> dict[str, torch.Tensor]:
    """Return a few small tensors of several types; the same ones each time, as a seed promises."""
    generator = torch.Generator().manual_seed(0)
    tensors = {f"layer.{i}.weight": torch.randn(4, i + 1, generator=generator) for i in range(3)}
    return {**tensors, "half": torch.ones(8, dtype=torch.bfloat16), "ids": torch.arange(3)}
