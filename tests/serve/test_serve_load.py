"""Minutes of abuse: slow connections, and many clients that come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import SMALL, Live

pytestmark = pytest.mark.slow
CLIENTS, SECONDS = 64, 60


def test_a_hundred_slow_connections_do_not_block_others(start: Callable[..., Live]) -> None:
    """Slowloris: each sends a byte of its headers now and then; all are closed, and others are served meanwhile."""
    live = start(replace(SMALL, header_seconds=3))
    sockets = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(100)]
    opened, closed = time.monotonic(), 0
    for one in sockets:
        one.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n")
        one.setblocking(False)
    while closed < len(sockets):
        assert live.client.get("/v1/models").status_code == 200
        assert time.monotonic() - opened < 30
        for one in list(sockets):
            try:
                one.send(b"X")
                if one.recv(1) == b"":
                    raise ConnectionError
            except BlockingIOError:
                continue
            except ConnectionError:
                sockets.remove(one)
                closed += 1
    assert time.monotonic() - opened >= 2


def body_of(number: int) -> dict[str, Any]:
    chance = random.Random(number)
    text = "seeds in a bed " * chance.randint(1, 15)
    sampling = {"temperature": chance.choice([0, 0.8, 1.5]), "seed": number, "max_tokens": chance.randint(1, 60)}
    more = chance.choice([{}, {"logprobs": 2}, {"presence_penalty": 1.0}, {"top_p": 0.9, "top_k": 20}])
    return {"model": "tiny", "prompt": text + str(number % 50), **sampling, **more}


def test_many_clients_with_cancels(start: Callable[..., Live]) -> None:
    """Every tenth request is cancelled: no error but 429, the others as if alone, all blocks free, memory flat."""
    live = start()
    live.ok("/v1/completions", prompt="x", max_tokens=1)
    answers: dict[int, list[Any]] = {}
    memory: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        body = body_of(number % 400)
        if number % 10 == 9:
            with contextlib.suppress(httpx.TimeoutException):
                await client.post("/v1/completions", json=body, timeout=random.Random(number).uniform(0.01, 0.3))
            return
        response = await client.post("/v1/completions", json=body)
        assert response.status_code in (200, 429), response.text
        if response.status_code == 200:
            answers.setdefault(number % 400, []).append(response.json()["choices"])

    async def one_client(client: httpx.AsyncClient, first: int, end: float) -> None:
        number = first
        while time.monotonic() < end:
            await ask(client, number)
            number += CLIENTS
            if first == 0:
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]))

    async def all_clients() -> None:
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        headers = {"Authorization": f"Bearer {live.key}"}
        options = {"base_url": live.url, "headers": headers, "limits": limits, "timeout": 120, "trust_env": False}
        async with httpx.AsyncClient(**options) as client:  # type: ignore[arg-type]
            end = time.monotonic() + SECONDS
            await asyncio.gather(*(one_client(client, first, end) for first in range(CLIENTS)))

    asyncio.run(all_clients())
    live.until(live.idle)
    assert sum(map(len, answers.values())) > 200
    for number, found in answers.items():
        alone = live.ok("/v1/completions", **body_of(number))["choices"]
        assert all(json.dumps(one) == json.dumps(alone) for one in found), number
    third = len(memory) // 3
    assert max(memory[-third:]) < 1.15 * max(memory[:third]), (memory[0], memory[third], memory[-1])
