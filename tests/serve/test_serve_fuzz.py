"""A fuzzer that knows the API's own description: no answer is a server error, and nothing is left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from serving import SMALL, Live, add_model

from seedbed.core.artifacts import Library

SHORT = "short"
PLAIN = {
    "ChatRequest": ["model", "messages", "max_tokens", "temperature", "top_p", "n", "seed", "stop", "stream"],
    "ChatMessage": ["role", "content"],
    "ResponseRequest": ["model", "input", "max_output_tokens", "temperature", "seed", "stream", "store"],
    "CompletionRequest": ["model", "prompt", "max_tokens", "temperature", "n", "seed", "stop", "stream"],
}
"""Fields that do not contradict each other."""
TEXT = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": "^[a-z ]+$"}


@pytest.fixture
def live(start: Callable[..., Live], library: Library) -> Live:
    """A server whose model "short" has a window of 128, so that unlimited replies end soon."""
    add_model(library, SHORT, 5, window=128)
    return start(replace(SMALL, request_seconds=20))


def described(live: Live) -> dict[str, Any]:
    """The API's description, which names the model and a stored response where any name is allowed.

    Else almost every request would end with 404, before anything is computed.
    """
    stored = live.ok("/v1/responses", model=SHORT, input="Hi", max_output_tokens=2)["id"]
    api: dict[str, Any] = live.client.get("/openapi.json").json()
    for schema in api["components"]["schemas"].values():
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"type": "string", "enum": [SHORT]}
    for operations in api["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                known = {"identity": stored, "name": SHORT}
                if parameter["name"] in known:
                    parameter["schema"] = {"type": "string", "enum": [known[parameter["name"]]]}
    return api


def plain(api: dict[str, Any]) -> dict[str, Any]:
    """A description of requests that are mostly accepted: without tools, formats, and tokens that may be unknown."""
    schemas = api["components"]["schemas"]
    for name, kept in PLAIN.items():
        properties = schemas[name]["properties"]
        schemas[name] |= {"properties": {field: properties[field] for field in kept}, "required": kept[:2]}
    schemas["ChatMessage"]["properties"] = {"role": {"enum": ["system", "user", "assistant"]}, "content": TEXT}
    for name, field in (("CompletionRequest", "prompt"), ("ResponseRequest", "input"), ("EmbeddingRequest", "input")):
        schemas[name]["properties"][field] = TEXT
    return api


def fuzz(live: Live, folder: Path, *options: str, api: dict[str, Any] | None = None) -> dict[tuple[str, int], int]:
    """Run schemathesis. Returns how many answers each path gave, by status."""
    (folder / "openapi.json").write_text(json.dumps(api or described(live)))
    before = dict(live.state.metrics.requests)
    done = subprocess.run(fuzzer(live, live.key, 1, *options), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    live.until(live.idle)
    return {key: count - before.get(key, 0) for key, count in live.state.metrics.requests.items()}


def fuzzer(live: Live, key: str, seed: int, *options: str) -> list[str]:
    """The command of schemathesis, with a key."""
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", "openapi.json", "--url", live.url]
    given = ["--header", f"Authorization: Bearer {key}", "--checks", "not_a_server_error", "--mode", "all"]
    limits = ["--request-timeout", "60", "--generation-database", "none", "--warnings", "off", "--seed", str(seed)]
    return [*command, *given, *limits, "--no-color", "--max-failures", "5", *options]


def test_a_few_generated_requests_for_every_route(live: Live, tmp_path: Path) -> None:
    answers = fuzz(live, tmp_path, "--phases", "fuzzing", "--max-examples", "6", "--no-shrink")
    paths = set(live.client.get("/openapi.json").json()["paths"])
    assert paths <= {path for path, _ in answers}
    assert not [key for key in answers if key[1] >= 500]
    assert sum(count for (_, status), count in answers.items() if status == 200) >= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_generated_request_makes_the_server_fail(live: Live, tmp_path: Path) -> None:
    """At least 5,000 requests, valid and not; then plain ones, of which many reach the model."""
    answers = fuzz(live, tmp_path, "--phases", "examples,coverage,fuzzing", "--max-examples", "350")
    assert sum(answers.values()) >= 5000
    assert not [key for key in answers if key[1] >= 500]
    api = plain(described(live))
    answers = fuzz(live, tmp_path, "--phases", "fuzzing", "--max-examples", "150", "--mode", "positive", api=api)
    assert not [key for key in answers if key[1] >= 500]
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"):
        assert answers.get((path, 200), 0) >= 50, (path, answers)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_two_keys_at_once(live: Live, tmp_path: Path) -> None:
    """Requests of two keys at the same time, and series of requests that use each other's answers.

    ``SEEDBED_FUZZ_REQUESTS`` asks for more of them.
    """
    wanted = int(os.environ.get("SEEDBED_FUZZ_REQUESTS", "4000"))
    (tmp_path / "openapi.json").write_text(json.dumps(described(live)))
    phases = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples")
    before, seed = sum(live.state.metrics.requests.values()), 1
    keys = [live.key, live.keys.create("other")]
    while (done := sum(live.state.metrics.requests.values()) - before) < wanted:
        examples = str(max(20, min(1000, (wanted - done) // 40)))
        commands = [fuzzer(live, key, seed + number, *phases, examples) for number, key in enumerate(keys)]
        runs = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True, cwd=tmp_path) for one in commands]
        for run in runs:
            told, _ = run.communicate()
            assert run.returncode == 0, told[-4000:]
        seed += len(keys)
    live.until(live.idle)
    print(f"{done:,} requests, seeds 1 to {seed - 1}")
    assert not [key for key in live.state.metrics.requests if key[1] >= 500]
