"""GPT-Neo (Black et al. 2021): GPT-2 with windows in every second layer, scores that are not scaled, and matrices as
usual."""

from __future__ import annotations

from seedbed.models.config import ModelConfig
from seedbed.models.families.base import Fields, Inexpressible, Published, Rule, same, whole
from seedbed.models.families.gpt2 import gpt_rule
from seedbed.models.families.heads import decoder_head_rows
from seedbed.models.families.llama import attention_rows, feedforward_rows, make_family, norm_rows
from seedbed.models.families.rules import hidden
from seedbed.models.families.weight_mapping import Row, layer

_THEIRS = "transformer.h.{i}."
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


def neo_rows(config: ModelConfig) -> list[Row]:
    """Return the tensor names below ``transformer.``"""
    rows = layer("embedding", "transformer.wte") + layer("position", "transformer.wpe")
    rows += layer("norm", "transformer.ln_f", bias=True) + decoder_head_rows(config, token="classifier")
    rows += attention_rows(_THEIRS + "attn.attention.", "out_proj") + feedforward_rows(
        "mlp.c_fc", "mlp.c_proj", _THEIRS
    )
    return rows + norm_rows("ln_1", "ln_2", _THEIRS)


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
    neo_rows,
    prefix="transformer.",
)
