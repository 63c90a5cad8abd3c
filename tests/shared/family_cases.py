"""Tiny models of every published family, made by `transformers` with random weights and sizes that hide nothing: heads
that do not share the width evenly, windows shorter than the text, fewer keys than queries, random norms and biases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

VOCABULARY, LENGTH, LABELS = 61, 23, 3
WEIGHTS = "model.safetensors"
Settings = dict[str, Any]
Edit = Callable[[Settings, dict[str, Tensor]], None]


@dataclass(frozen=True)
class Case:
    """One model.

    Attributes:
        model: its class. settings: of its configuration.
        edit: changes what was saved, config.json and tensors, before anybody reads it.
    """

    model: str
    settings: Settings = field(default_factory=dict)
    edit: Edit | None = None


BASE = {
    "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": 40,
}  # fmt: skip
GROUPED = {**BASE, "num_key_value_heads": 2}
WIDE = {**GROUPED, "head_dim": 10}
GPT = {"n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 40}
OPT = {
    "hidden_size": 48, "ffn_dim": 56, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 40,
    "word_embed_proj_dim": 48,
}  # fmt: skip
NEO = {
    "hidden_size": 48, "num_layers": 3, "num_heads": 4, "max_position_embeddings": 40, "window_size": 6,
    "attention_types": [[["global", "local"], 1], [["local"], 1]],
}  # fmt: skip
BLOOM = {"hidden_size": 48, "n_layer": 3, "n_head": 6}
DISTIL = {"dim": 48, "hidden_dim": 56, "n_layers": 3, "n_heads": 4, "max_position_embeddings": 40}
T5 = {
    "d_model": 48, "d_kv": 10, "d_ff": 56, "num_layers": 3, "num_decoder_layers": 2, "num_heads": 4,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 14,
}  # fmt: skip
BART = {
    "d_model": 48, "encoder_layers": 3, "decoder_layers": 2, "encoder_attention_heads": 6,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 56, "decoder_ffn_dim": 44, "max_position_embeddings": 40,
}  # fmt: skip
MARIAN = {"pad_token_id": 60, "scale_embedding": True, "activation_function": "swish"}
MIXED = ["full_attention", "sliding_attention", "full_attention"]
TIED, UNTIED = {"tie_word_embeddings": True}, {"tie_word_embeddings": False}
WINDOW = {"sliding_window": 6}
SWITCHED = {**WINDOW, "use_sliding_window": True}
BIASED = {"attention_bias": True, "mlp_bias": True}
EXPERTS = {"num_local_experts": 5, "num_experts_per_tok": 2}
QWEN_MOE = {
    **WIDE, "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "norm_topk_prob": True,
    "mlp_only_layers": [1],
}  # fmt: skip


def rope(**settings: Any) -> Settings:
    """Rotary settings as transformers 5 takes them."""
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0} | settings}


LLAMA3 = rope(
    rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16
)
YARN_RULE = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 10, "beta_fast": 4.0}
YARN = rope(**YARN_RULE)
LONG = rope(
    rope_type="longrope", long_factor=[1.0, 2.5, 3.0, 4.0, 5.0, 6.0], short_factor=[1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    original_max_position_embeddings=16,
)  # fmt: skip


def untie(config: Settings, tensors: dict[str, Tensor]) -> None:
    """What FLAN-T5's files look like: an output embedding of its own."""
    config["tie_word_embeddings"] = False
    config.pop("scale_decoder_outputs")
    shape = tensors["shared.weight"].shape
    tensors["lm_head.weight"] = torch.randn(shape, generator=torch.Generator().manual_seed(8)) / shape[1] ** 0.5


def two_tables(config: Settings, tensors: dict[str, Tensor]) -> None:
    """config.json says that both embeddings are one; the file has two."""
    config["tie_word_embeddings"] = True


HALF = rope(partial_rotary_factor=0.5)
DECODERS = {
    "llama": Case("LlamaForCausalLM", GROUPED),
    "llama-wide-heads": Case("LlamaForCausalLM", {**WIDE, **TIED}),
    "llama-biased": Case("LlamaForCausalLM", {**BASE, **BIASED, "num_key_value_heads": 1}),
    "llama-3.1": Case("LlamaForCausalLM", {**GROUPED, **LLAMA3}),
    "llama-linear": Case("LlamaForCausalLM", {**GROUPED, **rope(rope_type="linear", factor=3.0)}),
    "llama-yarn": Case("LlamaForCausalLM", {**GROUPED, **YARN}),
    "llama-yarn-2": Case("LlamaForCausalLM", {**GROUPED, **rope(**YARN_RULE, mscale=0.7, mscale_all_dim=0.3)}),
    "llama-two-tables": Case("LlamaForCausalLM", {**GROUPED, **UNTIED}, two_tables),
    "mistral": Case("MistralForCausalLM", {**WIDE, **WINDOW}),
    "mistral-no-window": Case("MistralForCausalLM", {**WIDE, "sliding_window": None}),
    "mixtral": Case("MixtralForCausalLM", {**GROUPED, **EXPERTS, **WINDOW}),
    "qwen2": Case("Qwen2ForCausalLM", {**GROUPED, **UNTIED}),
    "qwen2-windows": Case("Qwen2ForCausalLM", {**GROUPED, **TIED, **SWITCHED, "layer_types": MIXED}),
    "qwen3": Case("Qwen3ForCausalLM", {**WIDE, **TIED}),
    "qwen3-yarn": Case("Qwen3ForCausalLM", {**WIDE, **YARN, "attention_bias": True}),
    "qwen3-moe": Case("Qwen3MoeForCausalLM", QWEN_MOE),
    "qwen3-moe-windows": Case("Qwen3MoeForCausalLM", {**QWEN_MOE, **SWITCHED, "norm_topk_prob": False}),
    "gemma": Case("GemmaForCausalLM", WIDE),
    "gemma2": Case(
        "Gemma2ForCausalLM",
        {**WIDE, **WINDOW, "query_pre_attn_scalar": 13, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "gemma2-no-caps": Case(
        "Gemma2ForCausalLM", {**WIDE, **WINDOW, "attn_logit_softcapping": None, "final_logit_softcapping": None}
    ),
    "gemma3": Case("Gemma3ForCausalLM", {**WIDE, **WINDOW, "layer_types": MIXED, "query_pre_attn_scalar": 13}),
    "gemma3-scaled": Case(
        "Gemma3ForCausalLM",
        {
            **WIDE, **WINDOW, "layer_types": MIXED,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        },
    ),
    "phi": Case("PhiForCausalLM", {**BASE, **HALF}),
    "phi-grouped": Case("PhiForCausalLM", {**GROUPED, **rope(partial_rotary_factor=0.7), "qk_layernorm": True}),
    "phi3": Case("Phi3ForCausalLM", {**GROUPED, **WINDOW}),
    "phi3-long": Case("Phi3ForCausalLM", {**GROUPED, **LONG, "original_max_position_embeddings": 16}),
    "phi4-mini": Case("Phi3ForCausalLM", {**GROUPED, **TIED, **HALF}),
    "starcoder2": Case("Starcoder2ForCausalLM", {**GROUPED, **WINDOW}),
    "starcoder2-unbiased": Case("Starcoder2ForCausalLM", {**GROUPED, **UNTIED, "use_bias": False}),
    "gpt2": Case("GPT2LMHeadModel", {**GPT, "n_inner": 56}),
    "gpt2-untied": Case("GPT2LMHeadModel", {**GPT, **UNTIED}),
    "gpt-neox": Case("GPTNeoXForCausalLM", {**BASE, **HALF}),
    "gpt-neox-serial": Case(
        "GPTNeoXForCausalLM",
        {**BASE, **TIED, **rope(partial_rotary_factor=0.34), "use_parallel_residual": False, "attention_bias": False},
    ),
    "gpt-bigcode": Case("GPTBigCodeForCausalLM", {**GPT, "n_inner": 56}),
    "gpt-bigcode-many": Case("GPTBigCodeForCausalLM", {**GPT, "multi_query": False}),
    "gpt-neo": Case("GPTNeoForCausalLM", NEO),
    "stablelm": Case("StableLmForCausalLM", {**GROUPED, **HALF, "use_qkv_bias": True}),
    "stablelm-parallel": Case("StableLmForCausalLM", {**GROUPED, **HALF, "use_parallel_residual": True}),
    "persimmon": Case("PersimmonForCausalLM", {**BASE, **HALF}),
    "persimmon-plain": Case("PersimmonForCausalLM", {**BASE, **HALF, "qk_layernorm": False, **TIED}),
    "olmo": Case("OlmoForCausalLM", {**GROUPED, **UNTIED}),
    "olmo-biased": Case("OlmoForCausalLM", {**BASE, **TIED, **rope(), "attention_bias": True}),
    "opt": Case("OPTForCausalLM", OPT),
    "opt-post": Case("OPTForCausalLM", {**OPT, "do_layer_norm_before": False, "enable_bias": False}),
    "bloom": Case("BloomForCausalLM", BLOOM),
    "bloom-power-of-two": Case("BloomForCausalLM", {**BLOOM, "n_head": 8, **UNTIED}),
}  # fmt: skip
_HEADS = {
    "Llama": WIDE, "Mistral": {**WIDE, **WINDOW}, "Mixtral": {**GROUPED, **EXPERTS}, "Qwen2": GROUPED, "Qwen3": WIDE,
    "Gemma2": {**WIDE, **WINDOW}, "Phi": GROUPED, "Starcoder2": GROUPED, "GPT2": GPT, "GPTNeoX": {**BASE, **HALF},
    "OPT": OPT, "Bloom": BLOOM, "GPTBigCode": GPT, "GPTNeo": NEO, "StableLm": {**GROUPED, **HALF},
    "Persimmon": {**BASE, **HALF}, "Olmo": GROUPED,
}  # fmt: skip
DECODER_HEADS = {
    f"{stem}{ending}": Case(f"{stem}{ending}", settings)
    for stem, settings in _HEADS.items()
    for ending in ("ForSequenceClassification", "ForTokenClassification", "Model")
    if ending != "ForTokenClassification" or stem not in ("OPT", "Olmo")
}
_ENCODERS = {
    "Bert": BASE, "Roberta": {**BASE, "pad_token_id": 1, "type_vocab_size": 1}, "XLMRoberta": BASE,
    "DistilBert": DISTIL,
}  # fmt: skip
_TASKS = ("ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "Model")
ENCODERS = {
    f"{stem}{task}": Case(f"{stem}{task}", settings) for stem, settings in _ENCODERS.items() for task in _TASKS
} | {
    "bert-untied": Case("BertForMaskedLM", {**BASE, **UNTIED, "hidden_act": "gelu_new"}),
    "bert-pretraining": Case("BertForPreTraining", {**BASE, "type_vocab_size": 3}),
}
PAIRS = {
    "t5": Case("T5ForConditionalGeneration", T5),
    "t5-gated": Case("T5ForConditionalGeneration", {**T5, **UNTIED, "feed_forward_proj": "gated-gelu"}),
    "flan-t5": Case("T5ForConditionalGeneration", {**T5, **UNTIED, "feed_forward_proj": "gated-gelu"}, untie),
    "t5-silu": Case("T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-silu"}),
    "mt5": Case("MT5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu"}),
    "bart": Case("BartForConditionalGeneration", BART),
    "bart-scaled": Case("BartForConditionalGeneration", {**BART, "scale_embedding": True}),
    "marian": Case("MarianMTModel", {**BART, **MARIAN}),
}  # fmt: skip
CASES = DECODERS | DECODER_HEADS | ENCODERS | PAIRS


def new_config(case: Case) -> PretrainedConfig:
    """Its configuration, without the special tokens that generation would use."""
    kind = getattr(transformers, case.model)
    special = {} if case.model.startswith(("Bart", "Marian")) else {"bos_token_id": None, "eos_token_id": None}
    extra = {"num_labels": LABELS} if "Classification" in case.model else {}
    config: PretrainedConfig = kind.config_class(
        **{"vocab_size": VOCABULARY, "pad_token_id": 0} | special | extra | case.settings
    )
    config.architectures, config._attn_implementation = [case.model], "eager"
    return config


def new_model(case: Case) -> PreTrainedModel:
    """A model with random weights, norms and biases too, and outputs of a few units."""
    model: PreTrainedModel = getattr(transformers, case.model)(new_config(case))
    randomise(model)
    return model.eval()


def randomise(model: PreTrainedModel) -> None:
    """In place; whatever multiplies is about 1, Gemma's norms about 0."""
    generator = torch.Generator().manual_seed(4)
    around_zero = model.config.model_type.startswith("gemma")
    learned = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    named = [*learned, *((n, b) for n, b in model.named_buffers() if n == "final_logits_bias")]
    for name, tensor in named:
        noise = torch.randn(tensor.shape, generator=generator)
        norm = tensor.ndim == 1 and name.endswith("weight") and not around_zero
        tensor.data = (
            noise * (0.2 if min(tensor.shape) == 1 or tensor.ndim == 1 else 1.2 / tensor.shape[-1] ** 0.5) + norm
        )


def saved(case: Case, folder: Path) -> PreTrainedModel:
    """A model on disk as `transformers` writes it, changed as the case says; and what `transformers` makes of it."""
    model = new_model(case)
    model.save_pretrained(folder)
    if case.edit is None:
        return model
    rewrite(folder, case.edit)
    edited: PreTrainedModel = getattr(transformers, case.model).from_pretrained(folder, attn_implementation="eager")
    return edited.eval()


def rewrite(folder: Path, edit: Edit) -> None:
    """Change a saved model's config.json and tensors."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / WEIGHTS)
    edit(config, tensors)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})


def ids(shape: tuple[int, ...], seed: int = 2) -> Tensor:
    """Token ids that no family takes for padding."""
    return torch.randint(3, VOCABULARY - 1, shape, generator=torch.Generator().manual_seed(seed))
