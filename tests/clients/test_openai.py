"""The official `openai` package's own tests against a real server.

They send every field of OpenAI's API at once, at values that only a mock accepts. So a refusal is taken at its word:
what it names is left out, until the rest of the request is accepted. All that was named must be in the tables below.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import serving, store_model
from seedbed.core.artifacts import Library

pytest.importorskip("pytest_asyncio", reason="the openai package's tests need it")
pytest.importorskip("httpx_aiohttp", reason="the openai package's tests need it")
pytestmark = pytest.mark.slow

FILES = (
    "test_completions.py",
    "chat/test_completions.py",
    "test_embeddings.py",
    "test_models.py",
    "test_responses.py",
    "responses/test_input_items.py",
)
NO_ROUTE = {
    "GET /v1/chat/completions": "chat completions are not stored: /v1/responses stores",
    "GET /v1/chat/completions/ID": "as above",
    "POST /v1/chat/completions/ID": "as above",
    "DELETE /v1/chat/completions/ID": "as above",
    "DELETE /v1/models/ID": "who may ask a model may not delete it; `seedbed rm` does",
    "POST /v1/responses/compact": "nothing here compresses a conversation: `truncation` leaves out its oldest turns",
}
_SHARED = {
    "logit_bias": "its keys are token ids, theirs is 'foo'",
    "moderation": "there is no moderation model here",
    "prompt_cache_options": "prefixes are cached by what they are",
    "stream_options": "given without a stream",
    "stream_options.include_obfuscation": "chunks are not padded",
}
REFUSED = {
    "POST /v1/completions": _SHARED
    | {
        "best_of": "it is 0, and `n` must not be more",
        "suffix": "the models only continue text",
    },
    "POST /v1/chat/completions": _SHARED
    | {
        "audio": "the models write text",
        "function_call": "`tool_choice` replaced it",
        "functions": "`tools` replaced it",
        "max_completion_tokens": "it is 0",
        "max_tokens": "it is 0",
        "prediction": "guesses are taken from the conversation itself",
        "store": "chat completions are not stored",
        "verbosity": "the models have one",
        "web_search_options": "the server does not search",
    },
    "POST /v1/embeddings": {"dimensions": "it is 1, and the model's is another"},
    "POST /v1/responses": _SHARED
    | {
        "access_programs": "there are none",
        "background": "stream, or keep the connection open",
        "background_options": "as above",
        "context_management": "use `truncation`",
        "conversation": "use `previous_response_id`",
        "image": "the models write text",
        "include.0": "there is no file search",
        "input": "nothing is asked",
        "max_tool_calls": "it is 0; it counts tools of the server's own",
        "model": "there is no default model",
        "previous_response_id": "there is no response of that id",
        "prompt": "the server keeps no prompt templates",
        "reasoning": "the models write no separate reasoning",
        "text.verbosity": "the models have one",
        "tools.0.allowed_callers": "the server runs no tools that could call others",
        "tools.0.async": "the server runs no tools",
        "tools.0.defer_loading": "all tools are in the prompt",
        "tools.0.output_schema": "the server runs no tools",
    },
    "POST /v1/responses/ID/cancel": {"": "the response is not being written any more"},
    "GET /v1/responses/ID": {
        "include[]": "a stored response holds what it was asked to include",
        "include_obfuscation": "chunks are not padded",
        "starting_after": "stored responses are not streamed",
        "stream": "as above",
    },
    "GET /v1/responses/ID/input_items": {
        "after": "there is no item of that id",
        "include[]": "there is no file search",
        "limit": "it is 0",
    },
}
BASE64 = "Data returned by API invalid for expected schema."
"""Unless told otherwise the client asks for base64, which its strict mode calls invalid before it is decoded."""


@dataclass(frozen=True)
class Report:
    """What became of one of their tests, and the request that failed it."""

    test: str
    outcome: str
    why: str
    status: int = 0
    method: str = ""
    path: str = ""
    query: str = ""
    body: str = ""

    @property
    def route(self) -> str:
        """The request's method and path, without an id."""
        return re.sub(
            r"(/v1/(?:responses|models|chat/completions)/)(?!compact)[^/]+", r"\1ID", f"{self.method} {self.path}"
        )


@dataclass(frozen=True)
class Ran:
    """The server, and the reports of their tests on it."""

    client: httpx.Client
    reports: list[Report]


def source(folder: Path) -> Path:
    """The unpacked source distribution of the installed `openai`."""
    wanted = f"openai=={version('openai')}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", wanted]
    subprocess.run([*command, "--dest", str(folder)], check=True)
    [archive] = folder.glob("openai-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Their tests, on a server that asks for no key and has a model of every name that they use."""
    folder = tmp_path_factory.mktemp("openai")
    code = source(folder)
    files = [f"tests/api_resources/{name}" for name in FILES]
    library = Library(folder / "library")
    model = store_model(library, "plain", 0.02, window=512)
    texts = "".join((code / one).read_text() for one in files)
    for name in set(re.findall(r'"((?:gpt|text-embedding)-[^"]+)"', texts)):
        library.name(name, model)
    with (
        serving(library.root, "--no-auth") as server,
        httpx.Client(base_url=server.base_url.removesuffix("/v1"), timeout=60, trust_env=False) as client,
    ):
        ask = {"model": "plain", "input": "Hello", "max_output_tokens": 8}
        body = client.post("/v1/responses", json=ask).json()
        items = client.get(f"/v1/responses/{body['id']}/input_items").json()["data"]
        environment = os.environ | {
            "TEST_API_BASE_URL": server.base_url,
            "SEEDBED_STORE": str(library.root / "serve" / "responses.sqlite3"),
            "SEEDBED_RESPONSE": json.dumps({"body": body, "items": items}),
            "SEEDBED_REPORT": str(folder / "report.jsonl"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "openai_reports", *files]
        done = subprocess.run(command, cwd=code, env=environment, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stdout[-3000:] + done.stderr
        lines = (folder / "report.jsonl").read_text().splitlines()
        yield Ran(client, [Report(**json.loads(line)) for line in lines])


def without(table: Any, path: list[str]) -> None:
    """Leave out what a path of keys and places leads to."""
    key = int(path[0]) if isinstance(table, list) else path[0]
    if len(path) > 1:
        without(table[key], path[1:])
    else:
        del table[key]


def peel(client: httpx.Client, report: Report) -> tuple[set[str], httpx.Response]:
    """What a request is refused for, one after another, and the answer to what is left of it."""
    body, query, named = json.loads(report.body or "{}"), dict(httpx.QueryParams(report.query)), set[str]()
    while True:
        sent = {"json": body} if report.body else {}
        response = client.request(report.method, report.path, params=query, **sent)
        if response.status_code not in (400, 404):
            return named, response
        named.add(param := response.json()["error"]["param"] or "")
        try:
            without(query if param in query else body, param.split("."))
        except (KeyError, IndexError):  # it is missing
            return named, response


def test_the_client_understands_every_answer_but_refusals(ran: Ran) -> None:
    """All their tests that send what they must, and nothing that we refuse, pass."""
    failed = [one for one in ran.reports if one.outcome != "passed"]
    kinds = Counter(
        "no such route"
        if one.route in NO_ROUTE and one.status in (404, 405)
        else "refused"
        if one.route in REFUSED and one.status in (400, 404)
        else "base64"
        if one.route == "POST /v1/embeddings" and one.why == BASE64
        else f"{one.test}: {one.status} {one.why}"
        for one in failed
    )
    table = Counter((one.test.partition("::")[0], one.outcome) for one in ran.reports)
    print(json.dumps({" ".join(key): count for key, count in sorted(table.items())}, indent=1), dict(kinds))
    assert set(kinds) <= {"no such route", "refused", "base64"}
    assert {one.test.partition("::")[0].rpartition("api_resources/")[2] for one in ran.reports} == set(FILES)
    assert len(ran.reports) - len(failed) > 150


def test_only_what_is_listed_is_refused(ran: Ran) -> None:
    """Without what is named, each refused request is accepted, but for those that lack what they must have."""
    refused = [one for one in ran.reports if one.status in (400, 404) and one.route in REFUSED]
    for report in {(one.route, one.query, one.body): one for one in refused}.values():
        named, response = peel(ran.client, report)
        print(report.test, sorted(named), response.status_code)
        assert named <= set(REFUSED[report.route]), named
        incomplete = named & {"model", "input", ""}
        assert (response.status_code == 200) != bool(incomplete), response.text
