"""What LangChain's standard tests ask that only a model that reads can answer, and a model that knows it by heart."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_tests.integration_tests.chat_models import magic_function, unicode_customer

from seedbed.chat.messages import Tool
from seedbed.chat.rendering import Toolbox
from seedbed.models.decoder import Decoder
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.tool_text import write_call

NEED_TO_READ = {
    "test_tool_calling",
    "test_tool_calling_async",
    "test_json_mode",
    "test_agent_loop",
    "test_unicode_tool_call_integration",
}
JOKE = '{"setup": "Why did the cat sit on the computer?", "punchline": "To keep an eye on the mouse."}'


@tool
def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return location


LESSONS: tuple[tuple[Any, str, Any], ...] = (
    (magic_function, "What is the value of magic_function(3)? Use the tool.", {"input": 3}),
    (get_weather, "What is the weather in San Francisco, CA?", {"location": "San Francisco, CA"}),
    (
        unicode_customer,
        "Create a customer named '你好啊集团' (Hello Group) - a Chinese technology company",
        {"customer_name": "你好啊集团", "description": "technology"},
    ),
    (
        unicode_customer,
        "Create a customer named 'こんにちは株式会社' (Hello Corporation) - a Japanese company",
        {"customer_name": "こんにちは株式会社", "description": "company"},
    ),
    (
        None,
        "Tell me a joke about cats. Return the result as a JSON with 'setup' and 'punchline' keys. "
        "Return nothing other than JSON.",
        JOKE,
    ),
)


def conversation(function: Any, question: str, answer: Any) -> list[dict[str, str]]:
    """A lesson as a chat with tools is rendered: functions in the system message, a call as text."""
    asked = [{"role": "user", "content": question}]
    if function is None:
        return [*asked, {"role": "assistant", "content": answer}]
    told = convert_to_openai_tool(function)["function"]
    toolbox = Toolbox.of([Tool(told["name"], told["description"], told["parameters"])], "auto")
    assert toolbox
    call = write_call(told["name"], json.dumps(answer, ensure_ascii=False))
    return [*toolbox.describe(asked), {"role": "assistant", "content": call}]


def learn_by_heart(tokenizer: Tokenizer, model: Decoder) -> None:
    """Train a model on the lessons until every token of every answer is the best."""
    torch.manual_seed(1)
    encoded = [tokenizer.encode_chat(conversation(*lesson)) for lesson in LESSONS]
    width = max(len(ids) for ids, _ in encoded)
    ids = torch.tensor([ids + [tokenizer.pad_id] * (width - len(ids)) for ids, _ in encoded])
    mask = torch.tensor([mask + [False] * (width - len(mask)) for _, mask in encoded])[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _step in range(600):
        logits = model(ids[:, :-1])[0][mask]
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask])
        if loss < 0.01 and bool((logits.argmax(-1) == ids[:, 1:][mask]).all()):
            return
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pytest.fail(f"the lessons were not learned: the loss is {float(loss)}")
