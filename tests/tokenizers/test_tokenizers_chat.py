"""Chat templates: ids as transformers gives them, a mask that is exactly the assistant's words, and no injection."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import UsageError
from seedbed.tokenizers.special import ASSISTANT, BOS, END, SPECIAL_TOKENS, SYSTEM, USER
from seedbed.tokenizers.tokenizer import Tokenizer

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What does `json.dumps` do?\n"},
    {"role": "assistant", "content": "  It writes JSON. "},
    {"role": "user", "content": "And é, 漢字?"},
    {"role": "assistant", "content": "Yes."},
]
# Forms met in published models: ChatML, Llama 2's (trimmed contents, a space before the end), names as plain text.
TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|user|>' + m['role'] + '\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|user|>assistant\n' }}{% endif %}",
    "llama2": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% else %}{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% endif %}{% endfor %}",
    "plain": "{% for m in messages -%}\n{{ m.role | capitalize }}: {{ m.content }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ eos_token }}{% endgeneration %}{% endif %}{% endfor %}",
}
CONTENT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from([*SPECIAL_TOKENS, " ", "\n", "hi", "{{ 1 }}", "\U000f0000", "\U000f0001"])).map("".join),
)
MESSAGES = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), CONTENT), max_size=6)


def _with_template(tokenizer: Tokenizer, template: str | list[dict[str, str]], folder: Path) -> Tokenizer:
    tokenizer.save(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}), encoding="utf-8")
    return Tokenizer.from_file(folder)


def _written(tokenizer: Tokenizer, messages: list[dict[str, str]]) -> str:
    ids, mask = tokenizer.encode_chat(messages)
    return tokenizer.decode([i for i, written in zip(ids, mask, strict=True) if written], keep_special=True)


def test_the_default_template_is_role_content_end(bpe: Tokenizer) -> None:
    assert bpe.render_chat(CHAT[:3], add_generation_prompt=True) == (
        f"{BOS}{SYSTEM}Be brief.{END}{USER}What does `json.dumps` do?\n{END}"
        f"{ASSISTANT}  It writes JSON. {END}{ASSISTANT}"
    )


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "word", "char", "byte"])
@pytest.mark.parametrize("prompt", [False, True])
def test_default_ids_are_those_of_transformers(
    trained: dict[str, Tokenizer], tmp_path: Path, kind: str, prompt: bool
) -> None:
    from transformers import PreTrainedTokenizerFast

    trained[kind].save(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    ids, _ = trained[kind].encode_chat(CHAT, add_generation_prompt=prompt)
    assert ids == theirs.apply_chat_template(CHAT, add_generation_prompt=prompt, return_dict=False)


@pytest.mark.parametrize("name", TEMPLATES)
def test_any_template_renders_as_transformers_does(bpe: Tokenizer, tmp_path: Path, name: str) -> None:
    from transformers import PreTrainedTokenizerFast

    ours = _with_template(bpe, TEMPLATES[name], tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    expected = theirs.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert ours.render_chat(CHAT, add_generation_prompt=True) == expected
    assert ours.decode(ours.encode_chat(CHAT, add_generation_prompt=True)[0], keep_special=True) == expected


@pytest.mark.parametrize("name", ["chatml", "plain"])
def test_without_an_assistant_any_templates_ids_are_those_of_transformers(
    bpe: Tokenizer, tmp_path: Path, name: str
) -> None:
    from transformers import PreTrainedTokenizerFast

    ours = _with_template(bpe, TEMPLATES[name], tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    assert ours.encode_chat(CHAT[:2])[0] == theirs.apply_chat_template(CHAT[:2], return_dict=False)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "byte"])
@settings(max_examples=150, deadline=None)
@given(turns=MESSAGES)
def test_the_mask_is_exactly_what_assistants_wrote(
    trained: dict[str, Tokenizer], kind: str, turns: list[tuple[str, str]]
) -> None:
    tokenizer = trained[kind]
    messages = [{"role": role, "content": content} for role, content in turns]
    expected = "".join(content + END for role, content in turns if role == "assistant")
    assert _written(tokenizer, messages) == expected


@settings(max_examples=150, deadline=None)
@given(turns=MESSAGES)
def test_contents_cannot_write_special_tokens(trained: dict[str, Tokenizer], turns: list[tuple[str, str]]) -> None:
    tokenizer = trained["bpe"]
    messages = [{"role": role, "content": content} for role, content in turns]
    ids, _ = tokenizer.encode_chat(messages)
    assert sum(index in tokenizer.special_ids for index in ids) == 1 + 2 * len(messages)
    assert tokenizer.decode(ids, keep_special=True) == tokenizer.render_chat(messages)


@pytest.mark.parametrize(("name", "before_end"), [("chatml", ""), ("llama2", " "), ("plain", "\n")])
def test_the_mask_of_other_templates_has_the_end_and_the_space_before_it(
    bpe: Tokenizer, tmp_path: Path, name: str, before_end: str
) -> None:
    tokenizer = _with_template(bpe, TEMPLATES[name], tmp_path)
    contents = [message["content"] for message in CHAT if message["role"] == "assistant"]
    if name == "llama2":
        contents = [content.strip() for content in contents]
    assert _written(tokenizer, CHAT) == "".join(content + before_end + END for content in contents)


@pytest.mark.parametrize("template", [None, *TEMPLATES])
def test_a_message_of_weight_0_is_read_but_not_learned(bpe: Tokenizer, tmp_path: Path, template: str | None) -> None:
    tokenizer = _with_template(bpe, TEMPLATES[template], tmp_path) if template else bpe
    ids, mask = tokenizer.encode_chat(CHAT)
    weighed = [*CHAT[:2], {**CHAT[2], "weight": 0}, CHAT[3], {**CHAT[4], "weight": 1}]
    same, learned = tokenizer.encode_chat(weighed)  # type: ignore[arg-type]
    assert same == ids
    first = mask.index(True)
    end = mask.index(False, first)
    assert learned == [False] * end + mask[end:]


def test_a_prompt_is_the_beginning_of_the_whole_chat(bpe: Tokenizer) -> None:
    prompt, mask = bpe.encode_chat(CHAT[:2], add_generation_prompt=True)
    whole, _ = bpe.encode_chat(CHAT[:3])
    assert whole[: len(prompt)] == prompt
    assert not any(mask)


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user"}],
        [{"content": "hi"}],
        [{"role": "user", "content": None}],
        [{"role": "user<|end|>", "content": "hi"}],
        [{"role": "tool", "content": "hi"}],
    ],
)
def test_bad_messages_are_refused(bpe: Tokenizer, messages: list[dict[str, str]]) -> None:
    with pytest.raises(UsageError):
        bpe.encode_chat(messages)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages.__class__.__mro__ }}", "SecurityError"),
        ("{{ ''.__class__.__base__.__subclasses__() }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ range(100000000) | list }}", "OverflowError"),
        ("{{ messages[99]['content'] }}", "UndefinedError"),
    ],
)
def test_templates_run_in_a_sandbox_and_fail_in_three_lines(
    bpe: Tokenizer, tmp_path: Path, template: str, reason: str
) -> None:
    with pytest.raises(UsageError, match="cannot be rendered") as refused:
        _with_template(bpe, template, tmp_path).encode_chat(CHAT)
    assert reason in refused.value.why


def test_of_several_named_templates_the_default_is_used(bpe: Tokenizer, tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ messages[0].content }}!"}]
    assert _with_template(bpe, named, tmp_path).render_chat(CHAT) == "Be brief.!"


def test_a_template_that_rewrites_contents_is_refused(bpe: Tokenizer, tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['content'] | replace('a', 'b') | length }}{% endfor %}"
    with pytest.raises(UsageError, match="rewrites the contents"):
        _with_template(bpe, template, tmp_path).encode_chat(CHAT)
