"""A running server, and what a reader does on its page, in the words of the tests."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONG = '{"max_tokens": 40000, "seed": 7}'


@dataclass
class Server:
    """A running `seedbed serve`."""

    process: subprocess.Popen[str]
    address: str
    key: str


def start(home: Path, *arguments: str, model: str = "tiny") -> Server:
    """Start `seedbed serve` on a free port and read the page's address, with its key, from what it prints."""
    command = [sys.executable, "-m", "seedbed", "serve", model, "--port", "0", *arguments]
    environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    printed = []
    for line in process.stdout:
        printed.append(line)
        if found := re.search(r"(http://\S+?)/#key=(\S+)", line):
            return Server(process, found[1], found[2])
    raise AssertionError("the server printed no address:\n" + "".join(printed))


def finish(server: Server) -> None:
    server.process.kill()
    server.process.wait()


def until(page: Any, condition: str) -> None:
    """Wait, frame by frame, until a JavaScript condition holds. (Playwright's own waiting needs `eval`: the policy.)"""
    page.evaluate(
        f"""() => new Promise((resolve, reject) => {{
            const end = performance.now() + 20_000;
            const look = () => {{
                if ({condition}) resolve();
                else if (performance.now() > end) reject(new Error("never: " + {condition!r}));
                else requestAnimationFrame(look);
            }};
            look();
        }})"""
    )


def ask(page: Any, text: str) -> None:
    """Send a message and wait for the whole reply."""
    page.get_by_role("textbox", name="Message", exact=True).fill(text)
    page.keyboard.press("Enter")
    finished(page)


def finished(page: Any) -> None:
    """Wait until the reply is complete."""
    page.locator("#thread .assistant").last.wait_for()
    until(page, "!document.querySelector('.running') && document.querySelector('#send').textContent === 'Send'")


def written(page: Any, length: int) -> None:
    """Wait until the reply that is being written has this many characters."""
    until(page, f"document.querySelector('.running .body')?.textContent.length > {length}")


def conversations(page: Any) -> list[dict[str, Any]]:
    """The conversations as the browser keeps them, the last used first."""
    stored = page.evaluate("Object.entries(localStorage).filter(([key]) => key.startsWith('seedbed.conversation.'))")
    return sorted((json.loads(value) for _, value in stored), key=lambda one: -one["updated"])


def shown(node: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of the versions that are chosen."""
    if not node["children"]:
        return []
    child = node["children"][node["chosen"]]
    return [child, *shown(child)]
