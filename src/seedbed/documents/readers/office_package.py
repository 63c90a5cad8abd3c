"""Office packages, zip files of XML parts: strict, template and macro forms as the ordinary form; words in their XML.

Strict Open XML (ISO/IEC 29500-1) differs from the transitional form that parsers know by its namespaces; templates and
files with macros differ by the content type of their main part. Macros are never run: no parser here looks at them.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

from seedbed.documents.readers import Skipped

MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
ALTERNATIVES = "{http://schemas.openxmlformats.org/markup-compatibility/2006}AlternateContent"
_TYPES = "[Content_Types].xml"
_STRICT = re.compile(rb"http://purl\.oclc\.org/ooxml/(\w+)/")
_MAIN_TYPES = (
    (
        rb"application/vnd\.(?:ms-word|openxmlformats-officedocument\.wordprocessingml)\.(?:document|template)"
        rb"(?:\.macroEnabled(?:Template)?)?\.main\+xml",
        b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml",
    ),
    (
        rb"application/vnd\.(?:ms-powerpoint|openxmlformats-officedocument\.presentationml)\."
        rb"(?:presentation|slideshow|template)(?:\.macroEnabled)?\.main\+xml",
        b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml",
    ),
)
_DELETED = frozenset(f"{{{MAIN}}}{name}" for name in ("del", "moveFrom"))
_BREAKS = frozenset(("p", "tc", "tab", "ptab", "br", "cr", "noBreakHyphen", "fldChar", "sym", "rt", "rubyBase", "si"))
_WORD = re.compile(r"[^\W_]+")


def ordinary(stream: BinaryIO) -> BinaryIO:
    """Return a package in the transitional form of an ordinary document: the same stream where it is one, rewound."""
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        types = archive.read(_TYPES) if _TYPES in names else b""
        is_strict = any(_STRICT.search(archive.read(name)) for name in names if name.endswith(".rels"))
        if not is_strict and types == _ordinary_types(types):
            stream.seek(0)
            return stream
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as rewritten:
            for name in names:
                rewritten.writestr(name, _rewritten(name, archive.read(name)))
    out.seek(0)
    return out


def _rewritten(name: str, data: bytes) -> bytes:
    if name == _TYPES:
        return _ordinary_types(data)
    if name.endswith((".xml", ".rels")):
        return _STRICT.sub(rb"http://schemas.openxmlformats.org/\1/2006/", data)
    return data


def _ordinary_types(types: bytes) -> bytes:
    for pattern, replacement in _MAIN_TYPES:
        types = re.sub(pattern, replacement, types)
    return types


def words_in_xml(root: Any) -> Counter[str]:
    """Count the words in an XML part's text elements: an oracle for readers, which knows no structure.

    Left out: deleted and moved-away text, the second form of what is there in two, equations, readings of characters,
    numbers and dates of slides.
    """
    return count_words("".join(_texts(root)))


def count_words(text: str) -> Counter[str]:
    """Count the words of a text."""
    return Counter(_WORD.findall(text))


def _texts(node: Any) -> Iterator[str]:
    for child in node.iterchildren(tag="*"):
        namespace, _, name = child.tag[1:].rpartition("}")
        if child.tag in _DELETED or name in ("rPh", "fld") or namespace.endswith("/math"):
            continue
        if child.tag == ALTERNATIVES:
            yield from _texts(written(child))
            continue
        if name == "t":
            yield child.text or ""
        elif name in _BREAKS:
            yield " "
        yield from _texts(child)


def written(alternatives: Any) -> Any:
    """Return the form of content in several forms that has text: the first, else a later one."""
    forms = list(alternatives.iterchildren(tag="*"))
    having = (form for form in forms if any(one.tag.endswith("}t") and one.text for one in form.iter("{*}t")))
    return next(having, forms[0] if forms else alternatives)


def loss(source: str, there: Counter[str], read: Counter[str]) -> Iterator[Skipped]:
    """Yield a report of words that stand in a file's XML more often than in what was read of it, if there are any.

    A word is not lost that stands in a longer one: a symbol beside it became a letter.
    """
    longer = " ".join(read - there)
    lost = Counter({word: count for word, count in (there - read).items() if word not in longer})
    if count := lost.total():
        some = ", ".join(list(lost)[:5])
        fix = "save it as PDF and add that, or copy the text out"
        yield Skipped(source, f"{count:,} of its {there.total():,} words were not read ({some} …): {fix}", partly=True)
