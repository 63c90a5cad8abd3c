"""`seedbed predict`: what a model with a head says of a text."""

from __future__ import annotations

from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import plain_line, print_json, print_table, read_text
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say


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

    \b
    Example:
      seedbed predict bert "Paris is the [MASK] of France."
      seedbed predict sentiment "What a fine day!"
      seedbed predict squad "Who was it?" --text-pair - < report.txt
    """
    if text == text_pair == "-":
        raise UsageError("both texts are `-`", why="there is one standard input", fix="give one of them in words")
    artifact = Library().get(model, "model")
    from seedbed.app.predict import predictions
    from seedbed.inference.predicting import Predictor
    from seedbed.models.store import load_any

    predictor = Predictor(load_any(artifact))
    second = None if text_pair is None else read_text(text_pair)
    found = predictions(predictor, read_text(text), second, limit)
    if as_json:
        print_json({"model": artifact.id, "head": predictor.head, "predictions": found})
        return
    rows = [one for part in found for one in part] if predictor.head == "mlm" else found
    if not rows:
        say("nothing found")
        return
    headers = [name for name in rows[0] if name != "token"]
    numbers = tuple(at for at, name in enumerate(headers) if not isinstance(rows[0][name], str))
    print_table(headers, [[_cell(row[name]) for name in headers] for row in rows], right=numbers)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else plain_line(str(value))
