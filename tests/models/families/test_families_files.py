"""Files as they are found: older spellings of config.json, older names of tensors, copies, buffers, parts of larger
models. Each is a model that `transformers` saved, rewritten; it must say the same as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from family_cases import (
    BART,
    BASE,
    BLOOM,
    CASES,
    GPT,
    GROUPED,
    MIXED,
    OPT,
    QWEN_MOE,
    T5,
    TIED,
    WIDE,
    WINDOW,
    Case,
    Edit,
    Settings,
    new_model,
    randomise,
    rewrite,
    rope,
)
from family_checks import check, loaded
from torch import Tensor

Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def rename(tensors: Tensors, old: str, new: str) -> None:
    for name in [name for name in tensors if old in name]:
        tensors[name.replace(old, new)] = tensors.pop(name)


def drop(config: Settings, *names: str) -> None:
    for name in names:
        del config[name]


def old_rope(config: Settings, tensors: Tensors) -> None:
    """Before transformers 5: the base on its own, scaling with "type"; no sizes that follow from others."""
    table = config.pop("rope_parameters")
    config["rope_theta"] = table.pop("rope_theta")
    kind = table.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": {"longrope": "su"}.get(kind, kind), **table}


def first_llama(config: Settings, tensors: Tensors) -> None:
    old_rope(config, tensors)
    drop(config, "num_key_value_heads", "head_dim", "rms_norm_eps", "architectures", "attention_bias", "mlp_bias")
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(6)


def output_only(config: Settings, tensors: Tensors) -> None:
    """Of two tied tables, the file has the second."""
    rename(tensors, "model.embed_tokens.weight", "lm_head.weight")


def first_gpt2(config: Settings, tensors: Tensors) -> None:
    rename(tensors, "transformer.", "")
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 40, 40)
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    drop(config, "n_inner", "tie_word_embeddings", "activation_function", "scale_attn_by_inverse_layer_idx")
    config["n_ctx"] = 40


def first_bert(config: Settings, tensors: Tensors) -> None:
    rename(tensors, "LayerNorm.weight", "LayerNorm.gamma")
    rename(tensors, "LayerNorm.bias", "LayerNorm.beta")
    tensors["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    drop(config, "tie_word_embeddings", "layer_norm_eps", "is_decoder", "add_cross_attention")
    config["position_embedding_type"] = "absolute"


def roberta_copies(config: Settings, tensors: Tensors) -> None:
    tensors["lm_head.decoder.weight"] = tensors["roberta.embeddings.word_embeddings.weight"].clone()
    tensors["lm_head.decoder.bias"] = tensors["lm_head.bias"].clone()


def first_neox(config: Settings, tensors: Tensors) -> None:
    table = config.pop("rope_parameters")
    config["rotary_pct"], config["rotary_emb_base"] = table["partial_rotary_factor"], 5000
    drop(config, "attention_bias")
    tensors["gpt_neox.layers.1.attention.bias"] = torch.ones(1, 1, 40, 40, dtype=torch.bool)
    tensors["gpt_neox.layers.1.attention.masked_bias"] = torch.tensor(-1e9)
    tensors["gpt_neox.layers.1.attention.rotary_emb.inv_freq"] = torch.ones(3)


def first_gemma(config: Settings, tensors: Tensors) -> None:
    old_rope(config, tensors)
    config["hidden_act"], config["hidden_activation"] = "gelu", None


def first_gemma2(config: Settings, tensors: Tensors) -> None:
    old_rope(config, tensors)
    drop(config, "layer_types", "attention_bias")
    config["cache_implementation"] = "hybrid"


def first_gemma3(config: Settings, tensors: Tensors) -> None:
    table = config.pop("rope_parameters")
    config["rope_local_base_freq"] = table["sliding_attention"]["rope_theta"]
    config["rope_theta"] = table["full_attention"].pop("rope_theta")
    config["rope_scaling"] = table["full_attention"]
    drop(config, "layer_types")
    config["sliding_window_pattern"] = 3


def first_qwen2(config: Settings, tensors: Tensors) -> None:
    old_rope(config, tensors)
    drop(config, "layer_types")
    config["max_window_layers"] = 2


def experts_by_another_name(config: Settings, tensors: Tensors) -> None:
    counts = [config.pop(name) for name in ("num_experts", "num_local_experts") if name in config]
    config["num_local_experts"] = counts[0]


def first_bloom(config: Settings, tensors: Tensors) -> None:
    rename(tensors, "transformer.", "")
    config["n_embed"], config["num_attention_heads"] = config.pop("hidden_size"), config.pop("n_head")
    tensors["lm_head.weight"] = tensors["word_embeddings.weight"].clone()


def first_opt(config: Settings, tensors: Tensors) -> None:
    rename(tensors, "model.decoder.", "decoder.")
    tensors["lm_head.weight"] = tensors["decoder.embed_tokens.weight"].clone()
    drop(config, "tie_word_embeddings", "enable_bias", "layer_norm_elementwise_affine")


def first_t5(config: Settings, tensors: Tensors) -> None:
    for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors["shared.weight"].clone()
    tensors["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(8, 4)
    drop(config, "tie_word_embeddings", "scale_decoder_outputs", "feed_forward_proj", "is_gated_act")


def first_bart(config: Settings, tensors: Tensors) -> None:
    """BartModel: no prefix, no output bias, the table three times."""
    assert not tensors.pop("final_logits_bias").any()
    rename(tensors, "model.", "")
    for half in ("encoder", "decoder"):
        tensors[f"{half}.embed_tokens.weight"] = tensors["shared.weight"].clone()
    config["architectures"] = ["BartModel"]
    config |= {"normalize_before": False, "normalize_embedding": True, "static_position_embeddings": False}


def first_marian(config: Settings, tensors: Tensors) -> None:
    tensors["model.encoder.embed_positions.weight"] = torch.zeros(40, 48)
    config |= {"normalize_before": False, "normalize_embedding": False, "static_position_embeddings": True}
    drop(config, "decoder_vocab_size", "share_encoder_decoder_embeddings")


LINEAR = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
}
FILES: dict[str, tuple[Case, Edit]] = {
    "llama": (Case("LlamaForCausalLM", {**BASE, **TIED, **rope()}), first_llama),
    "llama-linear": (CASES["llama-linear"], old_rope),
    "llama-output-only": (Case("LlamaForCausalLM", {**BASE, **TIED}), output_only),
    "qwen3-yarn": (CASES["qwen3-yarn"], old_rope),
    "phi3-su": (CASES["phi3-long"], old_rope),
    "gpt2": (Case("GPT2LMHeadModel", GPT), first_gpt2),
    "bert": (Case("BertForMaskedLM", BASE), first_bert),
    "roberta": (CASES["RobertaForMaskedLM"], roberta_copies),
    "gpt-neox": (CASES["gpt-neox"], first_neox),
    "gemma": (CASES["gemma"], first_gemma),
    "gemma2": (CASES["gemma2"], first_gemma2),
    "gemma3": (
        Case(
            "Gemma3ForCausalLM",
            {**WIDE, **WINDOW, "num_hidden_layers": 4, "layer_types": ["sliding_attention"] * 2 + MIXED[:2]}
            | {"rope_parameters": LINEAR},
        ),
        first_gemma3,
    ),
    "qwen2-windows": (
        Case(
            "Qwen2ForCausalLM",
            {**GROUPED, **WINDOW, "use_sliding_window": True, "layer_types": [MIXED[0], MIXED[0], MIXED[1]]},
        ),
        first_qwen2,
    ),
    "qwen3-moe": (Case("Qwen3MoeForCausalLM", QWEN_MOE), experts_by_another_name),
    "bloom": (Case("BloomForCausalLM", BLOOM), first_bloom),
    "opt": (Case("OPTForCausalLM", OPT), first_opt),
    "t5": (Case("T5ForConditionalGeneration", T5), first_t5),
    "marian": (CASES["marian"], first_marian),
}


@pytest.mark.parametrize("name", FILES)
def test_an_older_file_says_the_same(name: str, tmp_path: Path) -> None:
    case, edit = FILES[name]
    model = new_model(case)
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, edit)
    ours, _, unused = loaded(tmp_path)
    assert unused == ()
    check(ours, model)


def test_an_output_bias_that_a_file_lacks_is_zero(tmp_path: Path) -> None:
    model = new_model(Case("BartForConditionalGeneration", BART))
    model.final_logits_bias.zero_()
    model.save_pretrained(tmp_path)
    rewrite(tmp_path, first_bart)
    ours, _, unused = loaded(tmp_path)
    assert unused == ()
    check(ours, model)


def test_the_text_part_of_a_model_with_images(tmp_path: Path) -> None:
    """Its configuration leaves out what is as in the smallest model; what sees images is reported."""
    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 20, "num_hidden_layers": 1}
    text = {"hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 3, "head_dim": 10, "vocab_size": 61}
    config = transformers.Gemma3Config(
        text_config=text | WINDOW | {"query_pre_attn_scalar": 13, "bos_token_id": None, "eos_token_id": None},
        vision_config=small | {"num_attention_heads": 2, "image_size": 28, "patch_size": 14},
    )
    config._attn_implementation = "eager"
    model = transformers.Gemma3ForConditionalGeneration(config)
    randomise(model)
    model.save_pretrained(tmp_path)

    def shorten(config: Settings, tensors: Tensors) -> None:
        names = {*text, *WINDOW, "query_pre_attn_scalar", "model_type"}
        config["text_config"] = {name: value for name, value in config["text_config"].items() if name in names}

    rewrite(tmp_path, shorten)
    ours, family, unused = loaded(tmp_path)
    assert family == "gemma3"
    assert unused
    assert all(name.startswith(("vision_tower.", "multi_modal_projector.")) for name in unused)
    check(ours, model.eval())
