"""The standard library as documents: a page of documentation and the source of every module.

Each module gives two documents of one group. The first is prose: its docstring and those of its public classes,
functions and methods as a Markdown page. The second is its source with exactly those docstrings taken out. Were
they left in, the same text would stand in both documents, and every model and compressor would look better than
it is. The source is cut by line, never re-printed, so comments and layout stay. Private docstrings stay in the source.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from seedbed.documents.document import Document
from seedbed.documents.file_walk import STDLIB, source_files
from seedbed.documents.headings import markdown_headings
from seedbed.documents.readers import Item, Skipped

Owner = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_TILDES = re.compile(r"(?<=\w\n)~{3,}$", re.MULTILINE)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class ModuleText:
    """A text that a module gives.

    Attributes:
        path: relative to the library; a page of documentation ends in ``#docs``.
        group: the module's dotted name.
    """

    text: str
    path: str
    group: str
    kind: Literal["prose", "code"]


@dataclass(frozen=True)
class _Docstring:
    """A public docstring: the heading it stands under, the node that owns it, and its own."""

    heading: str
    owner: Owner
    node: ast.Expr


def read_stdlib() -> Iterator[Item]:
    """Yield the page of each module of this Python, as ``stdlib:json/decoder.py``; without docstrings it has none."""
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


def module_documents(data: bytes, path: str) -> Iterator[ModuleText]:
    """Yield the page and the source of one module; ``path`` is relative to the library: ``json/encoder.py``.

    Raises:
        SyntaxError, UnicodeDecodeError: the bytes are in no known encoding.
    """
    name = module_name(path)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    text = data.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    try:
        with warnings.catch_warnings():  # invalid escapes in old modules are none of the user's business
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError:
        yield ModuleText(text, path, name, "code")
        return
    lines = text.split("\n")
    entries = [one for one in _docstrings(tree, f"# {name}", name) if _can_be_cut(one, lines)]
    if entries:
        yield ModuleText(_page(name, entries), f"{path}#docs", name, "prose")
    code = _without_docstrings(lines, entries)
    if code.strip():
        yield ModuleText(code, path, name, "code")


def module_name(path: str) -> str:
    """Return ``json.encoder`` for ``json/encoder.py``, ``json`` for ``json/__init__.py``."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _docstrings(owner: Owner, heading: str, name: str) -> Iterator[_Docstring]:
    """Yield public docstrings in source order; classes are entered, functions are not."""
    first = owner.body[0] if owner.body else None
    if isinstance(first, ast.Expr) and _string(first).strip():
        yield _Docstring(heading, owner, first)
    if not isinstance(owner, _FUNCTIONS):
        yield from _members(owner.body, name)


def _members(body: list[ast.stmt], prefix: str) -> Iterator[_Docstring]:
    for node in body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            name = f"{prefix}.{node.name}"
            signature = "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)})"
            yield from _docstrings(node, f"## {name}{signature}", name)
        elif isinstance(node, (ast.If, ast.Try)):  # definitions that depend on the platform
            for block in (node.body, node.orelse):
                yield from _members(block, prefix)


def _string(node: ast.stmt) -> str:
    """Return the text of a statement that is nothing but a string, else an empty one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _page(name: str, entries: list[_Docstring]) -> str:
    blocks = [] if isinstance(entries[0].owner, ast.Module) else [f"# {name}"]
    for entry in entries:
        text = inspect.cleandoc(_string(entry.node)).strip()
        text = _TILDES.sub(lambda line: "-" * len(line[0]), text)  # in Markdown they would open a fence
        blocks.append(f"{entry.heading}\n\n{text}")
    return "\n\n".join(blocks) + "\n"


def _can_be_cut(entry: _Docstring, lines: list[str]) -> bool:
    """Return whether a docstring stands on lines of its own, or is all of its body; others share a line with code.

    Where another string follows it, that would become the docstring.
    """
    body = entry.owner.body
    before, after = _around(entry.node, lines)
    return len(body) == 1 or not (_string(body[1]) or before.strip() or after.strip())


def _around(node: ast.Expr, lines: list[str]) -> tuple[str, str]:
    """Return the text before and after a docstring on its first and last line (columns are UTF-8 bytes)."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = lines[node.lineno - 1].encode()[: node.col_offset].decode()
    after = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
    return before, after


def _without_docstrings(lines: list[str], entries: list[_Docstring]) -> str:
    """Return the source without those docstrings; a body that would be empty keeps ``...``."""
    lines = list(lines)
    for entry in sorted(entries, key=lambda entry: -entry.node.lineno):
        before, after = _around(entry.node, lines)
        needs_body = len(entry.owner.body) == 1 and not isinstance(entry.owner, ast.Module)
        kept = [f"{before}...{after}"] if needs_body else [after] if after.strip() else []
        lines[entry.node.lineno - 1 : entry.node.end_lineno] = kept
    return "\n".join(lines).strip("\n") + "\n"
