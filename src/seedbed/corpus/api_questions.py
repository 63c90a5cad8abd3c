"""Questions about documented code, from the Markdown pages that docstrings become.

A page is ``# module``, its docstring, then ``## module.Object.method(self, a, b=1)`` with a docstring each. Asked are
purpose, signature, parameters, usage (doctest examples) and where a name is defined. Left out: return types and raised
exceptions, for docstrings say them in no form that can be told from other prose.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from seedbed.corpus.answers import Pair, fraction, phrased, shortened
from seedbed.documents.headings import markdown_headings, sections

_TITLE = re.compile(r"# ([A-Za-z_]\w*(?:\.\w+)*)\s*\n")
_CALL_FORM = re.compile(r"[\w.]+\(.*\)(?:\s*(?:->|--|=).*)?$", re.DOTALL)
_EXAMPLE_CHARACTERS = 320

_MODULE = ("What is the module `{subject}` for?", "What does the module `{subject}` do?")
_CLASS = ("What is `{subject}`?", "What is the class `{subject}` for?")
_FUNCTION = ("What does `{subject}` do?", "What is `{subject}` for?", "Explain `{subject}`.")
_SIGNATURE = ("What is the signature of `{subject}`?", "How is `{subject}` called?")
_FOLLOW_UP = "And what is the signature of `{subject}`?"
_PARAMETERS = ("Which parameters does `{subject}` take?", "What are the parameters of `{subject}`?")
_USAGE = ("Show an example of `{subject}`.", "How do I use `{subject}`?")
_DEFINED = "Which module defines `{subject}`?"


@dataclass(frozen=True)
class ApiEntry:
    """One documented name; ``arguments`` is None for modules and classes."""

    name: str
    arguments: str | None
    text: str


def is_api_page(text: str, path: str) -> bool:
    """Return whether a text is an API page: its title is a module, and it is marked so or has a heading in it."""
    title = _TITLE.match(text)
    return title is not None and (path.endswith("#docs") or f"\n## {title.group(1)}." in text)


def api_conversations(text: str, limit: int, follow_up_share: float) -> Iterator[tuple[Pair, ...]]:
    """Yield conversations about a page; in some of them a question on the purpose is followed by one on the signature.

    ``limit``: characters of an answer; ``follow_up_share``: of functions, those that are asked about in two turns.
    """
    module, *entries = _entries(text)
    if answer := _first_paragraph(module.text, limit):
        yield (Pair("module", phrased(_MODULE, module.name), answer),)
    yield from _usage(module)
    for entry in entries:
        yield from _about(entry, module.name, limit, follow_up_share)


def _about(entry: ApiEntry, module: str, limit: int, follow_up_share: float) -> Iterator[tuple[Pair, ...]]:
    purpose = _purpose(entry, limit)
    calls = [] if entry.arguments is None else _calls(entry, limit)
    if purpose and calls and fraction(f"follow-up {entry.name}") < follow_up_share:
        asked = Pair("signature", _FOLLOW_UP.format(subject=entry.name), calls[0].answer)
        yield purpose, asked
        calls = calls[1:]
    elif purpose:
        yield (purpose,)
    for pair in calls:
        yield (pair,)
    yield from _usage(entry)
    local = entry.name.removeprefix(f"{module}.")
    if "." not in local:
        yield (Pair("defined", _DEFINED.format(subject=local), f"`{local}` is defined in the module `{module}`."),)


def _entries(text: str) -> list[ApiEntry]:
    """Return the module first, then every heading for a name in it; others belong to the docstring they stand in."""
    title, *others = markdown_headings(text)
    documented = re.compile(rf"({re.escape(title.text)}\.[\w.]+)(?:\((.*)\))?")
    named = [one for one in others if one.level == 2 and documented.fullmatch(one.text)]
    _, (module, about), *found = sections(text, [title, *named])
    entries = [ApiEntry(module, None, about)]
    for name, body in found:
        if match := documented.fullmatch(name):
            entries.append(ApiEntry(match[1], match[2], body))
    return entries


def _purpose(entry: ApiEntry, limit: int) -> Pair | None:
    answer = _first_paragraph(entry.text, limit)
    forms = _CLASS if entry.arguments is None else _FUNCTION
    return Pair("purpose", phrased(forms, entry.name), answer) if answer else None


def _first_paragraph(text: str, limit: int) -> str:
    """Return the first paragraph that is prose: not an example, not a call form, not an underlined title."""
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        block = paragraph.strip()
        lines = block.splitlines()
        underlined = len(lines) == 2 and re.fullmatch(r"[=\-~]{3,}", lines[1].strip())
        if block and not block.startswith(">>>") and not underlined and not _CALL_FORM.match(block):
            return shortened(block, limit)
    return ""


def _calls(entry: ApiEntry, limit: int) -> list[Pair]:
    """Return signature and parameters; nothing where the heading cannot be read as Python."""
    try:
        tree = ast.parse(f"def f({entry.arguments}): ...")
    except SyntaxError:
        return []
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    arguments = definition.args
    _drop_receiver(arguments)
    call = f"`{entry.name}({ast.unparse(arguments)})`"
    pairs = [Pair("signature", phrased(_SIGNATURE, entry.name), call)]
    names = _names(arguments)
    if names:
        listed = f"`{entry.name}` takes {_listed(names)}."
        pairs.append(Pair("parameters", phrased(_PARAMETERS, entry.name), listed))
    return [pair for pair in pairs if len(pair.answer) <= limit]


def _drop_receiver(arguments: ast.arguments) -> None:
    """Take out ``self`` or ``cls``: the caller does not write it."""
    for group in (arguments.posonlyargs, arguments.args):
        if group:
            if group[0].arg in ("self", "cls"):
                del group[0]
            return


def _names(arguments: ast.arguments) -> list[str]:
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    starred = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    keywords = [argument.arg for argument in arguments.kwonlyargs]
    return [*positional, *starred, *keywords, *([f"**{arguments.kwarg.arg}"] if arguments.kwarg else [])]


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _usage(entry: ApiEntry) -> Iterator[tuple[Pair, ...]]:
    """Yield the first doctest example, up to a blank line."""
    example: list[str] = []
    for line in entry.text.splitlines():
        if example and (not line.strip() or sum(map(len, example)) + len(line) > _EXAMPLE_CHARACTERS):
            break
        if example or line.lstrip().startswith(">>>"):
            example.append(line.strip() if not example else line)
    if example:
        indent = min(len(line) - len(line.lstrip()) for line in example[1:]) if example[1:] else 0
        code = "\n".join([example[0], *(line[indent:] for line in example[1:])])
        yield (Pair("usage", phrased(_USAGE, entry.name), f"```python\n{code}\n```"),)
