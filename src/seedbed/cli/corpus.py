"""`seedbed corpus`: build a corpus from folders, globs and files, and look at what was kept, found and left out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.cli.library import add_verbs
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.core.references import check_name
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text
from seedbed.corpus.settings import STDLIB_SOURCE, CorpusSettings, SourceSettings
from seedbed.documents.encoding import describe


@options.group("corpus")
def corpus_command() -> None:
    """Build, list, show and remove corpora, and store pairs of questions and answers.

    $ seedbed corpus build docs notes/*.md --name team
    $ seedbed corpus show team
    """


@corpus_command.command(name="build")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@options.name("Name of the corpus. [default: the first source's]")
@click.option("--licence", "licences", multiple=True, metavar="[SOURCE=]ID", help="Licence of the text (SPDX).")
@click.option("--encoding", "encodings", multiple=True, metavar="[SOURCE=]NAME", help="Encoding of its text files.")
@click.option("--weight", "weights", multiple=True, metavar="SOURCE=NUMBER", help="Show a source's text more often.")
@options.choice("--pii", of=get_type_hints(CorpusSettings)["pii"], text="Personal data and secrets. [report]")
@options.no_ignore
@options.follow_links
@click.option("--workers", type=click.IntRange(min=1), help="Processes; every core when not given.")
@options.settings
@options.common_flags
def build(paths: tuple[str, ...], name: str | None, workers: int | None, as_json: bool, **given: Any) -> None:
    """Build a corpus from PATHs: `stdlib`, folders, globs or files.

    A source is named after its folder or file (`docs` for ./docs); that is the SOURCE of --weight and --licence.
    Without a PATH the source is `stdlib`, the running Python's own library. Of folders and globs, hidden files, build
    folders, what .gitignore files name, and links that leave the folder are left out; how many is said.

    $ seedbed corpus build docs 'books/*.txt.gz' --name team --weight docs=3 --pii mask
    $ seedbed corpus build stdlib --set near_duplicate=0.7
    """
    from seedbed.core import config
    from seedbed.corpus.build import build_corpus

    found = _sources(paths or ("stdlib",), given["licences"], given["weights"], given["encodings"])
    sources = [replace(one, ignore=given["ignore"], follow_links=given["follow_links"]) for one in found]
    table: dict[str, Any] = {"sources": [vars(source) for source in sources]}
    if given["pii"] is not None:
        table["pii"] = given["pii"]
    settings = config.load(CorpusSettings, table, overrides=given["overrides"], environment={})
    artifact = build_corpus(settings, Library(), check_name(name or settings.sources[0].name), workers)
    say(f"stored corpus {artifact.id[:12]} as {name or settings.sources[0].name}")
    _show(artifact, as_json)


@corpus_command.command(name="pairs")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@options.name("Name of the pairs. [default: the first file's]")
@click.option("--licence", default="unknown", show_default=True, help="Licence of the text (SPDX).")
@click.option("--prompt-column", help="Column of questions or prompts. [found by its name]")
@click.option("--context-column", help="Column of the passage that answers a question. [found by its name]")
@click.option("--reply-column", help="Column of answers. [found by its name]")
@click.option("--messages-column", help="Column of whole conversations. [found by its name]")
@options.common_flags
def pairs(files: tuple[Path, ...], name: str | None, licence: str, as_json: bool, **columns: str | None) -> None:
    """Store conversations, or questions and answers, of FILEs (JSON Lines, JSON, CSV, TSV, Parquet) for fine-tuning.

    The forms of OpenAI, ShareGPT, Alpaca and TRL are read; rows that are not are counted with the reason. A recipe's
    questions stage takes the pairs by name, or makes them of FILEs itself: `--set questions.files=chats.jsonl`.
    With a context, the passage that answers each question, a model can be taught to read:
    `seedbed train reader --set reading.pairs=NAME`.

    $ seedbed corpus pairs questions.jsonl --name team-questions
    """
    from seedbed.corpus.pairs import pairs_of_files

    called = check_name(name or _source_name(str(files[0]), []))
    artifact = pairs_of_files(Library(), files, called, options.take_columns(columns), licence)
    if as_json:
        print_json({"name": called, "id": artifact.id, "licence": licence, **artifact.manifest.metrics})
        return
    counts = {key: count for key, count in artifact.manifest.metrics.items() if isinstance(count, int)}
    counted = ", ".join(f"{count:,} {key}" for key, count in counts.items())
    echo(f"pairs {artifact.id[:12]} {called}: {counted}")


def _sources(
    paths: tuple[str, ...], licences: tuple[str, ...], weights: tuple[str, ...], encodings: tuple[str, ...]
) -> list[SourceSettings]:
    from seedbed.documents.file_walk import STDLIB

    names: list[str] = []
    for path in paths:
        names.append(_source_name(path, names))
    licence_of = _by_source("--licence", licences, names)
    weight_of = _by_source("--weight", weights, names)
    encoding_of = _by_source("--encoding", encodings, names)
    return [
        SourceSettings(
            name,
            path,
            licence_of.get(name, STDLIB_SOURCE.licence if path == STDLIB else "unknown"),
            _number(weight_of.get(name, "1")),
            encoding=encoding_of.get(name, ""),
        )
        for name, path in zip(names, paths, strict=True)
    ]


def _source_name(path: str, taken: list[str]) -> str:
    """Return ``books`` for ``books/*.txt``, ``notes`` for ``./notes``, ``novel`` for ``novel.txt.gz``."""
    plain = [part for part in Path(path).expanduser().absolute().parts if not re.search(r"[*?\[]", part)]
    stem = plain[-1] if Path(path).is_dir() else plain[-1].partition(".")[0]
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "text"
    number = sum(name == base or name.startswith(f"{base}.") for name in taken)
    return f"{base}.{number + 1}" if number else base


def _by_source(option: str, values: tuple[str, ...], names: list[str]) -> dict[str, str]:
    """Read options: ``SOURCE=VALUE`` is for one source, ``VALUE`` for all."""
    found: dict[str, str] = {}
    for value in values:
        source, equals, rest = value.partition("=")
        if equals and source not in names:
            why = f"the sources are {', '.join(names)}"
            fix = f"write `{option} {names[0]}=…`"
            raise UsageError(f"{option} {value}: there is no source {source!r}", why=why, fix=fix)
        found.update({source: rest} if equals else dict.fromkeys(names, value))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        why = "a weight says how often a text is seen"
        raise UsageError(f"--weight {text} is not a number", why=why, fix="write SOURCE=2") from error


@corpus_command.command(name="show")
@options.stored("name", "corpus")
@options.common_flags
def show(name: str, as_json: bool) -> None:
    """Show what was kept at each step, what was found, sources and splits.

    $ seedbed corpus show team
    """
    _show(Library().get(name, "corpus"), as_json)


def _show(artifact: Artifact, as_json: bool) -> None:
    from seedbed.corpus.store import Corpus

    report = Corpus.open(artifact).report
    if as_json:
        print_json({"id": artifact.id, "licence": artifact.manifest.licence, **report})
        return
    echo(f"corpus {artifact.id[:12]}  {bytes_text(artifact.size)} stored  licence {artifact.manifest.licence}")
    _show_sources(report)
    _show_steps(report)
    _show_findings(report)
    _show_splits(report)
    _show_encodings(report.get("encodings", {}).get("named", []))
    for key, label in (("read_in_part", "read in part"), ("skipped", "skipped")):
        if rows := report.get(key):  # a corpus of an older version does not say what was read in part
            echo(f"\n{label}")
            for row in rows:
                echo(f"  {row['path']}: {row['why']}")


def _show_sources(report: Any) -> None:
    rows = [
        [
            source["source"],
            str(source["files"] - source["files_skipped"]),
            str(source["files_skipped"]),
            bytes_text(source["raw_bytes"]),
            *(f"{mix['weight']:g}", bytes_text(mix["bytes"]), f"{mix['share']:.1%}", f"{mix['epochs']:.2f}"),
            _licences_text(source["licences"]),
        ]
        for source, mix in zip(report["sources"], report["mix"], strict=True)
    ]
    headers = ["source", "files", "skipped", "raw", "weight", "train", "share of mix", "epochs", "licence"]
    echo()
    print_table(headers, rows, right=(1, 2, 3, 4, 5, 6, 7))


def _licences_text(licences: dict[str, int]) -> str:
    names = sorted(licences, key=lambda name: -licences[name])
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _show_steps(report: Any) -> None:
    rows = [
        [row["step"], f"{row['documents']:,}", f"{row['documents_share']:.1%}", *_text_cells(row)]
        for row in report["steps"]
    ]
    echo()
    print_table(["step", "documents", "kept", "text", "kept"], rows, right=(1, 2, 3, 4))
    for repair, count in report["repairs"].items():
        echo(f"  {count:,} {repair}")


def _show_encodings(decoded: list[dict[str, Any]]) -> None:
    """Name the files whose encoding was guessed, or that lost bytes in it."""
    told = [one for one in decoded if one["encoding_by"] == "guessed" or one.get("replaced")]
    if told:
        echo("\nencodings (set one with --encoding SOURCE=NAME)")
    for one in told:
        echo(f"  {one['path']}: {describe(one)}")


def _text_cells(row: dict[str, Any]) -> list[str]:
    return [bytes_text(row["bytes"]), f"{row['bytes_share']:.1%}"]


def _show_findings(report: Any) -> None:
    findings = report["findings"]
    echo(f"\npersonal data and secrets (--pii {findings['action']})")
    for kind, found in findings["kinds"].items():
        done = "masked" if findings["action"] == "mask" else "found"
        echo(f"  {kind}: {found['count']:,} {done} in {found['documents']:,} documents")
        for example in found["examples"]:
            echo(f"      {example['excerpt']}  in {example['path']}")
    if not findings["kinds"]:
        echo("  not looked for" if findings["action"] == "off" else "  none found")


def _show_splits(report: Any) -> None:
    rows = [[split, f"{row['documents']:,}", *_text_cells(row)] for split, row in report["splits"].items()]
    echo()
    print_table(["split", "documents", "text", "share"], rows, right=(1, 2, 3))
    leaks = report["leak_check"]
    near = f", {leaks['near']} near-duplicates (from {leaks['threshold']:g})" if leaks["threshold"] else ""
    echo(f"  leak check: {leaks['exact']} exact duplicates{near} across splits")


add_verbs(
    corpus_command,
    "corpus",
    {
        "documents": lambda found: sum(found.manifest.metrics["documents"].values()),
        "text_bytes": lambda found: sum(found.manifest.metrics["bytes"].values()),
    },
)
