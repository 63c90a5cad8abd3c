"""`seedbed serve`, `ps` and `stop`: start an OpenAI-compatible server, see which ones run, and end one."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_list
from seedbed.core import files
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, NotFoundError, SeedbedError, UsageError
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import iso_time

if TYPE_CHECKING:
    from seedbed.serve.context import Server

CURL = """curl {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
     -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'"""
CURL_ENCODER = """curl {url}/v1/embeddings -H "Authorization: Bearer {key}" -H "Content-Type: application/json" \\
     -d '{{"model": "{model}", "input": "Hello"}}'"""


KEYS, _SILENT = "keys.json", "no answer"


@dataclass(frozen=True)
class RunningServer:
    """A running server, as its own file describes it."""

    pid: int
    url: str
    models: tuple[str, ...]
    instance: str
    started: str


@click.command("serve")
@options.stored("models", "model", nargs=-1, metavar="[MODEL]...")
@click.option("--adapter", "adapters", multiple=True, metavar="NAME=ADAPTER", help="Serve MODEL with it as NAME, too.")
@click.option("--host", default="127.0.0.1", help="Address to listen on. Default: 127.0.0.1, this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 takes a free one. Default: 8000.")
@click.option("--memory-gb", type=click.FloatRange(0.1), help="GB for models and caches. Default: 60 % of the machine.")
@click.option(
    "--cache-gb", type=click.FloatRange(0.001), default=1.0, help="GB of a model's key/value cache. Default: 1."
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Answer to this host name too.")
@click.option("--no-auth", is_flag=True, help="Ask for no key; only on a loopback address.")
@click.option("--drain", type=click.FloatRange(0), default=30.0, help="Seconds for running replies at the end.")
@options.common_flags
def serve_command(
    models: tuple[str, ...], adapters: tuple[str, ...], host: str, port: int, no_auth: bool, as_json: bool, **given: Any
) -> None:
    """Serve MODELs, or all in the library, with an OpenAI-compatible API and a chat page.

    Without keys (`seedbed keys`) one is made that is good until the server ends. Encoders answer /v1/embeddings only.

    $ seedbed serve quickstart
    $ seedbed serve --port 8080 --memory-gb 4
    """
    import asyncio

    from seedbed.core.machine import memory_bytes
    from seedbed.inference.encoding import embeds
    from seedbed.models.store import read_config, read_description
    from seedbed.serve import process
    from seedbed.serve.auth import Keys
    from seedbed.serve.collection_cache import CollectionCache
    from seedbed.serve.context import Server
    from seedbed.serve.pool import ModelPool
    from seedbed.serve.response_store import ResponseStore
    from seedbed.serve.settings import ServeSettings

    if no_auth and not _is_loopback(host):
        why = f"{host} can be reached from other machines"
        raise UsageError("--no-auth is for loopback addresses", why=why, fix="leave it out, or listen on 127.0.0.1")
    library = Library()
    settings = ServeSettings(
        memory_bytes=int((given["memory_gb"] or 0) * 1e9) or int(0.6 * memory_bytes()) or 4 << 30,
        cache_bytes=int(given["cache_gb"] * 1e9),
        hosts=tuple(name.lower() for name in (*given["allow_host"], host)),
        drain_seconds=given["drain"],
    )
    pool = ModelPool(library, models, settings, _named(adapters))
    served = pool.models()
    names = list(served)
    if not names:
        raise NotFoundError("there is no model to serve", why=f"{library.root} has none", fix="train one")
    keys = None if no_auth else Keys(home(library) / KEYS)
    key = keys.for_session() if keys and not keys.entries() else ""
    example = CURL_ENCODER if embeds(read_config(read_description(served[names[0]])["model"])) else CURL
    stored = ResponseStore(home(library) / "responses.sqlite3", settings.stored_bytes, settings.stored_seconds)
    with contextlib.closing(stored) as store:
        server = Server(settings, keys, pool, store, CollectionCache(library))
        with _listen(host, port) as listening, _announced(library, server, host, listening, names) as running:
            asyncio.run(
                process.run(server, listening, models, lambda: _greet(running, keys is not None, key, example, as_json))
            )


@click.command("ps")
@options.common_flags
def ps_command(as_json: bool) -> None:
    """List running servers.

    $ seedbed ps
    """
    found = [asdict(one) | _health(one) for one in _running(Library())]
    print_list(found, ("pid", "url", "models", "status", "in_flight"), as_json)


@click.command("stop")
@click.argument("pid", type=int, required=False)
@options.common_flags
def stop_command(pid: int | None, as_json: bool) -> None:
    """Stop a running server; PID (see `seedbed ps`) is needed only where there are several.

    Replies that are being written end first.

    $ seedbed stop
    """
    found = [one for one in _running(Library()) if pid in (None, one.pid)]
    if not found:
        fix = "`seedbed serve` starts one"
        raise NotFoundError("no such server is running", why="`seedbed ps` lists none", fix=fix)
    if len(found) > 1:
        why = ", ".join(f"{one.pid} ({one.url})" for one in found)
        raise UsageError("several servers are running", why=why, fix="name one by its pid")
    [running] = found
    if _health(running)["status"] == _SILENT:  # its pid may belong to another program by now
        fix = f"look at process {running.pid}, and end it yourself"
        raise SeedbedError(f"{running.url} does not answer", why="it may be another program's pid", fix=fix)
    os.kill(running.pid, signal.SIGTERM)
    while _alive(running.pid) and _file_of(running.pid, Library()).exists():
        time.sleep(0.1)
    if as_json:
        print_json(asdict(running))
    say(f"stopped {running.url}")


def _named(adapters: tuple[str, ...]) -> dict[str, str]:
    """Read ``NAME=ADAPTER``, several times."""
    found: dict[str, str] = {}
    for text in adapters:
        name, _, artifact = text.partition("=")
        if not name or not artifact:
            raise UsageError(f"--adapter {text} has no name", why="a request chooses by it", fix="write NAME=ADAPTER")
        if name in found:
            raise UsageError(f"two adapters are called {name}", why="a request chooses by name", fix="rename one")
        found[name] = artifact
    return found


def home(library: Library) -> Path:
    """Return the folder of servers' files."""
    return library.root / "serve"


def _running(library: Library) -> list[RunningServer]:
    """Return a library's running servers; files of killed ones are removed."""
    found = []
    for path in sorted(home(library).glob("running/*.json")):
        with contextlib.suppress(OSError, ValueError, TypeError):
            one = RunningServer(**files.read_json(path))
            if _alive(one.pid):
                found.append(one)
            else:
                path.unlink(missing_ok=True)
    return found


def _file_of(pid: int, library: Library) -> Path:
    return home(library) / "running" / f"{pid}.json"


@contextlib.contextmanager
def _announced(
    library: Library, server: Server, host: str, listening: socket.socket, names: list[str]
) -> Iterator[RunningServer]:
    """Keep a file about this server for as long as it runs."""
    port = listening.getsockname()[1]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    started = iso_time(time.time())
    running = RunningServer(os.getpid(), f"http://{shown}:{port}", tuple(names), server.instance, started)
    path = _file_of(running.pid, library)
    try:
        files.write_json(path, asdict(running))
    except OSError as error:
        if not files.is_read_only(error):
            raise
        say(f"`seedbed ps` will not list this server: {error}")
    try:
        yield running
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _greet(running: RunningServer, locked: bool, key: str, example: str, as_json: bool) -> None:
    page = f"{running.url}/#key={key}" if key else f"{running.url}/"
    if as_json:
        print_json({**asdict(running), "page": page, "key": key})
    else:
        shown = key or ("$SEEDBED_KEY" if locked else "none")
        echo(f"{', '.join(running.models)} at {running.url}/v1\n\nChat page:  {page}\n")
        echo(example.format(url=running.url, key=shown, model=running.models[0]))
    sys.stdout.flush()


def _health(running: RunningServer) -> dict[str, str]:
    """Ask for status and requests in flight; another server's answer does not count."""
    import httpx

    with contextlib.suppress(httpx.HTTPError, ValueError):
        told = httpx.get(f"{running.url}/health", timeout=5, trust_env=False).json()
        if told.get("instance") == running.instance:
            return {name: str(told[name]) for name in ("status", "in_flight")}
    return {"status": _SILENT, "in_flight": ""}


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # it runs, for another user
    return True


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises CapacityError where the address is not free."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        fix = "choose another --port or --host, or stop the program there (`seedbed ps` lists servers)"
        raise CapacityError(f"cannot listen on {host}, port {port}", why=str(error), fix=fix) from error
