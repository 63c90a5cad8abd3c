"""Model cards: read again by a YAML and a Markdown parser; text from outside stays text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from seedbed.core.artifacts import Artifact, Library
from seedbed.formats.huggingface.model_card import Exported, model_card


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


def store(
    library: Library, kind: str, *parents: Artifact, licence: str = "MIT", metrics: Any = None, **config: Any
) -> Artifact:
    with library.writing(kind, parents=parents, config=config) as draft:
        (draft.path / "data").write_text(f"{kind} {config} {licence}")
        draft.licence, draft.metrics = licence, metrics or {}
    return draft.result


def front(card: str) -> dict[str, Any]:
    _, fields, _ = card.split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(fields)
    return loaded


def test_a_card_tells_the_whole_lineage(library: Library) -> None:
    corpus = store(library, "corpus", licence="CC-BY-4.0", source={"repository": "hf:datasets/team/rivers"})
    base = store(library, "model", licence="Apache-2.0", source={"repository": "hf:team/base", "commit": "a" * 40})
    questions = store(library, "questions", corpus, licence="CC0-1.0")
    model = store(
        library, "model", base, questions, licence="apache-2.0", metrics={"valid_loss": 1.23456, "steps": 2000}
    )
    store(library, "evaluation", model, metrics={"bits_per_byte": 0.98765})
    library.name("base", base)
    card = model_card(library, model, Exported("mine"))
    assert front(card) == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "tags": ["seedbed"],
        "base_model": ["team/base"],
        "datasets": ["team/rivers"],
    }
    for words in (f"├─ model {base.id[:12]} base", f"└─ corpus {corpus.id[:12]}", "1.2346", "2,000", "0.98765"):
        assert words in card
    assert f"| corpus {corpus.id[:12]} | hf:datasets/team/rivers | CC\\-BY\\-4.0 |" in card
    assert 'AutoModelForCausalLM.from_pretrained("DIR")' in card
    assert model.id in card


def test_a_quantized_gguf_file(library: Library) -> None:
    base = store(library, "model", source={"repository": "hf:team/base"})
    card = model_card(library, base, Exported("mine", "gguf", "mine-q8_0.gguf", "q8_0"))
    fields = front(card)
    assert (fields["library_name"], fields["base_model_relation"]) == ("gguf", "quantized")
    assert "llama-cli -m mine-q8_0.gguf" in card
    assert "| weights | q8\\_0 |" in card


@pytest.mark.parametrize(
    ("licence", "field", "name"),
    [
        ("mit", "mit", None),
        ("MIT AND Apache-2.0", ["mit", "apache-2.0"], None),
        ("MIT AND My Own", "other", "mit-my-own"),
        ("LicenseRef-x/y", "other", "licenseref-x-y"),
        ("unknown", "unknown", None),
        ("", None, None),
    ],
)
def test_licences(library: Library, licence: str, field: object, name: str | None) -> None:
    fields = front(model_card(library, store(library, "model", licence=licence), Exported("m")))
    assert (fields.get("license"), fields.get("license_name")) == (field, name)


def test_what_is_not_known_is_said(library: Library) -> None:
    card = model_card(library, store(library, "model", licence=""), Exported("m"))
    for words in ("| licence | unknown |", "| language | not stated |", "Not evaluated.", "holds no data"):
        assert words in card


EVIL = '"]\n---\n# x <script>alert(1)</script> | [link](javascript:x) ![i](http://evil) `code` *b*\nlicense: "gpl'


def test_text_from_outside_makes_no_structure(library: Library) -> None:
    corpus = store(library, "corpus", licence=EVIL, source={"repository": EVIL})
    source = {"repository": f"hf:{EVIL}", "commit": EVIL}
    model = store(library, "model", corpus, licence=EVIL, metrics={EVIL: 1.0}, source=source)
    card = model_card(library, model, Exported(EVIL, "gguf", EVIL + ".gguf"))
    fields = front(card)
    assert set(fields) == {"license", "license_name", "library_name", "tags", "base_model"}
    assert fields["base_model"] == [EVIL]
    body = card.split("---\n", 2)[2]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    inner = [child for token in tokens for child in token.children or ()]
    assert not {"html_inline", "link_open", "image", "em_open", "code_inline"} & {
        child.type for child in inner if "Written" not in child.content and child.content != model.id
    }
    assert not any(token.type == "html_block" for token in tokens)
    headings = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert headings[1:] == ["What it was made from", "Data", "Evaluation", "How to use it"]
