"""The engine's contract on the C++ kernel: a request has one answer, bit for bit, whatever happens around it.

Each request is answered alone first: a cold cache, one thread, no speculation. Then the same requests run together in
a random order of arrival, from a warm cache, in a cache so small that sequences are preempted, and under speculation.
Pages hold NaN before every run, so that reading anything the run itself has not written shows.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from seedbed.chat.reply_builder import StopScanner, StreamDecoder
from seedbed.inference.engine import Engine, EngineLimits, Stats
from seedbed.inference.engine_client import end_ids
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.request import Event, Request, Token
from seedbed.inference.runner import BLOCK
from seedbed.inference.runners.cpu import CpuRunner
from seedbed.kernel.library import library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.lora import LowRank
from seedbed.nn.position import RopeScaling
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer
from seedbed.transform.quantize import quantize

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler")
TOKENIZER = train_tokenizer(["seeds in a bed"], TokenizerSettings(kind="byte"))
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "sizes": {"type": "array", "maxItems": 9}}}
GRAMMARS = [
    Grammar("json_schema", json.dumps(SCHEMA)),
    Grammar("regex", "(ab|cd|[e-z]{3} ){1,300}"),
    Grammar("lark", 'start: item ("," item)*\nitem: /[0-9]{1,9}/ | "[" item "]"\n'),
    Grammar("choice", json.dumps(["yes", "no", "naïve 🌱"])),
]
STOPS = [(), (), (), tuple("aeinorst .;"), ("\ufffd\ufffd", "st"), ("never said",)]
NUMBERS = ("float32", "int8", "int4")
SHAPES: dict[str, dict[str, Any]] = {
    "usual": {"n_kv_heads": 2, "d_ff": 600, "mixers": ("attention", "sliding"), "qk_norm": True},
    "bent": {
        "n_heads": 6, "n_kv_heads": 3, "d_ff": 600, "mixers": ("attention", "sliding"), "position": "alibi",
        "norm": "rms1", "norm_place": "sandwich", "attention_cap": 4.0, "attention_scale": 0.15,
        "embedding_scale": 1.5, "logit_scale": 1.2, "logit_cap": 9.0, "tied": False, "head_bias": True,
    },
    "routed": {
        "d_ff": 300, "mixers": ("attention", "sliding"), "norm": "layer", "norm_place": "parallel", "qkv_bias": True,
        "rope_theta_local": 100.0, "rope_scaling": RopeScaling("llama3", 4.0, 64), "attention_cap": 9.0,
        "experts": ExpertsConfig(6, 2, 100), "dense_layers": (1,), "tied": False, "logit_scale": 0.7,
    },
}  # fmt: skip
"""What is computed in most models; what bends scores and streams; what goes side by side and through experts."""
FILLING = 3
"""Requests that go on until the window is full, and together need more pages than a small cache has."""


def random_model(shape: str, longest: int) -> Decoder:
    """No size is a multiple of a tile or a group, and the widest input takes several parts of the kernel's loops.

    The window is shorter than the longest prompt and reply together, so some replies end because it is full.
    """
    sizes = {"vocab_size": TOKENIZER.vocab_size, "d_model": 72, "n_layers": 3, "n_heads": 4, "head_dim": 20}
    lengths = {"max_length": longest + longest // 10, "window": longest // 3}
    model = Decoder(ModelConfig(**{**sizes, **lengths, **SHAPES[shape]})).eval()
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 1 + 0.2 * noise if parameter.ndim == 1 else noise * 1.2 / parameter.shape[1] ** 0.5
    model.embedding.weight.data *= 3  # so that what comes next is neither certain nor anything
    return model


def random_adapters(model: Decoder) -> dict[str, dict[str, LowRank]]:
    """Two of other ranks, on other layers."""
    generator = torch.Generator().manual_seed(6)
    hidden = "feedforward.experts.1" if model.config.experts else "feedforward"
    places = {"wide": ("mixer.q", "mixer.v", f"{hidden}.down"), "narrow": ("mixer.out", f"{hidden}.up", "mixer.q")}
    adapters: dict[str, dict[str, LowRank]] = {}
    for rank, (name, layers) in zip((8, 3), places.items(), strict=True):
        adapters[name] = {}
        for path in (f"blocks.{layer}.{part}" for layer in (0, 2) for part in layers):
            n, k = model.get_submodule(path).weight.shape  # type: ignore[union-attr, misc]
            down, up = torch.randn(rank, k, generator=generator), torch.randn(n, rank, generator=generator)
            adapters[name][path] = LowRank(down / k**0.5, up / rank**0.5, scale=0.5)
    return adapters


def some_length(pick: random.Random, longest: int) -> int:
    """From 1 to ``longest``, two in three with an even logarithm: as many below 10 as above a tenth of 1,000."""
    return pick.randint(1, longest) if pick.random() < 1 / 3 else int((longest + 1) ** pick.random())


def some_sampling(pick: random.Random, longest: int) -> Sampling:
    """Any option that the engine takes."""
    grammar = pick.choice(GRAMMARS) if pick.random() < 0.15 else None
    return Sampling(
        max_tokens=some_length(pick, longest),
        temperature=pick.choice([0, 0, 0, 0.3, 0.8, 2]),
        top_k=pick.choice([0, 0, 10]),
        top_p=pick.choice([1.0, 0.9]),
        min_p=pick.choice([0.0, 0.02]),
        repetition_penalty=pick.choice([1.0, 1.0, 1.1]),
        frequency_penalty=pick.choice([0.0, 0.0, 0.2]),
        presence_penalty=pick.choice([0.0, 0.0, -0.2]),
        stop=pick.choice(STOPS),
        seed=pick.choice([pick.randrange(1000), 2**63 - 1]),
        logit_bias=pick.choice([(), (), ((65, 2.0), (66, -100.0), (65, 1.0)), ((TOKENIZER.end_id, 6.0),)]),
        top_logprobs=pick.choice([0, 3, 20]),
        ignore_end=grammar is None and pick.random() < 0.7,
        grammar=grammar,
    )


def some_prompt(pick: random.Random, longest: int) -> tuple[int, ...]:
    """Many begin with the same text, whole or in part, and some repeat themselves."""
    length = some_length(pick, longest)
    known = random.Random(pick.randrange(2)).choices(range(256), k=longest)
    kept = pick.choice([0, length // 2, length])
    phrase = pick.choices(range(256), k=pick.choice([7, longest]))
    return tuple([*known[:kept], *phrase * length][:length])


def some_requests(count: int, longest: int) -> list[Request]:
    """A prompt has one reply or several, whose seeds follow each other, as the server asks for ``n``.

    Their adapters may differ, so that equal text does not mean equal keys. The first requests fill the cache.
    """
    pick, filling = random.Random(22), Sampling(temperature=0.8, max_tokens=longest, seed=5, ignore_end=True)
    made = [Request(str(place), (place, *range(longest // 5)), filling) for place in range(FILLING)]
    while len(made) < count:
        prompt, sampling = some_prompt(pick, longest), some_sampling(pick, longest)
        salt, echo = pick.choice(["", "", "key"]), pick.random() < 0.25
        for sibling in range(min(pick.choice([1, 1, 1, 3]), count - len(made))):
            seeded = replace(sampling, seed=((sampling.seed or 0) + sibling) % 2**63)
            adapter = pick.choice([None, None, "wide", "narrow"])
            made.append(Request(str(len(made)), prompt, seeded, salt, adapter, echo=echo))
    return made


@dataclass
class Answer:
    """What whoever asked gets to see."""

    text: str = ""
    finish: str | None = None
    tokens: list[Token] = field(default_factory=list)
    prompt_logprobs: list[float | None] | None = None
    prompt_top: list[tuple[tuple[int, float], ...]] | None = None


class Reader:
    """Collects one reply, and ends it at a stop string as the server does."""

    def __init__(self, request: Request) -> None:
        self.answer = Answer()
        self._decoder, self._scanner = StreamDecoder(TOKENIZER), StopScanner(request.sampling.stop)

    def read(self, event: Event) -> bool:
        """Take an event; returns whether the reply must be aborted. What came along with a stop is not read."""
        token, answer = event.token, self.answer
        assert token is not None, event.error
        if answer.finish:
            return False
        if not answer.tokens:
            answer.prompt_logprobs, answer.prompt_top = event.prompt_logprobs, event.prompt_top
        answer.tokens.append(token)
        fresh = "" if token.finish == "end" else self._decoder.push(token.id)
        shown, stopped = self._scanner.push(fresh + self._decoder.flush() if token.finish else fresh)
        answer.text += shown + self._scanner.flush() if token.finish and not stopped else shown
        answer.finish = "stop" if stopped else token.finish
        return stopped and not token.finish


class Case:
    """A model with its adapters, in one number format."""

    def __init__(self, number: str, longest: int, shape: str) -> None:
        original = random_model(shape, longest)
        self.model = copy.deepcopy(original)
        self.adapters = random_adapters(original)
        if number != "float32":
            quantize(self.model, number)
        self.grammars, self.page = GrammarCompiler(TOKENIZER), CpuRunner(self.model).width * 4

    def runner(self, pages: int | None, threads: int = 1) -> CpuRunner:
        """``pages`` None is one window."""
        torch.set_num_threads(threads)
        runner = CpuRunner(self.model, None if pages is None else pages * self.page, self.adapters)
        runner.pool.fill_(math.nan)
        return runner

    def engine(self, runner: CpuRunner, running: int, speculate: bool) -> Engine:
        limits, ends = EngineLimits(max_running=running), end_ids(TOKENIZER)
        return Engine(runner, ends, limits=limits, grammars=self.grammars, speculate=speculate)

    def alone(self, requests: Sequence[Request]) -> dict[str, Answer]:
        """Each on an engine that knows nothing."""
        answers: dict[str, Answer] = {}
        for request in requests:
            engine = self.engine(self.runner(None), 1, speculate=False)
            answers |= together(engine, [request], at_once=1)
            assert engine.stats().prefix_hits == engine.stats().preemptions == engine.stats().drafted == 0
        return answers


def together(engine: Engine, requests: Sequence[Request], at_once: int) -> dict[str, Answer]:
    """Requests arrive in their order, up to ``at_once`` a step."""
    pick, waiting = random.Random(at_once), list(requests)
    readers = {request.id: Reader(request) for request in requests}
    while waiting or not engine.idle:
        for request in waiting[: pick.randint(0, at_once)]:
            engine.add(request)
            waiting.remove(request)
        for event in engine.step():
            if readers[event.request_id].read(event):
                engine.abort(event.request_id)
    assert engine.stats().free_blocks == engine.runner.block_count
    return {name: reader.answer for name, reader in readers.items()}


def differing(found: dict[str, Answer], expected: dict[str, Answer]) -> list[str]:
    """Names of requests whose answers differ. Python writes a float so that it reads back as the same bits."""
    assert found.keys() == expected.keys()
    return [name for name in expected if repr(found[name]) != repr(expected[name])]


def logprobs(answers: dict[str, Answer]) -> list[float]:
    """All that were reported."""
    every = list[float]()
    for answer in answers.values():
        every += [one for token in answer.tokens for one in (token.logprob, *(value for _, value in token.top))]
        every += [one for one in answer.prompt_logprobs or () if one is not None]
        every += [value for top in answer.prompt_top or () for _, value in top]
    return every


def check_variety(requests: Sequence[Request], answers: dict[str, Answer], window: int) -> None:
    """The requests try what they are meant to try."""
    assert {answer.finish for answer in answers.values()} == {"end", "length", "stop"}
    assert len({token.id for answer in answers.values() for token in answer.tokens}) > 70
    assert all(math.isfinite(one) for one in logprobs(answers))
    assert {request.adapter for request in requests} == {None, "wide", "narrow"}
    assert any(request.sampling.grammar for request in requests)
    assert any(answer.prompt_top for answer in answers.values())
    positions = {len(request.prompt) + len(answers[request.id].tokens) - 1 for request in requests}
    assert window in positions


def prove(number: str, count: int, longest: int, threads: int, shape: str = "usual") -> None:
    """All circumstances, in one number format."""
    case, asked, pick = Case(number, longest, shape), some_requests(count, longest), random.Random(7)
    expected = case.alone(asked)
    check_variety(asked, expected, case.model.config.max_length)
    pages = -(-case.model.config.max_length // BLOCK)  # of a window

    def same(engine: Engine, at_once: int, first: int = 0) -> Stats:
        """The first few requests arrive first, the rest in any order."""
        order = asked[:first] + pick.sample(asked[first:], count - first)
        assert differing(together(engine, order, at_once), expected) == []
        return engine.stats()

    roomy = case.engine(case.runner(40 * pages, threads), 64, speculate=False)
    cold = same(roomy, at_once=count)
    warm = same(roomy, at_once=5)
    assert warm.prefix_hits - cold.prefix_hits > cold.prefix_hits
    assert warm.preemptions == warm.drafted == 0
    tight = same(case.engine(case.runner(pages + 1, threads), 8, speculate=False), count, FILLING)
    assert tight.preemptions > 0
    stats = same(case.engine(case.runner(40 * pages), 4, speculate=True), at_once=3)
    assert 0 < stats.accepted < stats.drafted
    stats = same(case.engine(case.runner(pages + 1), 6, speculate=True), count, FILLING)
    assert 0 < stats.accepted < stats.drafted
    assert stats.preemptions > 0


@pytest.mark.parametrize("number", NUMBERS)
def test_an_answer_does_not_depend_on_circumstances(number: str) -> None:
    prove(number, count=20, longest=150, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_two_hundred_answers_do_not_depend_on_circumstances(number: str) -> None:
    prove(number, count=200, longest=1000, threads=2)


@pytest.mark.parametrize(("shape", "number"), [("bent", "int8"), ("routed", "float32")])
def test_an_answer_of_an_unusual_model_does_not_depend_on_circumstances(shape: str, number: str) -> None:
    prove(number, count=20, longest=150, threads=1, shape=shape)


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("shape", ["bent", "routed"])
def test_many_answers_of_an_unusual_model_do_not_depend_on_circumstances(shape: str, number: str) -> None:
    prove(number, count=60, longest=400, threads=2, shape=shape)
