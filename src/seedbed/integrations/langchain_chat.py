"""LangChain's chat model over any of ours: messages go over in OpenAI's form, schemas as the grammar of the reply."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_openai_messages
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import Field, PrivateAttr

from seedbed.chat.messages import Delta, Message, Reply, Tool
from seedbed.chat.model import ChatModel
from seedbed.inference.parameters import Grammar


class SeedbedChat(BaseChatModel):
    """Any of our chat models.

    Attributes:
        model: a :class:`~seedbed.chat.model.ChatModel`, such as ``LocalModel.open("quickstart")``.
        options: further options of replies; see :class:`~seedbed.chat.model.ReplyOptions`. A call may give them too.
    """

    model: Any
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    _turn: contextlib.AbstractContextManager[Any] = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "seedbed-chat"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.model.name, **self._given(None, {})}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        told = super()._get_ls_params(stop=stop, **kwargs)
        return {**told, "ls_provider": "seedbed", "ls_model_name": kwargs.get("model", self.model.name)}

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        *_, last = self._deltas(messages, stop, kwargs)
        reply = cast(Reply, last.reply)
        calls = [{"name": one.name, "args": _arguments(one.arguments), "id": one.id} for one in reply.tool_calls]
        message = AIMessage(reply.text, tool_calls=calls, **_told(reply))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for delta in self._deltas(messages, stop, kwargs):
            message = _last(delta.reply) if delta.reply else AIMessageChunk(content=delta.text)
            chunk = ChatGenerationChunk(message=message)
            if run_manager and delta.text:
                run_manager.on_llm_new_token(delta.text, chunk=chunk)
            yield chunk

    def _deltas(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> Iterator[Delta]:
        """The reply as it is written. Batches of LangChain run in threads; a local model is used by one at a time."""
        told = [_message(one) for one in convert_to_openai_messages(messages)]
        with self._turn:
            deltas = cast(ChatModel, self.model).stream(told, **self._given(stop, kwargs))
        while True:
            with self._turn:
                delta = next(deltas, None)
            if delta is None:
                return
            yield delta

    def _given(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> Any:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "stop": stop or self.stop or None}
        given = {**self.options, **{name: value for name, value in own.items() if value is not None}, **kwargs}
        if "tools" in given:
            given["tools"] = [_tool(one) for one in given["tools"]]
            given["tool_choice"] = _choice(given.get("tool_choice"))
        return given

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, strict: Any = None, **kwargs: Any) -> Any:
        """Offer tools. A call always fits its schema, so ``strict`` changes nothing; "any" asks for a call."""
        return self.bind(tools=[convert_to_openai_tool(one) for one in tools], tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, method: str = "json_schema", strict: Any = None, **kwargs: Any
    ) -> Any:
        """Replies that fit a schema, by its grammar; with the method "json_mode" any JSON object, then parsed."""
        wanted = {"type": "object"} if method == "json_mode" else convert_to_json_schema(schema)
        told = {"kwargs": {"method": method}, "schema": schema}
        grammar = Grammar("json_schema", json.dumps(wanted))
        model = self.bind(grammar=grammar, ls_structured_output_format=told, **kwargs)
        is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
        parser: Any = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
        if not include_raw:
            return model | parser
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def _message(wire: dict[str, Any]) -> Message:
    """A message without blocks that say again what ``tool_calls`` says. Raises DataError for an image or sound."""
    content = wire.get("content")
    if isinstance(content, list):
        wire = {**wire, "content": [part for part in content if part.get("type") not in ("tool_call", "tool_use")]}
    return Message.from_wire(wire)


def _tool(tool: Any) -> Tool:
    function = convert_to_openai_tool(tool)["function"]
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(function["name"], function.get("description", ""), schema)


def _choice(choice: Any) -> str:
    """LangChain's words, and OpenAI's objects, as ours."""
    if isinstance(choice, Mapping):
        return str(choice["function"]["name"])
    return str({None: "auto", False: "none", True: "required", "any": "required"}.get(choice, choice))


def _arguments(text: str) -> dict[str, Any]:
    """The arguments of a call; none where it was cut off."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _last(reply: Reply) -> AIMessageChunk:
    calls = [
        tool_call_chunk(name=one.name, args=one.arguments, id=one.id, index=place)
        for place, one in enumerate(reply.tool_calls)
    ]
    return AIMessageChunk(content="", tool_call_chunks=calls, chunk_position="last", **_told(reply))


def _told(reply: Reply) -> dict[str, Any]:
    read, written = reply.usage.prompt_tokens, reply.usage.completion_tokens
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    about = {"model_name": reply.model, "model_provider": "seedbed", "finish_reason": reply.finish}
    loop = {"repetition": reply.repetition.to_wire()} if reply.repetition else {}
    return {"usage_metadata": usage, "response_metadata": {**about, **loop}}
