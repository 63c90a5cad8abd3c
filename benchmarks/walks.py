"""Count the files of seedbed that a chat request, and a document from `docs add` to its citation, run through.

    .venv/bin/python benchmarks/walks.py

A file counts when one of its functions runs between the two ends of the walk; module bodies (imports) do not. The
server is real, on a real socket, with a tiny model; the document goes through the command line's own use cases.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import seedbed

ROOT = Path(seedbed.__file__).parent
ROUTE = "serve/context.py"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "shared"))


class Walk:
    """Collects the files whose functions run, in the order they are first entered."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.on = False

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        """A profile function of :func:`threading.setprofile`."""
        if self.on and event == "call" and frame.f_code.co_name != "<module>":
            name = frame.f_code.co_filename
            if name.startswith(str(ROOT)):
                self.files.setdefault(name.removeprefix(f"{ROOT}/"))

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record while the block runs."""
        self.on = True
        yield
        self.on = False


def chat_request(walk: Walk) -> None:
    """One streamed chat completion over a real socket, the model loaded and asked once before."""
    from serving import SMALL, Live, add_model

    from seedbed.core.artifacts import Library

    with tempfile.TemporaryDirectory() as place:
        library = Library(Path(place))
        add_model(library, "tiny", seed=1)
        live = Live(library, Path(place), SMALL)
        body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "seed": 1, "stream": True}
        try:
            live.post("/v1/chat/completions", **body)
            while live.client.get("/health").json()["in_flight"]:  # its end is no part of the next one's walk
                pass
            with walk.recorded():
                assert "data: [DONE]" in live.post("/v1/chat/completions", **body).text
        finally:
            live.close()


def document(walk: Walk) -> None:
    """A Markdown file into a collection by `seedbed docs add`, and `seedbed ask` with its citation."""
    import os

    from click.testing import CliRunner

    with tempfile.TemporaryDirectory() as place:
        os.environ["SEEDBED_HOME"] = str(Path(place, "home"))
        page = Path(place, "boats.md")
        page.write_text("# Boats\n\nA dinghy carries four people. A ferry carries four hundred.\n")
        from seedbed.cli.main import cli

        with walk.recorded():
            for line in (
                ["docs", "add", "boats", str(page)],
                ["ask", "How many people does a dinghy carry?", "--docs", "boats"],
            ):
                done = CliRunner().invoke(cli, line)
                assert done.exit_code == 0, done.output
        assert "boats.md" in done.output, done.output


def counted(walk_through: Callable[[Walk], None]) -> list[str]:
    """Return the files of a walk, in the order they are entered."""
    walk = Walk()
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        walk_through(walk)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return list(walk.files)


def main() -> None:
    """Print both walks, the chat request's also from the route on: what it depends on is the first of its files."""
    for walk in (chat_request, document):
        files = counted(walk)
        route = files.index(ROUTE) if ROUTE in files else 0
        print(f"{walk.__name__}: {len(files)} files" + (f", {len(files) - route} from the route on" if route else ""))
        for name in files:
            print(f"  {name}")


if __name__ == "__main__":
    main()
