"""GPT-Neo (Black et al. 2021): GPT-2 with windows in every second layer, scores that are not scaled, and matrices as
usual."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, same, whole
from seedbed.models.families.gpt2 import MLP, NORMS, OUTER, gpt_rule
from seedbed.models.families.llama import DecoderNames, make_family
from seedbed.models.families.rules import hidden

_ATTENTION = {f"mixer.{part}": f"attn.attention.{part}_proj" for part in ("q", "k", "v", "out")}
_NAMES = DecoderNames(OUTER, NORMS | _ATTENTION | MLP, block="h.{i}.", token="classifier")
_KINDS = {"global": "attention", "local": "sliding"}


def _windows() -> Rule:
    """Map windows; ``attention_types`` lists kinds of layers and how often each list repeats."""

    def read(published: Published) -> Fields:
        layers, kinds = whole(published, "num_layers", 10_000), list[str]()
        for names, times in published.get("attention_types") or [[["global", "local"], layers // 2]]:
            kinds += [_KINDS[name] for _ in range(min(times, layers)) for name in names]
        if len(kinds) != layers:
            raise Inexpressible(f"attention_types has {len(kinds)} layers, and the model {layers}")
        return {"mixers": tuple(kinds), "window": published.get("window_size", 256) if "sliding" in kinds else None}

    def write(config: ModelConfig) -> Fields:
        theirs = {ours: name for name, ours in _KINDS.items()}
        kinds = [theirs[config.mixer(layer)] for layer in range(config.n_layers)]
        return {"attention_types": [[kinds, 1]], "window_size": config.window or 256}

    return Rule(read, write)


_SIZES = [same("d_model", "hidden_size"), same("n_layers", "num_layers"), same("n_heads", "num_heads")]
GPT_NEO = make_family(
    "gpt_neo",
    "GPTNeo",
    gpt_rule(
        *_SIZES,
        same("max_length", "max_position_embeddings"),
        hidden("intermediate_size", "hidden_size"),
        _windows(),
        attention_scale=1.0,
        qkv_bias=False,
    ),
    _NAMES,
    prefix="transformer.",
)
