"""What every decoder must satisfy, whatever its shape: causality, cached decoding, recurrent state, counts."""

import pytest
import torch

from seedbed.core.errors import CapacityError
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.presets import default_model, presets

SHAPES = {
    "default": default_model(2, 61, 32, d_model=48, n_heads=4, n_kv_heads=2),
    "gpt": ModelConfig(61, 48, 2, 4, max_length=32, norm="layer", position="learned", mlp="plain", activation="gelu"),
    "post-norm": ModelConfig(61, 48, 2, 4, max_length=32, norm_place="post", final_norm=False),
    "sliding": ModelConfig(61, 48, 4, 4, max_length=32, mixers=("sliding", "attention"), window=5),
    "lstm": ModelConfig(61, 48, 2, 4, max_length=32, mixers=("lstm",), position="none"),
    "gru": ModelConfig(61, 48, 2, 4, max_length=32, mixers=("gru", "rnn"), position="none", mlp="none"),
    "mixed": ModelConfig(61, 48, 4, 4, max_length=32, mixers=("lstm", "attention"), rope_share=0.5),
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def made(name: str) -> Decoder:
    torch.manual_seed(0)
    model = Decoder(SHAPES[name])
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3)
    return model.eval()


@pytest.mark.parametrize("name", SHAPES)
def test_a_future_token_never_changes_a_past_logit(name: str) -> None:
    model = made(name)
    ids = torch.randint(61, (2, 20))
    changed = ids.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 61
    with torch.no_grad():
        before, after = model(ids)[0], model(changed)[0]
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:], atol=1e-3)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("pieces", [[20], [1] * 20, [7, 1, 12], [19, 1]])
def test_cached_decoding_equals_the_full_forward(name: str, pieces: list[int]) -> None:
    model = made(name)
    ids = torch.randint(61, (2, 20))
    with torch.no_grad():
        full = model(ids)[0]
        states = model.new_state(2, 20)
        parts = []
        for piece in ids.split(pieces, dim=1):
            logits, states = model(piece, states)
            parts.append(logits)
    assert torch.allclose(torch.cat(parts, 1), full, atol=1e-5 * float(full.abs().max()), rtol=0)


def test_a_sliding_window_sees_only_its_window() -> None:
    torch.manual_seed(0)
    model = Decoder(ModelConfig(61, 48, 1, 4, max_length=32, mixers=("sliding",), window=5)).eval()
    ids = torch.randint(61, (1, 20))
    changed = ids.clone()
    changed[0, 3] = (changed[0, 3] + 1) % 61
    with torch.no_grad():
        different = (model(ids)[0] != model(changed)[0]).any(-1)[0]
    assert different.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


def test_activation_checkpointing_changes_no_gradient() -> None:
    model = made("default").train()
    ids = torch.randint(61, (2, 20))

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(ids)[0].square().mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    plain = gradients()
    model.checkpoint_activations = True
    assert all(torch.equal(a, b) for a, b in zip(plain, gradients(), strict=True))


def test_a_full_cache_is_refused() -> None:
    model = made("default")
    states = model.new_state(1, 4)
    with pytest.raises(CapacityError):
        model(torch.zeros(1, 5, dtype=torch.long), states)


# Published counts (the papers' own, as far as they are exact): GPT-1 116.5 M, GPT-2 124.4 M and 1.558 B,
# GPT-3 174.6 B, LLaMA 6.738 B.
@pytest.mark.parametrize(
    ("name", "millions"),
    [("gpt1", 116.5), ("gpt2", 124.4), ("gpt2-xl", 1557.6), ("gpt3", 174604), ("llama-7b", 6738)],
)
def test_published_parameter_counts(name: str, millions: float) -> None:
    assert count_parameters(presets()[name]).total / 1e6 == pytest.approx(millions, rel=5e-4)


def test_gpt3_needs_698_gigabytes_in_float32() -> None:
    assert count_parameters(presets()["gpt3"]).weight_bytes("float32") / 1e9 == pytest.approx(698, abs=0.6)


def test_the_kinds_add_up() -> None:
    config = SHAPES["default"]
    counted = count_parameters(config)
    assert counted.total == sum(parameter.numel() for parameter in Decoder(config).parameters())
    assert counted.parameters["embedding"] == 61 * 48
    assert counted.parameters["attention"] == 2 * 48 * (48 + 24 + 24 + 48)
    assert counted.parameters["feed-forward"] == 2 * 3 * 48 * 128
    assert counted.parameters["norm"] == 48 * 5 + 2 * 2 * 12


def test_flops_are_six_per_matrix_parameter_plus_attention() -> None:
    counted = count_parameters(presets()["gpt2"])
    matrices = 12 * 12 * 768**2 + 50257 * 768
    assert counted.flops_per_token() == pytest.approx(6 * matrices + 6 * 12 * 768 * 1024)
