"""Merging: adapters against the same adapter at run time and against transformers' own layers, models against closed
forms."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.formats.importing import import_model
from seedbed.formats.peft_format import read_adapter, read_peft
from seedbed.inference.runner import TokenChunk
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.kernel.library import library as kernel
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model
from seedbed.models.store import WEIGHTS, load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer
from seedbed.transform.adapters import family_of, merge_adapters, to_ours
from seedbed.transform.derived import open_stored, write_derived
from seedbed.transform.merge import linear, merge, slerp
from seedbed.transform.quantize import quantize

TOKENIZER = train_tokenizer(["seeds in a bed"], TokenizerSettings(kind="byte"))
VOCABULARY = TOKENIZER.vocab_size
RANK, ALPHA = 3, 6.0
IDS = torch.randint(VOCABULARY, (2, 11), generator=torch.Generator().manual_seed(5))


def draw(*shape: int, seed: int, scale: float = 0.3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def config_of(**changes: Any) -> ModelConfig:
    shape = {"d_model": 24, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "d_ff": 40} | changes
    return default_model(2, VOCABULARY, 32, **shape)


def stored(root: Path, config: ModelConfig, seed: int = 0, dtype: torch.dtype = torch.float32) -> Artifact:
    """A model with random weights in a library."""
    model = Decoder(config)
    for place, parameter in enumerate(model.parameters()):
        parameter.data = draw(*parameter.shape, seed=100 * seed + place, scale=0.2).to(dtype)
    with Library(root).writing("model") as draft:
        save_model(draft.path, model, TOKENIZER)
    return draft.result


def peft_folder(folder: Path, tensors: Mapping[str, Tensor], **settings: Any) -> Path:
    folder.mkdir()
    described = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "init_lora_weights": True} | settings
    (folder / "adapter_config.json").write_text(json.dumps(described))
    save_file(
        {f"base_model.model.{name}": t.contiguous() for name, t in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def pair(path: str, outputs: int, inputs: int, seed: int = 0, rank: int = RANK) -> dict[str, Tensor]:
    down, up = draw(rank, inputs, seed=seed + 1), draw(outputs, rank, seed=seed + 2)
    return {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}


def pairs_of(model: nn.Module, *paths: str) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, path in enumerate(paths):
        weight = model.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        tensors |= pair(path, *weight.shape, seed=10 * number)
    return tensors


def merged(artifact: Artifact, root: Path, *folders: Path, weights: tuple[float, ...] = (1.0,)) -> Decoder:
    """The model with the adapters in it, through files."""
    origin = open_stored(artifact)
    adapters = [to_ours(read_peft(folder), origin.config, family_of(origin)) for folder in folders]
    config, tensors = merge_adapters(origin, adapters, weights)
    with Library(root).writing("model", parents=[artifact]) as draft:
        write_derived(draft.path, origin, tensors, config)
    return load_model(draft.result).model


def logits(model: Decoder) -> Tensor:
    with torch.no_grad():
        return model(IDS)[0]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


LAYERS = ("blocks.0.mixer.q", "blocks.1.mixer.v", "blocks.0.mixer.out", "blocks.1.feedforward.gate")


@pytest.mark.skipif(kernel() is None, reason="no C++ compiler")
def test_the_engine_with_an_adapter_is_the_merged_model(tmp_path: Path) -> None:
    artifact = stored(tmp_path, config_of())
    model = load_model(artifact).model
    folder = peft_folder(tmp_path / "adapter", pairs_of(model, *LAYERS))
    runner = CpuRunner(model, 2**24, {"tuned": read_adapter(folder)})
    tokens = IDS[0].tolist()
    at_run_time = runner.forward([TokenChunk(tokens, 0, [0], len(tokens), 0, "tuned")]).logits
    in_weights = logits(merged(artifact, tmp_path, folder))[0]
    assert relative(in_weights, at_run_time) < 1e-5
    assert relative(in_weights, logits(model)[0]) > 0.01


def test_weights_and_several_adapters_add_up(tmp_path: Path) -> None:
    artifact = stored(tmp_path, config_of())
    model = load_model(artifact).model
    one = peft_folder(tmp_path / "one", pairs_of(model, *LAYERS[:3]))
    two = peft_folder(tmp_path / "two", pair(LAYERS[0], 32, 24, seed=50, rank=2), use_rslora=True, r=2)
    both = merged(artifact, tmp_path, one, two, weights=(0.5, -2.0)).get_submodule(LAYERS[0]).weight
    first, second = load_file(one / "adapter_model.safetensors"), load_file(two / "adapter_model.safetensors")
    names = [f"base_model.model.{LAYERS[0]}.lora_{part}.weight" for part in "BA"]
    change = 0.5 * (ALPHA / RANK) * first[names[0]] @ first[names[1]]
    change += -2.0 * (ALPHA / math.sqrt(2)) * second[names[0]] @ second[names[1]]
    torch.testing.assert_close(both, model.get_submodule(LAYERS[0]).weight + change, rtol=1e-6, atol=1e-6)


def test_what_an_adapter_leaves_alone_keeps_its_bits_and_precision(tmp_path: Path) -> None:
    artifact = stored(tmp_path, config_of(), dtype=torch.bfloat16)
    folder = peft_folder(tmp_path / "adapter", pair(LAYERS[0], 32, 24), alpha_pattern={"mixer.q": 1.5})
    origin = open_stored(artifact)
    adapter = to_ours(read_peft(folder), origin.config, None)
    new = dict(merge_adapters(origin, [adapter], [1.0])[1])
    before = load_file(artifact.file(WEIGHTS))
    assert new.keys() == before.keys()
    for name, tensor in before.items():
        assert new[name].dtype == torch.bfloat16
        assert torch.equal(new[name], tensor) == (name != f"{LAYERS[0]}.weight")
    part = adapter.additions[LAYERS[0]]
    exact = before[f"{LAYERS[0]}.weight"].float() + 1.5 / RANK * part.up @ part.down
    assert torch.equal(new[f"{LAYERS[0]}.weight"], exact.bfloat16())  # rounded once


def test_layers_trained_whole_and_biases_take_the_models_place(tmp_path: Path) -> None:
    artifact = stored(tmp_path, config_of(qkv_bias=True))
    bias, norm = draw(32, seed=7), draw(24, seed=8)
    tensors = pair(LAYERS[0], 32, 24) | {f"{LAYERS[0]}.base_layer.bias": bias, "norm.weight": norm}
    model = merged(artifact, tmp_path, peft_folder(tmp_path / "adapter", tensors, bias="lora_only"))
    assert torch.equal(model.get_submodule(LAYERS[0]).bias, bias)
    assert torch.equal(model.norm.weight, norm)
    with pytest.raises(UsageError, match="more than linear layers"):
        read_adapter(tmp_path / "adapter")


@pytest.mark.parametrize("layer", ["embedding", "output"])
def test_tied_tables_become_two_when_one_changes(tmp_path: Path, layer: str) -> None:
    """At run time an adapter of one place leaves the other alone."""
    artifact = stored(tmp_path, config_of(tied=True))
    table = load_model(artifact).model.embedding.weight
    down, up = draw(RANK, 24, seed=1), draw(VOCABULARY, RANK, seed=2)
    names = {"embedding": ("embedding.lora_embedding_B", "embedding.lora_embedding_A")}
    first, second = names.get(layer, ("output.lora_A.weight", "output.lora_B.weight"))
    tensors = {first: down.T, second: up.T} if layer == "embedding" else {first: down, second: up}
    model = merged(artifact, tmp_path, peft_folder(tmp_path / "adapter", tensors))
    changed, other = (model.embedding, model.output)[:: 1 if layer == "embedding" else -1]
    assert not model.config.tied
    assert torch.equal(other.weight, table)
    torch.testing.assert_close(changed.weight, table + ALPHA / RANK * up @ down, rtol=1e-6, atol=1e-6)


def llama() -> transformers.PreTrainedModel:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            head_dim=10, intermediate_size=40, max_position_embeddings=32, tie_word_embeddings=True,
        )
    )  # fmt: skip


def gpt2() -> transformers.PreTrainedModel:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCABULARY, n_embd=24, n_layer=2, n_head=4, n_inner=40, n_positions=32)
    )


FAMILIES: dict[str, tuple[Callable[[], transformers.PreTrainedModel], tuple[str, ...]]] = {
    "llama": (
        llama,
        ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj", "model.layers.1.mlp.down_proj"),
    ),
    "gpt2": (gpt2, ("transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_proj", "transformer.h.1.mlp.c_fc")),
}


def imported(theirs: transformers.PreTrainedModel, root: Path) -> Artifact:
    for place, parameter in enumerate(theirs.parameters()):
        parameter.data = draw(*parameter.shape, seed=place, scale=0.2)  # GPT-2's biases too
    theirs.save_pretrained(root / "theirs")
    TOKENIZER.save(root / "theirs")
    return import_model(Library(root), root / "theirs", "imported")


@pytest.mark.parametrize("name", list(FAMILIES))
def test_published_names_find_our_layers_fused_ones_too(tmp_path: Path, name: str) -> None:
    make, paths = FAMILIES[name]
    theirs = make()
    artifact = imported(theirs, tmp_path)
    tensors: dict[str, Tensor] = {}
    for number, path in enumerate(paths):
        layer = theirs.get_submodule(path)
        shape = layer.weight.shape if isinstance(layer, nn.Linear) else layer.weight.shape[::-1]
        tensors |= pair(path, *shape, seed=10 * number)
        change = ALPHA / RANK * tensors[f"{path}.lora_B.weight"] @ tensors[f"{path}.lora_A.weight"]
        layer.weight.data += change if isinstance(layer, nn.Linear) else change.T
    folder = peft_folder(tmp_path / "adapter", tensors, fan_in_fan_out=name == "gpt2")
    with torch.no_grad():
        expected = theirs.eval()(IDS).logits
    assert relative(logits(merged(artifact, tmp_path, folder)), expected) < 2e-5
    assert relative(logits(load_model(artifact).model), expected) > 0.01


PEFT_CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("llama", {"target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "everything": ("llama", {"target_modules": "all-linear", "use_rslora": True}),
    "patterns": (
        "llama",
        {"target_modules": ["q_proj", "k_proj"], "rank_pattern": {"k_proj": 5}, "alpha_pattern": {"k_proj": 3}},
    ),
    "embedding": ("llama", {"target_modules": ["embed_tokens", "q_proj"]}),
    "saved": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head", "input_layernorm"]}),
    "fused": ("gpt2", {"target_modules": ["c_attn", "c_proj", "c_fc"]}),
    "biases": ("gpt2", {"target_modules": ["c_attn"], "bias": "all"}),
}


@pytest.mark.parametrize("case", list(PEFT_CASES))
def test_it_is_what_peft_computes(tmp_path: Path, case: str) -> None:
    peft = pytest.importorskip("peft")
    family, settings = PEFT_CASES[case]
    theirs = FAMILIES[family][0]()
    artifact = imported(theirs, tmp_path)
    tuned = peft.get_peft_model(theirs, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, **settings)).eval()
    for place, parameter in enumerate(tuned.parameters()):
        if parameter.requires_grad:
            parameter.data += draw(*parameter.shape, seed=1000 + place, scale=0.1)
    tuned.save_pretrained(tmp_path / "adapter")
    ours = logits(merged(artifact, tmp_path, tmp_path / "adapter"))
    with torch.no_grad():
        assert relative(ours, tuned(IDS).logits) < 2e-5
        if case not in ("embedding", "saved"):  # there PEFT's merge changes both of two tied tables
            assert relative(ours, tuned.merge_and_unload()(IDS).logits) < 2e-5


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"init_lora_weights": "pissa"}, "'pissa'"),
        ({"lora_bias": True}, "biases"),
    ],
)
def test_adapters_that_are_no_addition_are_refused(tmp_path: Path, settings: dict[str, Any], reason: str) -> None:
    folder = peft_folder(tmp_path / "adapter", pair(LAYERS[0], 32, 24), **settings)
    with pytest.raises(UsageError) as caught:
        read_peft(folder)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (pair("blocks.7.mixer.q", 32, 24), "blocks.7.mixer.q.weight, which is not there"),
        (pair("blocks.0.mixer.q", 32, 20), "does not fit (32, 24)"),
        (pair("blocks.0.mixer.q", 30, 24), "does not fit (32, 3)"),
        ({"norm.weight": torch.ones(5)}, "does not fit (24,)"),
    ],
)
def test_an_adapter_of_another_model_is_refused(tmp_path: Path, tensors: dict[str, Tensor], reason: str) -> None:
    origin = open_stored(stored(tmp_path, config_of()))
    with pytest.raises(UsageError) as caught:
        to_ours(read_peft(peft_folder(tmp_path / "adapter", tensors)), origin.config, family_of(origin))
    assert reason in str(caught.value)


def test_damaged_adapters(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_peft(tmp_path)
    lonely = {key: value for key, value in pair(LAYERS[0], 32, 24).items() if "lora_A" in key}
    with pytest.raises(CorruptError, match="not a readable adapter"):
        read_peft(peft_folder(tmp_path / "lonely", lonely))
    strange = pair(LAYERS[0], 32, 24) | {f"{LAYERS[0]}.lora_C.weight": torch.ones(2)}
    with pytest.raises(CorruptError, match="not a readable adapter"):
        read_peft(peft_folder(tmp_path / "strange", strange))
    folder = peft_folder(tmp_path / "cut", pair(LAYERS[0], 32, 24))
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(CorruptError):
        read_peft(folder)


def both(root: Path) -> tuple[Artifact, Artifact]:
    return stored(root, config_of(), 1), stored(root, config_of(), 2)


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_the_ends_are_the_models_bit_for_bit(tmp_path: Path, method: Any) -> None:
    artifacts = both(tmp_path)
    models = [open_stored(artifact) for artifact in artifacts]
    for place, weights in enumerate([(1, 0), (0, 1)]):
        expected = load_file(artifacts[place].file(WEIGHTS))
        found = dict(merge(models, weights, method))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name].view(torch.int32), expected[name].view(torch.int32)) for name in expected)


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_a_model_with_itself_is_itself(tmp_path: Path, method: Any) -> None:
    model = open_stored(both(tmp_path)[0])
    for name, tensor in merge([model, model], (1, 1), method):
        assert torch.equal(tensor, model.tensors.read(name))


def test_linear_weights_are_proportions(tmp_path: Path) -> None:
    models = [open_stored(artifact) for artifact in both(tmp_path)]
    for name, tensor in merge(models, (2, 6)):
        one, two = (model.tensors.read(name) for model in models)
        torch.testing.assert_close(tensor, 0.25 * one + 0.75 * two)


def test_tasks_are_added_to_their_base(tmp_path: Path) -> None:
    base, one = (open_stored(artifact) for artifact in both(tmp_path))
    two = open_stored(stored(tmp_path, config_of(), 3))
    for name, tensor in merge([base, one, two], (0.5, -1.0), "task"):
        b, x, y = (model.tensors.read(name) for model in (base, one, two))
        torch.testing.assert_close(tensor, b + 0.5 * (x - b) - (y - b))
    for name, tensor in merge([base, one, two], (0, 0), "task"):
        assert torch.equal(tensor, base.tensors.read(name))


def angle(a: Tensor, b: Tensor) -> float:
    a, b = a.double().flatten(), b.double().flatten()
    return math.acos(min(1.0, float(a @ b / a.norm() / b.norm())))


def test_slerp_turns_at_constant_speed_and_its_length_goes_linearly() -> None:
    a, b = draw(7, 5, seed=1), draw(7, 5, seed=2, scale=0.9)
    whole = angle(a, b)
    for share in (0.1, 0.25, 0.5, 0.9):
        found = slerp(a, b, share)
        assert angle(a, found) == pytest.approx(share * whole, abs=1e-5)
        assert angle(found, b) == pytest.approx((1 - share) * whole, abs=1e-5)
        assert float(found.norm()) == pytest.approx((1 - share) * float(a.norm()) + share * float(b.norm()), rel=1e-5)
    quarter = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 1 / 3)
    torch.testing.assert_close(quarter, torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))


def test_slerp_is_linear_where_there_is_no_arc() -> None:
    a = draw(9, seed=1)
    for b in (1.7 * a, -a, torch.zeros(9), a + 1e-4 * draw(9, seed=3)):
        torch.testing.assert_close(slerp(a, b, 0.25), linear([a, b], [0.75, 0.25]))


def test_the_first_models_precision_is_kept(tmp_path: Path) -> None:
    half, full = stored(tmp_path, config_of(), 1, torch.bfloat16), stored(tmp_path, config_of(), 2)
    assert {tensor.dtype for _, tensor in merge([open_stored(half), open_stored(full)], (1, 1))} == {torch.bfloat16}
    assert {tensor.dtype for _, tensor in merge([open_stored(full), open_stored(half)], (1, 1))} == {torch.float32}


def test_models_that_do_not_belong_together(tmp_path: Path) -> None:
    one = open_stored(stored(tmp_path, config_of(), 1))
    other = open_stored(stored(tmp_path, config_of(d_ff=48, qk_norm=False), 1))
    with pytest.raises(UsageError) as caught:
        merge([one, other], (1, 1))
    assert "d_ff (40 and 48), qk_norm (True and False)" in caught.value.why
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, load_model(one.artifact).model, train_tokenizer(["abc"], TokenizerSettings(kind="char")))
    with pytest.raises(UsageError, match="cannot be merged") as caught:
        merge([one, open_stored(draft.result)], (1, 1))
    assert "the vocabulary (token " in caught.value.why


def published(root: Path, model: nn.Module, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Artifact:
    """A model whose tokenizer's two files were changed."""
    TOKENIZER.save(root)
    table, config = (json.loads((root / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json"))
    change(table, config)
    with Library(root).writing("model") as draft:
        save_model(draft.path, model, Tokenizer.from_json(json.dumps(table), config))  # type: ignore[arg-type]
    return draft.result


def of_template(table: dict[str, Any], config: dict[str, Any]) -> None:
    config["chat_template"] = "{{ messages[0].content }}"


def of_end(table: dict[str, Any], config: dict[str, Any]) -> None:
    config["eos_token"] = "<|user|>"


def of_flags(table: dict[str, Any], config: dict[str, Any]) -> None:
    table["added_tokens"][-1]["special"] = False


def of_one_more(table: dict[str, Any], config: dict[str, Any]) -> None:
    table["added_tokens"].append({**table["added_tokens"][-1], "id": VOCABULARY, "content": "<|im_end|>"})


def of_one_renamed(table: dict[str, Any], config: dict[str, Any]) -> None:
    old, new = table["added_tokens"][-1]["content"], "<|im_end|>"
    table["added_tokens"][-1]["content"] = new
    table["model"]["vocab"][new] = table["model"]["vocab"].pop(old)


@pytest.mark.parametrize("change", [of_template, of_end, of_flags, of_one_more])
def test_models_whose_tokenizers_differ_in_names_alone_are_merged(tmp_path: Path, change: Any) -> None:
    config = config_of() if change is not of_one_more else default_model(2, VOCABULARY + 1, 32, d_model=24, n_heads=4)
    one = stored(tmp_path / "one", config, 1)
    other = open_stored(published(tmp_path, Decoder(config), change))
    merged = dict(merge([open_stored(one), other], (1, 0)))
    assert all(torch.equal(merged[name], tensor.float()) for name, tensor in open_stored(one))


def test_a_piece_of_another_name_is_another_vocabulary(tmp_path: Path) -> None:
    one = stored(tmp_path / "one", config_of(), 1)
    other = published(tmp_path, Decoder(config_of()), of_one_renamed)
    with pytest.raises(UsageError, match="cannot be merged") as caught:
        merge([open_stored(one), open_stored(other)], (1, 1))
    assert "'<|assistant|>' and '<|im_end|>'" in caught.value.why


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("linear", (1,)),
        ("linear", (1, -1)),
        ("slerp", (2, -1)),
        ("slerp", (1, 1, 1)),
        ("task", (1, 1)),
        ("mean", (1, 1)),
    ],
)
def test_weights_that_mean_nothing_are_refused(tmp_path: Path, method: Any, weights: tuple[float, ...]) -> None:
    models = [open_stored(artifact) for artifact in both(tmp_path)]
    with pytest.raises(UsageError, match="cannot be merged by"):
        merge(models, weights, method)


def test_quantized_models_are_refused(tmp_path: Path) -> None:
    model = load_model(stored(tmp_path, config_of())).model
    quantize(model, "int8")
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, model, TOKENIZER, "int8")
    with pytest.raises(UsageError, match="is quantized"):
        open_stored(draft.result)
