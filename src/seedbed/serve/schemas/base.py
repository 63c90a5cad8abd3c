"""The common part of request bodies. A field is honoured or refused, never ignored; null counts as not given.

Fields of OpenAI's that cannot be honoured are in each body's ``refused`` table: the values that ask for nothing, which
are accepted, and the reason why others are not. What is in neither place is unknown, and refused as such.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from seedbed.inference.parameters import Grammar, Sampling
from seedbed.serve.errors import refuse

_KNOBS = {field.name: field for field in dataclasses.fields(Sampling)}
_PLAIN = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")
_SALTS = ("user", "safety_identifier", "prompt_cache_key", "cache_salt")
Refused = Mapping[str, tuple[list[Any], str]]


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

    def sampling(self, max_tokens: int, top_logprobs: int, grammar: Grammar | None = None) -> Sampling:
        """As the engine knows it, with its seed fixed. Raises UsageError or ApiError for what cannot be honoured."""
        grammars = [*([grammar] if grammar else []), *self.structured_outputs.grammars()]
        if len(grammars) > 1:
            why = f"{len(grammars)} ways are asked for at once"
            raise refuse("a reply can follow one grammar", why=why, fix="keep one of them")
        return Sampling(
            **{name: getattr(self, name) for name in _PLAIN},
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
