"""Prompts insert what they are given as Python's own formatting does, and reach nothing else."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.chat.few_shot import STEPS, Example, few_shot, step_by_step, zero_shot
from seedbed.chat.messages import Message
from seedbed.chat.prompts import Prompt
from seedbed.core.errors import UsageError

VALUES = {"a": "1", "question": "why {a}?", "größe_2": "}{ {{x}} {question.__class__}"}
good = st.sampled_from(["{a}", "{question}", "{größe_2}", "{{", "}}", "text ", "\n", "é", "$a", "%s", "\\"])
bad = st.sampled_from(["{", "}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a:}", "{ a }", "{a b}", "{a-b}"])
CATS = [Example("Is a cat an animal?", "yes"), Example("2 + 2 * 2?", "6", "2 * 2 is 4, and 2 + 4 is 6.")]


@settings(deadline=None)
@given(st.lists(good).map("".join))
def test_plain_templates_are_pythons(template: str) -> None:
    prompt = Prompt(template)
    fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    assert prompt.names == tuple(dict.fromkeys(fields))
    assert prompt.fill(**{name: VALUES[name] for name in prompt.names}) == template.format(**VALUES)


@settings(deadline=None)
@given(st.lists(good | bad).map("".join))
def test_whatever_is_accepted_is_pythons_and_harmless(template: str) -> None:
    try:
        prompt = Prompt(template)
    except UsageError:
        return
    parts = list(string.Formatter().parse(template))
    assert all(name is None or (name.isidentifier() and not form and not how) for _, name, form, how in parts)
    assert prompt.fill(**{name: VALUES[name] for name in prompt.names}) == template.format(**VALUES)


@pytest.mark.parametrize(
    "template",
    [
        "{x.__class__}",
        "{x.__init__.__globals__}",
        "{0}",
        "{}",
        "{x!r}",
        "{x:>9999999999}",
        "{x:{y}}",
        "{x[0]}",
        "{x[__class__]}",
        "{x",
        "x}",
        "{{x}",
        "{x}}",
        "{ x }",
        "{x\n}",
        "{-x}",
        "{{{x",
    ],
)
def test_attacks_and_slips(template: str) -> None:
    with pytest.raises(UsageError, match="cannot be read") as raised:
        Prompt(template, "mine")
    assert "'mine'" in raised.value.what


def test_values_are_inserted_once() -> None:
    prompt = Prompt("{context}|{question}|{{context}}")
    filled = prompt.fill(context="{question} {context.__class__} {{", question="\\1 \\g<0> {context}")
    assert filled == "{question} {context.__class__} {{|\\1 \\g<0> {context}|{context}"


def test_names_of_python_s_own_are_names() -> None:
    assert Prompt("{self} {values} {__class__}").fill(self="a", values="b", __class__="c") == "a b c"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "missing: question, context"),
        ({"question": "?", "contxt": "x"}, "missing: context; unknown: contxt"),
        ({"question": "?", "context": "x", "more": 1}, "unknown: more"),
        ({"question": "?", "context": None}, "context is a NoneType"),
        ({"question": "?", "context": ["x"]}, "context is a list"),
    ],
)
def test_values_that_do_not_fit_are_named(values: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Prompt("{question} {context}").fill(**values)
    assert raised.value.why == said


def test_numbers_are_text() -> None:
    assert Prompt("{k} of {share}").fill(k=3, share=0.5) == "3 of 0.5"


def test_a_prompt_is_told_by_name_version_and_hash() -> None:
    prompt = Prompt("{a}", "stuff", 2)
    assert Prompt("abc").hash.startswith("ba7816bf8f01cfea")  # the first example of FIPS 180-2
    assert prompt.label == f"stuff@2:{prompt.hash[:12]}"
    assert Prompt("{a} ", "stuff", 2).label != prompt.label


@pytest.mark.parametrize("instruction", ["", "Answer in one word."])
def test_no_example_one_and_several(instruction: str) -> None:
    told = [Message("system", instruction)] if instruction else []
    asked = Message("user", "Is a dog?")
    assert zero_shot("Is a dog?", instruction) == [*told, asked]
    one = [Message("user", "Is a cat an animal?"), Message("assistant", "yes")]
    assert few_shot("Is a dog?", CATS[:1], instruction) == [*told, *one, asked]
    assert few_shot("Is a dog?", [], instruction) == zero_shot("Is a dog?", instruction)
    two = [Message("user", "2 + 2 * 2?"), Message("assistant", "2 * 2 is 4, and 2 + 4 is 6. The answer is 6.")]
    assert few_shot("Is a dog?", CATS, instruction) == [*told, *one, *two, asked]


def test_step_by_step() -> None:
    asked = step_by_step("2 + 2 * 2?", "Be right.")
    assert asked == [Message("system", "Be right."), Message("user", f"2 + 2 * 2?\n\n{STEPS}")]
