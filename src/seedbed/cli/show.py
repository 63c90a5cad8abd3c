"""`seedbed show` and `seedbed ls`: an artifact with its family down to the corpus's files, and the whole library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, print_json, print_table
from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.core.artifacts import Artifact, Library
    from seedbed.core.lineage import Relative

_SETTINGS, _FILES, _WIDTH = 16, 3, 100  # settings and raw files shown without --all; columns of a setting


@click.command("show")
@click.argument("reference")
@click.option("--all", "everything", is_flag=True, help="Every setting and every raw file, however many there are.")
@click.option("--verify", is_flag=True, help="Hash every file of the family again; exit 1 on damage.")
@common_flags
def show_command(reference: str, everything: bool, verify: bool, as_json: bool) -> None:
    """Show an artifact and its family tree.

    REFERENCE is a name, an id, or the first six or more digits of one.

    \b
    Example:
      seedbed show quickstart
      seedbed show 3f9a1c --verify
    """
    from seedbed.core.artifacts import Library
    from seedbed.core.lineage import family, tree_lines, verify_family

    library = Library()
    artifact = library.get(reference)
    root = family(library, artifact)
    if verify:
        count = verify_family(root)
        say(f"verified {count} artifact{'s' if count > 1 else ''}: every file has the hash it was stored with")
    if as_json:
        about = _summary(library, artifact) | {"config": artifact.manifest.config}
        print_json(about | _model_facts(artifact) | {"family": _family_json(root)})
        return
    _print_summary(library, artifact, everything)
    print()
    for line in tree_lines(root, lambda relative: list(_raw_files(relative, everything))):
        print(line)


@click.command("ls")
@click.option("--kind", help="Only these: corpus, tokenizer, tokens, model, run, evaluation …")
@common_flags
def ls_command(kind: str | None, as_json: bool) -> None:
    """List every artifact in the library, newest first.

    \b
    Example:
      seedbed ls --kind model
    """
    from seedbed.core.artifacts import Library

    library = Library()
    found = library.all(kind)
    if as_json:
        print_json([_summary(library, artifact) for artifact in found])
    elif found:
        rows = [
            [a.kind, a.id[:12], ", ".join(library.names_of(a)), _minute(a.manifest.created), bytes_text(a.size)]
            for a in found
        ]
        print_table(["kind", "id", "names", "created (UTC)", "size"], rows, right=(4,))
    else:
        say(f"{library.root} holds no {kind or 'artifacts'} yet")


def _summary(library: Library, artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    return {
        "kind": artifact.kind,
        "id": artifact.id,
        "names": library.names_of(artifact),
        "created": manifest.created,
        "bytes": artifact.size,
        "files": {name: entry["bytes"] for name, entry in manifest.files.items()},
        "licence": manifest.licence,
        "code_version": manifest.code_version,
        "metrics": manifest.metrics,
        "path": str(artifact.path),
    }


def _print_summary(library: Library, artifact: Artifact, everything: bool) -> None:
    manifest = artifact.manifest
    facts = {
        "kind": artifact.kind,
        "id": artifact.id,
        "names": ", ".join(library.names_of(artifact)) or "none",
        "created": f"{_minute(manifest.created)} UTC by seedbed {manifest.code_version}",
        "size": f"{bytes_text(artifact.size)} in {_count(len(manifest.files), 'file')}",
        "licence": manifest.licence or "unknown",
        "path": str(artifact.path),
    }
    for key, text in (facts | _model_lines(artifact)).items():
        print(f"{key:9}{text}" if len(key) < 9 else f"{key} {text}")
    for title, table in (("metrics", manifest.metrics), ("config", manifest.config)):
        lines = [f"{key} = {_short(value, everything)}" for key, value in _flat(table)]
        shown = len(lines) if everything else _SETTINGS
        rest = [f"… {len(lines) - shown} more (--all)"] if len(lines) > shown else []
        for number, line in enumerate([*lines[:shown], *rest]):
            print(f"{title if number == 0 else '':9}{line}")


def _model_facts(artifact: Artifact) -> dict[str, Any]:
    """Parameters by kind, which of them are one and the same, quantization and origin of a model; else nothing."""
    if artifact.kind != "model":
        return {}
    from seedbed.models.parameter_counts import count_parameters
    from seedbed.models.store import CONFIG, read_config, read_description

    try:
        described = read_description(artifact)
        parts = count_parameters(read_config(described["model"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(
            f"{CONFIG} of model {artifact.id[:12]} cannot be read",
            why=str(error),
            fix=f"see what is damaged with `seedbed show {artifact.id[:12]} --verify`",
        ) from error
    return {
        "parameters": {kind: count for kind, count in parts.parameters.items() if count} | {"total": parts.total},
        "shared": parts.tied,
        **_sharing(artifact),
        "quantization": described.get("quantization"),
        "source": artifact.manifest.config.get("source"),
    }


def _sharing(artifact: Artifact) -> dict[str, Any]:
    """What shared tensors save, and tensors that are stored twice; nothing where the weights cannot be read."""
    from seedbed.formats.weight_sharing import stored_sharing

    try:
        found = stored_sharing(artifact)
    except (CorruptError, NotFoundError):
        return {}
    return {"saved_bytes": found.saved, "equal": [list(group) for group in found.equal], "spare_bytes": found.spare}


def _model_lines(artifact: Artifact) -> dict[str, str]:
    """The same as text."""
    found = _model_facts(artifact)
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
    source = found["source"]
    if isinstance(source, Mapping) and "repository" in source:
        lines["source"] = f"{source['repository']} at {str(source.get('commit', ''))[:12]}"
    return lines


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values, in their order."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _short(value: Any, everything: bool) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if everything or len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _raw_files(artifact: Artifact, everything: bool) -> Iterator[str]:
    """What a corpus was read from: how much, and the first files with their hashes."""
    files = _sources(artifact)
    if not files:
        return
    yield f"{_count(len(files), 'raw file')}, {bytes_text(sum(file['bytes'] for file in files))}"
    for file in files if everything else files[:_FILES]:
        skipped = f" (left out: {file['skipped']})" if file.get("skipped") else ""
        yield f"{file['source']}: {file['path']} {file.get('sha256', '')[:12]}{skipped}"
    if len(files) > _FILES and not everything:
        yield f"… {len(files) - _FILES} more (--all)"


def _sources(artifact: Artifact) -> Sequence[Mapping[str, Any]]:
    if artifact.kind != "corpus":
        return ()
    from seedbed.corpus.store import Corpus

    try:
        return list(Corpus(artifact).raw_files())
    except (OSError, ValueError) as error:
        raise CorruptError(
            f"the list of raw files of corpus {artifact.id[:12]} cannot be read",
            why=str(error),
            fix=f"see what is damaged with `seedbed show {artifact.id[:12]} --verify`",
        ) from error


def _family_json(relative: Relative) -> dict[str, Any]:
    artifact = relative.artifact
    return {
        "id": relative.id,
        "kind": None if artifact is None else artifact.kind,
        "names": list(relative.names),
        "raw_files": [] if artifact is None or relative.repeated else list(_sources(artifact)),
        "parents": [_family_json(parent) for parent in relative.parents],
    }


def _minute(created: str) -> str:
    return created[:16].replace("T", " ")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
