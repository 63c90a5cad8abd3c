"""Predictions of a model with a head: masked tokens, classes, marked names or answers, as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.inference.predicting import Predictor
from seedbed.inference.span_decoding import TokenSpan


def predictions(predictor: Predictor, text: str, second: str | None, limit: int) -> list[Any]:
    """Return tables of JSON values, best first; for masked tokens a list of them for each mask.

    Raises:
        UsageError: the head needs a second text, or takes none.
    """
    if predictor.head == "span":
        if second is None:
            raise UsageError(
                "the model answers questions from a text",
                why="there is no --text-pair",
                fix="give it, or `-` and a pipe",
            )
        return [_span(one) for one in predictor.answer(text, second, limit)]
    if predictor.head == "sequence":
        return [asdict(one) for one in predictor.classify(text, second)[:limit]]
    if second is not None:
        raise UsageError("the model reads one text", why="--text-pair is a second", fix="leave it out")
    if predictor.head == "token":
        return [asdict(one) for one in predictor.tag(text)]
    return [
        [({"mask": place} if len(masks) > 1 else {}) | asdict(one) for one in mask]
        for masks in [predictor.fill(text, limit)]
        for place, mask in enumerate(masks, start=1)
    ]


def _span(span: TokenSpan) -> dict[str, Any]:
    return {name: value for name, value in asdict(span).items() if name != "label"}
