"""The report is one well-formed, self-contained, escaped page; its charts place points where they belong."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from seedbed.core.artifacts import Artifact
from seedbed.core.lineage import Relative
from seedbed.core.manifests import Manifest
from seedbed.evaluation.charts import Bar, Series, bar_chart, line_chart, number, ticks
from seedbed.evaluation.report import Report, Sample, run_charts, write_report
from seedbed.evaluation.table import Line

HOSTILE = "<script>alert('x')</script><img src=https://example.org/a.png onerror=alert(1)> \"' {{ 7 * 7 }} &amp;"
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks that elements nest, and collects elements, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def relative(kind: str, digit: str, names: tuple[str, ...], *parents: Relative, repeated: bool = False) -> Relative:
    manifest = Manifest(kind, digit * 64, "", (), {}, {}, HOSTILE, "", {})
    return Relative(digit * 64, Artifact(Path(digit), manifest), names, parents, repeated)


def make_report() -> Report:
    metrics = [{"step": step, "tokens": 100 * step, "loss": 8 / step, "lr": 0.1, "seconds": 1.0} for step in (1, 2, 3)]
    metrics.append({"step": 2, "valid_loss": 4.5})
    return Report(
        title=HOSTILE,
        lines=[
            Line("this model", "model", 1.25, 0.01, None, None, {"prose": 1.5, HOSTILE: 1.0}, HOSTILE),
            Line(HOSTILE, "baseline", 2.0, None, 0.75, None, {}, "note"),
        ],
        measured=HOSTILE,
        remarks=[HOSTILE],
        runs=[(HOSTILE, metrics), ("empty run", [])],
        samples=[Sample("the prompt", HOSTILE)],
        questions=[Sample(HOSTILE, "answer", HOSTILE)],
        lineage=relative("model", "a", (HOSTILE,), relative("run", "b", (), repeated=True)),
        corpus={HOSTILE: HOSTILE},
        machine={"processor": "one"},
        command=HOSTILE,
    )


def test_the_page_is_well_formed_and_nothing_of_a_text_becomes_markup(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", make_report())
    source = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not {"script", "img", "link", "iframe", "object", "a"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href"}
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert page.text.count(HOSTILE) == 17  # everywhere it was put, and twice each: title, the baseline's name
    assert "url(" not in source
    assert "@import" not in source


def test_the_page_shows_the_figures_and_leaves_out_what_is_empty(tmp_path: Path) -> None:
    write_report(tmp_path / "full.html", make_report())
    full = Page((tmp_path / "full.html").read_text(encoding="utf-8")).text
    for figure in ("1.250 bits per byte ± 0.020", "2.000", "+0.750", "1.500"):
        assert figure in full
    assert "empty run" not in full
    line = Line("this model", "model", 1.25, None, None, None, {}, "")
    write_report(tmp_path / "small.html", Report("small", [line], "measured"))
    small = Page((tmp_path / "small.html").read_text(encoding="utf-8")).text
    for heading in ("Samples", "Held-out questions", "Lineage", "Corpus", "Machine", "Training", "Make it again"):
        assert heading in full
        assert heading not in small


def test_run_charts_place_validation_at_the_tokens_of_its_step() -> None:
    loss = run_charts(make_report().runs[0][1])[0]
    train, valid = (polyline.split() for polyline in re.findall(r'points="([^"]+)"', loss))
    assert len(train) == 3
    assert [point.split(",")[0] for point in valid] == [train[1].split(",")[0]]
    assert "tokens seen" in loss
    assert "steps" in run_charts([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])[0]


def test_a_line_runs_from_edge_to_edge_and_thins_out() -> None:
    points = [(float(x), float(x)) for x in range(4001)] + [(float("nan"), 1.0), (6000.0, float("inf"))]
    chart = line_chart("t", "x", [Series("s", points)])
    drawn = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', chart)[0].split()]
    assert len(drawn) <= 400
    assert drawn[-1] == (408.0, pytest.approx(10.0, abs=0.1))  # the largest x at the right, its y at the top
    assert all(a[0] < b[0] and a[1] >= b[1] for a, b in pairwise(drawn))
    assert line_chart("t", "x", [Series("s", [])]) == ""
    assert line_chart("t", "x", [Series("s", [(1.0, 1.0)])])  # one point, no span


def test_bars_are_in_proportion() -> None:
    chart = bar_chart("t", [Bar("a", 8.0), Bar("b", 2.0, True)])
    assert re.findall(r'class="(bar[^"]*)" x="0" y="\d+" width="([\d.]+)"', chart) == [
        ("bar", "420.0"),
        ("bar chosen", "105.0"),
    ]


def test_ticks_are_round_and_cover_the_range() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.5, 1])
    assert ticks(1.3, 8.4) == pytest.approx([0, 2, 4, 6, 8, 10])
    assert ticks(3, 3) == [3]
    assert [number(value) for value in (0, 0.25, 1500, 2_000_000, 3e-5)] == ["0", "0.25", "1.5k", "2M", "3e-05"]
