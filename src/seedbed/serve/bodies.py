"""The body of each route's request. A field is honoured or refused, never ignored; null counts as not given.

Fields of OpenAI's that cannot be honoured are in each body's ``refused`` table: the values that ask for nothing, which
are accepted, and the reason why others are not. What is in neither place is unknown, and refused as such.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.published_sampling import NOTHING_STATED, PublishedSampling
from seedbed.rag.answer import PASSAGES
from seedbed.rag.chains import Chain
from seedbed.search.modes import Mode
from seedbed.serve.errors import refuse

_KNOBS = {field.name: field for field in dataclasses.fields(Sampling)}
_PLAIN = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
SHAPES = (*_PLAIN, "logit_bias", "stop", "ignore_eos")
"""Fields that shape a model's words."""
_SALTS = ("user", "safety_identifier", "prompt_cache_key", "cache_salt")
Refused = Mapping[str, tuple[list[Any], str]]
REFUSED: Refused = {
    "service_tier": (["auto", "default"], "there is one tier here"),
    "moderation": ([], "there is no moderation model here"),
    "prompt_cache_options": ([{}], "prefixes are cached by what they are, as long as there is room"),
    "prompt_cache_retention": (["in_memory"], "prefixes are cached in memory only"),
}
_EARLIER = Field(None, description="Of an earlier answer, about its text; the text alone is read.")
VERBOSITY: Refused = {"verbosity": (["medium"], "the models here have one")}
Limit = Annotated[int, Field(ge=1, le=10_000_000, description="Most tokens of a reply; by default, all that fit.")]
Metadata = Annotated[dict[str, str], Field(max_length=16, description="Given back with the reply.")]
Model = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
Id = Annotated[str, Field(max_length=100)]
TemplateVariables = Annotated[
    dict[Name, bool | int | float | Annotated[str, Field(pattern=r"^[\w .:-]{0,100}$")]],
    Field(max_length=16, description="Variables that the model's chat template reads, such as enable_thinking."),
]
_Some = Field(min_length=1, fail_fast=True)  # a million wrong entries make one error
Ids = Annotated[list[int], _Some]
Prompts = str | Ids | Annotated[list[str], _Some] | Annotated[list[Ids], _Some]
ToolMode = Literal["none", "auto", "required"]
GUARD = "End a reply that repeats itself; never one under a grammar, a schema or tools."
_REASONING = "the models here write no separate reasoning; leave it out, or write it into content as the model did"
_STRICT = "Refuse a schema with keywords that cannot be enforced; else they are left out, and `unenforced` says so."
PARALLEL = "Allow several calls in one reply: true → one or more, false → at most one."


class Strict(BaseModel):
    """A body or a part of one."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    refused: ClassVar[Refused] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value is not None}
        known = [*(field.alias or name for name, field in cls.model_fields.items()), *cls.refused]
        if unknown := next((name for name in given if name not in known), None):
            near = difflib.get_close_matches(unknown, known, n=1)
            why = f"did you mean {near[0]}?" if near else "it is no field of this route; leave it out"
            raise PydanticCustomError("unknown", "there is no such field; {why}", {"field": unknown[:100], "why": why})
        for name in [one for one in cls.refused if one in given]:
            neutral, why = cls.refused[name]
            if not any(value == given[name] and type(value) is type(given[name]) for value in neutral):
                raise PydanticCustomError("refused", "{field} is not supported: {why}", {"field": name, "why": why})
            del given[name]
        return given


def _knob(name: str, **changes: Any) -> Any:
    """A field with the documentation and range of the sampling parameter of that name."""
    meta, default = _KNOBS[name].metadata, _KNOBS[name].default
    options = {"default": default, "description": meta["doc"], "ge": meta["at_least"], "le": meta["at_most"]}
    return Field(**{**options, **changes})


class StructuredOutputs(Strict):
    """The form of a reply: exactly one of these (vLLM's extension; ``grammar`` is a Lark grammar)."""

    json_: dict[str, Any] | str | None = Field(default=None, alias="json")
    regex: str | None = None
    choice: list[str] | None = Field(default=None, max_length=1000)
    grammar: str | None = None

    def grammars(self) -> list[Grammar]:
        """Those that are asked for."""
        schema = json.dumps(self.json_) if isinstance(self.json_, dict) else self.json_
        choice = None if self.choice is None else json.dumps(self.choice)
        pairs = (("json_schema", schema), ("regex", self.regex), ("choice", choice), ("lark", self.grammar))
        return [Grammar(kind, text) for kind, text in pairs if text is not None]  # type: ignore[arg-type]


class StreamOptions(Strict):
    refused: ClassVar[Refused] = {"include_obfuscation": ([False], "chunks are not padded")}
    include_usage: bool = Field(False, description="End with a chunk that counts the tokens.")


class Controls(Strict):
    """Parameters of generation: OpenAI's parameters, and vLLM's for what OpenAI has none."""

    model: str = Field(max_length=200, description="A name that /v1/models lists.")
    temperature: float = _knob("temperature", default=1.0)
    top_p: float = _knob("top_p")
    top_k: int = _knob("top_k", le=1_000_000)
    min_p: float = _knob("min_p")
    repetition_penalty: float = _knob("repetition_penalty")
    frequency_penalty: float = _knob("frequency_penalty")
    presence_penalty: float = _knob("presence_penalty")
    seed: int | None = _knob("seed", ge=-(2**63), description="Any whole number: the same one draws the same tokens.")
    logit_bias: dict[str, float] = Field({}, max_length=300, description="Token ids, and what to add to their logits.")
    stop: str | list[str] = Field([], description="End before any of these texts: at most 16 of 256 characters.")
    ignore_eos: bool = Field(False, description="Go on past the end token; for benchmarks.")
    stream: bool = False
    stream_options: StreamOptions | None = None
    structured_outputs: StructuredOutputs = StructuredOutputs()
    user: str = Field("", max_length=512, description="An end user: prefixes are shared, and turns taken, by name.")
    safety_identifier: str = Field("", max_length=512, description="As user.")
    prompt_cache_key: str = Field("", max_length=512, description="Only requests with the same one share prefixes.")
    cache_salt: str = Field("", max_length=512, description="As prompt_cache_key.")

    def salt(self, owner: str) -> str:
        """Return the text that two requests must have in common to share cached prefixes."""
        return json.dumps([owner, *(getattr(self, name) for name in _SALTS)])

    def sampling(
        self,
        max_tokens: int,
        top_logprobs: int,
        grammar: Grammar | None = None,
        stated: PublishedSampling = NOTHING_STATED,
    ) -> Sampling:
        """As the engine knows it, its seed fixed; what is left out is as ``stated``. Raises UsageError or ApiError."""
        grammars = [*([grammar] if grammar else []), *self.structured_outputs.grammars()]
        if len(grammars) > 1:
            why = f"{len(grammars)} ways are asked for at once"
            raise refuse("a reply can follow one grammar", why=why, fix="keep one of them")
        own = {name: value for name, value in stated.values.items() if name not in self.model_fields_set}
        return Sampling(
            **{**{name: getattr(self, name) for name in _PLAIN}, **own},
            seed=None if self.seed is None else self.seed % 2**63,  # OpenAI's may be negative, the engine's are not
            max_tokens=max_tokens,
            top_logprobs=top_logprobs,
            stop=self._stops(),
            ignore_end=self.ignore_eos,
            logit_bias=tuple((_token_id(token), bias) for token, bias in self.logit_bias.items()),
            grammar=grammars[0] if grammars else None,
        ).seeded()

    @model_validator(mode="after")
    def _streams(self) -> Self:
        if self.stream_options and not self.stream:
            message = "they are for streams: set stream"
            raise PydanticCustomError("refused", message, {"field": "stream_options"})
        return self

    def _stops(self) -> tuple[str, ...]:
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        if len(stops) > 16 or any(len(text) > 256 for text in stops):
            why = "at most 16 texts of 256 characters are allowed"
            raise refuse("stop cannot be used", why=why, fix="give fewer or shorter texts", param="stop")
        return stops


def _token_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        what, why = f"logit_bias names {text[:20]!r}", "its keys are token ids"
        raise refuse(what, why=why, fix="ask /tokenize for them", param="logit_bias")
    return int(text)


class WireTextPart(Strict):
    type: Literal["text", "input_text", "output_text"]
    text: str
    annotations: list[Any] | None = _EARLIER
    logprobs: list[Any] | None = _EARLIER

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, data: Any) -> Any:
        kind = data.get("type") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind not in get_args(cls.model_fields["type"].annotation):
            message = "a part of type {kind} was sent; the models here read text: send parts of type text"
            raise PydanticCustomError("refused", message, {"field": "type", "kind": repr(kind[:100])})
        return data


Content = str | list[WireTextPart]


class CalledFunction(Strict):
    name: Name
    arguments: str


class WireToolCall(Strict):
    id: Id
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = Field(None, ge=0, description="As streams number calls; their order is the list's.")


class ChatMessage(Strict):
    refused: ClassVar[Refused] = {
        "refusal": ([], "the models here do not write refusals apart"),
        "audio": ([], "the models here read text"),
        "function_call": ([], "use tool_calls"),
        **{name: ([""], _REASONING) for name in ("reasoning_content", "reasoning")},
    }
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Name | None = Field(default=None, description="Who speaks: written before the content.")
    tool_calls: list[WireToolCall] = Field(default=[], max_length=128)
    tool_call_id: Id | None = None
    annotations: list[Any] | None = _EARLIER


class JsonFormat(Strict):
    name: Name = "reply"
    schema_: dict[str, Any] = Field(
        default={}, alias="schema", description="A JSON schema, which the reply always follows."
    )
    description: str = ""
    strict: bool = Field(default=True, description=_STRICT)


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonFormat | None = None


class Function(Strict):
    name: Name
    description: str = Field("", max_length=8192)
    parameters: dict[str, Any] = Field({"type": "object", "properties": {}, "additionalProperties": False})
    strict: bool = Field(default=False, description=_STRICT)


class WireTool(Strict):
    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    name: Name


class NamedTool(Strict):
    type: Literal["function"]
    function: FunctionName


class DocumentOptions(Strict):
    """Answer the last message from a collection of documents (an extension of ours)."""

    collection: str = Field(max_length=100, description="A name that /v1/collections lists.")
    chain: Chain = Field("cited", description="How to answer: quoted and in the model's own words unless named.")
    k: int = Field(PASSAGES, ge=1, le=50, description="Passages to look for.")
    mode: Mode = "hybrid"
    where: dict[str, Any] | None = Field(None, max_length=20, description="Conditions on the documents' metadata.")
    evidence: bool = Field(False, description="Also say how much less probable the answer is without each source.")


class ChatRequest(Controls):
    refused: ClassVar[Refused] = {
        **REFUSED,
        **VERBOSITY,
        "audio": ([], "the models here write text"),
        "modalities": ([["text"]], "the models here write text"),
        "reasoning_effort": (["none"], "the models here write no separate reasoning"),
        "prediction": ([], "guesses are taken from the conversation itself"),
        "web_search_options": ([], "the server does not search"),
        "functions": ([[]], "use tools"),
        "function_call": ([], "use tool_choice"),
        "store": ([False], "only /v1/responses stores"),
        "enable_thinking": ([], "give it in chat_template_kwargs"),
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
    parallel_tool_calls: bool = Field(False, description=PARALLEL)
    repetition_guard: bool = Field(True, description=GUARD)
    metadata: Metadata = Field({})
    documents: DocumentOptions | None = None
    chat_template_kwargs: TemplateVariables = Field({})


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
    chat_template_kwargs: TemplateVariables = Field({})


class DetokenizeRequest(Strict):
    model: Model
    tokens: list[int] = Field(fail_fast=True)
