"""The body of each route's request, and the parts they are made of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from seedbed.rag.answer import PASSAGES
from seedbed.rag.chains import Chain
from seedbed.search.modes import Mode
from seedbed.serve.schemas.base import Controls, Refused, Strict

_REFUSED: Refused = {
    "service_tier": (["auto", "default"], "there is one tier here"),
    "moderation": ([], "there is no moderation model here"),
    "prompt_cache_options": ([{}], "prefixes are cached by what they are, as long as there is room"),
    "prompt_cache_retention": (["in_memory"], "prefixes are cached in memory only"),
}
_UNREAD: Refused = {name: ([[]], "nothing here reads them") for name in ("annotations", "logprobs")}
_Verbosity: Refused = {"verbosity": (["medium"], "the models here have one")}
Limit = Annotated[int, Field(ge=1, le=10_000_000, description="Most tokens of a reply; by default, all that fit.")]
Metadata = Annotated[dict[str, str], Field(max_length=16, description="Given back with the reply.")]
Model = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
Id = Annotated[str, Field(max_length=100)]
_Some = Field(min_length=1, fail_fast=True)  # a million wrong entries make one error
Ids = Annotated[list[int], _Some]
Prompts = str | Ids | Annotated[list[str], _Some] | Annotated[list[Ids], _Some]
ToolMode = Literal["none", "auto", "required"]
ParallelCalls = Annotated[
    bool, Field(description="Allow several calls in one reply: true → one or more, false → at most one.")
]


class WireTextPart(Strict):
    refused: ClassVar[Refused] = _UNREAD
    type: Literal["text", "input_text", "output_text"]
    text: str


Content = str | list[WireTextPart]


class CalledFunction(Strict):
    name: Name
    arguments: str


class WireToolCall(Strict):
    id: Id
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Strict):
    refused: ClassVar[Refused] = {
        "refusal": ([], "the models here do not write refusals apart"),
        "audio": ([], "the models here read text"),
        "function_call": ([], "use tool_calls"),
        **_UNREAD,
    }
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Name | None = Field(default=None, description="Who speaks: written before the content.")
    tool_calls: list[WireToolCall] = Field(default=[], max_length=128)
    tool_call_id: Id | None = None


class JsonFormat(Strict):
    name: Name = "reply"
    schema_: dict[str, Any] = Field(
        default={}, alias="schema", description="A JSON schema, which the reply always follows."
    )
    description: str = ""
    strict: bool = Field(default=True, description="Replies follow the schema either way.")


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonFormat | None = None


class Function(Strict):
    name: Name
    description: str = Field("", max_length=8192)
    parameters: dict[str, Any] = Field({"type": "object", "properties": {}, "additionalProperties": False})
    strict: bool = Field(default=True, description="Arguments follow the schema either way.")


class WireTool(Strict):
    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    name: Name


class NamedTool(Strict):
    type: Literal["function"]
    function: FunctionName

    @property
    def name(self) -> str:
        """The name, in the same place as in the flat form."""
        return self.function.name


class DocumentOptions(Strict):
    """Answer the last message from a collection of documents (an extension of ours)."""

    collection: str = Field(max_length=100, description="A name that /v1/collections lists.")
    chain: Chain = "stuff"
    k: int = Field(PASSAGES, ge=1, le=50, description="Passages to look for.")
    mode: Mode = "hybrid"
    where: dict[str, Any] | None = Field(None, max_length=20, description="Conditions on the documents' metadata.")
    evidence: bool = Field(False, description="Also say how much less probable the answer is without each source.")


class ChatRequest(Controls):
    refused: ClassVar[Refused] = {
        **_REFUSED,
        **_Verbosity,
        "audio": ([], "the models here write text"),
        "modalities": ([["text"]], "the models here write text"),
        "reasoning_effort": (["none"], "the models here write no separate reasoning"),
        "prediction": ([], "guesses are taken from the conversation itself"),
        "web_search_options": ([], "the server does not search"),
        "functions": ([[]], "use tools"),
        "function_call": ([], "use tool_choice"),
        "store": ([False], "only /v1/responses stores"),
    }
    messages: list[ChatMessage] = Field(min_length=1, max_length=10_000, fail_fast=True)
    n: int = Field(1, ge=1, le=16, description="How many replies; the seeds of the others follow the first one's.")
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    response_format: ResponseFormat = ResponseFormat(type="text")
    tools: list[WireTool] = Field([], max_length=128)
    tool_choice: ToolMode | NamedTool | None = None
    parallel_tool_calls: ParallelCalls = False
    metadata: Metadata = Field({})
    documents: DocumentOptions | None = None


class CompletionRequest(Controls):
    refused: ClassVar[Refused] = {
        "suffix": ([""], "the models here only continue text"),
        "best_of": ([1], "ask for n replies and choose"),
    }
    prompt: Prompts
    n: int = Field(1, ge=1, le=16, description="How many replies to each prompt.")
    max_tokens: int = Field(16, ge=0, le=10_000_000, description="0 only with echo.")
    echo: bool = Field(False, description="Give the prompt back before the reply, with its log-probabilities.")
    logprobs: int | None = Field(None, ge=0, le=20)


class EmbeddingRequest(Strict):
    model: Model
    input: Prompts
    user: str = Field("", max_length=512, description="Embeddings share nothing, so that users are apart either way.")
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="Only the model's own number is accepted.")


class TokenizeRequest(Strict):
    model: Model
    prompt: str | None = None
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=10_000, fail_fast=True)
    add_special_tokens: bool = Field(True, description="Begin a prompt as completions do.")
    add_generation_prompt: bool = Field(True, description="End a conversation where the reply begins.")
    return_token_strs: bool = False


class DetokenizeRequest(Strict):
    model: Model
    tokens: list[int] = Field(fail_fast=True)


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
    refused: ClassVar[Refused] = _Verbosity
    format: TextFormat = TextFormat(type="text")


class FlatTool(Function):
    type: Literal["function"]


class FlatNamedTool(FunctionName):
    type: Literal["function"]


class ResponseRequest(Controls):
    refused: ClassVar[Refused] = {
        **_REFUSED,
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
    parallel_tool_calls: ParallelCalls = False
    truncation: Literal["auto", "disabled"] = Field("disabled", description="auto leaves out the oldest messages.")
    metadata: Metadata = Field({})


class ItemsQuery(Strict):
    model_config = ConfigDict(strict=False)  # a query is text
    limit: int = Field(20, ge=1, le=100)
    order: Literal["asc", "desc"] = "desc"
    after: Id | None = None
