"""Models on disk: what is saved comes back, and nothing else is accepted."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, UsageError
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model
from seedbed.models.store import load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some text to learn bytes from"], TokenizerSettings(kind="byte"))


def stored(tmp_path: Path, tokenizer: Tokenizer, tied: bool = True) -> tuple[Decoder, Artifact]:
    torch.set_num_threads(1)
    model = Decoder(default_model(2, tokenizer.vocab_size, 16, d_model=32, n_heads=2, n_kv_heads=1, tied=tied))
    model.initialise(3)
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, model, tokenizer)
    return model.eval(), draft.result


@pytest.mark.parametrize("tied", [True, False])
def test_a_stored_model_computes_the_same(tmp_path: Path, tokenizer: Tokenizer, tied: bool) -> None:
    model, artifact = stored(tmp_path, tokenizer, tied)
    loaded = load_model(artifact)
    ids = torch.randint(tokenizer.vocab_size, (2, 9))
    with torch.no_grad():
        assert torch.equal(model(ids)[0], loaded.model(ids)[0])
    assert loaded.model.config == model.config
    assert (loaded.model.output.weight is loaded.model.embedding.weight) == tied
    assert loaded.tokenizer.hash == tokenizer.hash


def test_another_tokenizer_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    _, artifact = stored(tmp_path, tokenizer)
    other = train_tokenizer(["abc abd"], TokenizerSettings(kind="char"))
    rewritten = Library(tmp_path / "other")
    with rewritten.writing("model") as draft:
        for path in artifact.path.iterdir():
            if path.name != "manifest.json":
                (draft.path / path.name).write_bytes(path.read_bytes())
        other.save(draft.path)
    with pytest.raises(UsageError) as caught:
        load_model(draft.result)
    assert caught.value.exit_code == 2


def test_a_tokenizer_with_more_tokens_cannot_be_saved_with_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model, _ = stored(tmp_path, tokenizer)
    more = "".join(map(chr, range(0x4E00, 0x4E00 + tokenizer.vocab_size)))
    other = train_tokenizer([more], TokenizerSettings(kind="char"))
    with pytest.raises(UsageError, match="not the model's"):
        save_model(tmp_path, model, other)


@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_damaged_weights_are_refused(tmp_path: Path, tokenizer: Tokenizer, damage: str) -> None:
    _, artifact = stored(tmp_path, tokenizer)
    path = artifact.file("model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content[:1000] if damage == "truncate" else content)
    with pytest.raises(CorruptError, match="damaged"):
        load_model(artifact)


def test_weights_of_another_shape_are_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    _, artifact = stored(tmp_path, tokenizer)
    weights = load_file(artifact.file("model.safetensors"))
    with Library(tmp_path / "other").writing("model") as draft:
        for path in artifact.path.iterdir():
            if path.name != "manifest.json":
                (draft.path / path.name).write_bytes(path.read_bytes())
        save_file({"wrong" + name: tensor for name, tensor in weights.items()}, draft.path / "model.safetensors")
    with pytest.raises(CorruptError, match="is not this model"):
        load_model(draft.result)
