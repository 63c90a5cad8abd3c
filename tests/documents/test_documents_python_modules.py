"""The standard library as documents, against Python's own parser."""

from __future__ import annotations

import ast
import inspect
import warnings

import pytest

from seedbed.documents.file_walk import STDLIB, SourceFile, source_files
from seedbed.documents.python_modules import ModuleText, module_documents

MODULE = '''# A comment that stays.
"""Ships and boats.

More.
"""

import os


class Ship:
    """Floats."""

    def sail(self, to: str, *, fast: bool = False) -> None:
        """Go there.

            Indented.
        """
        # ä comment
        os.sync()

    class Inner:
        "One line."

    def _hidden(self):
        """Private."""

    def quick(self): "Same line."

    def both(self): "Not moved."; return 1


if os.name:
    def sink(): \'\'\'ää \'\'\';
'''


def documents(text: str, path: str = "fleet/ship.py") -> list[ModuleText]:
    return list(module_documents(text.encode(), path))


def test_docstrings_go_to_the_page_and_leave_the_source() -> None:
    page, code = documents(MODULE)
    assert (page.path, page.kind, page.group) == ("fleet/ship.py#docs", "prose", "fleet.ship")
    assert (code.path, code.kind, code.group) == ("fleet/ship.py", "code", "fleet.ship")
    assert page.text == (
        "# fleet.ship\n\nShips and boats.\n\nMore.\n\n"
        "## fleet.ship.Ship\n\nFloats.\n\n"
        "## fleet.ship.Ship.sail(self, to: str, *, fast: bool=False)\n\nGo there.\n\nIndented.\n\n"
        "## fleet.ship.Ship.Inner\n\nOne line.\n\n"
        "## fleet.ship.Ship.quick(self)\n\nSame line.\n\n"
        "## fleet.ship.sink()\n\nää\n"
    )
    assert "class Inner:\n        ...\n" in code.text
    assert "def quick(self): ...\n" in code.text
    assert '"""Private."""' in code.text
    assert '"Not moved."; return 1' in code.text
    assert "# A comment that stays." in code.text
    assert "Floats" not in code.text
    assert bare(code.text) == bare(MODULE)


def test_a_package_is_called_by_its_folder_and_broken_modules_stay_whole() -> None:
    assert documents('"""Doc."""\n', "json/__init__.py")[0].text == "# json\n\nDoc.\n"
    (only,) = documents("def broken(:\n", "bad.py")
    assert (only.text, only.kind) == ("def broken(:\n", "code")


def test_a_text_after_a_docstring_does_not_become_one() -> None:
    text = 'def f():\n    """Doc."""\n    "a plain expression"\n    return 1\n'
    (code,) = documents(text)
    assert code.text == text


def check(file: SourceFile) -> None:
    """The source still parses to the same tree, and every docstring of its page left it."""
    data = file.location.read_bytes()
    found = list(module_documents(data, file.path))
    if not found or found[-1].kind != "code":
        return
    original = ast.parse(data)
    assert bare(found[-1].text) == bare(original), file.path
    if len(found) == 2 and (doc := ast.get_docstring(original)):
        assert inspect.cleandoc(doc) in found[0].text
        assert ast.get_docstring(ast.parse(found[1].text)) is None


def modules() -> list[SourceFile]:
    return list(source_files(STDLIB))


def test_modules_keep_their_tree() -> None:
    for file in modules()[::12]:
        check(file)


@pytest.mark.slow
def test_every_module_keeps_its_tree() -> None:
    for file in modules():
        check(file)


def test_tests_and_installed_packages_are_left_out() -> None:
    paths = {file.path for file in modules()}
    assert {"json/encoder.py", "os.py", "asyncio/tasks.py", "encodings/utf_8.py"} <= paths
    assert not [path for path in paths if {"test", "tests", "site-packages"} & set(path.split("/"))]
    assert not [path for path in paths if "_sysconfigdata" in path]
    assert "encodings/cp1252.py" not in paths
    assert 400 < len(paths) < 1000


def bare(source: str | ast.Module) -> str:
    """A tree without any docstring; an empty body is an ellipsis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source) if isinstance(source, str) else source
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Module)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:]
            if not isinstance(node, ast.Module):
                node.body = node.body or [ast.Expr(ast.Constant(...))]
    return ast.dump(tree)
