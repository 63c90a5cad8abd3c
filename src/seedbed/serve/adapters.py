"""LoRA adapters that a server offers beside their base model, each under a model name of its own, as vLLM does.

An adapter is checked when the server starts: it belongs to the base, or to the model that the base is a quantized copy
of, and adds to linear layers of the blocks alone. Requests with different adapters are computed in the same batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.formats.peft_format import read_adapter
from seedbed.inference.encoding import embeds
from seedbed.models.store import read_config, read_description
from seedbed.nn.lora import Adapter, LowRank
from seedbed.transform.adapters import to_ours


@dataclass(frozen=True)
class ServedAdapter:
    """An adapter that is ready: its low-rank additions by the path of their layer."""

    artifact: Artifact
    parts: Mapping[str, LowRank]


def read_adapters(library: Library, base: str, references: Mapping[str, str]) -> dict[str, ServedAdapter]:
    """Read adapters of the model ``base``, given by the name they are served under and that of their artifact.

    Raises NotFoundError or CorruptError for an artifact that is not there, is no adapter or cannot be read, UsageError
    for one of another model or that changes more than linear layers, and for a name that is taken.
    """
    model = library.get(base, "model")
    if base in references:
        why = f"the model is served as {base}"
        raise UsageError(f"two models would be called {base}", why=why, fix="give the adapter another name")
    if embeds(read_config(read_description(model)["model"])):
        why = "it is an encoder, which writes no replies"
        raise UsageError(f"{base} takes no adapters", why=why, fix="name a model that writes")
    return {name: _read(library, base, model, reference) for name, reference in references.items()}


def _read(library: Library, base: str, model: Artifact, reference: str) -> ServedAdapter:
    artifact, description = library.get(reference, "adapter"), read_description(model)
    bases = {model.id, *(model.manifest.parents if description.get("quantization") else ())}
    if not bases & set(artifact.manifest.parents):
        own = [one for one in library.parents(artifact) if one.kind == "model"]
        names = [name for one in own for name in library.names_of(one) or [one.id[:12]]]
        why = f"it was trained on {' or '.join(names) or 'another model'}"
        fix = f"serve {' or '.join(names) or 'that model'} with it, or name an adapter of {base}"
        raise UsageError(f"the adapter {reference} does not belong to {base}", why=why, fix=fix)
    parts = read_adapter(artifact.path)
    to_ours(Adapter(parts, {}), read_config(description["model"]), None)  # layers and sizes fit
    if outside := [path for path in parts if not path.startswith("blocks.")]:
        why = f"it adds to {outside[0]}, and only layers of the blocks can change from request to request"
        fix = f"merge it into the model: `seedbed merge {base} --adapter {artifact.path}`"
        raise UsageError(f"the adapter {reference} cannot be served", why=why, fix=fix)
    return ServedAdapter(artifact, parts)
