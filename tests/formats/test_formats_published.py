"""Published folders into the library and out again: weights, tokenizer, configuration, precision, memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from seedbed.chat.local import continue_text
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.formats.exporting import export_huggingface, load_for_export
from seedbed.formats.importing import import_model
from seedbed.inference.engine_client import make_client
from seedbed.inference.parameters import Sampling
from seedbed.models.store import load_any, load_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

TOKENIZER = train_tokenizer(["seeds in a bed of seeds"] * 4, TokenizerSettings(kind="byte"))
SHAPE = {
    "vocab_size": TOKENIZER.vocab_size + 7, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 20,
    "bos_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


def published(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A random LLaMA with more rows than tokens, as many published models have."""
    torch.manual_seed(3)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).to(dtype).eval()
    model.save_pretrained(folder)
    TOKENIZER.save(folder)
    return model


def test_what_is_imported_writes_the_same_and_is_exported_the_same(tmp_path: Path) -> None:
    theirs = published(tmp_path / "llama")
    library = Library(tmp_path / "home")
    artifact = import_model(library, tmp_path / "llama", "tiny", source={"repo": "a/b"}, licence="mit")
    assert (library.get("tiny").id, artifact.manifest.licence) == (artifact.id, "mit")
    assert artifact.manifest.config["source"] == {"repo": "a/b"}
    loaded = load_model(artifact)
    ids = TOKENIZER.encode("seeds in a")
    without = {"eos_token_id": None, "suppress_tokens": list(range(TOKENIZER.vocab_size, theirs.config.vocab_size))}
    expected = theirs.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False, **without)[0, len(ids) :]
    sampling = Sampling(temperature=0, max_tokens=20, ignore_end=True)
    written = [piece.token.id for piece in continue_text(loaded, ids, sampling, make_client(loaded, fast=False))]
    assert written == expected.tolist()
    export_huggingface(load_for_export(artifact), tmp_path / "out")
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(back(torch.tensor([ids])).logits, theirs(torch.tensor([ids])).logits)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    assert tokenizer.encode("seeds in a", add_special_tokens=False) == ids
    with pytest.raises(UsageError, match="not empty"):
        export_huggingface(load_for_export(artifact), tmp_path / "out")


def test_precision_is_kept_and_files_are_the_same(tmp_path: Path) -> None:
    published(tmp_path / "llama", torch.bfloat16)
    artifact = import_model(Library(tmp_path / "home"), tmp_path / "llama", "tiny")
    assert next(load_any(artifact, dtype="stored").model.parameters()).dtype == torch.bfloat16
    assert next(load_any(artifact).model.parameters()).dtype == torch.float32
    export_huggingface(load_for_export(artifact), tmp_path / "out")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("llama", "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"


def test_unused_tensors_are_said_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(tmp_path / "llama")
    path = tmp_path / "llama" / "model.safetensors"
    save_file(load_file(path) | {"vision.weight": torch.ones(2)}, path)
    artifact = import_model(Library(tmp_path / "home"), tmp_path / "llama", "tiny")
    assert artifact.manifest.config["unused"] == ["vision.weight"]
    assert "not part of a decoder, and left out: vision.weight" in capsys.readouterr().err


def test_a_model_without_a_tokenizer_needs_one(tmp_path: Path) -> None:
    published(tmp_path / "llama")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "llama" / name).rename(tmp_path / name)
    library = Library(tmp_path / "home")
    with pytest.raises(UsageError, match="without a tokenizer"):
        import_model(library, tmp_path / "llama", "tiny")
    assert library.all() == []
    assert import_model(library, tmp_path / "llama", "tiny", tokenizer=tmp_path).kind == "model"


_PEAK = """
import sys, re, torch
from pathlib import Path
from seedbed.formats.importing import open_published
from seedbed.formats.published import load_published
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
published = open_published(Path(sys.argv[1]))
before = peak()
model, _ = load_published(published, torch.float32)
size = sum(p.numel() * 4 for p in model.parameters())
print(peak() - before, size, max(p.numel() * 4 for p in model.parameters()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_loading_needs_the_model_and_one_tensor(tmp_path: Path) -> None:
    """bfloat16 on disk, float32 in memory."""
    torch.manual_seed(0)
    shape = {**SHAPE, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 12}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape)).bfloat16()
    model.save_pretrained(tmp_path)
    del model
    TOKENIZER.save(tmp_path)
    done = subprocess.run([sys.executable, "-c", _PEAK, str(tmp_path)], capture_output=True, text=True, check=True)
    used, size, largest = map(int, done.stdout.split())
    assert size > 4e8
    assert used < size + 2.5 * largest  # one tensor in each precision, and the interpreter's own growth
