"""Templates that know no system: its text, and the description of tools, stand in the first user's turn."""

from __future__ import annotations

import pytest

from seedbed.chat.messages import Message, Tool
from seedbed.chat.rendering import PromptEncoder, Toolbox
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|user|>{{ m['role'] }}: {{ m['content'] }}<|end|>{% endfor %}"
)
DROPS_SYSTEM = "{% for m in messages if m['role'] != 'system' %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
@pytest.mark.parametrize("system", [True, False])
def test_a_template_without_a_system_gets_its_text_in_the_first_turn(template: str, system: bool) -> None:
    """The tools' description is our own message: a template that knows no system must not be asked for one."""
    tokenizer = train_tokenizer(["a text of words"] * 9, TokenizerSettings(kind="byte"))
    tokenizer.chat_template = template
    tool = Tool("weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
    messages = [*([Message("system", "Be brief.")] if system else []), Message("user", "Weather in Rome?")]
    encoder = PromptEncoder(tokenizer, 2000, Toolbox.of([tool], None))
    text = tokenizer.decode(encoder.encode(messages))
    assert text.index("weather") < text.index("Weather in Rome?")
    assert ("Be brief." in text) == system
    assert tokenizer.decode(PromptEncoder(tokenizer, 2000).encode(messages)).count("Be brief.") == system
