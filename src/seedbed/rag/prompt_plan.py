"""Prompts that fit: counted by the model's own tokenizer, within its own window, with room for the reply.

Passages are taken whole, in order, as long as the prompt fits; the first that does not is cut at the end of a sentence
(of a word, if it is the only passage and its first sentence is too long). The rest is reported, never dropped silently:
a chain that can show it in another prompt does. Every prompt is counted whole, as the model's template renders it;
counts of parts are never added.

A document may say anything, also text that looks like an instruction or like the end of its own block. Nothing makes a
model immune to that, so a passage stands in the user's message and never in the system's, its block is labelled, and
the marks of blocks, inside a passage or a label, lose their bracket. Braces in a passage stay text because templates
insert values once (``chat.prompts``), and special tokens because the tokenizer reads contents as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel
from seedbed.chat.prompts import Prompt
from seedbed.core.errors import CapacityError
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import sentence_spans
from seedbed.documents.text_spans import most
from seedbed.rag.passages import Passage

Template = Sequence[Message]
"""Messages with ``{names}`` in their contents, which :func:`fill` replaces."""
Show = Callable[[Passage], str]
"""A function that writes a passage into a prompt."""
REPLY_TOKENS = 256
"""Tokens of a reply unless ``max_tokens`` says otherwise."""


def _anything(passages: Sequence[Passage]) -> bool:
    return True


@dataclass(frozen=True)
class PromptLimits:
    """A limit of a prompt's ``tokens`` beside the window (0: none), and a condition on its passages."""

    tokens: int = 0
    allow: Callable[[Sequence[Passage]], bool] = _anything


WINDOW = PromptLimits()
"""No limit but the window's."""
_prompt = lru_cache(maxsize=64)(Prompt)
_MARK = re.compile(r"<(?=\s*/?\s*passage)", re.IGNORECASE)
_HARMLESS = "‹"  # U+2039: reads like the bracket, and opens no block
_NOT_IN_LABELS = re.compile(r"[\s<>\u2028\u2029\x00-\x1f\x7f]+")
_LABEL = 80
"""Characters of a label; a heading can be a whole sentence."""


@dataclass(frozen=True)
class PromptPlan:
    """A prompt that fits.

    Attributes:
        shown: the passages in it; the last one may be cut.
        left: the passages without room, and the rest of the one that was cut.
        room: tokens for the reply.
    """

    messages: list[Message]
    shown: tuple[Passage, ...]
    left: tuple[Passage, ...]
    room: int


def quoted(passage: Passage) -> str:
    """Write a passage as a labelled block that its text cannot close."""
    text = _MARK.sub(_HARMLESS, passage.text)
    return f"<passage {passage.number}: {label(passage.chunk)}>\n{text}\n</passage>"


def label(chunk: Chunk) -> str:
    """Return the origin of a chunk in one short line: the file's name, the page, the heading."""
    name = re.split(r"[\\/]", chunk.source.rstrip("\\/"))[-1]
    page = f", page {chunk.page}" if chunk.page is not None else ""
    heading = f", {chunk.heading}" if chunk.heading else ""
    # a heading's path reads "Install > On Linux": the bracket that would end the mark becomes a slash
    line = " ".join(_NOT_IN_LABELS.sub(" ", f"{name}{page}{heading}".replace(" > ", " / ")).split())
    return line if len(line) <= _LABEL else line[: _LABEL - 1] + "…"


def fill(template: Template, **values: str) -> list[Message]:
    """Return the messages with every ``{name}`` replaced, once: braces in a value stay text.

    Raises UsageError: a name in the template has no value.
    """
    prompts = [_prompt(message.text) for message in template]
    contents = [one.fill(**{name: values[name] for name in one.names if name in values}) for one in prompts]
    return [Message(message.role, content) for message, content in zip(template, contents, strict=True)]


def write(template: Template, passages: Sequence[Passage], show: Show, **values: str) -> list[Message]:
    """Fill a template whose ``{context}`` are passages."""
    return fill(template, context="\n\n".join(map(show, passages)), **values)


def label_of(name: str, template: Template) -> str:
    """Return a label of the template for traces, by a hash of its words."""
    return Prompt("\n".join(message.text for message in template), name).label


def room_for_reply(model: ChatModel, max_tokens: int | None, share: int = 4) -> int:
    """Return the tokens left free for the reply: ``max_tokens``, but at most one part of ``share`` of the window."""
    return max(1, min(max_tokens or REPLY_TOKENS, model.context_window // share))


def fit(
    model: ChatModel,
    template: Template,
    passages: Sequence[Passage],
    room: int,
    show: Show = quoted,
    limits: PromptLimits = WINDOW,
    **values: str,
) -> PromptPlan:
    """Plan a prompt with as many passages in ``{context}`` as the window holds beside the reply.

    Args:
        passages: the most important first.
        limits: others than the window's.
        values: replace the template's other names.

    Raises CapacityError: the question alone, or with the first words of a passage, does not fit.
    """

    def count(some: Sequence[Passage]) -> int:
        return model.count_prompt(write(template, some, show, **values))

    allowed = min(model.context_window - room, limits.tokens or model.context_window)

    def fits(some: Sequence[Passage]) -> bool:
        return count(some) <= allowed and limits.allow(some)

    whole = most(len(passages), lambda number: fits(passages[:number]))
    if whole is None:
        raise _too_long(count(()), allowed, model.context_window)
    shown, left = list(passages[:whole]), list(passages[whole:])
    if left:
        kept = _cut(left[0], lambda part: fits([*shown, part]), whole == 0)
        if kept is not None:
            shown.append(kept)
            left[:1] = _rest(left[0], kept.end)
        elif not shown:
            raise _too_long(count(()), allowed, model.context_window)
    return PromptPlan(write(template, shown, show, **values), tuple(shown), tuple(left), room)


def shorten(model: ChatModel, text: str, limit: int) -> str:
    """Return the text's first sentences (or words) that have at most ``limit`` tokens."""
    if model.count_tokens(text) <= limit:
        return text
    kinds = ([end for _, end in sentence_spans(text)], _word_ends(text))
    return text[: _last(kinds, lambda stop: model.count_tokens(text[:stop]) <= limit)]


def _cut(passage: Passage, fits: Callable[[Passage], bool], must: bool) -> Passage | None:
    """Return the longest beginning that fits and ends a sentence; a word or character if there ``must`` be one."""
    kinds: list[Sequence[int]] = [[end for _, end in sentence_spans(passage.text)][:-1]]
    if must:
        kinds += [_word_ends(passage.text), range(1, len(passage.text))]
    end = _last(kinds, lambda stop: fits(replace(passage, end=passage.start + stop)))
    return replace(passage, end=passage.start + end) if end else None


def _rest(passage: Passage, start: int) -> list[Passage]:
    """Return the rest after the part that was shown, without white space before it."""
    rest = passage.chunk.text[start : passage.end]
    return [replace(passage, start=passage.end - len(rest.lstrip()))] if rest.strip() else []


def _word_ends(text: str) -> list[int]:
    return [word.end() for word in re.finditer(r"\S+", text)]


def _last(kinds: Iterable[Sequence[int]], fits: Callable[[int], bool]) -> int:
    """Return the last stop that fits, of the first kind of stops of which one does; else 0."""

    def fitting(stops: Sequence[int]) -> int:
        found = most(len(stops), lambda number: number == 0 or fits(stops[number - 1]))
        return stops[found - 1] if found else 0

    return next(filter(None, map(fitting, kinds)), 0)


def _too_long(tokens: int, allowed: int, window: int) -> CapacityError:
    return CapacityError(
        f"the question leaves no room for a passage: the prompt has {tokens} tokens without one, {allowed} are allowed",
        why=f"the model's window holds {window} tokens, and the reply needs some of them",
        fix="ask in fewer words, lower max_tokens, give a shorter prompt, or use a model with a longer window",
    )
