"""What is stored once and used twice, or stored twice: models whose copies are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.formats.weight_sharing import Sharing, sharing, stored_sharing
from seedbed.models.config import EncoderDecoderConfig, ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.factory import AnyModel, new_model
from seedbed.models.store import WEIGHTS, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer
from seedbed.transform.quantize import quantize

TOKENIZER = train_tokenizer(["seeds in a bed"], TokenizerSettings(kind="byte"))
ROWS, WIDTH = TOKENIZER.vocab_size, 64


def model_of(tied: bool) -> Decoder:
    model = Decoder(ModelConfig(ROWS, WIDTH, 3, 4, d_ff=128, max_length=32, tied=tied))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def shared(model: AnyModel) -> Sharing:
    """Of a model in memory."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in model.shared()}
    return sharing(tensors, model.shared())


def stored(root: Path, model: Decoder, quantization: str | None = None) -> Artifact:
    with Library(root).writing("model") as draft:
        save_model(draft.path, model, TOKENIZER, quantization)
    return draft.result


@pytest.mark.parametrize("tied", [True, False])
def test_tied_tables_are_told_with_what_they_save(tmp_path: Path, tied: bool) -> None:
    model = model_of(tied)
    for found in (shared(model), stored_sharing(stored(tmp_path, model))):
        assert found.tied == ({"output.weight": "embedding.weight"} if tied else {})
        assert found.saved == (4 * ROWS * WIDTH if tied else 0)
        assert found.bytes == 4 * sum(parameter.numel() for parameter in model.parameters())
        assert (found.equal, found.spare) == ((), 0)


def test_copies_are_found_and_near_copies_are_not(tmp_path: Path) -> None:
    model = model_of(True)
    with torch.no_grad():
        for layer in (0, 2):
            model.get_submodule(f"blocks.{layer}.feedforward.up").weight.copy_(
                model.get_submodule("blocks.1.feedforward.up").weight
            )
        model.get_submodule("blocks.0.mixer.q").weight.copy_(model.get_submodule("blocks.1.mixer.q").weight)
        model.get_submodule("blocks.0.mixer.q").weight[-1, -1] += 1
    for found in (shared(model), stored_sharing(stored(tmp_path, model))):
        assert [sorted(group) for group in found.equal] == [
            [f"blocks.{layer}.feedforward.up.weight" for layer in range(3)]
        ]
        assert found.spare == 2 * 4 * 128 * WIDTH


def test_of_a_quantized_model_its_integers_and_scales_count(tmp_path: Path) -> None:
    model = model_of(True)
    quantize(model, "int8")
    found = stored_sharing(stored(tmp_path, model, "int8"))
    table = model.embedding.data.numel() + 2 * model.embedding.scale.numel()
    assert found.saved == table
    assert found.bytes == pytest.approx(
        (tmp_path / stored(tmp_path, model, "int8").file(WEIGHTS)).stat().st_size, abs=20_000
    )


def test_both_halves_of_an_encoder_decoder_share_one_table() -> None:
    shape = {"vocab_size": 50, "d_model": 16, "n_layers": 1, "n_heads": 2}
    config = EncoderDecoderConfig(ModelConfig(**shape, causal=False, head="none"), ModelConfig(**shape, cross=True))
    found = shared(new_model(config))
    assert found.saved == 2 * 4 * 50 * 16
    assert set(found.tied.values()) == {"decoder.embedding.weight"}
