"""A trace that emits OpenTelemetry spans, for whatever backend an application has set up.

A few attributes of the GenAI conventions (github.com/open-telemetry/semantic-conventions-genai, all of them still in
development): the operation, the model, token counts, why a reply ended. Contents stay out unless asked for, and with
them the text of errors, which may quote them: only an error's type is told. Left out: metrics and events.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seedbed.chat.tracing import Trace, TraceEvent, What
from seedbed.core.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_CONVENTION: dict[What, tuple[str, str]] = {  # the operation, and the attribute of what it works with
    "model": ("chat", "gen_ai.request.model"),
    "chain": ("invoke_workflow", "gen_ai.workflow.name"),
    "retriever": ("retrieval", "gen_ai.data_source.id"),
    "tool": ("execute_tool", "gen_ai.tool.name"),
}


def otel_trace(tracer: Tracer | None = None, *, content: bool = False) -> Trace:
    """A trace whose work becomes OpenTelemetry spans, with their parents and times.

    Work outside of any other is part of the caller's current span. Raises UsageError without OpenTelemetry.

    Args:
        tracer: the global provider's unless given.
        content: whether to tell prompts, replies and the text of errors too.
    """
    try:
        from opentelemetry import trace as api
    except ImportError as error:
        fix = "install it: pip install 'seedbed[otel]'"
        raise UsageError("OpenTelemetry is not installed", why=str(error), fix=fix) from error
    emitter = tracer or api.get_tracer("seedbed")
    live: dict[str, Span] = {}

    def start(event: TraceEvent) -> None:
        subject = str(event.data.get("model") or event.name) if event.what == "model" else event.name
        usual, attribute = _CONVENTION[event.what]
        operation = str(event.data.get("operation") or usual)
        parent = live.get(event.parent or "")
        one = emitter.start_span(
            f"{operation} {subject}",
            context=api.set_span_in_context(parent) if parent else None,
            kind=api.SpanKind.CLIENT if event.what == "model" else api.SpanKind.INTERNAL,
            attributes={"gen_ai.operation.name": operation, attribute: subject},
            start_time=_nanoseconds(event),
        )
        if content:
            one.set_attributes(_contents(event))
        live[event.span] = one

    def end(event: TraceEvent, one: Span) -> None:
        if event.kind == "error":
            kind, _, told = str(event.data.get("error", "")).partition(": ")
            one.set_attribute("error.type", kind)
            one.set_status(api.Status(api.StatusCode.ERROR, told if content else None))
        else:
            one.set_attributes(_counts(event))
            if content:
                one.set_attributes(_contents(event))
        one.end(_nanoseconds(event))

    def tell(event: TraceEvent) -> None:
        if event.kind == "start":
            start(event)
        elif event.kind != "token" and event.span in live:
            end(event, live.pop(event.span))

    return tell


def _nanoseconds(event: TraceEvent) -> int:
    return int(event.seconds * 1e9)


def _counts(event: TraceEvent) -> dict[str, Any]:
    """Of models alone: a backend would count a chain's tokens again."""
    if event.what != "model":
        return {}
    names = {"prompt_tokens": "gen_ai.usage.input_tokens", "completion_tokens": "gen_ai.usage.output_tokens"}
    found: dict[str, Any] = {ours: int(event.data[name]) for name, ours in names.items() if name in event.data}
    if "finish" in event.data:
        found["gen_ai.response.finish_reasons"] = (str(event.data["finish"]),)
    return found


def _contents(event: TraceEvent) -> dict[str, str]:
    """A model's messages as the conventions have them; what else there is, as JSON under a name of our own."""
    told = event.data.get("content")
    if told is None:
        return {}
    if event.what != "model" or not isinstance(told, Mapping):
        return {f"seedbed.{'input' if event.kind == 'start' else 'output'}": _json(told)}
    if event.kind == "start":
        return {"gen_ai.input.messages": _json([_message(one) for one in told.get("messages", ())])}
    reply = {"role": "assistant", "content": told.get("text", ""), "tool_calls": told.get("tool_calls")}
    return {"gen_ai.output.messages": _json([_message(reply) | {"finish_reason": event.data.get("finish", "stop")}])}


def _message(wire: Mapping[str, Any]) -> dict[str, Any]:
    """A message of OpenAI's wire form as parts."""
    role, text = wire["role"], wire.get("content") or ""
    calls = [{"type": "tool_call", "id": one["id"], **one["function"]} for one in wire.get("tool_calls") or ()]
    if role == "tool":
        return {"role": role, "parts": [{"type": "tool_call_response", "id": wire["tool_call_id"], "response": text}]}
    return {"role": role, "parts": [*([{"type": "text", "content": text}] if text or not calls else []), *calls]}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
