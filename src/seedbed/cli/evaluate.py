"""`seedbed eval`: bits per byte of a model beside baselines, and the report."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import copy_report, print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say


@click.command("eval")
@options.model
@click.argument("text", type=options.PATH, required=False)
@options.output("Write the report to this HTML file as well.")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="Compute the baselines' rows.")
@options.common_flags
def eval_command(model: str, text: Path | None, output: Path | None, baselines: bool, as_json: bool) -> None:
    """Measure bits per byte on held-out text beside baselines, and write a report.

    That text is the test split of the corpus that MODEL was trained on. A model from elsewhere is measured on TEXT, a
    file or folder: the figure alone, without report, as baselines need a text to learn from.

    $ seedbed eval quickstart --output report.html
    $ seedbed eval smollm2 notes.txt
    """
    if text is not None:
        _measure(model, text, output, as_json)
        return
    from seedbed.evaluation.evaluate import REPORT, RESULTS, evaluate_model

    library = Library()
    command = shlex.join(["seedbed", "eval", model, *([] if baselines else ["--no-baselines"])])
    evaluation = evaluate_model(library.get(model, "model"), library, baselines=baselines, command=command)
    results = json.loads(evaluation.file(RESULTS).read_text(encoding="utf-8"))
    report = evaluation.file(REPORT)
    if output is not None:
        copy_report(report, output)
    if as_json:
        print_json({**results, "evaluation": evaluation.id, "report": str(output or report)})
    else:
        _print(results)
    say(f"report: {output or report}")


def _measure(model: str, text: Path, output: Path | None, as_json: bool) -> None:
    """Measure a model on a text of the user's."""
    if output is not None:
        why = "a report compares a model with what its own corpus teaches"
        raise UsageError("--output does not fit a text of your own", why=why, fix="leave it out; --json prints all")
    from seedbed.evaluation.own_text import measure_own_text
    from seedbed.models.store import load_model

    artifact = Library().get(model, "model")
    found = measure_own_text(load_model(artifact), text)
    if as_json:
        print_json({"model": artifact.id, "text": str(text), **vars(found)})
        return
    error = found.standard_error and 1.96 * found.standard_error
    row = [model, _number(found.bits_per_byte), _number(error), f"windows of {found.context} tokens"]
    print_table(["method", "bits per byte", "± 95 %", "how"], [row], right=(1, 2))
    say(f"{found.documents:,} documents, {found.bytes:,} bytes, {found.tokens:,} predicted tokens")
    if not found.lossless:
        say("this tokenizer cannot spell every text, and what it drops costs nothing: the figure flatters the model")


def _print(results: dict[str, Any]) -> None:
    kinds = sorted({kind for line in results["table"] for kind in line["by_kind"]})
    headers = ["method", "bits per byte", "model saves", "± 95 %", *kinds, "how"]
    rows = [
        [
            line["name"],
            _number(line["bits_per_byte"]),
            _number(line["saved"], "+.3f"),
            _number(line["saved_error"] and 1.96 * line["saved_error"]),
            *(_number(line["by_kind"].get(kind)) for kind in kinds),
            line["note"],
        ]
        for line in results["table"]
    ]
    print_table(headers, rows, right=tuple(range(1, len(headers) - 1)))


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else format(value, form)
