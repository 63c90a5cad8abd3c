"""Smaller copies of a model, with 8- or 4-bit weights, and their quality beside the original's."""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say
from seedbed.corpus.pack import TokenShards
from seedbed.evaluation.quantization import Quality, compare
from seedbed.evaluation.subject import find_subject
from seedbed.models.quantized import scheme_by_name
from seedbed.models.store import load_model, save_model
from seedbed.transform.quantize import quantize


def quantized_copies(
    library: Library, model: str, quantizations: Sequence[str], name: str | None = None, *, measure: bool = True
) -> list[tuple[str, Artifact, Quality | None]]:
    """Make, store and measure a copy of a model for each quantization, called MODEL-QUANTIZATION unless named.

    Returns their names, the copies, and their quality where it was measured.

    Raises:
        UsageError: there is no such quantization, or one name is given to several copies.
    """
    for one in quantizations:
        scheme_by_name(one)
    if name and len(quantizations) > 1:
        why = f"{len(quantizations)} quantizations"
        raise UsageError("one name cannot be given to several models", why=why, fix="omit --name")
    artifact = library.get(model, "model")
    found = []
    for one in quantizations:
        called = name or f"{model}-{one}"
        made = _copy(library, artifact, one, called)
        found.append((called, made, _quality(library, artifact, made) if measure else None))
    return found


def _copy(library: Library, artifact: Artifact, quantization: str, name: str) -> Artifact:
    loaded = load_model(artifact, dtype="stored")  # mapped: one layer at a time becomes float32
    quantize(loaded.model, quantization)
    with library.writing("model", parents=[artifact], config={"quantization": quantization}, name=name) as draft:
        draft.licence = artifact.manifest.licence
        draft.metrics = dict(artifact.manifest.metrics)
        save_model(draft.path, loaded.model, loaded.tokenizer, quantization, loaded.published)
    return draft.result


def _quality(library: Library, artifact: Artifact, copy: Artifact) -> Quality | None:
    """Compare with the float model on its test split; None for a model whose text is not in the library."""
    try:
        tokens = find_subject(artifact, library).tokens
    except NotFoundError as error:
        say(f"quality not measured: {error.why}")
        return None
    return compare(load_model(artifact).model, load_model(copy).model, TokenShards.open(tokens).split("test"))
