"""The four chains, driven with the prompts of ``langchain_classic``, send what its ``load_qa_chain`` sends.

Our templates call the passages ``context``, the question ``question`` and the answer so far ``answer``; LangChain's
names are replaced, nothing else. A completion model gets one text (for us: one message), a chat model messages.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from answering import Answer, Recorder, bare, chunks_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.chat.messages import Message, Role
from seedbed.rag.chains.map_reduce import map_reduce
from seedbed.rag.chains.map_rerank import map_rerank
from seedbed.rag.chains.refine import refine
from seedbed.rag.chains.stuff import stuff
from seedbed.rag.passages import ChainResult
from seedbed.rag.prompt_plan import Template

pytest.importorskip("langchain_classic", reason="the oracle is not installed: pip install langchain-classic")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_classic.chains.question_answering import (
        load_qa_chain,
        map_reduce_prompt,
        map_rerank_prompt,
        refine_prompts,
        stuff_prompt,
    )
    from langchain_core.documents import Document
    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.llms import LLM
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

pytestmark = pytest.mark.filterwarnings("ignore")
QUESTION = "Why is {this} so?"
_ROLES: dict[str, Role] = {"system": "system", "human": "user", "ai": "assistant"}
_NAMES = {"context_str": "context", "summaries": "context", "existing_answer": "answer"}
Prompts = list[list[tuple[str, str]]]


def reply_to(prompt: str) -> str:
    """An answer with a score, on one line each, that depends on every letter of the prompt."""
    number = sum(ord(letter) * place for place, letter in enumerate(prompt, 1))
    return f"A{number % 9973} of {'word ' * (number % 5)}end\nScore: {number % 101}"


class Completions(LLM):
    """LangChain's face of the same model, for prompts that are one text."""

    log: list[Any] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "recorder"

    def get_num_tokens(self, text: str) -> int:
        return 1 + len(text.split())

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        self.log.append([("user", prompt)])
        return reply_to(prompt)


class Chats(BaseChatModel):
    """The same for prompts that are messages."""

    log: list[Any] = []  # noqa: RUF012

    @property
    def _llm_type(self) -> str:
        return "recorder"

    def get_num_tokens(self, text: str) -> int:
        """Of messages as LangChain prints them, ``Human: …``: one word more a message, as the Recorder counts."""
        return len(text.split())

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        told = [(_ROLES[one.type], str(one.content)) for one in messages]
        self.log.append(told)
        text = reply_to("\n".join(content for _, content in told))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def theirs(model: Any, kind: str, texts: Sequence[str], **options: Any) -> tuple[str, Prompts]:
    """The answer and all prompts of LangChain's chain."""
    model.log = []
    documents = [Document(page_content=text) for text in texts]
    chain = load_qa_chain(model, chain_type=kind, **options)
    return chain.invoke({"input_documents": documents, "question": QUESTION})["output_text"], model.log


def ours(chain: Callable[..., ChainResult], texts: Sequence[str], answer: Answer = reply_to, **options: Any) -> Any:
    """The answer and all prompts of our chain."""
    model = Recorder(answer)
    result = chain(model, QUESTION, chunks_of(*texts), show=bare, **options)
    return result.text, [[(one.role, one.text) for one in prompt] for prompt in model.prompts]


def template_of(selector: Any, model: Any) -> Template:
    """The prompt that LangChain would choose for a model, with our names."""
    prompt = selector.get_prompt(model)
    if not hasattr(prompt, "messages"):
        return (Message("user", renamed(prompt.template)),)
    kinds = {"SystemMessagePromptTemplate": "system", "HumanMessagePromptTemplate": "user"}
    return tuple(
        Message(kinds.get(type(one).__name__, "assistant"), renamed(one.prompt.template))  # type: ignore[arg-type]
        for one in prompt.messages
    )


def renamed(template: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: f"{{{_NAMES.get(found[1], found[1])}}}", template)


TEXTS = st.lists(st.text(alphabet="ab {}\n.é", min_size=1, max_size=30), min_size=1, max_size=7)
MODELS = pytest.mark.parametrize("model", [Completions(), Chats()], ids=["completions", "chats"])
quickly = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MODELS
@quickly
@given(TEXTS)
def test_stuff(model: Any, texts: list[str]) -> None:
    template = template_of(stuff_prompt.PROMPT_SELECTOR, model)
    assert ours(stuff, texts, template=template) == theirs(model, "stuff", texts)


@MODELS
@quickly
@given(TEXTS)
def test_refine(model: Any, texts: list[str]) -> None:
    first = template_of(refine_prompts.QUESTION_PROMPT_SELECTOR, model)
    template = template_of(refine_prompts.REFINE_PROMPT_SELECTOR, model)
    assert ours(refine, texts, first=first, template=template) == theirs(model, "refine", texts)


@MODELS
@quickly
@given(TEXTS)
def test_map_reduce(model: Any, texts: list[str]) -> None:
    template = template_of(map_reduce_prompt.QUESTION_PROMPT_SELECTOR, model)
    reduce = template_of(map_reduce_prompt.COMBINE_PROMPT_SELECTOR, model)
    options = {"template": template, "reduce": reduce}
    assert ours(map_reduce, texts, **options, most_tokens=3000) == theirs(model, "map_reduce", texts)


@MODELS
def test_map_reduce_collapses_as_it_does(model: Any) -> None:
    template = template_of(map_reduce_prompt.QUESTION_PROMPT_SELECTOR, model)
    reduce = template_of(map_reduce_prompt.COMBINE_PROMPT_SELECTOR, model)
    texts = [f"text {place}" for place in range(30)]
    base = Recorder(reply_to).count_prompt([Message("user", one.content) for one in reduce])
    prompts = []
    for most in (base + 30, base + 60, base + 120):
        expected = theirs(model, "map_reduce", texts, token_max=most)
        assert ours(map_reduce, texts, template=template, reduce=reduce, most_tokens=most) == expected
        prompts.append(len(expected[1]))
    assert prompts[0] > prompts[1] > prompts[2] > 31  # it did collapse, in one round or several


@quickly
@given(TEXTS)
def test_map_rerank(texts: list[str]) -> None:
    model = Completions()
    template = (Message("user", map_rerank_prompt.PROMPT.template),)
    assert ours(map_rerank, texts, template=template) == theirs(model, "map_rerank", texts)
