"""Equations of Word documents (Office MathML, ISO/IEC 29500-1 section 22.1) as a line of text: ``x^2/(a+b)``.

The form is that of Word's own linear format (Unicode Technical Note 28), without its marks for layout.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_ALONE = re.compile(r"[\w.,]*")
_DELETED = ("del", "moveFrom")


def linear(node: Any) -> str:
    """Return the text of an equation, or of a part of one."""
    name = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
    if name == "t":
        return node.text or ""
    if name.endswith("Pr") or name in _DELETED:
        return ""
    if name in _FORMS:
        return _FORMS[name](node)
    return "".join(map(linear, node))


def _part(node: Any, name: str, grouped: bool = True) -> str:
    """Return the text of a part, in brackets where it is more than one number or name."""
    text = "".join(map(linear, node.findall(_MATH + name))).strip()
    return text if not grouped or _ALONE.fullmatch(text) else f"({text})"


def _property(node: Any, name: str, default: str) -> str:
    found = node.find(f"{_MATH}{node.tag.rpartition('}')[2]}Pr/{_MATH}{name}")
    return default if found is None else str(found.get(f"{_MATH}val", ""))


def _marked(node: Any, mark: str, name: str) -> str:
    text = _part(node, name)
    return mark + text if text else ""


def _scripts(node: Any) -> str:
    return _part(node, "e") + _marked(node, "_", "sub") + _marked(node, "^", "sup")


def _root(node: Any) -> str:
    return f"{_part(node, 'deg', False)}√{_part(node, 'e')}"


def _nary(node: Any) -> str:
    sign = _property(node, "chr", "∫") + _marked(node, "_", "sub") + _marked(node, "^", "sup")
    return f"{sign} {_part(node, 'e', False)}"


def _delimited(node: Any) -> str:
    inside = _property(node, "sepChr", "|").join(linear(one) for one in node.findall(f"{_MATH}e"))
    return f"{_property(node, 'begChr', '(')}{inside}{_property(node, 'endChr', ')')}"


def _rows(node: Any) -> str:
    cells = ([linear(cell) for cell in row.findall(f"{_MATH}e")] for row in node.findall(f"{_MATH}mr"))
    return "; ".join(map(", ".join, cells))


_FORMS: dict[str, Callable[[Any], str]] = {
    "f": lambda node: f"{_part(node, 'num')}/{_part(node, 'den')}",
    "sSub": _scripts,
    "sSup": _scripts,
    "sSubSup": _scripts,
    "limLow": lambda node: _part(node, "e") + _marked(node, "_", "lim"),
    "limUpp": lambda node: _part(node, "e") + _marked(node, "^", "lim"),
    "func": lambda node: f"{_part(node, 'fName', False)} {_part(node, 'e', False)}",
    "rad": _root,
    "nary": _nary,
    "d": _delimited,
    "m": _rows,
    "eqArr": lambda node: "; ".join(linear(one) for one in node.findall(f"{_MATH}e")),
}
