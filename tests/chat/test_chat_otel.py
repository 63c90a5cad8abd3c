"""OpenTelemetry spans, read back through its own SDK."""

from __future__ import annotations

import json

import pytest

from seedbed.chat.messages import Message, ToolCall
from seedbed.chat.otel import otel_trace
from seedbed.chat.tracing import TraceEvent, fan_out, span
from seedbed.core.errors import DataError

sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
api = pytest.importorskip("opentelemetry.trace")
exporting = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

MESSAGES = [
    Message("user", "what is it?"),
    Message("assistant", "", (ToolCall("c1", "look", "{}"),)),
    Message("tool", "a thing", tool_call_id="c1"),
]


class Spans:
    """A tracer, and what it has exported by name."""

    def __init__(self) -> None:
        self.exporter = memory.InMemorySpanExporter()
        provider = sdk.TracerProvider()
        provider.add_span_processor(exporting.SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    def named(self) -> dict[str, object]:
        return {one.name: one for one in self.exporter.get_finished_spans()}


@pytest.fixture
def spans() -> Spans:
    return Spans()


def ask(trace: object) -> None:
    with span(trace, "chain", "stuff") as chain:  # type: ignore[arg-type]
        with span(trace, "retriever", "notes", content="what is it?") as found:  # type: ignore[arg-type]
            found.data["content"] = ["a passage"]
        with span(trace, "model", "vectors", model="tiny", operation="embeddings"):  # type: ignore[arg-type]
            pass
        wire = [one.to_wire() for one in MESSAGES]
        with span(trace, "model", "tiny", content={"messages": wire}) as model:  # type: ignore[arg-type]
            model.tell("token", {"content": "a"})
            told = {"text": "a thing", "tool_calls": []}
            model.data.update(prompt_tokens=40, completion_tokens=2, finish="stop", content=told)
        with span(trace, "tool", "look"):  # type: ignore[arg-type]
            pass
        chain.data.update(prompt_tokens=40, completion_tokens=2)


def test_spans_have_the_conventions_names_parents_and_times(spans: Spans) -> None:
    events: list[TraceEvent] = []
    ask(fan_out(events.append, otel_trace(spans.tracer)))
    found = spans.named()
    assert set(found) == {
        "invoke_workflow stuff", "retrieval notes", "embeddings tiny", "chat tiny", "execute_tool look",
    }  # fmt: skip
    chain = found.pop("invoke_workflow stuff")
    assert chain.parent is None
    assert dict(chain.attributes) == {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "stuff"}
    assert {one.parent.span_id for one in found.values()} == {chain.context.span_id}
    assert {one.context.trace_id for one in found.values()} == {chain.context.trace_id}
    chat = found["chat tiny"]
    assert dict(chat.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "tiny",
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert chat.kind is api.SpanKind.CLIENT
    assert found["embeddings tiny"].attributes["gen_ai.operation.name"] == "embeddings"
    assert found["execute_tool look"].attributes["gen_ai.tool.name"] == "look"
    began = {event.name: event.seconds for event in events if event.kind == "start"}
    ended = {event.name: event.seconds for event in events if event.kind == "end"}
    assert chat.start_time / 1e9 == pytest.approx(began["tiny"], abs=1e-5)
    assert chat.end_time / 1e9 == pytest.approx(ended["tiny"], abs=1e-5)


def test_contents_are_told_only_when_asked(spans: Spans) -> None:
    ask(otel_trace(spans.tracer))
    assert "a thing" not in "".join(one.to_json() for one in spans.exporter.get_finished_spans())
    spans.exporter.clear()
    ask(otel_trace(spans.tracer, content=True))
    chat, notes = spans.named()["chat tiny"].attributes, spans.named()["retrieval notes"].attributes
    assert json.loads(chat["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "what is it?"}]},
        {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": "{}"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "a thing"}]},
    ]
    assert json.loads(chat["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "a thing"}], "finish_reason": "stop"}
    ]
    assert json.loads(notes["seedbed.input"]) == "what is it?"
    assert json.loads(notes["seedbed.output"]) == ["a passage"]


@pytest.mark.parametrize("content", [False, True])
def test_an_error_is_told_by_its_type_and_its_text_only_when_asked(spans: Spans, content: bool) -> None:
    with pytest.raises(DataError), span(otel_trace(spans.tracer, content=content), "tool", "look"):
        raise DataError("it quotes a secret", why="so", fix="mend it")
    (one,) = spans.exporter.get_finished_spans()
    assert one.attributes["error.type"] == "DataError"
    assert one.status.status_code is api.StatusCode.ERROR
    assert ("a secret" in one.to_json()) is content


def test_work_is_part_of_the_applications_own_span(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        ask(otel_trace(spans.tracer))
    assert spans.named()["invoke_workflow stuff"].parent.span_id == request.get_span_context().span_id
