"""Processes beside the demo: the server, and one of low priority that makes vectors; both end with it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from seedbed.core.progress import say

_LOW = 10
"""The niceness of the process that makes vectors: it takes what training leaves, and a tenth of a core beside it."""


@contextlib.contextmanager
def served(wanted: bool) -> Iterator[tuple[subprocess.Popen[str], str] | None]:
    """Serve the library while the block runs: the process and its page; a port that is taken is left for a free one."""
    process = page = None
    for port in ("8000", "0") if wanted else ():
        command = [sys.executable, "-m", "seedbed", "serve", "--port", port, "--json", "-q"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        if told := process.stdout.readline():
            page = str(json.loads(told)["page"])
            break
        process.wait()
    if wanted and page is None:
        say("the server did not start: `seedbed serve` says why")
    if process is None or page is None:
        yield None
        return
    try:
        yield process, page
    finally:
        process.terminate()
        process.wait()


class BackgroundEmbedding:
    """A process that gives a collection its vectors, killed at the end of the block; what it made is kept."""

    def __init__(self, collection: str, embedder: str) -> None:
        self._command = [sys.executable, "-m", "seedbed", "docs", "embed", collection, "--embedder", embedder]
        self._process = self._start()
        with contextlib.suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _LOW)

    def done(self) -> bool:
        """Tell whether every chunk that there was has its vector."""
        return self._process.poll() == 0

    def finish(self, seconds: float) -> bool:
        """Go on at full priority, for so long at most, and tell whether it was done; it goes on after that too."""
        self._end()  # a priority cannot be raised again; what was made is kept, so another process takes over
        self._process = self._start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.done()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*self._command, "-q", "--json"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> BackgroundEmbedding:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
