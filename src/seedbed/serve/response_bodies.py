"""The bodies of responses: items of conversations, and the request for a response."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from seedbed.serve.bodies import (
    GUARD,
    PARALLEL,
    REFUSED,
    VERBOSITY,
    Content,
    Controls,
    DocumentOptions,
    Function,
    FunctionName,
    Id,
    JsonFormat,
    Limit,
    Metadata,
    Name,
    Refused,
    Strict,
    ToolMode,
)


class Item(Strict):
    id: Id | None = None
    status: Literal["in_progress", "completed", "incomplete"] = "completed"


class MessageItem(Item):
    type: Literal["message"] = "message"
    role: Literal["user", "system", "developer", "assistant"]
    content: Content


class CallItem(Item):
    type: Literal["function_call"]
    call_id: Id
    name: Name
    arguments: str


class ResultItem(Item):
    type: Literal["function_call_output"]
    call_id: Id
    output: Content


def _kind(value: Any) -> Any:
    return value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", None)


AnyItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")],
    Discriminator(_kind),
]


class TextFormat(JsonFormat):
    type: Literal["text", "json_object", "json_schema"]


class TextOptions(Strict):
    refused: ClassVar[Refused] = VERBOSITY
    format: TextFormat = TextFormat(type="text")


class FlatTool(Function):
    type: Literal["function"]


class FlatNamedTool(FunctionName):
    type: Literal["function"]


class ResponseRequest(Controls):
    refused: ClassVar[Refused] = {
        **REFUSED,
        "background": ([False], "stream, or keep the connection open"),
        "background_options": ([], "stream, or keep the connection open"),
        "conversation": ([], "use previous_response_id"),
        "context_management": ([[]], "use truncation"),
        "prompt": ([], "the server keeps no prompt templates"),
        "reasoning": ([{}], "the models here write no separate reasoning"),
        "image": ([], "the models here write text"),
        "access_programs": ([], "there are none here"),
        "max_tool_calls": (list(range(1, 1025)), "give 1 to 1024; it counts the server's own tools, which has none"),
    }
    input: str | Annotated[list[AnyItem], Field(fail_fast=True)]
    instructions: str | None = None
    previous_response_id: Id | None = None
    store: bool = Field(True, description="Keep the response, for previous_response_id and GET.")
    max_output_tokens: Limit | None = None
    include: list[Literal["message.output_text.logprobs"]] = Field([])
    top_logprobs: int = Field(0, ge=0, le=20)
    text: TextOptions = TextOptions()
    tools: list[FlatTool] = Field([], max_length=128)
    tool_choice: ToolMode | FlatNamedTool | None = None
    parallel_tool_calls: bool = Field(False, description=PARALLEL)
    truncation: Literal["auto", "disabled"] = Field("disabled", description="auto leaves out the oldest messages.")
    repetition_guard: bool = Field(True, description=GUARD)
    metadata: Metadata = Field({})
    documents: DocumentOptions | None = None


class ItemsQuery(Strict):
    model_config = ConfigDict(strict=False)  # a query is text
    limit: int = Field(20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"
    after: Id | None = None
