"""A server under load on two cores: ours against llama-cpp-python's, with the same shape, bits, prompts and lengths.

Many clients at once, each with a few requests one after another, all streamed; the two servers take turns. Weights are
random and tokens are sampled, so that no two prompts begin alike and nothing can be guessed ahead. Both servers are
processes of their own with two threads, and are asked by the same loop. llama-cpp-python's computes one reply at a
time; its settings are those that make it fastest here (no logits of prompts, no interruption by the next request).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import httpx

from decode import BITS, SHAPES, Shape, config_of
from harness import OtherLoad, busy_warning, summary
from llama_files import END, LETTERS, write_gguf
from seedbed.cli.common import print_json, print_table
from seedbed.core.errors import UsageError
from seedbed.core.progress import progress, say

OURS, LLAMA = "seedbed", "llama-cpp-python"
MODELS = SHAPES | {"tiny": replace(SHAPES["tiny"], vocab=512)}
SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05}
"""llama-cpp-python's defaults, said to both."""
FIRST, BETWEEN, WHOLE = "time to first token", "time between tokens", "time to whole reply"


@dataclass(frozen=True)
class Load:
    """The load: clients at once, requests of each, and tokens of a prompt and of a reply."""

    clients: int
    requests: int
    prompt: int
    new: int


@dataclass(frozen=True)
class Server:
    """A server that runs, and how it is asked for a reply of full length."""

    name: str
    process: subprocess.Popen[str]
    url: str
    fields: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Turn:
    """The times that the clients of one turn saw, in seconds."""

    seconds: float = 0.0
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)

    def figures(self, load: Load) -> dict[str, float]:
        """Rates (1/s) and percentiles (s) of a turn."""
        replies = load.clients * load.requests
        table = {"requests/s": replies / self.seconds, "tokens/s": replies * load.new / self.seconds}
        for name, values in ((FIRST, self.first), (BETWEEN, self.between), (WHOLE, self.whole)):
            hundredths = statistics.quantiles(values, n=100, method="inclusive")
            table |= {f"{name}, p50": hundredths[49], f"{name}, p99": hundredths[98]}
        return table


def ratio(name: str, ours: float, peer: float) -> float:
    """Return the ratio by which ours is better: rates grow, times shrink."""
    return ours / peer if name.endswith("/s") else peer / ours


@contextmanager
def _seedbed(shape: Shape, bits: str, folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-m", "seedbed", "serve", "bench", "--port", "0", "--json"]
    environment = os.environ | {"SEEDBED_HOME": str(_library(shape, bits, folder)), "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            text = ""
            for line in process.stdout:
                text += line
                if line == "}\n":
                    break
            said = json.loads(text)
            headers = {"Authorization": f"Bearer {said['key']}"}
            yield Server(OURS, process, said["url"], {"model": "bench", "ignore_eos": True}, headers)
        finally:
            process.terminate()


def _library(shape: Shape, bits: str, folder: Path) -> Path:
    """A library with the model "bench": random weights, and a tokenizer of bytes and made-up words."""
    from seedbed.core.artifacts import Library
    from seedbed.models.decoder import Decoder
    from seedbed.models.store import save_model
    from seedbed.transform.quantize import quantize

    library = Library(folder / f"home-{bits}")
    if library.all("model"):
        return library.root
    model = Decoder(config_of(shape))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0, 0.02)
    quantize(model, bits)
    with library.writing("model", name="bench") as draft:
        save_model(draft.path, model, _tokenizer(shape.vocab), bits)
    return library.root


def _tokenizer(size: int) -> Any:
    """A tokenizer that reads a letter as a token, and whose other tokens are whole words."""
    from seedbed.tokenizers.settings import TokenizerSettings
    from seedbed.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer
    from seedbed.tokenizers.train import train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([LETTERS], TokenizerSettings(kind="byte")).save(Path(folder))
        described = json.loads((Path(folder) / TOKENIZER_FILE).read_text())
    vocabulary = described["model"]["vocab"]
    vocabulary |= {f"w{token},": token for token in range(len(vocabulary), size)}
    return Tokenizer.from_json(json.dumps(described))


@contextmanager
def _llama(shape: Shape, bits: str, folder: Path) -> Iterator[Server]:
    write_gguf(config_of(shape), BITS[bits], folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "model": folder / f"{BITS[bits]}.gguf",
        "port": port,
        "n_ctx": config_of(shape).max_length,
        "n_threads": 2,
        "n_threads_batch": 2,
        "logits_all": False,
        "interrupt_requests": False,
        "verbose": False,
    }
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "llama_cpp.server", "--host", "127.0.0.1", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url)
            yield Server(LLAMA, process, url, {"logit_bias": {str(END): -100}, "repeat_penalty": 1.0})
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[str], url: str) -> None:
    """Until a server answers. Raises RuntimeError where it ends instead."""
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"{LLAMA}'s server ended with exit code {process.returncode}")
        try:
            httpx.get(f"{url}/v1/models", trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.1)


STARTERS = {OURS: _seedbed, LLAMA: _llama}


def _body(server: Server, load: Load, seed: int) -> dict[str, Any]:
    prompt = "".join(random.Random(seed).choices(LETTERS, k=load.prompt))
    return {"prompt": prompt, "max_tokens": load.new, "seed": seed, **SAMPLING, **server.fields}


def _check(server: Server, load: Load) -> None:
    """One reply, to warm up. Raises RuntimeError where the prompt has another number of tokens."""
    with httpx.Client(base_url=server.url, headers=server.headers, timeout=600, trust_env=False) as client:
        used = client.post("/v1/completions", json=_body(server, load, 0)).json()["usage"]
    if used["prompt_tokens"] != load.prompt + 1:  # one begins the text
        raise RuntimeError(f"{server.name} reads {used['prompt_tokens']} tokens where {load.prompt + 1} were meant")


async def _reply(client: httpx.AsyncClient, server: Server, load: Load, seed: int, turn: Turn) -> None:
    """Stream one reply. Raises RuntimeError where it is not a whole one."""
    started = before = time.perf_counter()
    first, finish = True, None
    body = _body(server, load, seed) | {"stream": True}
    async with client.stream("POST", "/v1/completions", json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            [choice] = json.loads(line[6:]).get("choices") or [{}]
            finish = choice.get("finish_reason") or finish
            if choice.get("text"):
                now = time.perf_counter()
                (turn.first if first else turn.between).append(now - before)
                before, first = now, False
    if finish != "length":
        raise RuntimeError(f"a reply of {server.name} ended with {finish}, status {response.status_code}")
    turn.whole.append(before - started)


async def take_turn(server: Server, load: Load, seed: int) -> Turn:
    """All clients' requests to one server."""
    turn = Turn()
    limits = httpx.Limits(max_connections=load.clients, max_keepalive_connections=load.clients)
    options = {"base_url": server.url, "headers": server.headers, "limits": limits, "timeout": 600}

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        for request in range(load.requests):
            await _reply(client, server, load, seed + number * load.requests + request, turn)

    async with httpx.AsyncClient(**options, trust_env=False) as client:
        started = time.perf_counter()
        await asyncio.gather(*(ask(client, number) for number in range(load.clients)))
        turn.seconds = time.perf_counter() - started
    return turn


def _measure(servers: list[Server], load: Load, rounds: int) -> dict[str, Any]:
    for server in servers:
        _check(server, load)
    watched = OtherLoad(servers)
    figures: dict[str, list[dict[str, float]]] = {server.name: [] for server in servers}
    with progress("load", rounds * len(servers), "turns") as bar:
        for number in range(rounds):
            for server in servers:
                turn = asyncio.run(take_turn(server, load, 1 + number * load.clients * load.requests))
                figures[server.name].append(turn.figures(load))
                bar.advance(1, f"{server.name} {figures[server.name][-1]['tokens/s']:,.0f} tokens/s")
    return {"turns": figures, "ratios": ratios(figures), "other_load": watched.share(), "guessed": _guessed(servers[0])}


def ratios(figures: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, list[float]]]:
    """By peer and figure, how much better ours was in each round."""
    ours = figures[OURS]
    return {
        peer: {name: [ratio(name, a[name], b[name]) for a, b in zip(ours, turns, strict=True)] for name in ours[0]}
        for peer, turns in figures.items()
        if peer != OURS
    }


def _guessed(server: Server) -> float:
    """The share of our tokens that were guessed right ahead, which text that repeats itself would flatter."""
    text = httpx.get(f"{server.url}/metrics", headers=server.headers, trust_env=False).text
    found = {name: float(value) for name, value in re.findall(r"^seedbed_engine_(\w+){\S+} (\S+)$", text, re.M)}
    return found["accepted"] / found["generated"]


def _print(result: dict[str, Any]) -> None:
    rows = []
    for name in result["turns"][OURS][0]:
        for who, turns in result["turns"].items():
            value = summary([turn[name] for turn in turns])["median"]
            shown = f"{value:,.2f}" if name.endswith("/s") else f"{1000 * value:,.0f} ms"
            row = [name, who, shown, ""]
            if who != OURS:
                better = summary(result["ratios"][who][name])
                row[3] = f"{better['median']:.2f}x ({better['min']:.2f}–{better['max']:.2f})"
            rows.append(row)
    print_table(["figure", "who", "median", "ours is better by"], rows, right=(2,))
    print(f"guessed ahead: {result['guessed']:.1%} of our tokens")


@click.command()
@click.option("--shape", default="M", show_default=True, type=click.Choice(list(MODELS)), help="Which model.")
@click.option("--bits", default="int8", show_default=True, type=click.Choice(list(BITS)), help="Which weights.")
@click.option("--peers", default=LLAMA, show_default=True, help="Whom to compare with; nobody where empty.")
@click.option("--clients", default=64, show_default=True, type=click.IntRange(1), help="Clients at once.")
@click.option("--requests", default=2, show_default=True, type=click.IntRange(1), help="Requests of a client a turn.")
@click.option("--prompt", default=128, show_default=True, type=click.IntRange(1, 512), help="Tokens of a prompt.")
@click.option("--new", default=32, show_default=True, type=click.IntRange(2, 256), help="Tokens of a reply.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Turns of every server.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the weights here.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def main(
    shape: str,
    bits: str,
    peers: str,
    clients: int,
    requests: int,
    prompt: int,
    new: int,
    rounds: int,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Many clients at once: our server against llama-cpp-python's (with gguf and its server extra installed).

    \b
    Example:
      python benchmarks/serve.py --clients 16 --rounds 3
    """
    names = [OURS, *(peer for peer in peers.split(",") if peer)]
    if unknown := [name for name in names if name not in STARTERS]:
        raise UsageError(f"{', '.join(unknown)} is not known", why=f"they are {', '.join(STARTERS)}", fix="choose one")
    load = Load(clients, requests, prompt, new)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        place = (folder or Path(temporary)) / shape
        place.mkdir(parents=True, exist_ok=True)
        servers = [stack.enter_context(STARTERS[name](MODELS[shape], bits, place)) for name in names]
        result = _measure(servers, load, rounds)
    if as_json:
        print_json(result)
    else:
        _print(result)
    if warning := busy_warning(result["other_load"]):
        say(warning)


if __name__ == "__main__":
    sys.exit(main())
