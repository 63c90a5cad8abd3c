"""Public tokenizers, published vectors and mixed text for tests; everything from ``$SEEDBED_DATA`` may be absent."""

from __future__ import annotations

import functools
import io
import itertools
import json
import lzma
import os
import random
import sysconfig
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
FOLDER = DATA / "tokenizers"
needs_data = pytest.mark.skipif(not FOLDER.is_dir(), reason="public tokenizers are not here ($SEEDBED_DATA)")
NAMES = ["gpt-2", "starcoder", "llama-spm", "phi-3", "bert-bge"]
SCRIPTS = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x780), (0x900, 0xE00),
           (0xE00, 0x1100), (0x1100, 0x1200), (0x3040, 0x3100), (0x3100, 0x3400), (0x4E00, 0xA000), (0xAC00, 0xD7A4),
           (0xF900, 0xFB00), (0xFB50, 0xFE00), (0xFF00, 0xFFF0), (0x1F300, 0x1FB00), (0x1, 0x20), (0x2000, 0x2100),
           (0x1D400, 0x1D800)]  # fmt: skip
_SOURCES = ["docs-00", "books-00", "simple-00", "textbooks-00"]
_LINE = 2000


@functools.cache
def gguf_metadata(name: str) -> dict[str, Any]:
    """A published vocabulary's metadata."""
    import tempfile

    from seedbed.formats.gguf.file import open_gguf

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        path.write_bytes(lzma.decompress((FOLDER / f"ggml-vocab-{name}.gguf.xz").read_bytes()))
        return dict(open_gguf(path).metadata)


def vectors(name: str) -> list[tuple[str, list[int]]]:
    """Texts with llama.cpp's ids."""
    lines = (FOLDER / "llamacpp_vectors_dev.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["text"], row["ids"]) for row in map(json.loads, lines) if row["tokenizer"] == name]


def gpt2_folder(folder: Path) -> Path:
    """GPT-2's tokenizer as it was published first."""
    (folder / "vocab.json").write_bytes((FOLDER / "gpt2_encoder.json").read_bytes())
    (folder / "merges.txt").write_bytes((FOLDER / "gpt2_vocab.bpe").read_bytes())
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": 1024}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def llama2_folder(folder: Path) -> Path:
    """Llama 2's SentencePiece model."""
    (folder / "tokenizer.model").write_bytes((FOLDER / "llama2_tokenizer.model").read_bytes())
    config = {"tokenizer_class": "LlamaTokenizer", "model_max_length": 4096, "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def bert_folder(folder: Path) -> Path:
    """BERT's vocabulary, as bge has it, in BERT's own spelling."""
    pieces = [_bert_spelling(piece) for piece in gguf_metadata("bert-bge")["tokenizer.ggml.tokens"]]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


def _bert_spelling(piece: str) -> str:
    if piece.startswith("\u2581"):
        return piece[1:]
    return piece if piece[0] == "[" and piece[-1] == "]" and len(piece) > 2 else "##" + piece


def mixed_text(size: int) -> list[str]:
    """About ``size`` bytes: a quarter each of prose, documentation and instructions, Python, and generated Unicode."""
    parts = [_taken(_data_lines(), size // 2), _taken(_python_lines(), size // 4), _taken(unicode_lines(), size // 4)]
    return list(itertools.chain(*parts))


def _taken(lines: Iterator[str], size: int) -> Iterator[str]:
    for line in lines:
        if size <= 0:
            return
        size -= len(line.encode())
        yield line


def _data_lines() -> Iterator[str]:
    """Lines of the public texts in turn."""
    files = [DATA / "pretrain" / f"{name}.jsonl.xz" for name in _SOURCES] + sorted((DATA / "sft").glob("*.jsonl.xz"))
    streams = [_lines_of(path) for path in files if path.is_file()]
    return (line for some in itertools.zip_longest(*streams) for line in some if line)


def _lines_of(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for row in file:
            for value in _strings(json.loads(row)):
                yield from (value[at : at + _LINE] for at in range(0, min(len(value), 5 * _LINE), _LINE))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _python_lines() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="ignore")
        yield from (text[at : at + _LINE] for at in range(0, len(text), _LINE))


def unicode_lines(seed: int = 0) -> Iterator[str]:
    """Without end: runs of one script each, some cut by spaces, some decomposed; emoji, marks, control characters."""
    draw = random.Random(seed)
    while True:
        first, last = draw.choice(SCRIPTS)
        text = "".join(chr(draw.randrange(first, last)) for _ in range(draw.randint(1, 40)))
        if draw.random() < 0.5:
            text = " ".join(text[at : at + draw.randint(1, 5)] for at in range(0, len(text), 3))
        if draw.random() < 0.3:
            text = unicodedata.normalize("NFD", text)
        yield text


def train_sentencepiece(lines: list[str], **options: object) -> bytes:
    """A small model trained by SentencePiece itself."""
    import sentencepiece

    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, minloglevel=2, hard_vocab_limit=False, **options
    )
    return file.getvalue()
