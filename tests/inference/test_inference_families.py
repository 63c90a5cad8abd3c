"""The engine on the C++ kernel against `transformers`: random models of every family that a ModelConfig can express.

Greedy tokens are equal and log-probabilities agree to 1e-4, those of the prompt (echo) too. Known families go through
files: saved by `transformers`, read by us. Of others the weights are copied over in memory, and what they compute
differently is folded into them (Nemotron's norms add 1 to their weight, for example).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hash_runner import run_all, tokens_of
from torch import Tensor
from transformers import PreTrainedModel

from seedbed.chat.local import continue_text
from seedbed.core.artifacts import Library
from seedbed.formats.importing import open_published
from seedbed.formats.published import load_published
from seedbed.inference.engine import Engine
from seedbed.inference.engine_client import end_ids, make_client
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.inference.runners.decoder_program import supported
from seedbed.kernel.library import library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import LoadedModel
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
TOKENIZER = train_tokenizer(["seeds in a bed"], TokenizerSettings(kind="byte"))
VOCABULARY, WIDTH, HIDDEN, LAYERS, HEADS, WINDOW = TOKENIZER.vocab_size, 48, 80, 3, 4, 192
LENGTHS, REPLY = (1, 65, 150), 32
Weights = dict[str, Tensor]
NAMES = [
    (r"^(model|transformer|biogpt)\.", ""),
    (r"^(layers|h)\.", "blocks."),
    (r"^(embed_tokens|wte|tokens_embed)\.", "embedding."),
    (r"^(embed_positions|wpe|positions_embed)\.", "position."),
    (r"^(ln_f|final_layernorm|layer_norm)\.", "norm."),
    (r"^(lm_head|output_projection)\.", "output."),
    (r"\.(ln_1|input_layernorm|self_attn_layer_norm)\.", ".mixer_norm."),
    (r"\.(ln_2|post_attention_layernorm|final_layer_norm)\.", ".feedforward_norm."),
    (r"\.(fc1|mlp\.(up_proj|c_fc|dense_h_to_4h))\.", ".feedforward.up."),
    (r"\.(fc2|mlp\.(down_proj|c_proj|dense_4h_to_h))\.", ".feedforward.down."),
    (r"\.mlp\.gate_proj\.", ".feedforward.gate_proj."),
    (r"\.(self_attn|attn\.attention|attn)\.", ".mixer."),
    (r"\.mixer\.(o_proj|out_proj|dense|c_proj)\.", ".mixer.out."),
    (r"\.mixer\.([qk])_layernorm\.", r".mixer.\1_norm."),
    (r"\.(q|k|v|gate)_proj\.", r".\1."),
]
"""From the names of families without a table to ours, in this order."""


@dataclass(frozen=True)
class Family:
    """How `transformers` makes a model, and what it is to us.

    Attributes:
        theirs: settings by their names.
        ours: by ModelConfig's; None where ``models.families`` reads the model.
        mend: changes copied weights where the family's arithmetic is another way to write ours.
    """

    kind: str
    theirs: dict[str, Any]
    ours: dict[str, Any] | None = None
    mend: Callable[[Weights], None] = lambda weights: None


def add_one(weights: Weights) -> None:
    """Norms that multiply by 1 + weight."""
    for name in weights:
        if name.endswith("norm.weight"):
            weights[name] = weights[name] + 1


BASE = {
    "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "max_position_embeddings": WINDOW,
}  # fmt: skip
GROUPED, GQA = {**BASE, "num_key_value_heads": 2, "rms_norm_eps": 1e-6}, {"n_kv_heads": 2}
GPT = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS, "n_positions": WINDOW}
BIASED = {"qkv_bias": True, "out_bias": True, "mlp_bias": True}
LAYER = {"norm": "layer", "norm_eps": 1e-5}
OLD = {**LAYER, **BIASED, "mlp": "plain", "position": "learned", "activation": "gelu_tanh"}
OPT = {
    "hidden_size": WIDTH, "ffn_dim": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
    "max_position_embeddings": WINDOW, "word_embed_proj_dim": WIDTH,
}  # fmt: skip
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
HALF = {"rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}}
GEMMA = {**GROUPED, "head_dim": 20, "query_pre_attn_scalar": 30, "sliding_window": 33}
TYPES = {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}
EXPERTS = {"num_local_experts": 5, "num_experts_per_tok": 2}
FAMILIES = {
    "gpt1": Family("OpenAIGPTLMHeadModel", GPT, {**OLD, "d_ff": 4 * WIDTH, "norm_place": "post", "final_norm": False}),
    "gpt2": Family("GPT2LMHeadModel", {**GPT, "n_inner": HIDDEN}),
    "gpt-bigcode": Family("GPTBigCodeForCausalLM", {**GPT, "n_inner": HIDDEN}, {**OLD, "n_kv_heads": 1}),
    "gpt-neo": Family(
        "GPTNeoForCausalLM",
        {
            "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_layers": LAYERS, "num_heads": HEADS,
            "max_position_embeddings": WINDOW, "attention_types": [[["global", "local", "global"], 1]],
            "window_size": 25,
        },
        {
            **OLD, "qkv_bias": False, "mixers": ("attention", "sliding", "attention"), "window": 25,
            "attention_scale": 1.0,
        },
    ),
    "gpt-neox": Family("GPTNeoXForCausalLM", {**BASE, **HALF, "use_parallel_residual": False, "hidden_act": "gelu"}),
    "pythia": Family("GPTNeoXForCausalLM", {**BASE, **HALF, "use_parallel_residual": True}),
    "opt": Family("OPTForCausalLM", OPT),
    "opt-post": Family("OPTForCausalLM", {**OPT, "do_layer_norm_before": False}),
    "bloom": Family("BloomForCausalLM", {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": 6}),
    "biogpt": Family(
        "BioGptForCausalLM", {**BASE, "scale_embedding": True},
        {**OLD, "activation": "gelu", "position_offset": 2, "embedding_scale": WIDTH**0.5},
    ),
    "llama": Family("LlamaForCausalLM", GROUPED),
    "llama-wide-heads": Family("LlamaForCausalLM", {**GROUPED, "head_dim": 20}),
    "llama-biased": Family(
        "LlamaForCausalLM",
        {**BASE, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    ),
    "llama-3.1": Family(
        "LlamaForCausalLM",
        {
            **GROUPED, "rope_parameters": {
                "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "original_max_position_embeddings": 64,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            },
        },
    ),
    "mistral": Family("MistralForCausalLM", {**GROUPED, "sliding_window": 41}),
    "mixtral": Family("MixtralForCausalLM", {**GROUPED, **EXPERTS}),
    "qwen2": Family(
        "Qwen2ForCausalLM",
        {**GROUPED, **TYPES, "use_sliding_window": True, "sliding_window": 30, "tie_word_embeddings": True},
    ),
    "qwen3": Family("Qwen3ForCausalLM", {**GROUPED, "head_dim": 12, "tie_word_embeddings": True}),
    "qwen3-moe": Family(
        "Qwen3MoeForCausalLM",
        {**GROUPED, "num_experts": 7, "num_experts_per_tok": 3, "moe_intermediate_size": 40, "mlp_only_layers": [1]},
    ),
    "phi2": Family("PhiForCausalLM", {**BASE, **HALF}),
    "phi3": Family("Phi3ForCausalLM", {**GROUPED, "pad_token_id": 0}),
    "gemma": Family("GemmaForCausalLM", {**GROUPED, "head_dim": 12}),
    "gemma2": Family(
        "Gemma2ForCausalLM", {**GEMMA, **TYPES, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0}
    ),
    "gemma3": Family(
        "Gemma3ForCausalLM",
        {
            **GEMMA, **TYPES, "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": ROPE,
            },
        },
    ),
    "olmo": Family("OlmoForCausalLM", {**GROUPED, "tie_word_embeddings": True}),
    "stablelm": Family(
        "StableLmForCausalLM",
        {**GROUPED, **HALF, "use_qkv_bias": True},
        {**GQA, **LAYER, "rope_share": 0.5, "qkv_bias": True, "tied": False},
    ),
    "starcoder2": Family("Starcoder2ForCausalLM", {**GROUPED, "sliding_window": 55, "tie_word_embeddings": True}),
    "nemotron": Family(
        "NemotronForCausalLM",
        {**GROUPED, **HALF, "head_dim": 12},
        {**GQA, **LAYER, "mlp": "plain", "activation": "relu2", "rope_share": 0.5, "tied": False},
        add_one,
    ),
    "persimmon": Family(
        "PersimmonForCausalLM",
        {**BASE, **HALF, "qk_layernorm": True},
        {**LAYER, **BIASED, "mlp": "plain", "activation": "relu2", "qk_norm": True, "rope_share": 0.5, "tied": False},
    ),
}  # fmt: skip


def published(family: Family) -> PreTrainedModel:
    """Their model, with random norms and biases too, and logits of a few units."""
    kind = getattr(transformers, family.kind)
    config = kind.config_class(vocab_size=VOCABULARY, bos_token_id=None, eos_token_id=None, **family.theirs)
    model: PreTrainedModel = kind._from_config(config, attn_implementation="eager")
    generator = torch.Generator().manual_seed(4)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        norm = parameter.ndim == 1 and name.endswith("weight") and not family.kind.startswith(("Gemma", "Nemotron"))
        parameter.data = noise * (0.2 if parameter.ndim == 1 else 1.4 / parameter.shape[-1] ** 0.5) + norm
    return model.eval()


def loaded(theirs: PreTrainedModel, folder: Path) -> Decoder:
    """Ours, read from the files that `transformers` writes."""
    theirs.save_pretrained(folder)
    model, left = load_published(open_published(folder))
    assert isinstance(model, Decoder)
    assert left == ()
    return model


def converted(theirs: PreTrainedModel, family: Family) -> Decoder:
    """Ours with their weights, for a family without a table of names."""
    assert family.ours is not None
    shape = {"d_ff": HIDDEN, "max_length": WINDOW, **family.ours}
    ours = Decoder(ModelConfig(VOCABULARY, WIDTH, LAYERS, HEADS, **shape)).eval()
    weights: Weights = {}
    for name, tensor in theirs.state_dict().items():
        for pattern, replacement in NAMES:
            name = re.sub(pattern, replacement, name)
        across = tensor.ndim == 2 and family.kind.startswith("OpenAIGPT") and name.startswith("blocks.")
        weights |= split(name, tensor.T if across else tensor, ours.config)
    family.mend(weights)
    if ours.config.tied:
        weights["output.weight"] = weights["embedding.weight"]
    ours.load_state_dict(weights)
    return ours


def split(name: str, tensor: Tensor, config: ModelConfig) -> Weights:
    """A fused matrix or bias in its parts; others as they are."""
    size = config.head_size
    sizes = [config.n_heads * size, config.kv_heads * size, config.kv_heads * size]
    if ".c_attn." in name:
        return {name.replace("c_attn", part): piece for part, piece in zip("qkv", tensor.split(sizes), strict=True)}
    if ".query_key_value." in name:  # head by head
        heads = tensor.unflatten(0, (config.n_heads, 3, size))
        return {name.replace("query_key_value", part): heads[:, n].flatten(0, 1) for n, part in enumerate("qkv")}
    return {name: tensor}


def prompt(length: int) -> list[int]:
    return torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(length)).tolist()


@torch.no_grad()
def generated(theirs: PreTrainedModel, ids: list[int]) -> tuple[list[int], Tensor]:
    """Their greedy reply, and the log-probabilities (REPLY, V) it was chosen from."""
    found = theirs.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
        max_new_tokens=REPLY, pad_token_id=0, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return found.sequences[0, len(ids) :].tolist(), torch.cat(found.logits).float().log_softmax(-1)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_greedy_replies_and_log_probabilities_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    theirs = published(family)
    ours = loaded(theirs, tmp_path / "published") if family.ours is None else converted(theirs, family)
    assert supported(ours.config)
    greedy = Sampling(temperature=0, max_tokens=REPLY, top_logprobs=20)
    engine = Engine(CpuRunner(ours, 1 << 22), [])
    for length in LENGTHS:
        engine.add(Request(str(length), tuple(prompt(length)), greedy, echo=True))
    events = run_all(engine)
    for length in LENGTHS:
        tokens, expected = tokens_of(events[str(length)]), generated(theirs, prompt(length))
        assert [token.id for token in tokens] == expected[0]
        for token, logprobs in zip(tokens, expected[1], strict=True):
            best = torch.tensor([value for _, value in token.top])
            assert abs(token.logprob - float(logprobs[token.id])) < 1e-4
            assert (best - logprobs[[place for place, _ in token.top]]).abs().max() < 1e-4
        check_echo(prompt(length), events[str(length)][0].prompt_logprobs, ours, theirs)
    check_text(ours, expected[0], tmp_path / "library")


def check_echo(ids: list[int], echoed: list[float | None] | None, ours: Decoder, theirs: PreTrainedModel) -> None:
    """The prompt's own log-probabilities are those of a plain forward, ours on PyTorch and theirs."""
    assert echoed is not None
    assert echoed[0] is None
    with torch.no_grad():
        for logits in (ours(torch.tensor([ids]))[0], theirs(torch.tensor([ids])).logits):
            expected = logits[0].log_softmax(-1)[range(len(ids) - 1), ids[1:]].tolist()
            assert echoed[1:] == pytest.approx(expected, abs=1e-4, rel=0)


def check_text(ours: Decoder, reply: list[int], folder: Path) -> None:
    """What is streamed after the longest prompt is ``reply``, decoded at once up to an end or a stop."""
    with Library(folder).writing("model") as draft:
        pass
    loaded = LoadedModel(ours, TOKENIZER, draft.result)
    ends = [place for place, token in enumerate(reply) if token in end_ids(TOKENIZER)]
    whole = TOKENIZER.decode(reply[: min(ends, default=REPLY)])
    generator = make_client(loaded)
    for stop in ((), (whole[5:7],)) if len(whole) > 7 else ((),):
        sampling = Sampling(temperature=0, max_tokens=REPLY, stop=stop)
        pieces = [piece.text for piece in continue_text(loaded, prompt(LENGTHS[-1]), sampling, generator)]
        assert "".join(pieces) == (whole[: whole.index(stop[0])] if stop else whole)
        assert len(pieces) > 1 or stop
