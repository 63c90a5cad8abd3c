"""Mail (eml), archives of it (mbox) and saved web pages (mhtml).

A mail's text is as written, else that of its HTML where the written part is empty or says less than a quarter of it.
Attached texts and mails are read below it, each under its name; other attachments are named and reported as not read.
Headers are metadata; a header in bytes of no stated encoding is read in the one it looks like.
"""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections.abc import Iterator
from email.message import EmailMessage, MIMEPart
from typing import BinaryIO

from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document, Heading, Metadata, Scalar
from seedbed.documents.encoding import decode
from seedbed.documents.headings import markdown_headings
from seedbed.documents.isolation import is_simple_page
from seedbed.documents.limits import Limits, read_whole, unreadable
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.readers.html import html_text

_HEADERS = ("from", "to", "cc", "date", "subject")
_TAG = re.compile(r"<[^<>]*>")
_FROM_LINE = re.compile(rb"^From .*\d\d:\d\d.*\r?\n", re.MULTILINE)
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_NO_TEXT = frozenset(("text/rtf", "text/richtext", "text/vcard", "text/x-vcard"))
_SIGNATURES = frozenset(("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"))
_LESS = 4  # a written part of so many times fewer words than the HTML beside it is a stub
_MOST_NESTED = 20
_BROKEN = (ValueError, LookupError, AttributeError, TypeError, AssertionError)
"""Errors that the standard library raises on headers and parts that break the rules."""


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield one document, titled by the subject, and what was attached but not read."""
    yield from _mail(read_whole(stream, source, limits), source)


def read_mbox(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield a document for each mail of an archive; a damaged one costs no other."""
    data = read_whole(stream, source, limits)
    starts = [found for found in _FROM_LINE.finditer(data) if _begins_mail(data, found.start())]
    if not starts:
        raise unreadable(source, "no line in it begins a mail with `From `", "export it as mbox, or each mail as .eml")
    ends = [found.start() for found in starts[1:]] + [len(data)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        name = f"{source}#{number}"
        try:
            yield from _mail(_QUOTED_FROM.sub(rb"\1", data[start.end() : end]), name)
        except SeedbedError as error:
            yield Skipped.because(name, error)


def _begins_mail(data: bytes, place: int) -> bool:
    return place == 0 or data[max(0, place - 4) : place].endswith((b"\n\n", b"\r\n\r\n"))


def _mail(data: bytes, source: str) -> Iterator[Item]:
    reading = _MailText(source)
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        if not message.keys():
            raise unreadable(source, "it has no headers, so it is no mail")
        metadata = _metadata(message)
        reading.add(message, 0)
    except _BROKEN as error:
        raise unreadable(source, f"it is damaged: {error}") from error
    text = "\n\n".join(reading.texts)
    metadata |= reading.notes
    if reading.attached:
        metadata["attachments"] = ", ".join(reading.attached)
    title = str(metadata.get("subject", ""))
    headings = (*([Heading(0, 1, title)] if title else []), *(markdown_headings(text) if reading.marked else ()))
    yield Document(source, text, title, (), headings, metadata)  # the subject is searched as a heading is
    for name in reading.unread:
        yield Skipped(source, f"the attachment {name} is not read; save it as a file of its own to add it", partly=True)


class _MailText:
    """A mail being read: its texts in their order, and the names of what is attached."""

    def __init__(self, source: str) -> None:
        self.texts: list[str] = []
        self.attached: list[str] = []
        self.unread: list[str] = []
        self.marked = False  # whether there are headings
        self.notes: Metadata = {}  # on the encoding of the first part that is to be told of
        self._source = source

    def add(self, part: MIMEPart, depth: int) -> None:
        """Read a part and those in it."""
        kind = part.get_content_type()
        if depth > _MOST_NESTED:
            raise unreadable(self._source, f"its parts are nested more than {_MOST_NESTED} deep")
        if kind == "multipart/alternative":
            self._add_alternative(part, depth)
        elif kind == "multipart/related":
            self._add_related(part, depth)
        elif kind == "message/rfc822":
            self._add_mail(part, depth)
        elif part.is_multipart():
            for inner in part.iter_parts():
                self.add(inner, depth + 1)
        else:
            self._add_leaf(part)

    def _add_leaf(self, part: MIMEPart) -> None:
        name, kind = part.get_filename() or "", part.get_content_type()
        attached = part.is_attachment() or bool(name)
        if attached or part.get_content_maintype() != "text":
            self.attached.append(name or kind)
        if part.get_content_maintype() != "text" or kind in _NO_TEXT:
            is_decoration = part.get_content_maintype() == "image" and part.get("content-id")
            if not is_decoration and kind not in _SIGNATURES:
                self.unread.append(name or kind)
            return
        text = self._text(part).strip("\n")
        if text.strip():
            self.texts.append(f"{name}:\n\n{text}" if attached else text + "\n")

    def _add_alternative(self, part: MIMEPart, depth: int) -> None:
        """Read the written form, unless it is empty or a stub; other forms of the same are left."""
        forms = []
        for inner in part.iter_parts():
            form = _MailText(self._source)
            form.add(inner, depth + 1)
            words = sum(len(text.split()) for text in form.texts)
            forms.append((words, inner.get_content_type() == "text/plain", form))
        most = max((words for words, _, _ in forms), default=0)
        plain = [form for words, is_plain, form in forms if is_plain and words and words * _LESS >= most]
        best = plain[0] if plain else next((form for words, _, form in forms if words == most), None)
        for form in (best,) if best is not None else ():
            self.texts += form.texts
            self.marked |= form.marked
            self.notes = self.notes or form.notes
        self.attached += [name for _, _, form in forms for name in form.attached]
        self.unread += [name for _, _, form in forms for name in form.unread]

    def _add_related(self, part: MIMEPart, depth: int) -> None:
        """Read the page that the others are shown in, and the pages in it; its pictures and styles are left."""
        for place, inner in enumerate(part.iter_parts()):
            if place == 0 or inner.get_content_type() == "text/html" or inner.is_attachment():
                self.add(inner, depth + 1)

    def _add_mail(self, part: MIMEPart, depth: int) -> None:
        """Read a mail in a mail, below the headers that say whose it is."""
        for inner in part.iter_parts():
            if isinstance(inner, EmailMessage):
                found = _metadata(inner)
                self.texts.append(
                    "\n".join(f"{name.capitalize()}: {found[name]}" for name in _HEADERS if name in found)
                )
                self.add(inner, depth + 1)

    def _text(self, part: MIMEPart) -> str:
        """Return the text of a part; one that names no encoding, or a wrong one, is read as what it looks like."""
        data = part.get_payload(decode=True)
        text, notes = decode(data if isinstance(data, bytes) else b"", self._source, part.get_content_charset(""))
        self.notes = self.notes or notes
        if part.get_content_type() == "text/html":
            self.marked = True
            return _page(text)
        return text.replace("\r\n", "\n")


def _metadata(message: EmailMessage) -> dict[str, Scalar]:
    found = {name: " ".join(_header(message, name).split()) for name in _HEADERS}
    return {name: text for name, text in found.items() if text}


def _header(message: EmailMessage, name: str) -> str:
    """Return a header's text. Bytes beyond ASCII, which no header may hold, are decoded before it is parsed."""
    raw = next((str(value) for key, value in message.raw_items() if key.lower() == name), "")
    data = raw.encode("utf-8", "surrogateescape")
    if not any("\udc80" <= one <= "\udcff" for one in raw):
        return str(message[name] or "")
    return str(email.policy.default.header_factory(name, decode(data, name)[0]))


def _page(markup: str) -> str:
    """Return the text of a page; of one that would take long to parse, what stands between its tags."""
    if is_simple_page(markup.encode("utf-8", "replace")):
        return html_text(markup)
    return html.unescape(_TAG.sub(" ", markup))
