"""Decoder against `transformers` with random weights: same logits to 1e-5, through files on disk."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def randomise(model: PreTrainedModel) -> None:
    """Random norms and biases too, so that nothing hides behind ones and zeros."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.4)


def on_disk(model: PreTrainedModel, folder: Path) -> dict[str, Tensor]:
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


def fill(model: Decoder, weights: dict[str, Tensor]) -> None:
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing in ([], ["output.weight"])
    assert not unexpected


def llama_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    table = [
        ("model.embed_tokens.", "embedding."),
        ("model.norm.", "norm."),
        ("lm_head.", "output."),
        ("model.layers.", "blocks."),
        ("self_attn.q_proj", "mixer.q"),
        ("self_attn.k_proj", "mixer.k"),
        ("self_attn.v_proj", "mixer.v"),
        ("self_attn.o_proj", "mixer.out"),
        ("self_attn.q_norm", "mixer.q_norm"),
        ("self_attn.k_norm", "mixer.k_norm"),
        ("post_attention_layernorm", "feedforward_norm"),
        ("input_layernorm", "mixer_norm"),
        ("mlp.gate_proj", "feedforward.gate"),
        ("mlp.up_proj", "feedforward.up"),
        ("mlp.down_proj", "feedforward.down"),
    ]
    return {renamed(name, table): tensor for name, tensor in weights.items()}


def renamed(name: str, table: list[tuple[str, str]]) -> str:
    for theirs, ours in table:
        name = name.replace(theirs, ours)
    return name


def gpt2_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    table = [
        ("transformer.", ""),
        ("wte.", "embedding."),
        ("wpe.", "position."),
        ("ln_f.", "norm."),
        ("h.", "blocks."),
        ("ln_1.", "mixer_norm."),
        ("ln_2.", "feedforward_norm."),
        ("attn.c_proj.", "mixer.out."),
        ("mlp.c_fc.", "feedforward.up."),
        ("mlp.c_proj.", "feedforward.down."),
    ]
    out: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")) or name == "lm_head.weight":
            continue
        ours = renamed(name, table)
        transposed = tensor.T if tensor.ndim == 2 and ours.startswith("blocks.") else tensor
        if "attn.c_attn." in ours:
            for part, piece in zip("qkv", transposed.chunk(3), strict=True):
                out[ours.replace("attn.c_attn.", f"mixer.{part}.")] = piece
        else:
            out[ours] = transposed
    return out


def assert_same_logits(theirs: PreTrainedModel, ours: Decoder, vocabulary: int) -> None:
    ids = torch.randint(vocabulary, (2, 23), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs.eval()(ids).logits
        found, _ = ours.eval()(ids)
    assert expected.abs().max() > 1  # the comparison is of something
    scale = float(expected.abs().max())
    assert torch.allclose(found / scale, expected / scale, atol=1e-5, rtol=0)


def test_gpt2_shaped_equals_transformers(tmp_path: Path) -> None:
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=97, n_positions=31, n_embd=36, n_layer=3, n_head=4, bos_token_id=1, eos_token_id=2)
    )
    randomise(theirs)
    config = ModelConfig(
        97, 36, 3, 4, max_length=31, norm="layer", norm_eps=1e-5, mlp="plain", activation="gelu_tanh",
        position="learned", qkv_bias=True, out_bias=True, mlp_bias=True,
    )  # fmt: skip
    ours = Decoder(config)
    fill(ours, gpt2_names(on_disk(theirs, tmp_path)))
    assert_same_logits(theirs, ours, 97)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_llama_shaped_equals_transformers(tmp_path: Path, kv_heads: int) -> None:
    theirs = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=97, hidden_size=36, intermediate_size=50, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=kv_heads, head_dim=10, rms_norm_eps=1e-6, max_position_embeddings=40,
        )
    )  # fmt: skip
    randomise(theirs)
    config = ModelConfig(97, 36, 3, 4, n_kv_heads=kv_heads, head_dim=10, d_ff=50, max_length=40, tied=False)
    ours = Decoder(config)
    fill(ours, llama_names(on_disk(theirs, tmp_path)))
    assert_same_logits(theirs, ours, 97)


def test_default_shape_with_qk_norm_equals_qwen3(tmp_path: Path) -> None:
    """Qwen3 is our default's behaviour under another name: QK norm per head before the rotation, tied embeddings."""
    theirs = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=97, hidden_size=36, intermediate_size=50, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=10, rms_norm_eps=1e-6, tie_word_embeddings=True,
        )
    )  # fmt: skip
    randomise(theirs)
    config = ModelConfig(97, 36, 3, 4, n_kv_heads=2, head_dim=10, d_ff=50, max_length=40, qk_norm=True)
    ours = Decoder(config)
    fill(ours, llama_names(on_disk(theirs, tmp_path)))
    assert_same_logits(theirs, ours, 97)
