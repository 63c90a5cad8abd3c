"""Qwen 2 and 2.5 (Yang et al. 2024): biases on q, k and v. Qwen 3 (Yang et al. 2025): norms on q and k instead, and a
mixture of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Published, Rule, fixed, flag, whole
from seedbed.models.families.llama import LLAMA_NAMES, decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, rope, windows
from seedbed.nn.experts import ExpertsConfig


def _kinds(published: Published) -> list[str]:
    """Return the kinds of layers of files without layer_types: the first ``max_window_layers`` see everything."""
    full = published.get("max_window_layers", 28)
    layers = range(whole(published, "num_hidden_layers", 10_000))
    return ["full_attention" if layer < full else "sliding_attention" for layer in layers]


_WINDOWS = windows(kinds=_kinds, switch="use_sliding_window", default=4096)
_ATTENTION_BIAS = flag("attention_bias", "qkv_bias", "out_bias")
_SHARED = (activation("hidden_act", GELU), rope())


def _experts() -> Rule:
    def read(published: Published) -> Fields:
        every, plain = published.get("decoder_sparse_step") or 1, set(published.get("mlp_only_layers") or ())
        layers = range(whole(published, "num_hidden_layers", 10_000))
        experts = ExpertsConfig(
            whole(published, "num_experts" if "num_experts" in published else "num_local_experts"),
            whole(published, "num_experts_per_tok"),
            whole(published, "moe_intermediate_size"),
            bool(published.get("norm_topk_prob")),
        )
        dense = tuple(layer for layer in layers if layer in plain or (layer + 1) % every)
        return {"experts": experts, "dense_layers": dense}

    def write(config: ModelConfig) -> dict[str, Any]:
        experts = config.experts or ExpertsConfig()
        return {
            "num_experts": experts.count,
            "num_experts_per_tok": experts.active,
            "moe_intermediate_size": experts.hidden or config.hidden,
            "norm_topk_prob": experts.renormalize,
            "mlp_only_layers": list(config.dense_layers),
            "decoder_sparse_step": 1,
        }

    return Rule(read, write)


_EXPERT_NAMES = {
    f"feedforward.experts.{{e}}.{part}": f"mlp.experts.{{e}}.{part}_proj" for part in ("gate", "up", "down")
}
QWEN2 = make_family("qwen2", "Qwen2", decoder_rule(*_SHARED, _WINDOWS, fixed(qkv_bias=True)))
QWEN3 = make_family("qwen3", "Qwen3", decoder_rule(*_SHARED, _WINDOWS, _ATTENTION_BIAS, fixed(qk_norm=True)))
QWEN3_MOE = make_family(
    "qwen3_moe",
    "Qwen3Moe",
    decoder_rule(
        *_SHARED, windows(switch="use_sliding_window", default=4096), _ATTENTION_BIAS, _experts(), fixed(qk_norm=True)
    ),
    replace(LLAMA_NAMES, inner=LLAMA_NAMES.inner | {"feedforward.router": "mlp.gate"} | _EXPERT_NAMES),
)
