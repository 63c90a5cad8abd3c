"""Grammars that explode: they are refused in a child, or followed at a price that does not grow."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from llguidance import LLMatcher

from seedbed.core.errors import UsageError
from seedbed.inference.grammar import check_schema, follow, is_regex
from seedbed.inference.grammar_source import LIMITS, source_of, tokenizer_of_bytes
from seedbed.inference.parameters import Grammar

BOMB = "((a{1000}){1000}){1000}"
FORCED = [
    Grammar("regex", BOMB),
    Grammar("regex", "a{1000000}"),
    Grammar("lark", f"start: A\nA: /{BOMB}/"),
    Grammar("lark", f'%llguidance {{"no_forcing": false}}\nstart: "[" /{BOMB}/'),
]
"""Begin with more than a reply can hold."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXY"
DEAR = [
    Grammar("json_schema", json.dumps({"allOf": [{"type": "string", "pattern": f".*{n}.{{10}}"} for n in range(20)]})),
    Grammar(
        "lark", "start: A\n" + "\n".join(f"{chr(65 + n)}: {chr(66 + n)} {chr(66 + n)}" for n in range(24)) + '\nY: "a"'
    ),
    Grammar("json_schema", '{"type": "integer", "multipleOf": 1000003}'),
]
"""Take seconds or gigabytes to compile."""
FOLLOWED = [
    Grammar("regex", f"[xy]{BOMB}"),
    Grammar("regex", "((a{0,1000}){0,1000}){0,1000}"),
    Grammar("json_schema", json.dumps({"type": "string", "pattern": BOMB})),
    Grammar("json_schema", '{"type": "array", "minItems": 1000000000, "items": {"type": "integer"}}'),
    Grammar("lark", 'start: "[" b{1000}\nb: c{1000}\nc: "a"{1000}'),
    Grammar("lark", "start: a0\n" + "\n".join(f"a{n}: a{n + 1} a{n + 1}" for n in range(40)) + '\na40: "a"'),
]
"""Are endless too, but not from the first byte on."""


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("grammar", FORCED + DEAR, ids=lambda grammar: grammar.text[:40])
def test_a_bomb_is_refused_at_no_cost_to_us(grammar: Grammar) -> None:
    follow(Grammar("regex", "warm"), "warm")
    before, started = resident(), time.process_time()
    with pytest.raises(UsageError, match="cannot be used"):
        follow(grammar, "a")
    assert resident() - before < 20_000_000
    assert time.process_time() - started < 0.2
    assert follow(Grammar("choice", '["yes", "no"]'), "yes") == (3, True)  # the next one is answered


@pytest.mark.parametrize("grammar", FOLLOWED + FORCED, ids=lambda grammar: grammar.text[:40])
def test_the_work_of_a_token_does_not_grow_with_what_must_follow(grammar: Grammar) -> None:
    matcher = LLMatcher(tokenizer_of_bytes(), source_of(grammar), log_level=0, limits=LIMITS)
    before, started = resident(), time.process_time()
    for _ in range(300):
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        if matcher.is_error():  # a limit of the library's: it ends the reply, and nothing else
            break
        matcher.consume_token(int(np.flatnonzero(np.unpackbits(bits, bitorder="little"))[0]))
    assert resident() - before < 60_000_000
    assert time.process_time() - started < 2


def test_one_verdict_for_every_door() -> None:
    assert is_regex("a+b")
    assert not is_regex(BOMB)
    assert not is_regex("(")
    with pytest.raises(UsageError, match="cannot be used"):
        check_schema(DEAR[0].text)
    assert check_schema('{"uniqueItems": true, "x-guidance": {"lenient": true}}') == ("uniqueItems",)
