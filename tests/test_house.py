"""The rules of the house that no linter holds: no import circle, one name a class, plain docstrings, small files."""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedbed

ROOT = Path(seedbed.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
RIDDLE = re.compile(r"(What|How|Where|Who|Which|Whether)\b")
FORMER = (  # names that the house had for these things before the field's own
    r"\bknobs?\b|\bmarked\.py|\bspans\.py|\bstates\.py|ThreadedGenerator|\badding\.py|\bhighest\.py|\bcoarse\.py"
    r"|\bshelf\b|Shelf|\bshots\.py|\bsettling\b|\bcomparing\.py|\bcut\.py|\banatomy\b|Anatomy|\bbuilding\.py"
    r"|\bvisibility\.py|\brefusals\.py|\bchoosing\.py|\blow_rank\.py|\balphabet\.py"
)


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    return ".".join(("seedbed", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")


def imports(tree: ast.Module, names: set[str]) -> set[str]:
    """The modules of the house that a file imports anywhere in it, type checking and functions included."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in names else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & names


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the import circles: what is left when files without imports, or without importers, are taken away."""
    left = {name: set(targets) - {name} for name, targets in graph.items()}
    while True:
        targets = set().union(*left.values()) if left else set()
        ends = {name for name in left if not left[name] & left.keys() or name not in targets}
        if not ends:
            return [sorted(left)] if left else []
        left = {name: found - ends for name, found in left.items() if name not in ends}


def test_no_import_circles_between_files() -> None:
    names = {module_name(path) for path in SOURCES}
    assert circles({module_name(path): imports(tree, names) for path, tree in TREES.items()}) == []


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_no_class_name_is_defined_twice() -> None:
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module_name(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def docstrings() -> Iterator[tuple[str, str]]:
    """Every docstring with its place, those below constants and fields included."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value.value
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node)
                if text:
                    yield f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}", text


def test_docstrings_begin_plainly() -> None:
    assert [f"{place}: {text.splitlines()[0]}" for place, text in docstrings() if RIDDLE.match(text)] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_hold_one_idea(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400
    assert re.findall(FORMER, text) == []


def test_functions_are_short() -> None:
    lengths = []
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lengths.append(body[-1].end_lineno - body[0].lineno + 1 if body else 0)  # type: ignore[operator]
    assert statistics.median(lengths) <= 8


def test_no_script_or_test_takes_the_name_of_a_module_of_python() -> None:
    """Their folders are import folders, of child processes too: ``encodings.py`` there keeps Python from starting."""
    found = [*(ROOT.parents[1] / "benchmarks").glob("*.py"), *Path(__file__).parent.rglob("*.py")]
    assert found
    assert [path.name for path in found if path.stem in sys.stdlib_module_names] == []


def test_every_dependency_has_both_bounds() -> None:
    project = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [one for one in project["dependencies"] if not re.search(r">=[\d.]+,<\d", one)] == []
