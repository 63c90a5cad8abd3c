"""LangChain's standard tests for chat models, through its own client for OpenAI's API.

Most run on a model of random weights: grammars make it write what it must. Those that ask what only a model that reads
can answer run on one that was taught these answers by heart.
"""

from __future__ import annotations

from typing import Any

import pytest

from conftest import Endpoint, build_model
from seedbed.core.artifacts import Library
from seedbed.models.store import save_model

pytest.importorskip("langchain_openai")
from langchain_lessons import NEED_TO_READ, learn_by_heart
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def taught(server: Endpoint) -> str:
    """The name of a model that knows the lessons by heart: trained until every token of every answer is the best."""
    tokenizer, model = build_model(0.05, window=2048, width=96)
    learn_by_heart(tokenizer, model)
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
