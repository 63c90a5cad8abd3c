"""The documentation of this Python's own standard library: a page for each module, from its docstrings."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.corpus.settings import STDLIB, STDLIB_SOURCE
from seedbed.corpus.sources import source_files
from seedbed.corpus.stdlib import module_documents
from seedbed.rag.document import Document
from seedbed.rag.readers import Item, Skipped
from seedbed.rag.readers.headings import markdown_headings


def read_stdlib() -> Iterator[Item]:
    """A document a module, named ``stdlib:json/decoder.py``; modules without docstrings have none."""
    for file in source_files(STDLIB_SOURCE):
        source = f"{STDLIB}:{file.path}"
        try:
            found = list(module_documents(file.location.read_bytes(), file.path, STDLIB, STDLIB_SOURCE.licence))
        except (OSError, SyntaxError, UnicodeError) as error:
            yield Skipped(source, str(error))
            continue
        for page in found:
            if page.kind == "prose":
                yield Document(source, page.text, page.group, (), markdown_headings(page.text))
