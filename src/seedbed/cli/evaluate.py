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
from seedbed.core.progress import say


@click.command("eval")
@options.model
@options.output("Write the report to this HTML file as well.")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="Compute the baselines' rows.")
@options.common_flags
def eval_command(model: str, output: Path | None, baselines: bool, as_json: bool) -> None:
    """Measure bits per byte on held-out text beside baselines, and write a report.

    $ seedbed eval quickstart --output report.html
    """
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
