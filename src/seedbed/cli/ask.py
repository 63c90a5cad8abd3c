"""`seedbed ask`: a question to a collection of documents, answered with numbered sources or "not in the documents"."""

from __future__ import annotations

from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, read_text
from seedbed.cli.sampling import OF_MODEL, OF_REPLIES, repetition_guard, sampling_options
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.rag.chains import Chain


@click.command("ask")
@click.argument("question")
@click.option("--docs", "collection", type=options.COLLECTION, required=True, help="The collection to search.")
@click.option("--model", metavar="MODEL|URL", help="Writes the answer: a name, an id, URL or URL#NAME.")
@options.choice("--chain", of=Chain, text="How to answer. [default: cited; extract without a model]")
@options.limit(5, "Passages to find.")
@options.mode
@options.context("Of a model on a server that does not tell its window.")
@click.option("--max-tokens", type=click.IntRange(1), help="Of an answer; at most a quarter of the window.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Evidence that the passages must give, 0 to 1; 0 always asks the model.",
)
@repetition_guard
@sampling_options([name for name in OF_REPLIES if name != "max_tokens"], OF_MODEL | {"temperature": "0"})
@click.option("--evidence", is_flag=True, help="Also say how much less probable the answer is without each source.")
@click.option("--trace", "traced", is_flag=True, help="Log what is done, for `seedbed runs traces`.")
@options.common_flags
def ask_command(question: str, as_json: bool, **given: Any) -> None:
    """Answer QUESTION from a collection of documents, with numbered sources; `-` reads it from standard input.

    The best sentence of the documents is quoted with its place. A model writes a sentence or two before it, each linked
    to the sentence that supports it; one that none supports stands below and says so. If the documents do not answer,
    that is said, with the nearest passages. Without a model the answer is the best sentence itself.

    $ seedbed docs add guide docs/
    $ seedbed ask "How do I install it?" --docs guide
    $ seedbed ask "How do I install it?" --docs guide --model quickstart
    $ seedbed ask "How do I install it?" --docs guide --model quickstart --chain map-rerank
    """
    from seedbed.app.ask import ask_documents
    from seedbed.cli.draft import draft_view, say_read
    from seedbed.rag.record import answer_lines

    with draft_view(shown=not as_json) as watch:
        answer, trace = ask_documents(Library(), read_text(question).strip(), watch=watch, **given)
    if as_json:
        print_json(answer.to_json())
    else:
        echo("\n".join(answer_lines(answer)))
    say_read(answer)
    if answer.hits and answer.hits[0].mode != given["mode"]:
        say(f"(searched by words: most passages have no vector; `seedbed docs embed {given['collection']}` makes them)")
    if answer.found and answer.unsupported and not answer.citations:
        say("(no passage supports any of this; `--chain extract` quotes the sentence that fits best)")
    if trace:
        say(f"trace: seedbed runs traces {trace}")
