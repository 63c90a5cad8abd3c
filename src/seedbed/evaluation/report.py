"""``report.html``: everything about one evaluation on one self-contained page.

Text of models and corpora is not trusted: the template escapes everything, the page has no script, and its content
security policy lets nothing be loaded. Charts are in ``charts.py``, the page itself in ``report.html.jinja``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from seedbed.core import files
from seedbed.core.lineage import Relative
from seedbed.evaluation.charts import Bar, Series, bar_chart, line_chart
from seedbed.evaluation.golden import Bought
from seedbed.evaluation.table import Line

TEMPLATE, COMPARISON = "report.html.jinja", "bought.html.jinja"
CURVES = (
    ("Loss (nats per token)", {"loss": "train", "valid_loss": "valid"}),
    ("Learning rate", {"lr": "learning rate"}),
    ("Tokens per second", {"tokens_per_second": "tokens per second"}),
)
"""Each chart of a run: its title, and the fields of metrics.jsonl it draws with their names."""


@dataclass(frozen=True)
class Sample:
    """A prompt and the model's continuation; ``expected`` is the answer of a held-out question."""

    prompt: str
    text: str
    expected: str = ""


@dataclass(frozen=True)
class Report:
    """The content of the page. Empty parts are left out of it."""

    title: str
    lines: Sequence[Line]
    measured: str  # one sentence: what was measured on how much text
    remarks: Sequence[str] = ()
    runs: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = ()  # names, and the lines of their metrics.jsonl
    samples: Sequence[Sample] = ()
    questions: Sequence[Sample] = ()
    lineage: Relative | None = None
    corpus: Mapping[str, str] | None = None
    machine: Mapping[str, str] | None = None
    command: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write the page; CapacityError where the disk is full, and an older page is untouched."""
    bars = [Bar(line.name, line.bits_per_byte, line.role == "model") for line in report.lines]
    page = _template(TEMPLATE).render(
        report=report,
        model=next(line for line in report.lines if line.role == "model"),
        kinds=sorted({kind for line in report.lines for kind in line.by_kind}),
        bars=bar_chart("Bits per byte (shorter is better)", bars),
        runs=[(name, run_charts(metrics)) for name, metrics in report.runs],
    )
    files.write_text(path, page)


def with_comparison(
    page: str, headers: Sequence[str], rows: Sequence[Sequence[str]], bought: Sequence[Bought], remark: str
) -> str:
    """Return a page of :func:`write_report` with the table of golden questions before everything else."""
    table = _template(COMPARISON).render(headers=headers, rows=rows, bought=bought, remark=remark)
    before, mark, after = page.partition("<h2>")
    return before + table + mark + after


def _template(name: str) -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    return Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template(name)


def run_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Draw loss, learning rate and speed over the tokens seen; over steps where the tokens are not known."""
    tokens = {record["step"]: record["tokens"] for record in metrics if "step" in record and "tokens" in record}
    x_label = "tokens seen" if tokens else "steps"

    def place(record: Mapping[str, Any]) -> float:
        step = record.get("step", 0)
        return float(tokens.get(step, record.get("tokens", "nan")) if tokens else step)

    charts = []
    for title, fields in CURVES:
        series = [
            Series(name, [(place(record), float(record[field])) for record in metrics if record.get(field) is not None])
            for field, name in fields.items()
        ]
        charts.append(line_chart(title, x_label, series))
    return [chart for chart in charts if chart]
