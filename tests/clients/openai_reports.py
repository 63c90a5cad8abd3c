"""A pytest plugin for the `openai` package's own tests: what their fixtures need, and one JSON line a test.

Their tests expect a server that answers any request with some object. Ours has state, so a stored response is put
under the ids they use before each test; a line of the report holds the request that was refused, as it was sent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.serve.response_store import ResponseStore, StoredResponse

RESPONSES = ("resp_677efb5139a88190b512bc3fef8e535d", "response_id")


def pytest_runtest_setup() -> None:
    store = ResponseStore(Path(os.environ["SEEDBED_STORE"]), 1 << 20, 3600.0)
    stored = json.loads(os.environ["SEEDBED_RESPONSE"])
    for identity in RESPONSES:
        store.delete("", identity)
        store.put("", StoredResponse({**stored["body"], "id": identity}, stored["items"]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: Any = yield
    if report.when == "call" or report.outcome != "passed":
        line = {"test": item.nodeid, "outcome": report.outcome, "why": str(call.excinfo and call.excinfo.value)}
        response = getattr(call.excinfo and call.excinfo.value, "response", None)
        if response is not None:
            sent = response.request
            line |= {"status": response.status_code, "method": sent.method, "path": sent.url.path}
            line |= {"query": sent.url.query.decode(), "body": sent.content.decode()}
        with Path(os.environ["SEEDBED_REPORT"]).open("a") as file:
            file.write(json.dumps(line) + "\n")
    return report
