"""Chat templates that are programs: each ends within its budget, in a child, and the next chat is rendered."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from seedbed.core.errors import UsageError
from seedbed.core.sandbox import Budget
from seedbed.tokenizers import chat_template
from seedbed.tokenizers.chat_template import DEFAULT_TEMPLATE, check_variables, read_texts, render
from seedbed.tokenizers.template_engine import OPERATIONS

ASK = [{"role": "user", "content": "hi"}]
BOMBS = {
    "a loop": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a recursion that branches": "{% macro f(n) %}{{ f(n+1) ~ f(n+1) if n < 60 }}{% endmacro %}{{ f(0) }}",
    "a recursion without end": "{% macro f(n) %}{{ f(n+1) }}{% endmacro %}{{ f(0) }}",
    "a wide format": "{{ '%3000000000d' % 1 }}",
    "a wide text": "{{ 'a'|center(2000000000) }}",
    "a wide format of Python's": "{{ '{:3000000000d}'.format(1) }}",
    "a product": "{{ 'a' * 10000000000 }}",
    "a power": "{{ 10 ** (10 ** 9) }}",
    "a text that doubles": "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x * 2 %}{% endfor %}",
    "an indent": "{{ messages|tojson(indent=2000000000) }}",
    "a batch": "{% for x in [1]|batch(2000000000, 0) %}{% endfor %}",
    "latin": "{{ lipsum(n=100000000) }}",
    "much text": "{{ 'a' * 90000000 }}",
    "parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "BUDGET", Budget(1.0, 128_000_000))
    chat_template._children.cache_clear()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_and_the_next_chat_is_rendered(name: str) -> None:
    resident, started = _resident(), time.monotonic()
    with pytest.raises(UsageError, match="chat template cannot be rendered"):
        render(BOMBS[name], ASK)
    assert time.monotonic() - started < 5
    assert _resident() - resident < 30_000_000
    assert render("{{ messages[0].content }}!", ASK) == "hi!"


@pytest.mark.usefixtures("quick")
def test_what_only_reads_a_template_is_as_safe() -> None:
    assert read_texts("{% if 'a' in messages[0].content %}{% endif %}") == {"a"}
    assert read_texts("{% if") == frozenset()
    for act in (read_texts, lambda source: check_variables(source, {"x": 1}, ())):
        with pytest.raises(UsageError, match="cannot be rendered"):
            act(BOMBS["parentheses"])


def test_a_foreign_template_sees_no_secret_and_runs_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that gets out of Jinja's sandbox: here by a function that we put into it ourselves."""
    monkeypatch.setenv("SEEDBED_KEY", "sb-secret")
    order = {"template": "{{ messages[0].content }}", "messages": ASK, "variables": {}}
    assert chat_template._children().ask({"operation": "render", "order": order}) == OPERATIONS["render"](**order)
    child = chat_template._children()._idle.queue[-1]._process
    assert child is not None
    assert child.pid != os.getpid()
    if Path("/proc").exists():
        assert b"sb-secret" not in Path(f"/proc/{child.pid}/environ").read_bytes()


def test_both_sides_render_the_same() -> None:
    texts = ["Größe\n\t\x00 \ud800 𝄞 {{ x }}", "", "<|end|>", json.dumps({"a": [1, None]})]
    messages = [{"role": role, "content": text} for text in texts for role in ("user", "assistant")]
    names = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    assert render(DEFAULT_TEMPLATE + "{# foreign #}", messages, **names) == render(DEFAULT_TEMPLATE, messages, **names)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


LONG_SUM = "{{ " + "bos_token + " * 205 + "bos_token }}"  # Jinja writes more parentheses than Python reads


@pytest.mark.parametrize(("name", "template"), [("render", "{{ 'a'"), ("variables", "{{ 'a'"), ("render", LONG_SUM)])
def test_a_template_that_is_no_program_says_so_itself(name: str, template: str) -> None:
    order = {"messages": ASK, "variables": {}} if name == "render" else {}
    with pytest.raises(UsageError, match="cannot be rendered") as refused:
        OPERATIONS[name](template=template, **order)
    assert "SyntaxError" in refused.value.why
