"""Real models: chunks over scattered blocks are the plain forward, and replies do not depend on company or cache."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from engine_clients import client_of
from hash_runner import run_all, tokens_of
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from seedbed.core.errors import CapacityError
from seedbed.inference.engine import Engine, EngineLimits
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request, Token
from seedbed.inference.runner import BLOCK, TokenChunk
from seedbed.inference.runners.torch import TILE_ROWS, TorchRunner
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.lora import LowRank

MakeDecoder = Callable[..., Decoder]
KINDS: list[dict[str, Any]] = [
    {},
    {"position": "learned", "norm": "layer", "mlp": "plain", "activation": "gelu"},
    {"mixers": ("sliding", "attention"), "window": 70},
    {"mixers": ("lstm",), "position": "none"},
    {"mixers": ("gru", "attention")},
]


def cells(prompt: list[int], blocks: list[int]) -> list[TokenChunk]:
    parts = [(start, prompt[start : start + BLOCK]) for start in range(0, len(prompt), BLOCK)]
    return [TokenChunk(part, start, blocks, len(part), 0) for start, part in parts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [[0, 1, 2], [7, 2, 5]])
def test_rows_are_those_of_a_plain_forward(make_decoder: MakeDecoder, kind: dict, blocks: list[int]) -> None:
    model = make_decoder(max_length=600, **kind)
    ids = random.Random(1).choices(range(50), k=150)
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0][0]
    runner = TorchRunner(model)
    rows = runner.forward(cells(ids[:140], blocks))
    torch.testing.assert_close(rows.logits, expected[:140], atol=1e-4, rtol=1e-4)
    assert rows.best == expected[:140].argmax(-1).tolist()
    assert rows.logsumexp == pytest.approx(expected[:140].logsumexp(-1).tolist(), abs=1e-4)
    for position in range(140, 150):
        rows = runner.forward([TokenChunk([ids[position]], position, blocks, 1, 0)])
        torch.testing.assert_close(rows.logits[0], expected[position], atol=1e-4, rtol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(model.head(runner.hidden(ids)), expected, atol=1e-4, rtol=1e-4)


RAGGED: list[dict[str, Any]] = [
    *KINDS[:4],
    {"mixers": ("gru", "attention"), "position": "rope"},
    {
        "position": "alibi",
        "mixers": ("attention", "sliding"),
        "window": 40,
        "n_heads": 6,
        "n_kv_heads": 3,
        "head_dim": 8,
    },
    {"position": "relative", "attention_cap": 4.0, "attention_scale": 0.2},
    {"position": "sinusoidal", "norm": "layer", "norm_place": "parallel"},
    {"experts": ExpertsConfig(5, 2, 40)},
]


@pytest.mark.parametrize("rows", [1, TILE_ROWS, None])
@pytest.mark.parametrize("kind", RAGGED)
def test_sequences_of_any_lengths_together_are_each_alone(
    make_decoder: MakeDecoder, kind: dict, rows: int | None
) -> None:
    """Prompts, single tokens and checked guesses in scattered blocks, which hold NaN before."""
    model = make_decoder(max_length=300, **kind)
    for name, parameter in model.named_parameters():
        parameter.data.mul_(0.3).add_(1.0 if name.endswith("norm.weight") else 0.0)
    pick, lengths = random.Random(3), [1, 30, 64, 65, 128, 150, 200, 3, 31, 30]
    texts = [pick.choices(range(50), k=length + 6) for length in lengths]
    blocks = pick.sample(range(1, 60), 5 * len(texts))
    own = [blocks[5 * slot : 5 * slot + 5] for slot in range(len(texts))]
    with torch.no_grad():
        expected = [model(torch.tensor([text]))[0][0] for text in texts]
    runner = TorchRunner(model, cache_bytes=1 << 24, rows=rows)
    for pages in runner._pages:
        if pages is not None:
            pages.fill_(torch.nan)

    def compute(starts: list[int], ends: list[int], size: int) -> None:
        chunks = [
            TokenChunk(texts[slot][at : min(at + size, end)], at, own[slot], min(size, end - at), slot)
            for slot, (start, end) in enumerate(zip(starts, ends, strict=True))
            for at in range(start, end, size)
        ]
        found = runner.forward(chunks).logits.split([chunk.wanted for chunk in chunks])
        for chunk, rows in zip(chunks, found, strict=True):
            end = chunk.start + len(chunk.tokens)
            right = expected[chunk.slot][end - chunk.wanted : end]
            assert (rows - right).abs().max() < 1e-5 * right.abs().max()

    compute([0] * len(texts), lengths, BLOCK)
    compute(lengths, [length + 1 for length in lengths], 1)
    compute([length + 1 for length in lengths], [length + 6 for length in lengths], 5)


def test_single_tokens_of_one_sequence_follow_each_other(make_decoder: MakeDecoder) -> None:
    """A preempted reply is computed again token by token, behind its prompt and beside another's newest token."""
    model = make_decoder()
    text = random.Random(4).choices(range(50), k=75)
    with torch.no_grad():
        expected = model(torch.tensor([text]))[0][0]
    for rows in (1, TILE_ROWS, None):
        runner = TorchRunner(model, cache_bytes=1 << 24, rows=rows)
        parts = [(0, 64), (64, 65), *((at, at + 1) for at in range(65, 75))]
        again = [TokenChunk(text[at:end], at, [3, 2], 1, 0) for at, end in parts]
        other = [TokenChunk(text[:1], 0, [5], 1, 1)]
        logits = runner.forward([*other, *again]).logits
        torch.testing.assert_close(logits[1:], expected[[63, *range(64, 75)]], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[0], expected[0], atol=1e-4, rtol=1e-4)


class Uneven(nn.Module):
    """A linear layer whose bits depend on the place in a batch, as those of some libraries do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y + 1e-5 * torch.arange(x.shape[0]).view(-1, *[1] * (x.ndim - 1))


def test_tiles_are_given_up_where_places_in_them_differ(make_decoder: MakeDecoder) -> None:
    assert TorchRunner(make_decoder(), rows=TILE_ROWS).rows == TILE_ROWS
    assert TorchRunner(make_decoder(experts=ExpertsConfig(4, 2, 40)), rows=TILE_ROWS).rows == 1
    uneven = make_decoder()
    uneven.blocks[1].feedforward.up = Uneven(uneven.blocks[1].feedforward.up)
    assert TorchRunner(uneven, rows=TILE_ROWS).rows == 1


@pytest.mark.parametrize("rows", [1, TILE_ROWS, None])
def test_adapters_add_to_their_own_sequences_alone(make_decoder: MakeDecoder, rows: int | None) -> None:
    model, generator = make_decoder(), torch.Generator().manual_seed(3)
    adapters: dict[str, dict[str, LowRank]] = {"one": {}, "two": {}}
    for parts, paths in zip(adapters.values(), (("0.mixer.q", "1.feedforward.up"), ("1.mixer.out",)), strict=True):
        for path in paths:
            n, k = model.get_parameter(f"blocks.{path}.weight").shape
            down, up = torch.randn(4, k, generator=generator), torch.randn(n, 4, generator=generator)
            parts[f"blocks.{path}"] = LowRank(0.1 * down, 0.1 * up, scale=5.0)
    text = random.Random(5).choices(range(50), k=70)
    runner, names = TorchRunner(model, cache_bytes=1 << 24, adapters=adapters, rows=rows), (None, "one", "two", "one")
    cells = [
        TokenChunk(text[at:end], at, [3 * slot, 3 * slot + 1], 1, slot, name)
        for slot, name in enumerate(names)
        for at, end in ((0, 64), (64, 69), (69, 70))
    ]
    logits, expected = runner.forward(cells).logits.view(len(names), 3, -1), {}
    for name in (None, "one", "two"):
        merged = copy.deepcopy(model)
        for path, part in adapters.get(name or "", {}).items():
            merged.get_parameter(f"{path}.weight").data += part.scale * part.up @ part.down
        with torch.no_grad():
            expected[name] = merged(torch.tensor([text]))[0][0][[63, 68, 69]]
    for found, name in zip(logits, names, strict=True):
        torch.testing.assert_close(found, expected[name], atol=1e-4, rtol=1e-4)
    assert (expected["one"] - expected[None]).abs().max() > 0.1


def test_blocks_are_bounded_by_bytes(make_decoder: MakeDecoder) -> None:
    block = 2 * 2 * 2 * 8 * BLOCK * 4  # layers, k and v, heads, channels, positions, bytes
    assert TorchRunner(make_decoder(), cache_bytes=10 * block + 5).block_count == 10
    assert TorchRunner(make_decoder(max_length=160)).block_count == 3  # one window
    with pytest.raises(CapacityError):
        TorchRunner(make_decoder(), cache_bytes=block - 1)


def requests(count: int, most: int, vocabulary: int) -> list[Request]:
    """Greedy and drawn, all options, lengths up to ``most``, many with a beginning in common; at last three that fill
    a small cache."""
    pick = random.Random(count)
    shared = pick.choices(range(vocabulary), k=most)
    made = []
    for name in range(count):
        length = pick.randint(1, most)
        own = pick.choice([0, length // 2, length])
        prompt = (*shared[: length - own], *pick.choices(range(vocabulary), k=own))
        sampling = Sampling(
            max_tokens=pick.randint(1, 70),
            temperature=pick.choice([0, 0, 0.8, 2]),
            top_k=pick.choice([0, 10]),
            top_p=pick.choice([1.0, 0.9]),
            min_p=pick.choice([0.0, 0.02]),
            repetition_penalty=pick.choice([1.0, 1.1]),
            frequency_penalty=pick.choice([0.0, 0.2]),
            presence_penalty=pick.choice([0.0, 0.2]),
            logit_bias=pick.choice([(), ((7, 2.0),)]),
            top_logprobs=pick.choice([0, 5]),
            ignore_end=pick.random() < 0.5,
            seed=pick.randrange(10**6),
        )
        made.append(Request(str(name), prompt, sampling, echo=pick.random() < 0.2))
    for name in ("long1", "long2", "long3"):
        sampling = Sampling(max_tokens=most, seed=5, ignore_end=True)
        made.append(Request(name, tuple(pick.choices(range(vocabulary), k=10)), sampling))
    return made


def outcome(events: list) -> tuple[list[Token], list | None]:
    return tokens_of(events), events[0].prompt_logprobs


def alone(model: Decoder, request: Request, ends: list[int], rows: int) -> tuple[list[Token], list | None]:
    engine = Engine(TorchRunner(model, rows=rows), ends)
    engine.add(request)
    return outcome(run_all(engine)[request.id])


def together(engine: Engine, asked: list[Request]) -> dict[str, Any]:
    """Arrivals spread over the first steps, the last first."""
    events: dict[str, list] = {}
    left = list(asked)
    while left or not engine.idle:
        for _ in range(min(len(left), 3)):
            engine.add(left.pop())
        for event in engine.step():
            events.setdefault(event.request_id, []).append(event)
    return {name: outcome(found) for name, found in events.items()}


@pytest.mark.parametrize("rows", [1, TILE_ROWS])
@pytest.mark.parametrize(
    ("kind", "count", "most"),
    [
        ({}, 40, 200),
        pytest.param({"mixers": ("gru", "attention")}, 40, 200, marks=pytest.mark.slow),
        pytest.param({}, 200, 1000, marks=pytest.mark.slow),
        pytest.param({"mixers": ("sliding", "lstm"), "window": 100}, 200, 1000, marks=pytest.mark.slow),
    ],
)
def test_replies_are_the_same_alone_together_cached_and_preempted(
    make_decoder: MakeDecoder, kind: dict, count: int, most: int, rows: int
) -> None:
    """Identical floats, not close ones, one after another or in tiles."""
    model = make_decoder(max_length=most + 70, **kind)
    asked, ends = requests(count, most, 50), [11]
    expected = {request.id: alone(model, request, ends, rows) for request in asked}
    pick, blocks = random.Random(0), 6 if most == 200 else 25
    roomy = Engine(TorchRunner(model, cache_bytes=1 << 26, rows=rows), ends)
    small = TorchRunner(model, cache_bytes=blocks * 2 * 2 * 8 * BLOCK * 4 * (2 if not kind else 1), rows=rows)
    assert small.rows == (1 if "gru" in str(kind) or "lstm" in str(kind) else rows)
    tight = Engine(small, ends, limits=EngineLimits(max_running=5))
    for engine, order in ((roomy, pick.sample(asked, len(asked))), (roomy, asked), (tight, asked)):
        assert together(engine, order) == expected
    assert small.block_count == blocks
    assert tight.stats().preemptions > 0
    assert (roomy.stats().prefix_hits > 1000) == (not kind)
    assert roomy.stats().free_blocks == roomy.runner.block_count
    assert any(token.finish == "end" for tokens, _ in expected.values() for token in tokens)


def test_echo_is_the_plain_forward(make_decoder: MakeDecoder) -> None:
    model = make_decoder(max_length=320)
    prompt = tuple(random.Random(2).choices(range(50), k=150))
    _, echoed = alone(model, Request("a", prompt, Sampling(temperature=0, max_tokens=2), echo=True), [], 1)
    with torch.no_grad():
        logprobs = model(torch.tensor([prompt]))[0][0].log_softmax(-1)
    expected = [float(logprobs[place, token]) for place, token in enumerate(prompt[1:])]
    assert echoed[0] is None
    assert echoed[1:] == pytest.approx(expected, abs=1e-4)


LLAMA_NAMES = [
    ("model.embed_tokens", "embedding"), ("model.norm", "norm"), ("lm_head", "output"), ("model.layers", "blocks"),
    ("self_attn.o_proj", "mixer.out"), ("self_attn.", "mixer."), ("post_attention_layernorm", "feedforward_norm"),
    ("input_layernorm", "mixer_norm"), ("mlp.", "feedforward."), ("_proj", ""),
]  # fmt: skip
GPT2_NAMES = [
    ("transformer.", ""), ("wte.", "embedding."), ("wpe.", "position."), ("ln_f.", "norm."), ("h.", "blocks."),
    ("ln_1.", "mixer_norm."), ("ln_2.", "feedforward_norm."), ("attn.c_proj.", "mixer.out."),
    ("mlp.c_fc.", "feedforward.up."), ("mlp.c_proj.", "feedforward.down."), ("lm_head", "output"),
]  # fmt: skip
WIDTH = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
ROOM = {"vocab_size": 90, "num_key_value_heads": 2, "head_dim": 8, "rms_norm_eps": 1e-6, "max_position_embeddings": 256}
SHAPE: dict[str, Any] = {"d_ff": 48, "n_kv_heads": 2, "head_dim": 8, "max_length": 256}


def gpt2() -> tuple[PreTrainedModel, ModelConfig]:
    theirs = GPT2LMHeadModel(
        GPT2Config(vocab_size=90, n_positions=256, n_embd=32, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None)
    )
    config = ModelConfig(
        90, 32, 2, 4, max_length=256, norm="layer", norm_eps=1e-5, mlp="plain", activation="gelu_tanh",
        position="learned", qkv_bias=True, out_bias=True, mlp_bias=True,
    )  # fmt: skip
    return theirs, config


def llama() -> tuple[PreTrainedModel, ModelConfig]:
    theirs = LlamaForCausalLM(LlamaConfig(**WIDTH, **ROOM, bos_token_id=None, eos_token_id=None))
    return theirs, ModelConfig(90, 32, 2, 4, **SHAPE, tied=False)


def qwen3() -> tuple[PreTrainedModel, ModelConfig]:
    theirs = Qwen3ForCausalLM(Qwen3Config(**WIDTH, **ROOM, tie_word_embeddings=True, eos_token_id=None))
    return theirs, ModelConfig(90, 32, 2, 4, **SHAPE, qk_norm=True)


def converted(theirs: PreTrainedModel, config: ModelConfig) -> Decoder:
    fused = config.position == "learned"
    weights = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in GPT2_NAMES if fused else LLAMA_NAMES:
            name = name.replace(old, new)
        tensor = tensor.T if fused and tensor.ndim == 2 and name.startswith("blocks.") else tensor
        if "attn.c_attn." in name:
            parts = zip("qkv", tensor.chunk(3), strict=True)
            weights |= {name.replace("attn.c_attn.", f"mixer.{part}."): piece for part, piece in parts}
        else:
            weights[name] = tensor
    ours = Decoder(config).eval()
    ours.load_state_dict(weights)
    return ours


@pytest.mark.parametrize("family", [gpt2, llama, qwen3])
def test_greedy_tokens_are_those_of_transformers(family: Callable[[], tuple[PreTrainedModel, ModelConfig]]) -> None:
    theirs, config = family()
    torch.manual_seed(3)
    for parameter in theirs.parameters():
        parameter.data.normal_(0.0, 0.3)
    generator = client_of(converted(theirs.eval(), config))
    for length in (1, 40, 64, 130):
        prompt = torch.randint(90, (1, length), generator=torch.Generator().manual_seed(length))
        with torch.no_grad():
            expected = theirs.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=60, pad_token_id=0
            )
        tokens = generator.stream(prompt[0].tolist(), Sampling(temperature=0, max_tokens=60))
        assert [token.id for token in tokens] == expected[0, length:].tolist()
