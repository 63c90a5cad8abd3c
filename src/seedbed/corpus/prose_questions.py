"""Questions about prose: the content of a section, or, where there are no headings, the continuation of a passage.

Headings are Markdown's or reStructuredText's. Left out: anything that would need a model to phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from seedbed.corpus.answers import Pair, phrased, shortened
from seedbed.documents.headings import markdown_headings, rst_headings, sections
from seedbed.documents.sentences import sentences

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_NOT_PROSE = re.compile(r"[|>!<\[.]|[-*+] |\d+[.)] |    |\t|:\w+:")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(\*\*|__)(.+?)\1")
_TITLE = ("What is “{subject}” about?", "What does the text “{subject}” say?")
_SECTION = (
    "What does the text say about {heading}?",
    "What does “{title}” say about {heading}?",
    "What can you tell me about {heading} in “{title}”?",
)
_FEW = 3
_SENTENCE = range(30, 220)


def prose_conversations(text: str, path: str, limit: int) -> Iterator[tuple[Pair, ...]]:
    """Yield one-turn conversations about a document; passages to continue where sections give fewer than three.

    The suffix of ``path`` tells Markdown from reStructuredText; ``limit`` is the characters of an answer.
    """
    headings = () if path.endswith(".rst") else markdown_headings(text)
    found = sections(text, headings or rst_headings(text))
    pairs = list(_section_pairs(found[1:], limit))
    if len(pairs) < _FEW:
        pairs += (pair for _, body in found for pair in _continuations(body, limit))
    yield from ((pair,) for pair in pairs)


def _section_pairs(found: Sequence[tuple[str, str]], limit: int) -> Iterator[Pair]:
    title = ""
    for position, (name, body) in enumerate(found):
        heading = _plain(name).rstrip(" .:?")
        title = title if position else heading
        answer = next((shortened(paragraph, limit) for paragraph in _paragraphs(body)), "")
        if not answer:
            continue
        if position == 0:
            yield Pair("section", phrased(_TITLE, title), answer)
        else:
            question = phrased(_SECTION, f"{title} {heading}", title=title, heading=heading)
            yield Pair("section", question, answer)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs that are prose."""
    for block in re.split(r"\n[ \t]*\n", _FENCE.sub("", text)):
        if block.strip() and not _NOT_PROSE.match(block.strip("\n")):
            yield _plain(block)


def _plain(text: str) -> str:
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", text)).strip()


def _continuations(text: str, limit: int) -> Iterator[Pair]:
    """Yield, for every paragraph of two sentences or more, its first and the two after it."""
    for paragraph in _paragraphs(text):
        first, *rest = sentences(" ".join(paragraph.split())) or [""]
        if rest and len(first) in _SENTENCE:
            yield Pair("continue", f"Continue: {first}", shortened(" ".join(rest[:2]), limit))
