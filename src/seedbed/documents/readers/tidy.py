"""Characters that are no text (NUL, halves of surrogate pairs) replaced one for one, so that spans stay right."""

from __future__ import annotations

import re
from dataclasses import replace

from seedbed.documents.document import Document, Heading, Metadata

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def tidy(document: Document) -> Document:
    """Return the document with U+FFFD for what can be neither stored nor encoded."""
    if _NO_TEXT.search(document.text) is None and not any(map(_NO_TEXT.search, _names(document))):
        return document
    return replace(
        document,
        source=clean(document.source),
        text=clean(document.text),
        title=clean(document.title),
        headings=tuple(Heading(one.start, one.level, clean(one.text)) for one in document.headings),
        metadata=_metadata(document.metadata),
    )


def clean(text: str) -> str:
    """Return the text with U+FFFD for what is no text, of the same length."""
    return _NO_TEXT.sub("\ufffd", text)


def _names(document: Document) -> list[str]:
    values = (value for value in document.metadata.values() if isinstance(value, str))
    return [document.source, document.title, *document.metadata, *values, *(one.text for one in document.headings)]


def _metadata(metadata: Metadata) -> Metadata:
    return {clean(key): clean(value) if isinstance(value, str) else value for key, value in metadata.items()}
