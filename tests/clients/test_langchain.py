"""LangChain's standard tests for chat models, through its own client for OpenAI's API.

Most run on a model of random weights: grammars make it write what it must. Those that ask what only a model that reads
can answer run on one that was taught these answers by heart.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from conftest import Endpoint, build_model

from seedbed.core.artifacts import Library
from seedbed.models.store import save_model
from seedbed.tokenizers.tools import describe_functions, write_call

pytest.importorskip("langchain_openai")
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.integration_tests.chat_models import magic_function, unicode_customer

pytestmark = pytest.mark.slow

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
    """A lesson as the server renders it: functions in the system message, a call as text."""
    if function is None:
        return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    told = convert_to_openai_tool(function)["function"]
    call = write_call(told["name"], json.dumps(answer, ensure_ascii=False))
    return [
        {"role": "system", "content": describe_functions([told])},
        {"role": "user", "content": question},
        {"role": "assistant", "content": call},
    ]


@pytest.fixture(scope="module")
def taught(server: Endpoint) -> str:
    """The name of a model that knows the lessons by heart: trained until every token of every answer is the best."""
    torch.manual_seed(1)
    tokenizer, model = build_model(0.05, window=2048, width=96)
    encoded = [tokenizer.encode_chat(conversation(*lesson)) for lesson in LESSONS]
    width = max(len(ids) for ids, _ in encoded)
    ids = torch.tensor([ids + [tokenizer.pad_id] * (width - len(ids)) for ids, _ in encoded])
    mask = torch.tensor([mask + [False] * (width - len(mask)) for _, mask in encoded])[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _step in range(600):
        logits = model(ids[:, :-1])[0][mask]
        loss = torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask])
        if loss < 0.01 and bool((logits.argmax(-1) == ids[:, 1:][mask]).all()):
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        pytest.fail(f"the lessons were not learned: the loss is {float(loss)}")
    with Library(server.home).writing("model", name="taught") as draft:
        save_model(draft.path, model.eval(), tokenizer)
    return "taught"


class TestChatModel(ChatModelIntegrationTests):
    """Without images, sounds, PDFs and Anthropic's form of messages: the server reads text."""

    @pytest.fixture(autouse=True)
    def _choose(self, server: Endpoint, request: pytest.FixtureRequest) -> None:
        reads = request.node.originalname in NEED_TO_READ
        self.server, self.served = server, request.getfixturevalue("taught") if reads else "plain"

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        told = {"base_url": self.server.base_url, "api_key": self.server.key}
        temperature = 0.0 if self.served == "taught" else 1.0  # random weights would write one letter for ever
        sampling = {"temperature": temperature, "seed": 1, "max_tokens": 2000}  # another seed may begin with the end
        return {"model": self.served, "stream_usage": True, **sampling, **told}

    @property
    def model_override_value(self) -> str:
        return "sharp"

    @property
    def supports_json_mode(self) -> bool:
        return True
