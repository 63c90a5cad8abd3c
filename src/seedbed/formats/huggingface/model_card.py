"""The model card of an exported model: its origin, licences, evaluation and usage.

Everything is read from the library's manifests. Unknown facts are called unknown, never guessed. Names and
licences come from outside, so they are escaped for Markdown, and written as JSON strings (which YAML reads) at the top.
The fields are those of https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.lineage import Relative, family, tree_lines
from seedbed.core.version import __version__

CARD = "README.md"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")
_KNOWN_LICENCE = re.compile(  # values that the hub's field ``license`` may have
    r"apache-2\.0|mit|isc|zlib|unlicense|wtfpl|unknown|mpl-2\.0|epl-2\.0|artistic-2\.0|bsl-1\.0|odc-by|odbl|pddl|gemma"
    r"|bsd(-[23]-clause)?|cc0-1\.0|cc-by(-nc)?(-nd|-sa)?-[234]\.0|gpl(-[23]\.0)?|lgpl(-2\.1|-3\.0)?|agpl-3\.0"
    r"|((bigscience|bigcode)-)?openrail(-m)?|llama[234](\.[123])?"
)


@dataclass(frozen=True)
class Exported:
    """The exported model that a card describes."""

    name: str
    form: str = "hf"  # a folder that transformers reads, or "gguf"
    file: str = ""  # the GGUF file's name
    quantization: str = ""  # of the exported weights


def model_card(library: Library, artifact: Artifact, exported: Exported) -> str:
    """Return the text of ``README.md``."""
    root = family(library, artifact)
    ancestors = [relative.artifact for relative in root.ancestors() if relative.artifact is not None]
    sections = [
        _front_matter(artifact, ancestors, exported),
        f"# {_escape(exported.name)}",
        _summary(artifact, exported),
        _lineage(root),
        _data(ancestors),
        _evaluation(library, artifact),
        _use(exported),
        f"Written by seedbed {__version__} from the manifest of model `{artifact.id}`.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(artifact: Artifact, ancestors: list[Artifact], exported: Exported) -> str:
    licences = _licences(artifact.manifest.licence)
    known = [licence.lower() for licence in licences if _KNOWN_LICENCE.fullmatch(licence.lower())]
    fields: dict[str, Any] = {}
    if licences and len(known) == len(licences):
        fields["license"] = known[0] if len(known) == 1 else known
    elif licences:
        name = re.sub(r"[^a-z0-9.]+", "-", "-".join(licences).lower()).strip("-")
        fields |= {"license": "other", "license_name": name}
    fields["library_name"] = "transformers" if exported.form == "hf" else "gguf"
    fields["tags"] = ["seedbed"]
    models = [one for one in ancestors if one.kind == "model"]
    if bases := _repositories(models, "hf:"):
        fields["base_model"] = bases
        if any(one.manifest.config.get("quantization") for one in models) or exported.quantization.startswith("q"):
            fields["base_model_relation"] = "quantized"
    if sets := _repositories([one for one in ancestors if one.kind != "model"], "hf:datasets/"):
        fields["datasets"] = sets
    return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in fields.items()), "---"])


def _repositories(artifacts: list[Artifact], prefix: str) -> list[str]:
    """Return the hub repositories that artifacts were pulled from."""
    stated = (source.get("repository") for one in artifacts if isinstance(source := _source(one), Mapping))
    found = [str(name).removeprefix(prefix) for name in stated if str(name).startswith(prefix)]
    return list(dict.fromkeys(found))


def _source(artifact: Artifact) -> Any:
    return artifact.manifest.config.get("source")


def _licences(stated: str) -> list[str]:
    parts = (part.strip(" ()") for part in re.split(r"\s+AND\s+", stated))
    return list(dict.fromkeys(part for part in parts if part))


def _summary(artifact: Artifact, exported: Exported) -> str:
    manifest = artifact.manifest
    facts = {
        "licence": manifest.licence or "unknown",
        "language": "not stated",
        "made": f"{manifest.created[:10]} with seedbed {manifest.code_version}",
        "weights": exported.quantization or str(manifest.config.get("quantization") or "as stored"),
    }
    if isinstance(source := _source(artifact), Mapping) and "repository" in source:
        facts["pulled from"] = f"{source['repository']} at commit {source.get('commit', 'unknown')}"
    return _table(["", ""], [[name, str(value)] for name, value in facts.items()])


def _lineage(root: Relative) -> str:
    lines = "\n".join(re.sub(r"[`\x00-\x1f]", "", line) for line in tree_lines(root))
    return f"## What it was made from\n\n```text\n{lines}\n```"


def _data(ancestors: list[Artifact]) -> str:
    rows = []
    for one in ancestors:
        if one.kind in ("corpus", "questions"):
            source = _source(one)
            origin = str(source.get("repository", "")) if isinstance(source, Mapping) else ""
            rows.append([f"{one.kind} {one.id[:12]}", origin or "local files", one.manifest.licence or "unknown"])
    if not rows:
        return "## Data\n\nThis library holds no data that the model was trained on; see the model it is based on."
    return "## Data\n\n" + _table(["data", "from", "licences"], rows)


def _evaluation(library: Library, artifact: Artifact) -> str:
    """Return the section with the model's own figures and those of its evaluations."""
    rows = [[key, _figure(value), "when it was made"] for key, value in _numbers(artifact.manifest.metrics)]
    for child in library.children(artifact):
        if child.kind == "evaluation":
            where = f"evaluation {child.id[:12]}"
            rows += [[key, _figure(value), where] for key, value in _numbers(child.manifest.metrics)]
    if not rows:
        return "## Evaluation\n\nNot evaluated."
    return "## Evaluation\n\n" + _table(["figure", "value", "measured"], rows)


def _numbers(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", value


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _use(exported: Exported) -> str:
    if exported.form == "gguf":
        path = re.sub(r"[^A-Za-z0-9._-]", "-", exported.file or f"{exported.name}.gguf")
        return (
            f"## How to use it\n\n```text\nseedbed import {path} --name my-model\nseedbed chat my-model\n```\n\n"
            f"or with llama.cpp:\n\n```text\nllama-cli -m {path} -p 'Hello'\n```"
        )
    return (
        "## How to use it\n\nWith this folder as `DIR`:\n\n```text\nseedbed import DIR --name my-model\n"
        "seedbed chat my-model\n```\n\nor with transformers:\n\n```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("DIR")\nmodel = AutoModelForCausalLM.from_pretrained("DIR")\n'
        'inputs = tokenizer("Hello", return_tensors="pt")\n'
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=40)[0]))\n```"
    )


def _table(headers: list[str], rows: list[list[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escape(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
