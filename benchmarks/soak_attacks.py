"""The attacks of one hostile key, each a kind of fault that once broke the server or could; see ``soak.py``.

Each does its worst once, over a real socket, and returns the status of the answer, 0 where there is none.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

Attack = Callable[["Target", random.Random], Awaitable[int]]
ATTACKS: list[Attack] = []


@dataclass(frozen=True)
class Target:
    """The server, the hostile key, and what it may ask."""

    url: str
    key: str
    model: str
    collection: str

    def chat(self, text: str = "hi", **more: Any) -> dict[str, Any]:
        """Return the body of a chat."""
        return {"model": self.model, "messages": [{"role": "user", "content": text}], "max_tokens": 16, **more}

    async def post(self, path: str, body: Any, content_type: str = "application/json", patience: float = 120) -> int:
        """Send a body, as JSON unless it is bytes; returns the status."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.key}", "content-type": content_type}
        async with httpx.AsyncClient(base_url=self.url, timeout=patience, trust_env=False) as client:
            return (await client.post(path, content=data, headers=headers)).status_code

    async def raw(self, data: bytes, wait: float = 5.0) -> int:
        """Send bytes; returns the status of the first answer."""
        address = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(data)
            await writer.drain()
            answer = await asyncio.wait_for(reader.read(64), wait)
            return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0
        except (TimeoutError, OSError):
            return 0
        finally:
            writer.close()

    def head(self, path: str, length: int | str, more: str = "") -> bytes:
        """Return the head of a POST."""
        lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n{more}"
        return f"{lines}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()


def attack(function: Attack) -> Attack:
    """Add an attack to the list."""
    ATTACKS.append(function)
    return function


@attack
async def regex_bomb(target: Target, chance: random.Random) -> int:
    """Counted repeats inside each other, at the beginning or later, in every kind of grammar."""
    bomb = f"{chance.choice(['', '[xy]', 'b?'])}((a{{{chance.randint(500, 2000)}}}){{1000}}){{1000}}"
    grammar = chance.choice(
        [{"regex": bomb}, {"json": {"type": "string", "pattern": bomb}}, {"grammar": f"start: A\nA: /{bomb}/"}]
    )
    return await target.post("/v1/chat/completions", target.chat(structured_outputs=grammar))


@attack
async def grammar_bomb(target: Target, chance: random.Random) -> int:
    """Intersections, multiples and doubling rules, which take time or memory to compile."""
    many = [{"type": "string", "pattern": f".*{one}.{{10}}"} for one in range(chance.randint(5, 25))]
    doubling = "start: a0\n" + "\n".join(f"a{one}: a{one + 1} a{one + 1}" for one in range(40)) + '\na40: "x"'
    terminals = "start: A\n" + "\n".join(f"{chr(65 + n)}: {chr(66 + n)} {chr(66 + n)}" for n in range(24)) + '\nY: "x"'
    grammar = chance.choice(
        [
            {"json": {"allOf": many}},
            {"json": {"type": "integer", "multipleOf": chance.randrange(10**6, 10**7) | 1}},
            {"grammar": doubling},
            {"grammar": terminals},
            {"regex": "[01]*1[01]{" + str(chance.randint(100, 400)) + "}"},
        ]
    )
    return await target.post("/v1/chat/completions", target.chat(structured_outputs=grammar))


@attack
async def many_prompts(target: Target, chance: random.Random) -> int:
    """As many replies as one request may ask for, as long as they may be, under a salt of its own."""
    body = {"model": target.model, "prompt": ["a b c"] * 128, "n": 2, "max_tokens": 240, "ignore_eos": True}
    return await target.post("/v1/completions", body | {"cache_salt": str(chance.random())})


@attack
async def long_replies(target: Target, chance: random.Random) -> int:
    """Sixteen long replies, streamed and left in the middle."""
    body = target.chat("tell", n=16, max_tokens=200, ignore_eos=True, stream=True, user=str(chance.random()))
    data = json.dumps(body).encode()
    return await target.raw(target.head("/v1/chat/completions", len(data)) + data, wait=chance.uniform(0.1, 20))


@attack
async def long_prompts(target: Target, chance: random.Random) -> int:
    """Prompts that fill the window."""
    body = {"model": target.model, "prompt": [[chance.randrange(100) + 300] * 200 for _ in range(64)], "max_tokens": 1}
    return await target.post("/v1/completions", body)


@attack
async def slow_chains(target: Target, chance: random.Random) -> int:
    """The dearest questions to documents."""
    documents = {"collection": target.collection, "chain": "refine", "k": 50}
    body = target.chat(f"How is file {chance.random()} read in a module", documents=documents, max_tokens=100)
    return await target.post("/v1/chat/completions", body)


@attack
async def embeddings(target: Target, chance: random.Random) -> int:
    """A hundred texts at once."""
    return await target.post("/v1/embeddings", {"model": target.model, "input": ["some words " * 40] * 100})


@attack
async def tokenize(target: Target, chance: random.Random) -> int:
    """A text as long as a body may be."""
    return await target.post("/tokenize", {"model": target.model, "prompt": chance.choice("aé ") * 1_900_000})


@attack
async def many_values(target: Target, chance: random.Random) -> int:
    """Bodies that are small in bytes and large in values."""
    body = chance.choice(
        [
            b'{"model":"x","prompt":[' + b"[1]," * 600_000 + b"[1]]}",
            b"{" + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}",
            b"[" * 100_000 + b"]" * 100_000,
            b'{"model":"x","prompt":"' + b"\\u0041" * 600_000 + b'"}',
            b"[" + b"9" * 4_000_000 + b"]",
        ]
    )
    return await target.post("/v1/completions", body, chance.choice(["application/json", "Application/JSON", "text/x"]))


@attack
async def many_filters(target: Target, chance: random.Random) -> int:
    """A filter of many values."""
    where = {"source": {"$in": [str(number) for number in range(260_000)]}}
    documents = {"collection": target.collection, "chain": "extract", "where": where}
    return await target.post("/v1/chat/completions", target.chat(documents=documents))


@attack
async def strange_bytes(target: Target, chance: random.Random) -> int:
    """Bodies in other encodings, and halves of surrogate pairs."""
    text = json.dumps(target.chat())
    body = chance.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-32"),
            text.encode("utf-7"),
            text.encode().replace(b'"hi"', b'"\xed\xa0\x80"'),
        ]
    )
    return await target.post("/v1/chat/completions", body)


@attack
async def broken_http(target: Target, chance: random.Random) -> int:
    """Heads that no server should take."""
    head = f"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {target.key}\r\n"
    data = chance.choice(
        [
            head.encode() + b"Host: [\r\n\r\n",
            head.encode() + b"Host: localhost\r\nOrigin: http://[\r\n\r\n",
            target.head("/tokenize", 4, "Transfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET /health HTTP/1.1\r\n\r\n",
            target.head("/tokenize", "9" * 5000),
            target.head("/tokenize", "-5"),
            head.encode() + b"Host: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
            chance.randbytes(4000),
        ]
    )
    return await target.raw(data)


@attack
async def slow_body(target: Target, chance: random.Random) -> int:
    """A body that does not come, and one that stops."""
    return await target.raw(target.head("/v1/completions", 4_000_000) + b'{"model":' + b" " * 100_000, wait=20)


@attack
async def stored_responses(target: Target, chance: random.Random) -> int:
    """Large responses, which are kept."""
    body = {"model": target.model, "input": "x", "max_output_tokens": 1, "metadata": {"a": "b" * 500}}
    return await target.post("/v1/responses", body | {"instructions": " " * 100_000})
