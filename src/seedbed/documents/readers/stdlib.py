"""The documentation of this Python's own standard library: a page for each module, from its docstrings."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed.documents.document import Document
from seedbed.documents.file_walk import STDLIB, source_files
from seedbed.documents.headings import markdown_headings
from seedbed.documents.python_modules import module_documents
from seedbed.documents.readers import Item, Skipped


def read_stdlib() -> Iterator[Item]:
    """Yield a document a module, named ``stdlib:json/decoder.py``; modules without docstrings have none."""
    for file in source_files(STDLIB):
        source = f"{STDLIB}:{file.path}"
        try:
            found = list(module_documents(file.location.read_bytes(), file.path))
        except (OSError, SyntaxError, UnicodeError) as error:
            yield Skipped(source, str(error))
            continue
        for page in found:
            if page.kind == "prose":
                yield Document(source, page.text, page.group, (), markdown_headings(page.text))
