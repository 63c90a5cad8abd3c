"""Questions about prose: what a section says, or, where there are no headings, how a passage goes on.

Headings are Markdown's or reStructuredText's. Left out: anything that would need a model to phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seedbed.corpus.answers import Pair, phrased, sentences, shortened

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(
    r"^(?:#{1,6}[ \t]+(?P<hashed>\S.*?)[ \t]*#*|(?P<underlined>\w.{0,98})\n(?P<line>([=\-~^*])\4{2,}))$", re.MULTILINE
)
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


@dataclass(frozen=True)
class Section:
    """A heading and the text under it, up to the next heading."""

    heading: str
    text: str


def prose_conversations(text: str, limit: int) -> Iterator[tuple[Pair, ...]]:
    """One-turn conversations about a document; passages to continue where sections give fewer than three.

    Args:
        text: the document.
        limit: characters of an answer.
    """
    pairs = list(_section_pairs(text, limit))
    if len(pairs) < _FEW:
        pairs += _continuations(text, limit)
    yield from ((pair,) for pair in pairs)


def _section_pairs(text: str, limit: int) -> Iterator[Pair]:
    found = _sections(text)
    title = found[0].heading if found else ""
    for position, section in enumerate(found):
        answer = _opening(section.text, limit)
        if not answer:
            continue
        if position == 0:
            yield Pair("section", phrased(_TITLE, title), answer)
        else:
            question = phrased(_SECTION, f"{title} {section.heading}", title=title, heading=section.heading)
            yield Pair("section", question, answer)


def _sections(text: str) -> list[Section]:
    text = _FENCE.sub("", text)
    found = [match for match in _HEADING.finditer(text) if _is_heading(match)]
    starts = [match.start() for match in found] + [len(text)]
    return [
        Section(_plain(match["hashed"] or match["underlined"]).rstrip(" .:?"), text[match.end() : stop])
        for match, stop in zip(found, starts[1:], strict=True)
    ]


def _is_heading(match: re.Match[str]) -> bool:
    """An underline is as long as its title; a longer text above a short rule is a paragraph."""
    return match["hashed"] is not None or len(match["line"]) >= len(match["underlined"].rstrip())


def _opening(text: str, limit: int) -> str:
    """The first paragraph that is prose."""
    return next((shortened(paragraph, limit) for paragraph in _paragraphs(text)), "")


def _paragraphs(text: str) -> Iterator[str]:
    for block in re.split(r"\n[ \t]*\n", text):
        if block.strip() and not _NOT_PROSE.match(block.strip("\n")):
            yield _plain(block)


def _plain(text: str) -> str:
    return _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", text)).strip()


def _continuations(text: str, limit: int) -> Iterator[Pair]:
    """From every paragraph of two sentences or more, its first and what follows."""
    for paragraph in _paragraphs(_HEADING.sub("", _FENCE.sub("", text))):
        first, *rest = sentences(paragraph) or [""]
        if rest and len(first) in _SENTENCE:
            yield Pair("continue", f"Continue: {first}", shortened(" ".join(rest[:2]), limit))
