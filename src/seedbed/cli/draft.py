"""The parts of an answer from documents in a terminal, as they come: the quotation at once, then the model's draft."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from seedbed.core.progress import draft, progress, say
from seedbed.core.terminal import visible

if TYPE_CHECKING:
    from seedbed.rag.record import Answer, AnswerDelta


@contextmanager
def draft_view(shown: bool) -> Iterator[Callable[[AnswerDelta], None]]:
    """Show the parts of an answer until it is whole, where they are to be ``shown``; else count them."""
    if not shown:
        with progress("answering", unit="pieces") as bar:
            yield lambda delta: bar.advance(bool(delta.draft))
        return
    with draft("answering") as add:

        def watch(delta: AnswerDelta) -> None:
            if delta.found is not None:
                add("".join(f"[{one.number}] “{visible(one.quote, sys.stderr)}”\n\n" for one in delta.found.sources))
            add(visible(delta.draft, sys.stderr))

        yield watch


def say_read(answer: Answer) -> None:
    """Say which question was asked of the documents, and how much of what was found the model read."""
    if answer.rewritten:
        say(f"(asked of the documents: {visible(answer.rewritten, sys.stderr)})")
    if hidden := sum(len(hit.copies) for hit in answer.hits):
        say(f"({hidden} passages with nearly the same text as these were left out)")
    if answer.meter:
        left = ", ".join(f"{one.source} {one.start}-{one.end}" for one in answer.cut)
        say(f"({answer.meter}{f'; not read: {left}' if left else ''})")
