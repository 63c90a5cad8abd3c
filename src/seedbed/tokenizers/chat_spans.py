"""Attribution: the message that each part of a rendered chat is from, and the parts that an assistant wrote.

To find contents in a rendered chat, they are put between marks, characters that occur nowhere else, and rendered again:
so a special token spelled in a content can be told from one the template wrote, and the loss mask needs no guess. Where
a template does not print a content whole (it trims it, or drops the reasoning of earlier turns), each run of words
between the texts that it looks for has marks of its own, and what stands between two runs belongs to the message too. A
template that changes contents in other ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.tokenizers.chat_template import read_texts, render

Messages = Sequence[Mapping[str, Any]]
_PRIVATE = range(0xF0000, 0xFFFFE)  # supplementary private use area A: no text means anything by it
_WRITER, _UNLEARNED = "assistant", "assistant, not learned"
_WRITERS = (_WRITER, _UNLEARNED)
_ROLE = re.compile(r"[A-Za-z][A-Za-z_-]*")


@dataclass(frozen=True)
class MessageSpan:
    """A run of rendered text; ``role`` is that of the message it is the content of, or "" for the template's own.

    An assistant's message of ``weight`` 0 has a role of its own here.
    """

    text: str
    role: str = ""


@dataclass
class Segment:
    """Text that is cut into tokens on its own; ``written`` by an assistant; or the name of one ``special`` token.

    ``learned``: what is written is an example to learn from.
    """

    text: str
    special: bool = False
    written: bool = False
    learned: bool = True


class RewrittenContents(UsageError):
    """A template changes contents, so that nothing can tell whose words are whose."""


def render_spans(source: str, messages: Messages, **variables: object) -> list[MessageSpan]:
    """Render a chat and cut it where contents begin and end.

    Raises UsageError where a message lacks role or content, or the template fails; RewrittenContents where it changes
    what messages say.
    """
    for position, message in enumerate(messages):
        _check(message, position)
    plain = render(source, messages, **variables)
    marks = _marks(source, messages)
    for parts in (_whole(messages), _runs(source, messages)):
        contents = [_marked(position, part, *marks) for position, part in enumerate(parts)]
        marked = [{**one, "content": content} for one, content in zip(messages, contents, strict=True)]
        spans = list(_cut(render(source, marked, **variables), messages, parts, *marks))
        if "".join(span.text for span in spans) == plain:
            return spans
    raise RewrittenContents(
        "the chat template rewrites the contents of messages",
        why="what a message says cannot be found again in the rendered text, so nothing can tell whose words they are",
        fix="use a template that prints each message['content'] as it is, trimmed, or without its reasoning",
    )


def generation_header(source: str, **variables: object) -> str:
    """Return what a template writes before a reply, "" where it has nothing to write."""
    try:
        chats = [render(source, _PROBE[:1], add_generation_prompt=asked, **variables) for asked in (False, True)]
    except UsageError:
        return ""
    return chats[1].removeprefix(chats[0]) if chats[1].startswith(chats[0]) else ""


_PROBE = tuple({"role": role, "content": "a"} for role in ("user", _WRITER, "user", _WRITER))


def turn_text(source: str, **variables: object) -> str:
    """Return all that a template writes around contents in a plain chat, with a system's where it takes one."""
    system = {"role": "system", "content": "a"}
    for messages in ([system, *_PROBE], _PROBE):
        try:
            spans = render_spans(source, messages, **variables)
        except UsageError:
            continue
        return "\n".join(span.text for span in spans if not span.role)
    return ""


def segments(spans: Sequence[MessageSpan], tokens: re.Pattern[str], header: str = "") -> list[Segment]:
    """Cut a rendered chat at the template's tokens and around what an assistant wrote.

    Args:
        spans: the chat, as :func:`render_spans` gives it.
        tokens: finds the template's own tokens in its text, one group.
        header: written before a reply; what stands between it and an assistant's content counts as written too, and
            so does what the template puts after one, up to the token that ends the turn: else no model learns to stop.
    """
    found: list[Segment] = []
    for span, following in zip(spans, [*spans[1:], MessageSpan("")], strict=True):
        if span.role:
            _append(found, span.text, span.role in _WRITERS, span.role != _UNLEARNED)
            continue
        place = span.text.rfind(header) if header and following.role in _WRITERS else -1
        cut = len(span.text) if place < 0 else place + len(header)
        _append_template(found, span.text[:cut], tokens)
        _append_template(found, span.text[cut:], tokens, written=True, learned=following.role != _UNLEARNED)
    roles = [span.role for span in spans if span.role]
    _write_ends(found, complete=bool(roles) and roles[-1] in _WRITERS)
    return found


def _append(found: list[Segment], text: str, written: bool = False, learned: bool = True) -> None:
    """Add plain text, in one piece with plain text of the same writer before it: both are cut into tokens together."""
    last = found[-1] if found else None
    if last and text and not last.special and (last.written, last.learned) == (written, learned):
        last.text += text
    elif text or written:
        found.append(Segment(text, written=written, learned=learned))


def _append_template(
    found: list[Segment], text: str, tokens: re.Pattern[str], written: bool = False, learned: bool = True
) -> None:
    for position, part in enumerate(tokens.split(text)):
        if position % 2:
            found.append(Segment(part.strip(), special=True, written=written, learned=learned))
        elif part:
            _append(found, part, written, learned)


def _write_ends(found: list[Segment], complete: bool) -> None:
    """Count the ends of turns as written; ``complete``: the last content is an assistant's, and shows how turns end."""
    last = max((place for place, one in enumerate(found) if one.written), default=-1)
    closing = _to_special(found[last + 1 :]) if complete else []
    pairs = enumerate(pairwise(found), 1)
    for place in reversed([place for place, (one, after) in pairs if one.written and not after.written]):
        for segment in _ending(found, place, closing):
            segment.written, segment.learned = True, found[place - 1].learned


def _ending(found: list[Segment], place: int, closing: Sequence[Segment]) -> Sequence[Segment]:
    """Return the segments from a place on that end a turn: those of ``closing``, or a token and the space before it."""
    following = found[place : place + len(closing)]
    if closing and [(one.text, one.special) for one in following] == [(one.text, one.special) for one in closing]:
        return following
    if len(closing) == 1 and not closing[0].special and found[place].text.startswith(closing[0].text):
        end = Segment(closing[0].text)  # it went on without a token to cut at
        found[place].text = found[place].text.removeprefix(end.text)
        found.insert(place, end)
        return [end]
    following = found[place : place + 2]
    blank = not following[0].special and following[0].text.isspace()
    return following[: 1 + blank] if following[: 1 + blank][-1].special else []


def _to_special(following: Sequence[Segment]) -> Sequence[Segment]:
    """Return segments up to the first token of the template's, all of them where there is none."""
    end = next((place for place, one in enumerate(following) if one.special), len(following) - 1)
    return following[: end + 1]


def _whole(messages: Messages) -> list[list[str]]:
    return [["", message["content"], ""] for message in messages]


def _runs(source: str, messages: Messages) -> list[list[str]]:
    """Return each content as gap, run, gap, run … gap: runs of words between texts that the template looks for."""
    sought = sorted(read_texts(source), key=len, reverse=True)
    between = "|".join(map(re.escape, sought)) or r"(?!)"
    cut = re.compile(rf"((?:\s*(?:{between}))+\s*|^\s+|\s+$)")
    return [_without_empty(cut.split(message["content"])) for message in messages]


def _without_empty(parts: Sequence[str]) -> list[str]:
    """Return run, gap, run … run as gap, run … gap, where no run is empty; a content without runs is one gap."""
    found = [""]
    for place, part in enumerate(parts):
        if place % 2 or not part:
            found[-1] += part
        else:
            found += [part, ""]
    return found


def _marked(position: int, parts: Sequence[str], opening: str, closing: str) -> str:
    """Return a content with its runs, ``parts[1::2]``, between marks."""
    return "".join(
        f"{opening}{position}.{place}{opening}{part}{closing}" if place % 2 else part
        for place, part in enumerate(parts)
    )


def _cut(
    text: str, messages: Messages, parts: Sequence[Sequence[str]], opening: str, closing: str
) -> Iterator[MessageSpan]:
    """Yield spans of marked text; what stands between two runs of a message, in their order, is its content too."""
    marks = list(re.finditer(f"{opening}([0-9]+)\\.([0-9]+){opening}([^{closing}]*){closing}", text))
    places = [(int(found[1]), int(found[2])) for found in marks]
    done, before = 0, (-1, -1)
    for found, (position, place) in zip(marks, places, strict=True):
        between = text[done : found.start()]
        done = found.end()
        role = _role(messages[position])
        if before[0] == position and before[1] < place:
            yield from _spans((between, role))
        else:
            after = _gap(parts, before, 1)
            after = after if between.startswith(after) else ""
            ahead = _gap(parts, (position, place), -1)
            rest = between[len(after) :]
            ahead = ahead if rest.endswith(ahead) else ""
            own = rest[: len(rest) - len(ahead)]
            yield from _spans((after, _role(messages[before[0]])), (own, ""), (ahead, role))
        yield MessageSpan(found[3], role)
        before = (position, place)
    rest, after = text[done:], _gap(parts, before, 1)
    after = after if rest.startswith(after) else ""
    yield from _spans((after, _role(messages[before[0]]) if messages else ""), (rest[len(after) :], ""))


def _role(message: Mapping[str, Any]) -> str:
    """Return a message's role, that of replies of weight 0 apart."""
    return _UNLEARNED if message["role"] == _WRITER and message.get("weight") == 0 else str(message["role"])


def _gap(parts: Sequence[Sequence[str]], run: tuple[int, int], side: int) -> str:
    """Return the gap of a content before (-1) or after (1) a run."""
    position, place = run
    return parts[position][place + side] if position >= 0 else ""


def _spans(*given: tuple[str, str]) -> Iterator[MessageSpan]:
    return (MessageSpan(text, role) for text, role in given if text)


def _marks(source: str, messages: Messages) -> tuple[str, str]:
    used = set(source).union(*(message["content"] for message in messages))
    free = list(islice((chr(code) for code in _PRIVATE if chr(code) not in used), 2))
    if len(free) < 2:
        why = f"they hold all {len(_PRIVATE)} characters that could mark where contents begin and end"
        raise UsageError("the messages cannot be encoded", why=why, fix="leave some of these characters out")
    return free[0], free[1]


def _check(message: Mapping[str, Any], position: int) -> None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str) or not _ROLE.fullmatch(role):
        raise UsageError(
            f"message {position + 1} is not a chat message",
            why=f"role is {role!r}, content is {type(content).__name__}",
            fix='give {"role": "user", "content": "…"}: a role in letters, a content that is text',
        )
