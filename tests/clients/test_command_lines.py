"""LiteLLM, and the `llm` command-line tool: chat, streamed or not, with tools and schemas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Endpoint

pytestmark = pytest.mark.slow

ASK = [{"role": "user", "content": "Hello"}]
LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"far": {"type": "boolean"}}}},
}


@pytest.fixture
def ask(server: Endpoint) -> Any:
    """Asks through LiteLLM."""
    litellm = pytest.importorskip("litellm")

    def complete(**body: Any) -> Any:
        options = {"messages": ASK, "max_tokens": 40, "seed": 7, **body}
        return litellm.completion(model="openai/plain", api_base=server.base_url, api_key=server.key, **options)

    return complete


def test_litellm_streams_what_it_answers(ask: Any) -> None:
    whole = ask()
    parts = list(ask(stream=True, stream_options={"include_usage": True}))
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == whole.choices[0].message.content != ""
    assert parts[-1].usage.completion_tokens == whole.usage.completion_tokens > 0


def test_litellm_calls_tools(ask: Any) -> None:
    whole = ask(tools=[LOOK], tool_choice="required", max_tokens=2000).choices[0]
    assert whole.finish_reason == "tool_calls"
    [call] = whole.message.tool_calls
    assert call.function.name == "look"
    assert set(json.loads(call.function.arguments)) <= {"far"}
    parts = [part.choices[0].delta for part in ask(tools=[LOOK], tool_choice="required", max_tokens=2000, stream=True)]
    pieces = [one.function.arguments for part in parts for one in part.tool_calls or []]
    assert "".join(pieces) == call.function.arguments


def test_litellm_passes_a_refusal_on(ask: Any) -> None:
    import litellm

    with pytest.raises(litellm.BadRequestError, match="the models here write text"):
        ask(modalities=["text", "audio"])


@pytest.fixture
def llm(server: Endpoint, tmp_path: Path) -> Any:
    """Runs `llm`, told of the server by a file as its documentation says. Returns what it printed."""
    pytest.importorskip("llm")
    model = {"model_id": "mine", "model_name": "plain", "api_base": server.base_url, "api_key_name": "seedbed"}
    flags = {"supports_schema": True, "supports_tools": True}
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model | flags]))  # JSON is YAML
    (tmp_path / "keys.json").write_text(json.dumps({"seedbed": server.key}))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        environment = os.environ | {"LLM_USER_PATH": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_llm_chats_streamed_or_not(llm: Any) -> None:
    options = ("-m", "mine", "-o", "seed", "7", "-o", "max_tokens", "40")
    streamed = llm("Hello", *options)
    assert streamed == llm("Hello", *options, "--no-stream") != "\n"
    assert llm("And then?", "-c", *options[2:]).strip()  # goes on with the conversation it has kept


def test_llm_asks_for_a_schema(llm: Any) -> None:
    answer = json.loads(llm("A dog", "-m", "mine", "--schema", "name, age int"))
    assert set(answer) == {"name", "age"}
    assert isinstance(answer["age"], int)
