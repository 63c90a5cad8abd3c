"""`seedbed show`: an artifact with its family down to the corpus's files; and `seedbed models`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from seedbed.app.inventory import family_json, model_facts, raw_files
from seedbed.cli import options
from seedbed.cli.common import print_json
from seedbed.cli.groups import help_text
from seedbed.cli.library import add_verbs, details
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.lineage import family, tree_lines, verify_family
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, minute_text

_SETTINGS, _FILES, _WIDTH = 16, 3, 100  # settings and raw files shown without --all; columns of a setting


def show_of(kind: str | None, words: str) -> click.Command:
    """Return the command that shows artifacts of one kind, or of any."""

    @click.command("show", help=help_text(_HELP.replace("WORDS", words)))
    @options.stored("reference", kind)
    @click.option("--all", "everything", is_flag=True, help="Every setting and every raw file.")
    @click.option("--verify", is_flag=True, help="Hash every file of the family again; exit 1 on damage.")
    @options.common_flags
    def show(reference: str, everything: bool, verify: bool, as_json: bool) -> None:
        library = Library()
        artifact = library.get(reference, kind)
        root = family(library, artifact)
        if verify:
            count = verify_family(root)
            say(f"verified {count} artifact{'s' if count > 1 else ''}: every file has the hash it was stored with")
        if as_json:
            print_json(_to_json(library, artifact) | {"family": family_json(root)})
            return
        _print_summary(library, artifact, everything)
        echo()
        for line in tree_lines(root, lambda relative: list(_raw_files(relative, everything))):
            echo(line)

    return show


_HELP = """Show an artifact and its family tree.

REFERENCE is a name, an id, or the first six or more digits of one.

$ seedbed WORDS quickstart
$ seedbed WORDS 3f9a1c --verify
"""
show_command = show_of(None, "show")


@options.group("models")
def models_command() -> None:
    """List, show and remove models.

    $ seedbed models ls
    """


add_verbs(models_command, "model")
models_command.add_command(show_of("model", "models show"))


def _to_json(library: Library, artifact: Artifact) -> dict[str, Any]:
    about = {"kind": artifact.kind, "id": artifact.id, "names": library.names_of(artifact)}
    stored = {"created": artifact.manifest.created, "bytes": artifact.size, "config": artifact.manifest.config}
    return about | stored | details(artifact) | model_facts(artifact)


def _print_summary(library: Library, artifact: Artifact, everything: bool) -> None:
    manifest = artifact.manifest
    facts = {
        "kind": artifact.kind,
        "id": artifact.id,
        "names": ", ".join(library.names_of(artifact)) or "none",
        "created": f"{minute_text(manifest.created)} UTC by seedbed {manifest.code_version}",
        "size": f"{bytes_text(artifact.size)} in {_count(len(manifest.files), 'file')}",
        "licence": manifest.licence or "unknown",
        "path": str(artifact.path),
    }
    for key, text in (facts | _model_lines(artifact)).items():
        echo(f"{key:9}{text}" if len(key) < 9 else f"{key} {text}")
    for title, table in (("metrics", manifest.metrics), ("config", manifest.config)):
        lines = [f"{key} = {_short(value, everything)}" for key, value in _flat(table)]
        shown = len(lines) if everything else _SETTINGS
        rest = [f"… {len(lines) - shown} more (--all)"] if len(lines) > shown else []
        for number, line in enumerate([*lines[:shown], *rest]):
            echo(f"{title if number == 0 else '':9}{line}")


def _model_lines(artifact: Artifact) -> dict[str, str]:
    """Return a model's facts as lines of text."""
    found = model_facts(artifact)
    if not found:
        return {}
    *kinds, (_, total) = found["parameters"].items()
    lines = {"parameters": f"{total:,}: " + ", ".join(f"{kind} {count:,}" for kind, count in kinds)}
    if found["shared"]:
        saved = f" (saves {bytes_text(found['saved_bytes'])})" if "saved_bytes" in found else ""
        lines["shared"] = ", ".join(f"{name} is {owner}" for name, owner in found["shared"].items()) + saved
    if equal := found.get("equal"):
        some = "; ".join(" = ".join(group) for group in equal[:_FILES])
        more = f"; {len(equal) - _FILES} more" if len(equal) > _FILES else ""
        lines["equal"] = f"{some}{more} ({bytes_text(found['spare_bytes'])} stored more than once)"
    lines["weights"] = found["quantization"] or "not quantized"
    stated = ", ".join(f"{name} {value}" for name, value in found["sampling"].items())
    lines["sampling"] = stated or "its publishers state none"
    if left := found["sampling_left_out"]:
        lines["left out"] = "; ".join(left)
    source = found["source"]
    if isinstance(source, Mapping) and "repository" in source:
        lines["source"] = f"{source['repository']} at {str(source.get('commit', ''))[:12]}"
    return lines


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values, in their order."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any, everything: bool) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if everything or len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _raw_files(artifact: Artifact, everything: bool) -> Iterator[str]:
    """Describe the files a corpus was read from: their bytes, and the first of them with their hashes."""
    files = raw_files(artifact)
    if not files:
        return
    yield f"{_count(len(files), 'raw file')}, {bytes_text(sum(file['bytes'] for file in files))}"
    for file in files if everything else files[:_FILES]:
        skipped = f" (left out: {file['skipped']})" if file.get("skipped") else ""
        yield f"{file['source']}: {file['path']} {file.get('sha256', '')[:12]}{skipped}"
    if len(files) > _FILES and not everything:
        yield f"… {len(files) - _FILES} more (--all)"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
