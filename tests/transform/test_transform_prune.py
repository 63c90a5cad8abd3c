"""Pruning: masks against torch.nn.utils.prune and Wanda's formula; cutting off what does nothing changes nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import prune as oracle

from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, UsageError
from seedbed.formats.exporting import export_huggingface, load_for_export
from seedbed.formats.importing import import_model
from seedbed.models.config import AnyConfig, EncoderDecoderConfig, ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.factory import new_model, skeleton
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.presets import default_model
from seedbed.models.stack import Stack
from seedbed.models.store import load_any, load_model, save_model
from seedbed.nn.attention import Attention
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.feedforward import FeedForward
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer
from seedbed.transform.calibration import block_influence, windows
from seedbed.transform.derived import open_stored, write_derived
from seedbed.transform.importance import channel_scores, head_scores, layer_scores, plan_pruning, strongest
from seedbed.transform.prune import prune
from seedbed.transform.sparsity import Pattern, prunable, prune_globally, prune_magnitude, prune_wanda, zeros
from seedbed.transform.structured_pruning import pruned_tensors

TOKENIZER = train_tokenizer(["seeds in a bed"], TokenizerSettings(kind="byte"))
VOCABULARY = TOKENIZER.vocab_size
IDS = torch.randint(VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(5))
SHAPES: dict[str, dict[str, Any]] = {
    "default": {},
    "biased": {"qkv_bias": True, "out_bias": True, "mlp_bias": True, "norm": "layer", "mlp": "plain", "tied": False},
    "multi-head": {"n_kv_heads": None, "position": "learned", "qk_norm": False},
    "experts": {"experts": ExpertsConfig(4, 2, 20), "dense_layers": (1,)},
    "parallel": {"norm_place": "parallel", "attention_scale": 0.5},
    "mixed": {"mixers": ("lstm", "attention", "sliding"), "window": 5},
    "encoder": {"causal": False, "head": "none", "position": "learned"},
}


def config_of(**changes: Any) -> ModelConfig:
    return default_model(
        3, VOCABULARY, 32, **{"d_model": 24, "n_heads": 6, "n_kv_heads": 3, "d_ff": 40, "head_dim": 8} | changes
    )


def random_model(config: AnyConfig, seed: int = 0) -> Any:
    model = new_model(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return model


def outputs(model: Stack) -> Tensor:
    with torch.no_grad():
        found = model(IDS)
    return found[0] if isinstance(found, tuple) else found


def cut_of(model: Stack, method: str, share: float, ids: Tensor | None = None) -> Stack:
    plan = plan_pruning(model, method, share, ids)
    made = skeleton(plan.config)
    pruned = {name: tensor.clone() for name, tensor in pruned_tensors(plan, model.state_dict().__getitem__)}
    made.load_state_dict(pruned, strict=False, assign=True)
    made.tie()
    assert isinstance(made, Stack)
    return made.train(model.training)


def same(found: Tensor, expected: Tensor) -> bool:
    return float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_magnitude_is_torchs_l1_unstructured(share: float) -> None:
    model = random_model(config_of())
    expected = copy.deepcopy(model)
    for layer in prunable(expected).values():
        oracle.l1_unstructured(layer, "weight", share)
        oracle.remove(layer, "weight")
    prune_magnitude(model, share)
    assert len(prunable(model)) == 3 * 7
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_global_magnitude_is_torchs_global_unstructured() -> None:
    model = random_model(config_of())
    for place, layer in enumerate(prunable(model).values()):
        layer.weight.data *= 1 + place % 3  # so that layers lose different shares
    expected = copy.deepcopy(model)
    layers = [(layer, "weight") for layer in prunable(expected).values()]
    oracle.global_unstructured(layers, oracle.L1Unstructured, amount=0.4)
    for layer, name in layers:
        oracle.remove(layer, name)
    prune_globally(model, 0.4)
    for name, tensor in expected.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_of_equal_magnitudes_no_more_than_asked_go() -> None:
    """Weights of bfloat16 are equal by the thousand."""
    model = random_model(config_of())
    for layer in prunable(model).values():
        layer.weight.data = torch.ones_like(layer.weight)
    count = sum(layer.weight.numel() for layer in prunable(model).values())
    prune_globally(model, 0.3)
    assert zeros(model) == round(0.3 * count)


def test_two_of_four_stay_the_larger_ones() -> None:
    model = random_model(config_of())
    before = {path: layer.weight.detach().clone() for path, layer in prunable(model).items()}
    prune_magnitude(model, Pattern(2, 4))
    for path, layer in prunable(model).items():
        new, old = layer.weight.view(-1, 4), before[path].view(-1, 4)
        for one, other in zip(new.tolist(), old.tolist(), strict=True):
            low = sorted(map(abs, other))[:2]
            assert one == [0.0 if abs(value) in low else value for value in other]


def test_routers_embeddings_and_norms_stay() -> None:
    model = random_model(config_of(**SHAPES["experts"]))
    before = copy.deepcopy(model.state_dict())
    prune_magnitude(model, 0.5)
    kept = [name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])]
    assert {"embedding.weight", "output.weight", "norm.weight", "blocks.0.feedforward.router.weight"} <= set(kept)
    assert "blocks.0.feedforward.experts.3.up.weight" not in kept


def inputs_of(model: Stack, path: str) -> Tensor:
    """(N, k) what goes into a layer."""
    seen: list[Tensor] = []
    handle = model.get_submodule(path).register_forward_hook(lambda layer, x, y: seen.append(x[0].flatten(0, -2)))
    outputs(model)
    handle.remove()
    return torch.cat(seen)


@pytest.mark.parametrize("pattern", [None, Pattern(2, 4)])
def test_wanda_is_its_formula_on_what_reaches_a_layer_through_pruned_ones(pattern: Pattern | None) -> None:
    dense = random_model(config_of())
    model = copy.deepcopy(dense)
    prune_wanda(model, pattern or 0.5, IDS)
    for place in range(3):
        half = copy.deepcopy(model)  # the blocks before are pruned, this one is not yet
        half.blocks[place] = copy.deepcopy(dense.blocks[place])
        for path in (f"blocks.{place}.mixer.k", f"blocks.{place}.mixer.out", f"blocks.{place}.feedforward.down"):
            weight = dense.get_submodule(path).weight.detach()
            scores = weight.abs() * inputs_of(half, path).norm(dim=0)
            group = scores.view(-1, 4) if pattern else scores
            keep = group >= group.sort(dim=1).values[:, group.shape[1] // 2, None]
            assert torch.equal(model.get_submodule(path).weight, weight * keep.view_as(weight)), path


def test_wanda_prunes_an_expert_that_nothing_reaches_by_magnitude() -> None:
    model = random_model(config_of(experts=ExpertsConfig(4, 1)))
    router = model.get_submodule("blocks.0.feedforward.router")
    router.weight.data[:] = 0  # equal weights: the first expert is chosen for every position
    expected = copy.deepcopy(model)
    prune_wanda(model, 0.5, IDS)
    found = [model.get_submodule(f"blocks.0.feedforward.experts.{e}.up").weight for e in range(4)]
    old = [expected.get_submodule(f"blocks.0.feedforward.experts.{e}.up").weight for e in range(4)]
    by_magnitude = [
        torch.equal(new, w * (w.abs() >= w.abs().sort(1).values[:, 12, None]))
        for new, w in zip(found, old, strict=True)
    ]
    assert sum(by_magnitude) == 3


def dead_group(model: Stack, group: int) -> None:
    """Let a group of heads write nothing."""
    for block in model.blocks:
        if isinstance(block.mixer, Attention):
            size = block.mixer.head_dim * block.mixer.groups
            block.mixer.out.weight.data[:, group * size : (group + 1) * size] = 0


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_heads_that_write_nothing_go_and_nothing_changes(shape: str, text: bool) -> None:
    model = random_model(config_of(**SHAPES[shape]))
    dead_group(model, 1)
    expected = outputs(model)
    small = cut_of(model, "heads", 1 / model.config.kv_heads, IDS if text else None)
    assert same(outputs(small), expected)
    assert small.config.kv_heads == model.config.kv_heads - 1
    assert small.config.head_size == model.config.head_size
    assert small.config.n_heads // small.config.kv_heads == model.config.n_heads // model.config.kv_heads


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_dead_channels_go_and_nothing_changes(shape: str, text: bool) -> None:
    model = random_model(config_of(**SHAPES[shape]))
    for place, layer in enumerate(layer for layer in model.modules() if isinstance(layer, FeedForward)):
        width = layer.up.out_features
        layer.down.weight.data[:, torch.arange(place % 3, width, 4)] = 0  # other channels in every layer
    expected = outputs(model)
    small = cut_of(model, "width", 0.25, IDS if text else None)
    assert same(outputs(small), expected)
    assert small.config.hidden == 30
    assert small.config.experts is None or small.config.experts.hidden == 15


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_layer_that_adds_nothing_goes_and_nothing_changes(shape: str) -> None:
    model = random_model(config_of(**SHAPES[shape]))
    for name, parameter in model.blocks[1].named_parameters():
        if ".out." in name or ".down." in name:
            parameter.data.zero_()
    expected = outputs(model)
    small = cut_of(model, "layers", 0.34, IDS)
    assert same(outputs(small), expected)
    assert small.config.n_layers == 2
    assert [small.config.mixer(i) for i in range(2)] == [model.config.mixer(i) for i in (0, 2)]


def test_tied_tables_stay_tied() -> None:
    for method in ("heads", "layers", "width"):
        small = cut_of(random_model(config_of(tied=True)), method, 0.34)
        assert isinstance(small, Decoder)
        assert small.output.weight is small.embedding.weight


def test_without_text_the_layers_before_the_last_go() -> None:
    model = random_model(config_of(n_layers=5))
    assert strongest(layer_scores(model), 0.4, "layers").tolist() == [0, 1, 4]


def test_influence_is_the_angle_a_block_turns_the_stream() -> None:
    model = random_model(config_of())
    streams = [model.embedding(IDS)]
    for block in model.blocks:
        block.register_forward_hook(lambda block, x, y: streams.append(y[0]))
    outputs(model)
    expected = [1 - torch.cosine_similarity(a, b, dim=-1).mean().item() for a, b in pairwise(streams)]
    assert block_influence(model, IDS).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", ["default", "biased", "multi-head"])
def test_head_scores_are_the_norms_of_their_matrices(shape: str) -> None:
    """W_out W_v multiplied out for every head, and what heads really write."""
    model = random_model(config_of(**SHAPES[shape]))
    group, size = model.config.n_heads // model.config.kv_heads, model.config.head_size
    by_weight, by_text = head_scores(model), head_scores(model, IDS)
    for layer, block in enumerate(model.blocks):
        z = inputs_of(model, f"blocks.{layer}.mixer.out")
        value = (
            block.mixer.v.weight
            if block.mixer.v.bias is None
            else torch.cat([block.mixer.v.weight, block.mixer.v.bias[:, None]], 1)
        )
        for place in range(model.config.kv_heads):
            written, possible = 0.0, 0.0
            rows = slice(place * size, (place + 1) * size)
            whole = slice(place * group * size, (place + 1) * group * size)
            written = (z[:, whole] @ block.mixer.out.weight[:, whole].T).square().sum().item()
            for head in range(place * group, (place + 1) * group):
                columns = slice(head * size, (head + 1) * size)
                possible += (block.mixer.out.weight[:, columns] @ value[rows]).square().sum().item()
            assert by_weight[layer][place].item() == pytest.approx(possible, rel=1e-4)
            assert by_text[layer][place].item() == pytest.approx(written, rel=1e-4)


def test_channel_scores_are_what_channels_add() -> None:
    model = random_model(config_of())
    found = channel_scores(model, IDS)
    for path, scores in found.items():
        down = model.get_submodule(f"{path}.down").weight
        hidden = inputs_of(model, f"{path}.down")
        expected = [(hidden[:, c, None] * down[None, :, c]).norm().item() for c in range(40)]
        assert scores.tolist() == pytest.approx(expected, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    group=st.integers(1, 3),
    kv=st.integers(2, 5),
    size=st.sampled_from([2, 6]),
    hidden=st.integers(3, 30),
    layers=st.integers(2, 5),
    share=st.floats(0.05, 0.95),
    method=st.sampled_from(["heads", "layers", "width"]),
)
def test_any_cut_is_a_model_of_its_configuration(
    group: int, kv: int, size: int, hidden: int, layers: int, share: float, method: str
) -> None:
    model = random_model(
        ModelConfig(
            31, 12, layers, group * kv, kv, size, hidden, max_length=16, mixers=("attention", "sliding"), window=3
        )
    )
    count = {"heads": kv, "layers": layers, "width": hidden}[method]
    gone = round(share * count)
    if not 0 < gone < count:
        with pytest.raises(UsageError, match="a share of"):
            plan_pruning(model, method, share)
        return
    small = cut_of(model, method, share)
    left = {"heads": small.config.kv_heads, "layers": small.config.n_layers, "width": small.config.hidden}[method]
    assert left == count - gone
    assert {n: p.shape for n, p in small.named_parameters()} == {
        n: p.shape for n, p in new_model(small.config).named_parameters()
    }
    with torch.no_grad():
        assert small(torch.randint(31, (1, 7)))[0].isfinite().all()


@pytest.mark.parametrize("method", ["heads", "layers", "width", "magnitude", "2:4", "wanda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_through_files_in_their_precision(tmp_path: Path, method: Any, dtype: torch.dtype) -> None:
    model = random_model(config_of()).to(dtype)
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, model, TOKENIZER)
    origin = open_stored(draft.result)
    loaded = load_model(draft.result)
    config, tensors = prune(origin, loaded.model, method, 0.34, ids=IDS.flatten().tolist())
    with Library(tmp_path).writing("model", parents=[draft.result]) as made:
        write_derived(made.path, origin, tensors, config)
    found = load_model(made.result)
    assert {tensor.dtype for _, tensor in open_stored(made.result)} == {dtype}
    assert count_parameters(found.model.config).total - zeros(found.model) < 0.95 * count_parameters(model.config).total
    assert found.tokenizer.hash == TOKENIZER.hash
    draft.result.verify()
    if method in ("heads", "layers", "width"):
        ids = windows(IDS.flatten().tolist(), 32)
        assert same(outputs(found.model), outputs(cut_of(load_model(draft.result).model, method, 0.34, ids)))
        assert made.result.size < draft.result.size


@pytest.mark.parametrize("method", ["heads", "layers", "width"])
def test_a_cut_model_is_exported_and_others_compute_the_same(tmp_path: Path, method: Any) -> None:
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
    }
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**shape, head_dim=8, intermediate_size=40, max_position_embeddings=32)
    )
    theirs.save_pretrained(tmp_path / "theirs")
    TOKENIZER.save(tmp_path / "theirs")
    origin = open_stored(import_model(Library(tmp_path), tmp_path / "theirs", "theirs"))
    config, tensors = prune(origin, load_model(origin.artifact).model, method, 0.34)
    with Library(tmp_path).writing("model") as made:
        write_derived(made.path, origin, tensors, config)
    export_huggingface(load_for_export(made.result), tmp_path / "out")
    with torch.no_grad():
        expected = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()(IDS).logits
    assert same(outputs(load_model(made.result).model), expected)


def test_an_encoder_decoder_loses_single_weights_only(tmp_path: Path) -> None:
    shape = {"vocab_size": VOCABULARY, "d_model": 16, "n_layers": 2, "n_heads": 2}
    config = EncoderDecoderConfig(ModelConfig(**shape, causal=False, head="none"), ModelConfig(**shape, cross=True))
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, random_model(config), TOKENIZER)
    origin, model = open_stored(draft.result), load_any(draft.result).model
    tensors = dict(prune(origin, model, "magnitude", 0.5)[1])
    assert (tensors["decoder.blocks.1.cross.q.weight"] == 0).float().mean() == 0.5
    for method in ("heads", "layers", "width"):
        with pytest.raises(UsageError, match="encoder–decoder"):
            prune(origin, model, method, 0.5)


@pytest.mark.parametrize(
    ("changes", "method", "message"),
    [
        ({"position": "alibi"}, "heads", "alibi positions"),
        ({"mixers": ("gru",)}, "heads", "no layer has attention"),
        ({"n_kv_heads": 1}, "heads", "there is only one"),
        ({"mlp": "none"}, "width", "mlp is none"),
    ],
)
def test_what_cannot_be_cut(changes: Mapping[str, Any], method: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_pruning(random_model(config_of(**changes)), method, 0.5)
    assert message in str(caught.value)


def test_what_cannot_be_set_to_zero(tmp_path: Path) -> None:
    with Library(tmp_path).writing("model") as draft:
        save_model(draft.path, random_model(config_of()), TOKENIZER)
    origin, model = open_stored(draft.result), load_model(draft.result).model
    with pytest.raises(UsageError, match="needs text"):
        prune(origin, model, "wanda", 0.5)
    with pytest.raises(UsageError, match="cannot be pruned"):
        prune_magnitude(model, 1.0)
    with pytest.raises(UsageError, match="no pruning method"):
        prune(origin, model, "luck", 0.5)
    with pytest.raises(UsageError, match="does not fit"):
        prune_magnitude(random_model(config_of(d_ff=42)), Pattern(2, 4))
    with pytest.raises(DataError, match="too short"):
        prune(origin, model, "wanda", 0.5, ids=[1])
    model.blocks[1].feedforward.up.weight.data[0, 0] = math.nan
    with pytest.raises(UsageError, match="overflow"):
        prune_magnitude(model, 0.5)


def test_windows_are_full_and_follow_each_other() -> None:
    ids = list(range(1000))
    assert windows(ids, 64, 200).tolist() == [ids[64 * i : 64 * i + 64] for i in range(3)]
    assert windows(ids[:10], 64).tolist() == [ids[:10]]
    assert windows(ids, 5000).shape == (1, 512)


def test_zeros_count_a_tied_table_once() -> None:
    model = random_model(config_of(tied=True))
    nn.init.zeros_(model.embedding.weight)
    assert zeros(model) == VOCABULARY * 24
