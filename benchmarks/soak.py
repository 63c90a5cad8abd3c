"""A server under half an hour of ordinary clients and one hostile key: what the hostile one takes from the others.

The server is `seedbed serve` in a process of its own, on a library that holds MODEL and a collection. Clients of
several keys chat, stream, ask documents, embed, tokenize, follow grammars, cancel half-way and read slowly, in a closed
loop with pauses; what each request must answer was asked alone before. First without, then with a last key whose
clients repeat every attack of ``soak_attacks.py``. Red is: another key's p99 of latencies above three times that of the
first part, an answer of 5xx, bytes that differ from the solo run, resident memory that leaves ± 5 % in the last two
thirds, and anything left at the end: blocks, processes, descriptors, temporary files.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import httpx

from seedbed.cli.common import print_json, print_table
from seedbed.core.progress import progress
from soak_attacks import ATTACKS, Attack, Target
from soak_server import Usage, flatness, left_over, made_keys, serving, watch

PATIENCE = 180.0
"""Seconds a client waits for an answer."""
WORSE, FLAT = 3.0, 0.05
"""Limits of the p99's ratio, and of resident memory around its median."""


@dataclass(frozen=True)
class Ask:
    """An ordinary request, whose answer is the same whenever it is asked."""

    kind: str
    path: str
    body: dict[str, Any]

    @property
    def streams(self) -> bool:
        """Tell whether its answer is read as events."""
        return bool(self.body.get("stream"))


@dataclass
class Part:
    """A part of the soak: what its clients saw."""

    latencies: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # by key, in seconds
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)  # by kind; of the hostile key, "hostile"
    changed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def p99(self, key: int) -> float:
        """The 99th percentile of a key's latencies."""
        values = self.latencies[key]
        return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else math.nan


def population(model: str, collection: str, count: int = 64) -> list[Ask]:
    """Return ordinary requests of every kind."""
    chance, asks = random.Random(0), []
    words = ["file", "opened", "read", "closed", "written", "as", "json", "by", "function", "module", "path", "class"]
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}}}
    for number in range(count):
        text = " ".join(chance.choices(words, k=chance.randint(3, 20)))
        chat = {"model": model, "messages": [{"role": "user", "content": text}], "seed": number}
        chat |= {"max_tokens": chance.randint(4, 32), "temperature": chance.choice([0, 0.8])}
        documents = {"collection": collection, "chain": "extract", "k": 4}
        form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        asks.append(
            [
                Ask("chat", "/v1/chat/completions", chat),
                Ask("stream", "/v1/chat/completions", chat | {"stream": True}),
                Ask("stream", "/v1/chat/completions", chat | {"stream": True, "n": 2}),
                Ask("completion", "/v1/completions", {"model": model, "prompt": text, "seed": number, "max_tokens": 8}),
                Ask("documents", "/v1/chat/completions", chat | {"documents": documents, "temperature": 0}),
                Ask("embedding", "/v1/embeddings", {"model": model, "input": text}),
                Ask("tokenize", "/tokenize", {"model": model, "prompt": text * 5}),
                Ask("grammar", "/v1/chat/completions", chat | {"response_format": form, "max_tokens": 40}),
            ][number % 8]
        )
    return asks


def content(ask: Ask, text: str) -> str:
    """Return what of an answer must not change: the replies, without ids and times."""
    if ask.streams:
        replies: dict[int, str] = defaultdict(str)
        for line in text.splitlines():
            if line.startswith("data: {"):
                for choice in json.loads(line[6:]).get("choices", []):
                    replies[choice["index"]] += choice["delta"].get("content") or ""
        return json.dumps(sorted(replies.items()))
    answer = json.loads(text)
    kept = answer.get("choices") or answer.get("data") or answer.get("tokens")
    return json.dumps(kept, sort_keys=True)


class Clients:
    """Ordinary clients of some keys, and the hostile ones of the last."""

    def __init__(
        self, url: str, keys: list[str], asks: list[Ask], each: int, pause: float, runs: Callable[[], bool]
    ) -> None:
        self._url, self._keys, self._asks, self._each, self._pause = url, keys, asks, each, pause
        self._runs = runs  # tells whether the server does
        self._solo: dict[int, str] = {}

    async def alone(self) -> None:
        """Ask everything once, one at a time, and keep the answers."""
        async with self._client(0) as client:
            for number, ask in enumerate(self._asks):
                answer = await client.post(ask.path, json=ask.body)
                if answer.status_code != 200:
                    raise SystemExit(f"{ask.kind} alone: {answer.status_code} {answer.text[:300]}")
                self._solo[number] = content(ask, answer.text)

    async def run(self, seconds: float, target: Target | None, attacks: Sequence[Attack] = ()) -> Part:
        """Let all clients go on for some seconds; with the hostile ones where there is a target."""
        part, stop = Part(), time.monotonic() + seconds
        tasks = [
            self._ordinary(key, one, stop, part) for key in range(len(self._keys) - 1) for one in range(self._each)
        ]
        if target is not None:
            tasks += [self._hostile(target, attacks, one, stop, part) for one in range(self._each)]
        with progress("soak", seconds, "s") as bar:

            async def tick() -> None:
                while time.monotonic() < stop and self._runs():
                    await asyncio.sleep(5)
                    bar.advance(5, f"{sum(part.statuses.values()):,} answers")

            await asyncio.gather(*tasks, tick())
        if not self._runs():
            part.failed.append("the server died")
        return part

    def _client(self, key: int) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {self._keys[key]}"}
        return httpx.AsyncClient(base_url=self._url, headers=headers, timeout=PATIENCE, trust_env=False)

    async def _ordinary(self, key: int, one: int, stop: float, part: Part) -> None:
        chance = random.Random(f"{key} {one} {stop > 0}")
        async with self._client(key) as client:
            while time.monotonic() < stop and self._runs():
                await asyncio.sleep(chance.expovariate(1 / self._pause))
                number = chance.randrange(len(self._asks))
                ask, started = self._asks[number], time.monotonic()
                try:
                    if ask.streams and chance.random() < 0.3:
                        await self._partly(client, ask, chance)
                        part.statuses[f"{ask.kind}, left or slow", 200] += 1
                        continue
                    answer = await client.post(ask.path, json=ask.body)
                except httpx.HTTPError as error:
                    part.failed.append(f"key {key} {ask.kind}: {error!r}")
                    continue
                part.statuses[ask.kind, answer.status_code] += 1
                if answer.status_code != 200:
                    part.failed.append(f"key {key} {ask.kind}: {answer.status_code} {answer.text[:200]}")
                    continue
                part.latencies[key].append(time.monotonic() - started)
                if content(ask, answer.text) != self._solo[number]:
                    part.changed.append(f"{ask.kind} {number}: {answer.text[:200]}")

    async def _partly(self, client: httpx.AsyncClient, ask: Ask, chance: random.Random) -> None:
        """Read a stream slowly, or leave it half-way."""
        leaves = chance.random() < 0.6
        async with client.stream("POST", ask.path, json=ask.body) as answer:
            async for count, _ in _numbered(answer.aiter_lines()):
                if leaves and count > 4:
                    return
                await asyncio.sleep(0.02)

    async def _hostile(self, target: Target, attacks: Sequence[Attack], one: int, stop: float, part: Part) -> None:
        chance = random.Random(f"hostile {one}")
        while time.monotonic() < stop and self._runs():
            attack = chance.choice(attacks)
            try:
                status = await asyncio.wait_for(attack(target, chance), PATIENCE)
            except (OSError, httpx.HTTPError, TimeoutError, asyncio.IncompleteReadError) as error:
                part.statuses[f"hostile {attack.__name__}", 0] += 1
                if isinstance(error, TimeoutError):
                    part.failed.append(f"hostile {attack.__name__} waited {PATIENCE:g} s")
                continue
            part.statuses[f"hostile {attack.__name__}", status] += 1


async def _numbered(lines: Any) -> Any:
    count = 0
    async for line in lines:
        count += 1
        yield count, line


@click.command()
@click.argument("model", default="quickstart")
@click.option("--collection", default="quickstart", help="A collection to ask.")
@click.option("--minutes", default=30.0, help="Length of the part with the hostile key.")
@click.option("--before", default=6.0, help="Minutes without it, before.")
@click.option("--keys", default=8, help="Keys; the last one is the hostile one.")
@click.option("--clients", default=64, help="Clients of all keys together.")
@click.option("--pause", default=2.0, help="Mean seconds between two requests of a client.")
@click.option("--attack", "chosen", multiple=True, help="Only this attack, by the name of its function; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print everything that was measured.")
def main(
    model: str,
    collection: str,
    minutes: float,
    before: float,
    keys: int,
    clients: int,
    pause: float,
    chosen: tuple[str, ...],
    as_json: bool,
) -> None:
    """Soak a server of MODEL, from the library in SEEDBED_HOME.

    python benchmarks/soak.py quickstart --collection quickstart
    """
    attacks = [one for one in ATTACKS if not chosen or one.__name__ in chosen]
    usage: list[Usage] = []
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        own, admin = stack.enter_context(made_keys(keys))
        process, url = stack.enter_context(serving(model, temporary))
        group = Clients(url, own, population(model, collection), clients // keys, pause, lambda: process.poll() is None)

        async def soak() -> tuple[Part, Part]:
            first = await group.run(before * 60, None)
            watching = asyncio.create_task(watch(process.pid, usage))
            second = await group.run(minutes * 60, Target(url, own[-1], model, collection), attacks)
            watching.cancel()
            return first, second

        asyncio.run(group.alone())
        idle = Usage.of(process.pid)
        first, second = asyncio.run(soak())
        left = ["a dead server"] if process.poll() is not None else left_over(process.pid, idle, url, admin, temporary)
    if process.returncode != 0:
        second.failed.append(f"the server ended with code {process.returncode}")
    result = summarized(first, second, usage, left, keys - 1)
    print_json(result) if as_json else told(result)
    sys.exit(0 if all(result["verdicts"].values()) else 3)


def summarized(first: Part, second: Part, usage: list[Usage], left: list[str], keys: int) -> dict[str, Any]:
    """Return all that was measured, and the verdicts."""
    p99 = {key: [first.p99(key), second.p99(key)] for key in range(keys)}
    statuses = first.statuses + second.statuses
    errors = {f"{kind} {status}": count for (kind, status), count in statuses.items() if status >= 500}
    failed, changed = [*first.failed, *second.failed], [*first.changed, *second.changed]
    flat = flatness([one.rss for one in usage])
    return {
        "p99": p99,
        "answers": sum(statuses.values()),
        "statuses": {f"{kind}: {status}": count for (kind, status), count in sorted(statuses.items())},
        "errors": errors,
        "failed": failed[:50],
        "changed": changed[:20],
        "memory": {"first": usage[0].rss, "last": usage[-1].rss, "most": max(one.rss for one in usage), "stray": flat},
        "memory of children": max(one.children_rss for one in usage),
        "left": left,
        "verdicts": {
            "p99 ratio": all(after <= WORSE * before for before, after in p99.values()),
            "server errors": not errors and not failed,
            "changed replies": not changed,
            "memory": flat <= FLAT,
            "left over": not left,
        },
    }


def told(result: dict[str, Any]) -> None:
    """Print what was measured."""
    rows = [[str(key), f"{a:.3f}", f"{b:.3f}", f"{b / a:.2f}"] for key, (a, b) in result["p99"].items()]
    print_table(("key", "p99 without (s)", "p99 with (s)", "ratio"), rows, right=(1, 2, 3))
    print_table(("criterion", ""), [[name, "green" if fine else "RED"] for name, fine in result["verdicts"].items()])
    memory = result["memory"]
    print(f"{result['answers']:,} answers; {memory['last'] / 1e6:,.0f} MB at the end, strays {memory['stray']:.1%}")
    for name in ("errors", "failed", "changed", "left"):
        for line in list(result[name])[:10]:
            print(f"{name}: {line}")


if __name__ == "__main__":
    main()
