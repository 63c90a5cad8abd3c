"""Files that other programs would have made, good and hostile, built here byte by byte."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence

CONTENT_TYPES = (
    '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'wordprocessingml.document.main+xml"/></Types>'
)
RELATIONSHIPS = (
    '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
    'Target="word/document.xml"/></Relationships>'
)
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A PDF of numbered objects (from 1); the first is the catalogue."""
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R %s >>\n" % (len(objects) + 1, trailer)
    return bytes(out + b"startxref\n%d\n%%%%EOF\n" % start)


def stream(data: bytes, entries: bytes = b"") -> bytes:
    """A stream object's content."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), entries, data)


def text_pdf(pages: Sequence[str], outline: Sequence[tuple[str, int]] = (), title: str = "") -> bytes:
    """A PDF with lines of text on its pages, and an outline of titles and pages (from 0)."""
    first, after = 4, 4 + 2 * len(pages)
    kids = b" ".join(b"%d 0 R" % (first + 2 * index) for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /Outlines %d 0 R >>" % after,
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, len(pages)),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for index, page in enumerate(pages):
        objects.append(page_object(first + 2 * index + 1))
        lines = b" ".join(b"(%s) Tj T*" % line.encode("cp1252") for line in page.split("\n"))
        objects.append(stream(b"BT /F1 12 Tf 14 TL 72 720 Td %s ET" % lines))
    last = after + len(outline)
    objects.append(
        b"<< /Type /Outlines /Count %d /First %d 0 R /Last %d 0 R >>" % (len(outline), after + 1, last)
        if outline
        else b"<< /Type /Outlines /Count 0 >>"
    )
    for index, (name, page_number) in enumerate(outline):
        number = after + 1 + index
        following = b"/Next %d 0 R" % (number + 1) if number < last else b""
        target = first + 2 * page_number
        objects.append(
            b"<< /Title (%s) /Parent %d 0 R %s /Dest [%d 0 R /Fit] >>" % (name.encode(), after, following, target)
        )
    objects.append(b"<< /Title (%s) /Author (A. Writer) >>" % title.encode())
    return pdf(objects, b"/Info %d 0 R" % len(objects))


def page_object(contents: int) -> bytes:
    """A page under the page tree 2, with the font 3."""
    resources = b"/Resources << /Font << /F1 3 0 R >> >>"
    return b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] %s /Contents %d 0 R >>" % (resources, contents)


def content_pdf(content: bytes, entries: bytes = b"") -> bytes:
    """A PDF of one page with this content stream."""
    catalogue = b"<< /Type /Catalog /Pages 2 0 R >>"
    tree = b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>"
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    return pdf([catalogue, tree, font, page_object(5), stream(content, entries)])


def page_tree_bomb(levels: int, width: int) -> bytes:
    """A page tree whose every node lists the next one many times: width ** levels pages in a few hundred bytes."""
    nodes = [
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (width ** (levels - level), b"%d 0 R " % (level + 3) * width)
        for level in range(levels)
    ]
    return pdf([b"<< /Type /Catalog /Pages 2 0 R >>", *nodes, b"<< /Type /Page /MediaBox [0 0 9 9] >>"])


def flate_bomb(megabytes: int) -> bytes:
    """A PDF whose page is so many megabytes of spaces, packed."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b" " * 1_000_000) for _ in range(megabytes)) + packer.flush()
    return content_pdf(data, b"/Filter /FlateDecode")


def document_xml(body: str, before: str = "") -> str:
    """The main part of a Word document."""
    return f'<?xml version="1.0"?>{before}<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'


def paragraph(text: str) -> str:
    """A paragraph of a Word document."""
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def word(document: str, more: dict[str, str | bytes] | None = None) -> bytes:
    """A Word document of its least parts, and some more."""
    parts = {"[Content_Types].xml": CONTENT_TYPES, "_rels/.rels": RELATIONSHIPS, "word/document.xml": document}
    return zipped({**parts, **(more or {})})


def declare_smaller(data: bytes, name: str, size: int) -> bytes:
    """The same zip file, whose directory and header claim that a member is smaller than it is."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo(name)
    claimed, out = struct.pack("<I", size), bytearray(data)
    entry = data.index(b"PK\x01\x02", archive.start_dir)
    while data[entry + 46 : entry + 46 + len(name)] != name.encode():
        entry = data.index(b"PK\x01\x02", entry + 4)
    out[entry + 24 : entry + 28] = claimed
    out[info.header_offset + 22 : info.header_offset + 26] = claimed
    return bytes(out)


def mark_encrypted(data: bytes) -> bytes:
    """The same zip file, whose directory says that its first member is encrypted."""
    out = bytearray(data)
    out[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(out)
