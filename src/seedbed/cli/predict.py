"""`seedbed predict`: what a model with a head says of a text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import plain_line, print_json, print_table, read_text
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.inference.predicting import Predictor


@click.command("predict")
@options.model
@click.argument("text")
@click.option("--text-pair", metavar="TEXT", help="The text to find the answer in, or the second text of a pair.")
@options.limit(5, "Predictions shown.")
@options.common_flags
def predict_command(model: str, text: str, text_pair: str | None, limit: int, as_json: bool) -> None:
    """Let MODEL fill in a masked token, classify TEXT, mark names in it, or answer it as a question.

    The model's head decides which of these it does. TEXT or --text-pair may be `-` for standard input. Write a masked
    token as [MASK].

    $ seedbed predict bert "Paris is the [MASK] of France."
    $ seedbed predict sentiment "What a fine day!"
    $ seedbed predict squad "Who was it?" --text-pair - < report.txt
    """
    if text == text_pair == "-":
        raise UsageError("both texts are `-`", why="there is one standard input", fix="give one of them in words")
    artifact = Library().get(model, "model")
    from seedbed.inference.predicting import Predictor
    from seedbed.models.store import load_any

    predictor = Predictor(load_any(artifact))
    second = None if text_pair is None else read_text(text_pair)
    found = _predictions(predictor, read_text(text), second, limit)
    if as_json:
        print_json({"model": artifact.id, "head": predictor.head, "predictions": found})
        return
    rows = [one for part in found for one in part] if predictor.head == "mlm" else found
    if not rows:
        say("nothing found")
        return
    headers = [name for name in rows[0] if name != "token"]
    numbers = tuple(at for at, name in enumerate(headers) if not isinstance(rows[0][name], str))
    values = [[row[name] for name in headers] for row in rows]
    cells = [[f"{one:.4f}" if isinstance(one, float) else plain_line(str(one)) for one in row] for row in values]
    print_table(headers, cells, right=numbers)


def _predictions(predictor: Predictor, text: str, second: str | None, limit: int) -> list[Any]:
    """Return what the head finds as JSON values, best first; for masked tokens a list for each mask."""
    if predictor.head == "span":
        if second is None:
            fix = "give it, or `-` and a pipe"
            raise UsageError("the model answers questions from a text", why="there is no --text-pair", fix=fix)
        spans = [asdict(one) for one in predictor.answer(text, second, limit)]
        return [{name: value for name, value in span.items() if name != "label"} for span in spans]
    if predictor.head == "sequence":
        return [asdict(one) for one in predictor.classify(text, second)[:limit]]
    if second is not None:
        raise UsageError("the model reads one text", why="--text-pair is a second", fix="leave it out")
    if predictor.head == "token":
        return [asdict(one) for one in predictor.tag(text)]
    masks = predictor.fill(text, limit)
    return [
        [({"mask": place} if len(masks) > 1 else {}) | asdict(one) for one in mask]
        for place, mask in enumerate(masks, start=1)
    ]
