"""Mail (eml): the text as written, else that of the HTML; headers as metadata. Attachments are named, not read."""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage, MIMEPart
from typing import BinaryIO

from seedbed.documents.document import Document, Scalar
from seedbed.documents.isolation import is_simple_page
from seedbed.documents.limits import Limits, read_whole, unreadable
from seedbed.documents.readers.html import decode, html_document

_HEADERS = ("from", "to", "cc", "date", "subject")
_TAG = re.compile(r"<[^<>]*>")
_BROKEN = (ValueError, LookupError, AttributeError, TypeError, AssertionError)
"""Errors that the standard library raises on headers and parts that break the rules."""


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document, titled by the subject."""
    try:
        message = email.message_from_bytes(read_whole(stream, source, limits), policy=email.policy.default)
        if not message.keys():
            raise unreadable(source, "it has no headers, so it is no mail")
        metadata = _metadata(message)
        body = message.get_body(("plain", "html"))
        text = _text(body, source) if body is not None else ""
        is_page = body is not None and body.get_content_type() == "text/html"
        page = _page(text, source) if is_page else Document(source, text)
    except _BROKEN as error:
        raise unreadable(source, f"it is damaged: {error}") from error
    yield replace(page, title=str(metadata.get("subject", "")), metadata=metadata)


def _metadata(message: EmailMessage) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {name: " ".join(str(message[name]).split()) for name in _HEADERS if message[name]}
    names = [part.get_filename() or part.get_content_type() for part in message.iter_attachments()]
    return found | {"attachments": ", ".join(names)} if names else found


def _page(markup: str, source: str) -> Document:
    """Return the text of a page; of one that would take long to parse, what stands between its tags."""
    if is_simple_page(markup.encode("utf-8", "replace")):
        return html_document(markup, source)
    return Document(source, html.unescape(_TAG.sub(" ", markup)))


def _text(part: MIMEPart, source: str) -> str:
    """Return the text of a part; one that names no encoding, or a wrong one, is read as what it looks like."""
    data = part.get_payload(decode=True)
    content = data if isinstance(data, bytes) else b""
    try:
        text = content.decode(part.get_content_charset("utf-8"))
    except (LookupError, UnicodeDecodeError):
        text = decode(content, source)
    return text.replace("\r\n", "\n")
