"""`seedbed ask`: a question to a collection of documents, answered with numbered sources or "not in the documents"."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import common_flags, print_json
from seedbed.cli.run import read_prompt
from seedbed.core.progress import progress, say

if TYPE_CHECKING:
    from seedbed.chat.model import ChatModel
    from seedbed.chat.trace_log import TraceLog
    from seedbed.chat.tracing import Trace, TraceEvent
    from seedbed.core.artifacts import Library
    from seedbed.documents.document import Chunk
    from seedbed.rag.answer import Answer

# As in rag.answer and rag.retrieval, written again so that --help imports neither; a test compares them.
CHAINS = ("stuff", "refine", "map-reduce", "map-rerank", "extract")
MODES = ("hybrid", "words", "vector")
_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_EXCERPT = 120
"""Characters of a passage that is only near."""


@click.command("ask")
@click.argument("question")
@click.option("--docs", "collection", required=True, metavar="COLLECTION", help="Where to look.")
@click.option("--model", metavar="MODEL|URL", help="Who writes the answer: a name, an id, URL or URL#NAME.")
@click.option("--chain", type=click.Choice(CHAINS), help="How to answer. Default: stuff; extract without a model.")
@click.option("-k", "passages", type=click.IntRange(1, 1000), default=5, show_default=True, help="Passages to find.")
@click.option("--mode", type=click.Choice(MODES), default="hybrid", show_default=True, help="How to find them.")
@click.option("--window", type=click.IntRange(1), help="Tokens of prompt and reply, for servers that do not say.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of an answer; at most a quarter of the window.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Share of the question's words that a passage must hold; 0 always asks the model.",
)
@click.option("--evidence", is_flag=True, help="Also say how much less probable the answer is without each source.")
@click.option("--trace", "traced", is_flag=True, help="Keep what was done, for `seedbed runs traces`.")
@common_flags
def ask_command(
    question: str,
    collection: str,
    model: str | None,
    chain: str | None,
    passages: int,
    mode: str,
    window: int | None,
    max_tokens: int | None,
    threshold: float | None,
    evidence: bool,
    traced: bool,
    as_json: bool,
) -> None:
    """Answer QUESTION from a collection of documents, with numbered sources; `-` reads it from standard input.

    Each sentence is linked to the sentence that supports it; one that none supports is marked [?]. Where the documents
    do not tell, that is said, with the nearest passages. Without a model the best sentence itself is the answer.

    \b
    Example:
      seedbed docs add guide docs/
      seedbed ask "How do I install it?" --docs guide
      seedbed ask "How do I install it?" --docs guide --model quickstart --chain map-rerank
    """
    from seedbed.core.artifacts import Library
    from seedbed.rag.answer import FOUND, ask, check

    library = Library()
    chosen: Any = chain or ("stuff" if model else "extract")
    options: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    text = read_prompt(question).strip()
    check(text, chosen, model is not None)  # before anything is opened
    with _searching(library, collection, mode) as search, _watching(library, traced) as trace:
        asked = _model(model, library, window) if model and chosen != "extract" else None
        least = FOUND if threshold is None else threshold
        answer = ask(
            text,
            search,
            asked,
            chain=chosen,
            k=passages,
            threshold=least,
            evidence=evidence,
            trace=trace,
            **options,
        )
    if as_json:
        print_json(answer.to_json())
    else:
        show("\n".join(answer_lines(answer)))
    _tell_cuts(answer)
    if answer.found and answer.unsupported and not answer.citations:
        say("(no passage supports any of this; `--chain extract` quotes the sentence that fits best)")


def _model(reference: str, library: Library, window: int | None) -> ChatModel:
    from seedbed.chat.open_model import open_model

    return open_model(reference, library, window=window)


@contextmanager
def _searching(library: Library, name: str, mode: Any) -> Iterator[Any]:
    from seedbed.rag.collection import Collection

    collection = Collection.open(library, name)
    try:
        yield lambda question, k: collection.search(question, k, mode=mode)
    finally:
        collection.close()


@contextmanager
def _watching(library: Library, kept: bool) -> Iterator[Trace | None]:
    """Shows each reply as progress, and keeps a trace where one is wanted; the last line says where."""
    from seedbed.chat.tracing import fan_out

    first: list[str] = []
    with progress("asking", unit="replies") as bar, _log(library) if kept else nullcontext() as log:

        def note(event: TraceEvent) -> None:
            first[:] = first or [event.span]
            if (event.what, event.kind) == ("model", "end"):
                bar.advance()

        yield fan_out(log, note)
    if kept and first:
        say(f"trace: seedbed runs traces {first[0]}")


def _log(library: Library) -> TraceLog:
    from seedbed.chat.trace_log import TraceLog

    return TraceLog.of(library)


def answer_lines(answer: Answer) -> Iterator[str]:
    """The answer with numbered sources, or the nearest passages where the documents do not tell."""
    if not answer.found:
        yield answer.text
        if answer.hits:
            yield "\nThe nearest passages:"
        yield from (f"  {_place(hit.chunk)}: “{_short(hit.chunk.text)}”" for hit in answer.hits)
        return
    numbers: dict[tuple[str, int, int], int] = {}
    for citation in answer.citations:
        numbers.setdefault((citation.source, citation.source_start, citation.source_end), len(numbers) + 1)
    marks = {one.end: f" [{numbers[one.source, one.source_start, one.source_end]}]" for one in answer.citations}
    yield _marked(answer.text, {**marks, **{end: " [?]" for _, end in answer.unsupported}})
    if numbers:
        yield ""
    for citation in answer.citations:
        number = numbers.pop((citation.source, citation.source_start, citation.source_end), None)
        if number is not None:
            evidence = "" if citation.evidence is None else f" ({citation.evidence:+.2f} nats)"
            chunk = answer.hits[citation.passage - 1].chunk
            yield f"[{number}] {_place(chunk)}: “{' '.join(citation.quote.split())}”{evidence}"
    if answer.unsupported:
        yield "[?] no passage says this"


def _marked(text: str, marks: dict[int, str]) -> str:
    """The text with a mark after each sentence that has one."""
    for end in sorted(marks, reverse=True):
        text = text[:end] + marks[end] + text[end:]
    return text


def _place(chunk: Chunk) -> str:
    page = f":{chunk.page}" if chunk.page is not None else ""
    return f"{chunk.source}{page}" + (f", {chunk.heading}" if chunk.heading else "")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"


def show(text: str) -> None:
    """Print; on a terminal, control characters are shown as U+FFFD: a document must not steer it."""
    print(text.translate(_CONTROLS) if sys.stdout.isatty() else text)


def _tell_cuts(answer: Answer) -> None:
    cut: Sequence[Any] = answer.cut
    if cut:
        places = ", ".join(f"{one.source} {one.start}-{one.end}" for one in cut)
        say(f"(no room for {sum(one.tokens for one in cut)} tokens of passages: {places})")
