"""`seedbed runs`: list, show and compare training runs, finished and unfinished; and traces of chats and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from seedbed.chat.trace_log import LoggedSpan, TraceLog
from seedbed.cli import options
from seedbed.cli.common import cell, plain_line, print_json, print_list, print_table
from seedbed.cli.library import add_verbs
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.terminal import echo
from seedbed.core.units import iso_time

BARS = "▁▂▃▄▅▆▇█"


@options.group("runs")
def runs_command() -> None:
    """List, show, compare and remove training runs; show traces of chats and answers.

    $ seedbed runs ls
    $ seedbed runs compare quickstart-pretrain-run other-base-run
    $ seedbed runs traces
    """


@runs_command.command("ls")
@options.common_flags
def list_runs(as_json: bool) -> None:
    """List finished runs, and unfinished ones with their last checkpoint.

    $ seedbed runs ls
    """
    from seedbed.pipeline.workspace import unfinished

    library = Library()
    rows = [_row(run, library) for run in library.all("run")]
    for work in unfinished(library):
        stage, step = work.step
        state = f"stopped at step {step} of {stage}" if stage else "stopped before training"
        rows.append({"name": work.folder.name, "stage": stage, "state": state, "started": work.started})
    print_list(rows, ("name", "stage", "steps", "tokens", "seconds", "valid_loss", "state"), as_json)


@runs_command.command("show")
@options.stored("name", "run")
@options.common_flags
def show_run(name: str, as_json: bool) -> None:
    """Show a run: its figures, its loss curve, its recipe.

    $ seedbed runs show quickstart-pretrain-run
    """
    from seedbed.train.metrics import read_metrics

    library = Library()
    run = library.get(name, "run")
    metrics = read_metrics(run.file("metrics.jsonl"))
    if as_json:
        print_json(_row(run, library) | {"metrics": metrics, "config": run.manifest.config})
        return
    print_table(["figure", "value"], [[key, cell(key, value)] for key, value in _row(run, library).items()])
    for title, key in (("training loss", "loss"), ("validation loss", "valid_loss"), ("tokens/s", "tokens_per_second")):
        values = [line[key] for line in metrics if key in line]
        if values:
            echo(f"\n{title}: {values[0]:,.3f} → {values[-1]:,.3f}\n{sparkline(values)}")


@runs_command.command("compare")
@options.stored("names", "run", nargs=-1, required=True)
@options.common_flags
def compare_runs(names: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: figures side by side, and the settings in which they differ.

    $ seedbed runs compare quickstart-pretrain-run other-base-run
    """
    from seedbed.pipeline.recipe import differences, flat

    library = Library()
    runs = [library.get(name, "run") for name in names]
    rows = [_row(run, library) for run in runs]
    recipes = [dict(run.manifest.config.get("recipe", {})) for run in runs]
    changed = sorted({key for recipe in recipes[1:] for key in differences(recipes[0], recipe)})
    settings = [{key: flat(recipe).get(key) for key in changed} for recipe in recipes]
    if as_json:
        print_json([row | {"differs": setting} for row, setting in zip(rows, settings, strict=True)])
        return
    keys = ["stage", "steps", "tokens", "seconds", "valid_loss"]
    table = [[key, *(cell(key, row.get(key)) for row in rows)] for key in keys]
    table += [[key, *(cell(key, setting[key]) for setting in settings)] for key in changed]
    print_table(["", *names], table)


@runs_command.command("traces")
@click.argument("identity", metavar="[ID]", required=False)
@options.limit(20, "Traces listed.", 100_000)
@options.common_flags
def show_traces(identity: str | None, limit: int, as_json: bool) -> None:
    """List the latest traces, or show one as a tree. `--trace` of chat and ask makes them.

    $ seedbed runs traces
    $ seedbed runs traces 3f2a
    """
    with TraceLog.of(Library()) as log:
        spans = log.latest(limit) if identity is None else log.tree(identity)
    if as_json:
        print_json([_to_json(one) for one in spans])
    elif identity is None:
        headers = ["time", "name", "seconds", "read", "written", "status", "id"]
        rows = [[iso_time(one.started), _plain(one.name), *_cost(one), one.status, one.id[:8]] for one in spans]
        print_table(headers, rows, right=(2, 3, 4))
    else:
        shown = [(f"{'  ' * depth}{one.what} {_plain(one.name)}", one) for depth, one in _tree(spans)]
        rows = [[name, *_cost(one), _told(one)] for name, one in shown]
        print_table(["what", "seconds", "read", "written", ""], rows, right=(1, 2, 3))


add_verbs(runs_command, "run", ls=False)


def sparkline(values: list[float], width: int = 60) -> str:
    """Draw a curve in one line of text: averages over ``width`` stretches, lowest to highest bar."""
    size = max(1, -(-len(values) // width))
    means = [sum(values[at : at + size]) / len(values[at : at + size]) for at in range(0, len(values), size)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def _row(run: Artifact, library: Library) -> dict[str, Any]:
    names = library.names_of(run) or [run.id[:12]]
    stage = run.manifest.config.get("stage", "")
    facts = {"created": run.manifest.created, "bytes": run.size, **run.manifest.metrics}
    return {"name": names[0], "stage": stage, **facts, "state": "finished", "id": run.id}


def _tree(spans: Sequence[LoggedSpan]) -> Iterator[tuple[int, LoggedSpan]]:
    """Yield each span before its parts, with its depth; one without its parent is a root."""
    known, parts = {one.id for one in spans}, dict[str | None, list[LoggedSpan]]()
    for one in spans:
        parts.setdefault(one.parent if one.parent in known else None, []).append(one)
    waiting = [(0, one) for one in reversed(parts.get(None, []))]
    while waiting:
        depth, one = waiting.pop()
        yield depth, one
        waiting += [(depth + 1, part) for part in reversed(parts.get(one.id, []))]


def _plain(text: str) -> str:
    """Return one line without unprintable characters, which could steer a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in plain_line(text))


def _told(one: LoggedSpan) -> str:
    pairs = [*one.data.items(), *one.result.items()]  # contents may be in both
    told = [f"{name}={value}" for name, value in pairs if not name.endswith("_tokens")]
    status = [] if one.status == "ok" else [f"{one.status}: {one.error}" if one.error else one.status]
    return _plain(" ".join([*status, *told]))


def _to_json(one: LoggedSpan) -> dict[str, Any]:
    ended = "" if one.ended is None else iso_time(one.ended)
    return {**asdict(one), "started": iso_time(one.started), "seconds": one.seconds, "ended": ended}


def _cost(one: LoggedSpan) -> list[str]:
    """Return the cells of seconds and of tokens read and written."""
    tokens = [f"{count:,}" if count else "" for count in (one.prompt_tokens, one.completion_tokens)]
    return ["" if one.seconds is None else f"{one.seconds:.3f}", *tokens]
