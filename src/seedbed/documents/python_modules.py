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
    """A public docstring: the heading it stands under, and the node that owns it."""

    heading: str
    owner: Owner


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
    """Yield the page and the source of one module.

    Args:
        data: the module's bytes.
        path: relative to the library, such as ``json/encoder.py``.

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
    found = [_Docstring(f"# {name}", tree)] if _docstring(tree) is not None else []
    entries = [entry for entry in (*found, *_members(tree.body, name)) if _can_be_cut(entry.owner, lines)]
    if entries:
        yield ModuleText(_page(name, entries), f"{path}#docs", name, "prose")
    code = _without_docstrings(lines, entries)
    if code.strip():
        yield ModuleText(code, path, name, "code")


def module_name(path: str) -> str:
    """Return ``json.encoder`` for ``json/encoder.py``, ``json`` for ``json/__init__.py``."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _members(body: list[ast.stmt], prefix: str) -> Iterator[_Docstring]:
    """Yield public definitions in source order; classes are entered, functions are not."""
    for node in body:
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
            qualified = f"{prefix}.{node.name}"
            if _docstring(node) is not None:
                signature = "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)})"
                yield _Docstring(f"## {qualified}{signature}", node)
            if isinstance(node, ast.ClassDef):
                yield from _members(node.body, qualified)
        elif isinstance(node, (ast.If, ast.Try)):  # definitions that depend on the platform
            for block in (node.body, node.orelse):
                yield from _members(block, prefix)


def _docstring(owner: Owner) -> ast.Expr | None:
    first = owner.body[0] if owner.body else None
    return first if isinstance(first, ast.Expr) and _string(first).strip() else None


def _string(node: ast.stmt) -> str:
    """Return the text of a statement that is nothing but a string, else an empty one."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _page(name: str, entries: list[_Docstring]) -> str:
    blocks = [] if isinstance(entries[0].owner, ast.Module) else [f"# {name}"]
    blocks += [f"{entry.heading}\n\n{_markdown(_string(entry.owner.body[0]))}" for entry in entries]
    return "\n\n".join(blocks) + "\n"


def _markdown(docstring: str) -> str:
    """Return a docstring without its indentation; ``~~~`` under a title would open a fence in Markdown."""
    text = inspect.cleandoc(docstring).strip()
    return _TILDES.sub(lambda line: "-" * len(line[0]), text)


def _can_be_cut(owner: Owner, lines: list[str]) -> bool:
    """Return whether a docstring stands on lines of its own, or is all of its body; others share a line with code.

    Where another string follows it, that would become the docstring.
    """
    node = _docstring(owner)
    assert node is not None
    if len(owner.body) == 1:
        return True
    before, after = _around(node, lines)
    return not (_string(owner.body[1]) or before.strip() or after.strip())


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
    for owner in sorted((entry.owner for entry in entries), key=lambda owner: -owner.body[0].lineno):
        node = _docstring(owner)
        assert node is not None
        assert node.end_lineno is not None
        before, after = _around(node, lines)
        needs_body = len(owner.body) == 1 and not isinstance(owner, ast.Module)
        kept = [f"{before}...{after}"] if needs_body else [after] if after.strip() else []
        lines[node.lineno - 1 : node.end_lineno] = kept
    return "\n".join(lines).strip("\n") + "\n"
