"""Spans of a text from scores of its tokens: neighbouring tokens of one class, and the likeliest answers to a question.

A long text is read in overlapping windows. Functions on scores; ``predicting.py`` has the model. Texts are encoded by
the library itself, as others' programs encode for the same models, with the model's own tokens around a text or a pair
of texts, and with the characters that each token stands for. Unlike :meth:`Tokenizer.encode` this needs the library to
normalize too, because only it knows the places of what it changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

import tokenizers
from seedbed.core.errors import CapacityError
from seedbed.tokenizers.plain import encoding_errors
from seedbed.tokenizers.tokenizer import Tokenizer

Forward = Callable[[tokenizers.Encoding], Tensor]
NONE = "O"  # the class of tokens that belong to nothing
_OVERLAP, _ANSWER_WINDOW, _ANSWER_TOKENS = 128, 384, 30
"""Tokens that windows of a long text share, tokens of a window, and of an answer at most (BERT's run_squad.py)."""


Cut = Literal["longest_first", "only_second"]  # the text that loses its end where two are too long together


@dataclass(frozen=True)
class TokenSpan:
    """A part of a text, ``text[start:end]``, and its class ("" for answers)."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Token:
    """A token with its class, its word, and its distance from the window's edges."""

    word: int
    label: str
    score: float
    start: int
    end: int
    margin: int


class Marker:
    """Encodes texts and pairs of them for one model, which reads ``window`` tokens at most."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        table = {**tokenizer.table, "truncation": None, "padding": None}
        self._inner = tokenizers.Tokenizer.from_str(json.dumps(table))
        self.window = window

    def whole(self, text: str, second: str | None = None, *, special: bool = False) -> tokenizers.Encoding:
        """Encode a text, or two, that the model can read at once; ``special`` tokens spelled in it are these tokens.

        Raises CapacityError for one longer than the window, DataError for no Unicode text.
        """
        self._inner.no_truncation()
        found = self._encode(text, second, special)
        if len(found.ids) > self.window:
            what = f"the text has {len(found.ids)} tokens, {self.window} are allowed"
            raise CapacityError(what, why="the model reads no more at once", fix="shorten the text")
        return found

    def windows(
        self, text: str, second: str | None = None, *, overlap: int = 0, cut: Cut = "longest_first", most: int = 1 << 30
    ) -> Iterator[tuple[int, tokenizers.Encoding]]:
        """Encode a text of any length in windows of ``most`` tokens that overlap by ``overlap`` tokens (or fewer).

        Yields the index of a window's first token in the text that goes in windows (of two, the one named by ``cut``),
        and the window. Raises CapacityError where the other text leaves no room, DataError for no Unicode text.
        """
        size = min(most, self.window)
        room = size - self._inner.num_special_tokens_to_add(second is not None)
        if second is not None and cut == "only_second":
            self._inner.no_truncation()
            room -= len(self._encode(text, None, special=False).ids) - self._inner.num_special_tokens_to_add(False)
        if room < 1:
            why = f"the other text fills all {size} tokens"
            raise CapacityError("there is no room for the text", why=why, fix="shorten the other")
        stride = min(overlap, room // 2)
        self._inner.enable_truncation(size, stride=stride, strategy=cut)
        first = self._encode(text, second, special=False)
        return ((number * (room - stride), one) for number, one in enumerate([first, *first.overflowing]))

    def id_of(self, token: str | None) -> int | None:
        """Return the id of a token by its text."""
        found: int | None = self._inner.token_to_id(token) if token else None
        return found

    def _encode(self, text: str, second: str | None, special: bool) -> tokenizers.Encoding:
        self._inner.encode_special_tokens = not special
        with encoding_errors():
            return self._inner.encode(text, second)


def tagged(marker: Marker, forward: Forward, names: Sequence[str], text: str) -> list[TokenSpan]:
    """Return parts of a text with a class: neighbouring words of one class are one part, a B- begins another.

    A word has the class of its first token, as such models are trained. The score is the mean of the words'.

    Args:
        forward: a window to scores (T, labels). names: of the classes.
    """
    parts: list[list[_Token]] = []
    for _, tokens in groupby(_tokens(marker, forward, names, text), key=lambda token: token.word):
        first, *rest = tokens
        word = _Token(first.word, first.label, first.score, first.start, (rest or [first])[-1].end, 0)
        if parts and kind(parts[-1][-1].label) == kind(word.label) and not word.label.startswith("B-"):
            parts[-1].append(word)
        else:
            parts.append([word])
    return [_joined(part, text) for part in parts if part[0].label != NONE]


def answers(marker: Marker, forward: Forward, question: str, text: str, top: int) -> list[TokenSpan]:
    """Return the likeliest answers in a text, best first; see ``Predictor.answer``. ``forward`` gives scores (T, 2)."""
    best: dict[tuple[int, int], float] = {}
    for _, window in marker.windows(question, text, overlap=_OVERLAP, cut="only_second", most=_ANSWER_WINDOW):
        for first, last, score in _pairs(forward(window), window, top):
            place = window.offsets[first][0], window.offsets[last][1]
            best[place] = max(score, best.get(place, 0.0))
    ranked = sorted(best.items(), key=lambda item: -item[1])[:top]
    return [TokenSpan("", score, start, end, text[start:end]) for (start, end), score in ranked]


def kind(label: str) -> str:
    """Return a label without its prefix B- or I-."""
    return label[2:] if label[:2] in ("B-", "I-") else label


def _tokens(marker: Marker, forward: Forward, names: Sequence[str], text: str) -> list[_Token]:
    """Return all tokens of a text, each from the window in which it is farthest from the edges."""
    best: dict[int, _Token] = {}
    for begin, window in marker.windows(text, overlap=min(_OVERLAP, marker.window // 4)):
        scores, labels = forward(window).softmax(-1).max(-1)
        places = [place for place, special in enumerate(window.special_tokens_mask) if not special]
        for at, place in enumerate(places):
            (start, end), word = window.offsets[place], window.word_ids[place]
            label, margin = names[int(labels[place])], min(at, len(places) - 1 - at)
            token = _Token(-1 - begin - at if word is None else word, label, float(scores[place]), start, end, margin)
            if begin + at not in best or best[begin + at].margin < margin:
                best[begin + at] = token
    return [best[index] for index in sorted(best)]


def _joined(words: Sequence[_Token], text: str) -> TokenSpan:
    start, end = words[0].start, words[-1].end
    return TokenSpan(kind(words[0].label), sum(one.score for one in words) / len(words), start, end, text[start:end])


def _pairs(scores: Tensor, window: tokenizers.Encoding, top: int) -> Iterator[tuple[int, int, float]]:
    """Yield first token, last token and score of the best answers in a window; scores (T, 2)."""
    inside = torch.tensor([part == 1 for part in window.sequence_ids])
    seen = inside.clone()
    seen[0] = True
    chances = scores.masked_fill(~seen[:, None], -torch.inf).softmax(0) * inside[:, None]
    joint = torch.outer(chances[:, 0], chances[:, 1]).triu().tril(_ANSWER_TOKENS - 1)  # (T, T): first, last
    found = joint.flatten().topk(min(top, joint.numel()))
    for score, place in zip(found.values.tolist(), found.indices.tolist(), strict=True):
        if score > 0:
            yield (*divmod(place, len(window.ids)), score)
