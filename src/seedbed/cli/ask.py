"""`seedbed ask`: a question to a collection of documents, answered with numbered sources or "not in the documents"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, read_text, visible
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.rag.chains import Chain

if TYPE_CHECKING:
    from seedbed.documents.document import Chunk
    from seedbed.rag.answer import Answer

_EXCERPT = 120
"""Characters of a passage that is only near."""


@click.command("ask")
@click.argument("question")
@click.option("--docs", "collection", type=options.COLLECTION, required=True, help="The collection to search.")
@click.option("--model", metavar="MODEL|URL", help="Writes the answer: a name, an id, URL or URL#NAME.")
@options.choice("--chain", of=Chain, text="How to answer. [default: stuff; extract without a model]")
@options.limit(5, "Passages to find.")
@options.mode
@options.context("Of a model on a server that does not tell its window.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of an answer; at most a quarter of the window.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Evidence that the passages must give, 0 to 1; 0 always asks the model.",
)
@click.option("--evidence", is_flag=True, help="Also say how much less probable the answer is without each source.")
@click.option("--trace", "traced", is_flag=True, help="Log what is done, for `seedbed runs traces`.")
@options.common_flags
def ask_command(question: str, as_json: bool, **given: Any) -> None:
    """Answer QUESTION from a collection of documents, with numbered sources; `-` reads it from standard input.

    Each sentence is linked to the sentence that supports it; one that none supports is marked [?]. If the documents
    do not answer it, that is said, with the nearest passages. Without a model the answer is the best sentence itself.

    $ seedbed docs add guide docs/
    $ seedbed ask "How do I install it?" --docs guide
    $ seedbed ask "How do I install it?" --docs guide --model quickstart --chain map-rerank
    """
    from seedbed.app.ask import ask_documents

    answer, trace = ask_documents(Library(), read_text(question).strip(), **given)
    if as_json:
        print_json(answer.to_json())
    else:
        print(visible("\n".join(answer_lines(answer))))
    if answer.cut:
        places = ", ".join(f"{one.source} {one.start}-{one.end}" for one in answer.cut)
        say(f"(no room for {sum(one.tokens for one in answer.cut)} tokens of passages: {places})")
    if answer.found and answer.unsupported and not answer.citations:
        say("(no passage supports any of this; `--chain extract` quotes the sentence that fits best)")
    if trace:
        say(f"trace: seedbed runs traces {trace}")


def answer_lines(answer: Answer) -> Iterator[str]:
    """Yield the answer with numbered sources, or the nearest passages where the documents do not answer."""
    if not answer.found:
        yield answer.text
        if answer.hits:
            yield "\nThe nearest passages:"
        for hit in answer.hits:
            line = " ".join(hit.chunk.text.split())
            yield f"  {_place(hit.chunk)}: “{line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + '…'}”"
        return
    numbers: dict[tuple[str, int, int], int] = {}
    for citation in answer.citations:
        numbers.setdefault((citation.source, citation.source_start, citation.source_end), len(numbers) + 1)
    marks = {one.end: f" [{numbers[one.source, one.source_start, one.source_end]}]" for one in answer.citations}
    marks |= {end: " [?]" for _, end in answer.unsupported}
    text = answer.text
    for end in sorted(marks, reverse=True):
        text = text[:end] + marks[end] + text[end:]
    yield text
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


def _place(chunk: Chunk) -> str:
    page = f":{chunk.page}" if chunk.page is not None else ""
    return f"{chunk.source}{page}" + (f", {chunk.heading}" if chunk.heading else "")
