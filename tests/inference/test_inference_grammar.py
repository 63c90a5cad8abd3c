"""Whatever model, seed and temperature: a reply that ends parses."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from engine_clients import client_of
from hash_runner import HashRunner, run_all, tokens_of

from seedbed.core.errors import UsageError
from seedbed.inference.engine import Engine
from seedbed.inference.grammar import GrammarCompiler, follow
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.request import Request
from seedbed.inference.runner import LogitRows, TokenChunk
from seedbed.models.decoder import Decoder
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "kind": {"enum": ["plant", "seed"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 3},
        "wet": {"type": "boolean"},
    },
    "required": ["name", "kind", "sizes", "wet"],
    "additionalProperties": False,
}
TEXTS = ['{"name": "rose", "kind": "plant", "sizes": [1, 22], "wet": true} yes no naïve 🌱 0123456789 '] * 20


@pytest.fixture(scope="module", params=["byte", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train_tokenizer(TEXTS, TokenizerSettings(kind=request.param, vocab_size=264))


def replies(
    tokenizer: Tokenizer, make_decoder: Callable[..., Decoder], grammar: Grammar, count: int = 9, **options: Any
) -> list[str]:
    """Decoded replies of a random model to several seeds; every one ends by itself."""
    model = make_decoder(vocab_size=tokenizer.vocab_size, max_length=400)
    generator = client_of(model, [tokenizer.end_id], grammars=GrammarCompiler(tokenizer))
    found = []
    for seed in range(count):
        sampling = Sampling(grammar=grammar, seed=seed, temperature=[0, 0.7, 5][seed % 3], max_tokens=390, **options)
        tokens = list(generator.stream([1, seed], sampling))
        assert tokens[-1].finish == "end"
        assert tokens[-1].id == tokenizer.end_id
        assert not {token.id for token in tokens[:-1]} & tokenizer.special_ids
        found.append(tokenizer.decode(token.id for token in tokens))
    return found


def test_json_follows_its_schema(tokenizer: Tokenizer, make_decoder: Callable[..., Decoder]) -> None:
    for reply in replies(tokenizer, make_decoder, Grammar("json_schema", json.dumps(SCHEMA)), count=6):
        value = json.loads(reply)
        assert set(value) == set(SCHEMA["properties"])
        assert isinstance(value["name"], str)
        assert len(value["name"]) <= 6
        assert value["kind"] in ("plant", "seed")
        assert len(value["sizes"]) <= 3
        assert all(type(size) is int and 0 <= size <= 99 for size in value["sizes"])
        assert type(value["wet"]) is bool
        assert not re.search(r"\s{9}", reply)


def test_a_regex_matches_whole(tokenizer: Tokenizer, make_decoder: Callable[..., Decoder]) -> None:
    pattern = r"[a-c]{2,5}-(é|[0-9]{3})\n?"
    found = replies(
        tokenizer, make_decoder, Grammar("regex", pattern), repetition_penalty=1.3, logit_bias=((5, 100.0),)
    )
    assert all(re.fullmatch(pattern, reply) for reply in found)
    assert len(set(found)) > 3


def test_a_choice_is_one_of_them(tokenizer: Tokenizer, make_decoder: Callable[..., Decoder]) -> None:
    choices = ["yes", "no", "naïve 🌱", 'a "quoted"\nline', "yes, but"]
    found = replies(tokenizer, make_decoder, Grammar("choice", json.dumps(choices)))
    assert set(found) <= set(choices)
    assert len(set(found)) > 1


def test_a_lark_grammar_is_followed(tokenizer: Tokenizer, make_decoder: Callable[..., Decoder]) -> None:
    grammar = Grammar("lark", 'start: "(" item ("," item)? ")"\nitem: /[0-9]{1,2}/ | start2\nstart2: "[" /[xy]/ "]"\n')
    item = r"(\d{1,2}|\[[xy]\])"
    for reply in replies(tokenizer, make_decoder, grammar):
        assert re.fullmatch(rf"\({item}(,{item})?\)", reply)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("json_schema", "nope"),
        Grammar("json_schema", "[1]"),
        Grammar("json_schema", '{"type": "wat"}'),
        Grammar("json_schema", '{"type": "string", "format": "not-a-format"}'),
        Grammar("json_schema", '{"items":' * 3000 + "{}" + "}" * 3000),
        Grammar("regex", "("),
        Grammar("regex", r"(?=a)b"),
        Grammar("regex", "(a{1000}){1000}"),
        Grammar("lark", "start: foo"),
        Grammar("choice", "[]"),
        Grammar("choice", '["a", ""]'),
        Grammar("choice", '["a", 1]'),
        Grammar("choice", '"a"'),
    ],
    ids=lambda grammar: f"{grammar.kind}:{grammar.text[:20]}",
)
def test_what_is_no_grammar_is_refused_before_anything_runs(grammar: Grammar) -> None:
    tokenizer = train_tokenizer(TEXTS, TokenizerSettings(kind="byte"))
    with pytest.raises(UsageError, match=f"this {grammar.kind} cannot be used"):
        GrammarCompiler(tokenizer).compile(grammar)


def test_a_grammar_that_the_vocabulary_cannot_spell_ends_its_own_request_only() -> None:
    tokenizer = train_tokenizer(["abcdefgh ijk"], TokenizerSettings(kind="char"))
    assert tokenizer.vocab_size <= HashRunner.vocab_size
    runner = HashRunner(exact=True)
    engine = Engine(runner, [], grammars=GrammarCompiler(tokenizer))
    engine.add(Request("stuck", (1, 2), Sampling(seed=1, grammar=Grammar("regex", "ab☃"))))
    engine.add(Request("well", (1, 2), Sampling(seed=1, grammar=Grammar("regex", "ab+c"))))
    events = run_all(engine)
    assert [event.token.id for event in events["stuck"] if event.token] == tokenizer.encode("ab")
    assert isinstance(events["stuck"][-1].error, UsageError)
    assert events["well"][-1].token.finish in ("end", "length")
    assert engine.stats().free_blocks == runner.block_count


class Recorder(HashRunner):
    """Keeps what it was asked to compute."""

    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        self.asked = [*getattr(self, "asked", []), *chunks]
        return super().forward(chunks)


def test_guesses_that_the_grammar_refuses_are_cut() -> None:
    """The prompt goes on in ways that the grammar forbids, so guesses from it must be cut before they are computed."""
    tokenizer = train_tokenizer(["abcdefgh ijk"], TokenizerSettings(kind="char"))
    grammar, letters = Grammar("regex", "([a-h ]|[i-k][a-k]){100}"), tokenizer.encode("abcdefgh ijk")
    prompt = tuple(random.Random(3).choices([*letters, *range(20, 32)], k=400))
    found = []
    for speculate in (False, True):
        runner = Recorder(exact=True, memory=2)
        engine = Engine(runner, [], grammars=GrammarCompiler(tokenizer), speculate=speculate)
        engine.add(Request("a", prompt, Sampling(temperature=0, max_tokens=60, grammar=grammar)))
        found.append(tokens_of(run_all(engine)["a"]))
    assert found[0] == found[1]
    assert 0 < engine.stats().accepted < engine.stats().drafted
    assert runner.forwards < len(found[1])
    reply = [token.id for token in found[1]]
    for chunk in runner.asked:
        if chunk.start >= len(prompt):
            text = tokenizer.decode([*reply[: chunk.start - len(prompt)], *chunk.tokens])
            assert follow(grammar, text)[0] == len(text)
