"""`seedbed quantize`: a smaller, faster copy of a model, with what it costs in quality."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, print_json, print_table
from seedbed.core.errors import NotFoundError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.core.artifacts import Artifact, Library
    from seedbed.evaluation.quantization import Quality
    from seedbed.models.store import LoadedModel


@click.command("quantize")
@click.argument("model")
@click.option(
    "--scheme", "schemes", multiple=True, help="int8 (default), int4, int8-row …; may be given several times."
)
@click.option("--name", help="Name of the result; MODEL-SCHEME unless given. Only with one scheme.")
@click.option("--measure/--no-measure", default=True, show_default=True, help="Measure quality on held-out text.")
@common_flags
def quantize_command(model: str, schemes: tuple[str, ...], name: str | None, measure: bool, as_json: bool) -> None:
    """Store MODEL with 8- or 4-bit weights, and compare it with the original on held-out text.

    The copy loads without reading all of its file, needs a quarter or less of the memory, and runs faster.

    \b
    Example:
      seedbed quantize quickstart --scheme int8 --scheme int4
    """
    from seedbed.core.artifacts import Library
    from seedbed.core.errors import UsageError
    from seedbed.models.quantized import scheme_by_name

    chosen = schemes or ("int8",)
    for one in chosen:
        scheme_by_name(one)
    if name and len(chosen) > 1:
        raise UsageError("one name cannot be given to several models", why=f"{len(chosen)} schemes", fix="omit --name")
    library = Library()
    artifact = library.get(model, "model")
    rows = [_quantized(library, artifact, one, name or f"{model}-{one}", measure) for one in chosen]
    if as_json:
        print_json({"original": artifact.id, "bytes": artifact.size, "models": rows})
        return
    _print(rows, artifact.size)


def _quantized(library: Library, artifact: Artifact, scheme: str, name: str, measure: bool) -> dict[str, Any]:
    """Make, store, name and measure one copy."""
    from seedbed.models.store import load_model, save_model
    from seedbed.transform.quantize import quantize

    loaded = load_model(artifact, dtype="stored")  # mapped: one layer at a time becomes float32
    quantize(loaded.model, scheme)
    with library.writing("model", parents=[artifact], config={"quantization": scheme}, name=name) as draft:
        draft.licence = artifact.manifest.licence
        draft.metrics = dict(artifact.manifest.metrics)
        save_model(draft.path, loaded.model, loaded.tokenizer, scheme)
    made = draft.result
    quality = _quality(library, artifact, load_model(made)) if measure else None
    figures = vars(quality) if quality else {}
    return {"name": name, "id": made.id, "scheme": scheme, "bytes": made.size, **figures}


def _quality(library: Library, artifact: Artifact, quantized: LoadedModel) -> Quality | None:
    """Beside the float model, on its test split; None for a model whose text is not here."""
    from seedbed.corpus.pack import TokenShards
    from seedbed.evaluation.quantization import compare
    from seedbed.evaluation.subject import find_subject
    from seedbed.models.store import load_model

    try:
        tokens = find_subject(artifact, library).tokens
    except NotFoundError as error:
        say(f"quality not measured: {error.why}")
        return None
    return compare(load_model(artifact).model, quantized.model, TokenShards.open(tokens).split("test"))


def _print(rows: list[dict[str, Any]], original: int) -> None:
    headers = ["model", "weights", "size", "of original", "bits per byte", "float", "same best token", "KL, nats"]
    cells = [
        [
            row["name"],
            row["scheme"],
            bytes_text(row["bytes"]),
            f"{row['bytes'] / original:.0%}",
            *(_figure(row, key, form) for key, form in _FIGURES),
        ]
        for row in rows
    ]
    print_table(headers, cells, right=tuple(range(2, len(headers))))


_FIGURES = (("bits_per_byte", ".4f"), ("float_bits_per_byte", ".4f"), ("agreement", ".1%"), ("divergence", ".5f"))


def _figure(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else ""
