"""What a client that means harm may send: numbers out of range, paths, templates, grammars that never end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from serving import Live

from seedbed.inference.grammar import LIMITS
from seedbed.serve import bodies, response_bodies

ASK = [{"role": "user", "content": "Hi"}]
ROUTES: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "/v1/chat/completions": (bodies.ChatRequest, {"messages": ASK}),
    "/v1/completions": (bodies.CompletionRequest, {"prompt": "x"}),
    "/v1/responses": (response_bodies.ResponseRequest, {"input": "x", "store": False}),
    "/v1/embeddings": (bodies.EmbeddingRequest, {"input": "x"}),
    "/tokenize": (bodies.TokenizeRequest, {"prompt": "x"}),
    "/detokenize": (bodies.DetokenizeRequest, {"tokens": [8]}),
}
WRONG = ["-1e30", "1e30", "-1e308", "1e308", "1e999", "NaN", "-Infinity", "9" * 40, "-" + "9" * 40, '"1"', "true", "[]"]
PATHS = ["../../../etc/passwd", "/etc/passwd", "..%2f..%2fkeys.json", "refs/tiny", "./tiny", "tiny/", "\x00", "~", "."]
TEMPLATES = [
    "{{ 7 * 7 }}{% for x in messages %}{{ x }}{% endfor %}",
    "{{ self.__init__.__globals__.__builtins__.open('/etc/passwd').read() }}",
    "{{ raise_exception('x') }}{# note #}{% raw %}",
    "${7*7} #{7*7} <%= 7 * 7 %> {0.__class__} %(x)s",
]


def numbers() -> Iterator[tuple[str, str]]:
    """Every number of every body, and the numbers inside lists and tables."""
    for path, (body, _) in ROUTES.items():
        for name, field in body.model_json_schema()["properties"].items():
            if {"integer", "number"} & {one.get("type") for one in (field, *field.get("anyOf", []))}:
                yield path, name
    yield from (("/v1/chat/completions", "logit_bias"), ("/v1/completions", "prompt"), ("/detokenize", "tokens"))


@pytest.mark.parametrize(("path", "name"), list(numbers()))
def test_numbers_out_of_range_are_refused(live: Live, path: str, name: str) -> None:
    wrapped = {"logit_bias": '{"8": %s}', "prompt": "[8, %s]", "tokens": "[8, %s]"}.get(name, "%s")
    others = {key: value for key, value in {"model": "tiny", **ROUTES[path][1]}.items() if key != name}
    for number in WRONG:
        content = f'{json.dumps(others)[:-1]}, "{name}": {wrapped % number}}}'
        response = live.client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 400, (number, response.text)
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_every_number_is_tried() -> None:
    assert len(list(numbers())) > 30


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("name", PATHS, ids=repr)
def test_a_model_is_a_name_and_no_path(live: Live, path: str, name: str) -> None:
    response = live.post(path, **{**ROUTES[path][1], "model": name})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("name", PATHS, ids=repr)
def test_a_response_is_an_id_and_no_path(live: Live, name: str) -> None:
    found = live.post("/v1/responses", input="x", previous_response_id=name)
    assert found.status_code == 404
    assert "root:" not in found.text


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates_in_messages_are_text(live: Live, text: str) -> None:
    """Contents, names of speakers, arguments and results reach the prompt as they are."""
    call = {"id": "a", "function": {"name": "f", "arguments": json.dumps({"x": text})}}
    messages = [
        {"role": "system", "content": text},
        {"role": "user", "content": text},
        {"role": "assistant", "content": text, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": text},
    ]
    prompt = live.ok("/detokenize", tokens=live.ok("/tokenize", messages=messages)["tokens"])["prompt"]
    assert prompt.count(text) == 5


def ladder(word: str, steps: int = 40) -> dict[str, Any]:
    """A schema with 2^steps ways down."""
    rungs = {f"a{one}": {word: [{"$ref": f"#/$defs/a{one + 1}"}] * 2} for one in range(steps)}
    return {"$defs": {**rungs, f"a{steps}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def pairs(count: int) -> dict[str, Any]:
    """A schema with 2^count alternatives when it is multiplied out."""
    kinds = [[{"properties": {f"p{one}": {"type": kind}}} for kind in ("string", "integer")] for one in range(count)]
    return {"allOf": [{"anyOf": kind} for kind in kinds]}


SCHEMAS: list[Any] = [
    {"type": "array", "minItems": 10**5, "items": {"type": "array", "minItems": 10**5}},
    {"type": "string", "minLength": 10**9},
    {"type": "string", "pattern": "^((a{0,1000}){0,1000}){0,1000}$"},
    {"type": "string", "pattern": "^a{1000000}$"},
    {"type": "integer", "multipleOf": 10**6, "minimum": -(10**18), "maximum": 10**18},
    {"type": "number", "multipleOf": 1e-9, "minimum": -1e300, "maximum": 1e300},
    ladder("anyOf"),
    ladder("oneOf"),
    ladder("allOf", 25),
    pairs(24),
    {"$ref": "#"},
    {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    {"$ref": "file:///etc/passwd"},
    {"$ref": "http://127.0.0.1:9/x"},
    {"enum": [f"v{one}" for one in range(100_000)]},
    {"type": "object", "properties": {f"p{one}": {"type": "string"} for one in range(2000)}},
]
REGEXES = ["a{1000000}", "(a{1000}){1000}", "((a{0,100}){0,100}){0,100}", "(x+x+)+y", "(.*a.{1,60}){1,60}"]
REGEXES += ["(a|b)*a(a|b){500}", r"\w{1,1000}" * 20, "(" * 5000 + "a" + ")" * 5000]
LARKS = [
    "start: a0\n" + "".join(f"a{one}: a{one + 1} a{one + 1}\n" for one in range(30)) + 'a30: "x"\n',
    "start: T0\n" + "".join(f"T{one}: T{one + 1} T{one + 1}\n" for one in range(30)) + 'T30: "x"\n',
    'start: start start | "a" | ""\n',
    'start: "x"{1000000}\n',
    "start: " + "(" * 3000 + '"x"' + ")" * 3000,
    '%import /etc/passwd\nstart: "x"',
]


def bombs() -> Iterator[dict[str, Any]]:
    for schema in SCHEMAS:
        form = {"type": "json_schema", "json_schema": {"name": "x", "strict": False, "schema": schema}}
        yield {"response_format": form}
        yield {
            "tools": [{"type": "function", "function": {"name": "f", "strict": False, "parameters": schema}}],
            "tool_choice": "required",
        }
    yield from ({"structured_outputs": {"regex": regex}} for regex in REGEXES)
    yield from ({"structured_outputs": {"grammar": lark}} for lark in LARKS)


def test_the_work_that_a_grammar_may_make_is_bounded() -> None:
    """What the library counts: steps to build its automata, and states, items and steps for each token."""
    bounds = {"max_grammar_size": 500_000, "initial_lexer_fuel": 1_000_000, "max_lexer_states": 250_000}
    bounds |= {"step_lexer_fuel": 200_000, "step_max_items": 50_000, "max_items_in_row": 2_000}
    assert all(0 < getattr(LIMITS, name) <= most for name, most in bounds.items())


@pytest.mark.parametrize("bomb", list(bombs()), ids=lambda bomb: json.dumps(bomb)[:90])
def test_a_grammar_cannot_blow_up(live: Live, bomb: dict[str, Any]) -> None:
    """It is refused, or followed within the limits of work below; and others are answered after it."""
    response = live.post("/v1/chat/completions", messages=ASK, max_tokens=20, temperature=1.5, seed=1, **bomb)
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        assert response.json()["usage"]["completion_tokens"] <= 20
    live.until(live.idle)
    live.ok("/v1/completions", prompt="x", max_tokens=1)
