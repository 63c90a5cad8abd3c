"""Quantized models on disk: what is computed does not change, and the file is mapped rather than read."""

from pathlib import Path

import pytest
import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, UsageError
from seedbed.kernel.packed import SCHEMES
from seedbed.kernel.quantized_layers import QuantizedLinear
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model
from seedbed.models.store import WEIGHTS, load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer
from seedbed.transform.quantize import quantize


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some text to learn bytes from"], TokenizerSettings(kind="byte"))


def stored(folder: Path, tokenizer: Tokenizer, scheme: str, tied: bool = True) -> tuple[Decoder, Artifact]:
    torch.set_num_threads(1)
    model = Decoder(default_model(2, tokenizer.vocab_size, 16, d_model=64, n_heads=2, n_kv_heads=1, tied=tied)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    quantize(model, scheme)
    with Library(folder).writing("model") as draft:
        save_model(draft.path, model, tokenizer, scheme)
    return model, draft.result


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_a_stored_quantized_model_computes_the_same(
    tmp_path: Path, tokenizer: Tokenizer, scheme: str, tied: bool
) -> None:
    model, artifact = stored(tmp_path, tokenizer, scheme, tied)
    loaded = load_model(artifact)
    ids = torch.randint(tokenizer.vocab_size, (2, 9))
    with torch.no_grad():
        assert torch.equal(model(ids)[0], loaded.model(ids)[0])
    assert loaded.quantization == scheme


def test_sizes_are_bits_times_weights(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Everything but the embedding has 4.5 bits a weight: 4 and a float16 for every 32."""
    model, _ = stored(tmp_path, tokenizer, "int4")
    layers = [layer for layer in model.blocks.modules() if isinstance(layer, QuantizedLinear)]
    assert len(layers) == 2 * 7
    for layer in layers:
        bits = 8 * (layer.data.numel() + 2 * layer.scale.numel())
        assert bits == 4.5 * layer.n * layer.k


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_weights_are_mapped_from_the_file(tmp_path: Path, tokenizer: Tokenizer) -> None:
    _, artifact = stored(tmp_path, tokenizer, "int8")
    loaded = load_model(artifact)
    layer = loaded.model.get_submodule("blocks.0.mixer.q")
    assert isinstance(layer, QuantizedLinear)
    address = layer.data.data_ptr()
    regions = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(artifact.file(WEIGHTS)) in line]
    spans = [tuple(int(end, 16) for end in line.split()[0].split("-")) for line in regions]
    assert any(low <= address < high for low, high in spans)


def test_a_damaged_file_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    _, artifact = stored(tmp_path, tokenizer, "int4")
    load_model(artifact)  # found right once: the next look must still see the change
    content = bytearray(artifact.file(WEIGHTS).read_bytes())
    content[-1] ^= 1
    artifact.file(WEIGHTS).write_bytes(content)
    with pytest.raises(CorruptError):
        load_model(artifact)


def test_bad_requests(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model, _ = stored(tmp_path, tokenizer, "int8")
    with pytest.raises(UsageError, match="quantized already"):
        quantize(model, "int4")
    with pytest.raises(UsageError, match="int3"):
        quantize(model, "int3")
