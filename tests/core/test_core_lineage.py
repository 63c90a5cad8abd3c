"""Family trees, drawn by hand for comparison."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError
from seedbed.core.lineage import family, tree_lines, verify_family


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


def make(library: Library, kind: str, *parents: Artifact, name: str | None = None) -> Artifact:
    with library.writing(kind, parents=parents, name=name) as draft:
        (draft.path / "data").write_text(kind)
    return draft.result


@pytest.fixture
def chain(library: Library) -> dict[str, Artifact]:
    corpus = make(library, "corpus", name="notes")
    tokenizer = make(library, "tokenizer", corpus)
    tokens = make(library, "tokens", corpus, tokenizer)
    model = make(library, "model", tokens, tokenizer, name="mine")
    library.name("best", model)
    return {artifact.kind: artifact for artifact in (corpus, tokenizer, tokens, model)}


def test_a_family_is_unfolded_once(library: Library, chain: dict[str, Artifact]) -> None:
    short = {kind: artifact.id[:12] for kind, artifact in chain.items()}
    root = family(library, chain["model"])
    details = {"corpus": ["2 files", "a.txt"]}
    assert list(tree_lines(root, lambda artifact: details.get(artifact.kind, []))) == [
        f"model {short['model']} best, mine",
        f"├─ tokens {short['tokens']}",
        f"│  ├─ corpus {short['corpus']} notes",
        "│  │  ├─ 2 files",
        "│  │  └─ a.txt",
        f"│  └─ tokenizer {short['tokenizer']}",
        f"│     └─ corpus {short['corpus']} notes (see above)",
        f"└─ tokenizer {short['tokenizer']} (see above)",
    ]
    assert [relative.id for relative in root.ancestors()] == [
        chain[kind].id for kind in ("model", "tokens", "corpus", "tokenizer")
    ]


def test_an_artifact_without_parents_is_one_line(library: Library, chain: dict[str, Artifact]) -> None:
    assert list(tree_lines(family(library, chain["corpus"]))) == [f"corpus {chain['corpus'].id[:12]} notes"]


def test_an_ancestor_that_is_gone_is_shown_as_missing(library: Library, chain: dict[str, Artifact]) -> None:
    shutil.rmtree(chain["corpus"].path)
    root = family(library, chain["tokenizer"])
    assert list(tree_lines(root))[1:] == [f"└─ missing {chain['corpus'].id[:12]} notes"]
    with pytest.raises(CorruptError, match=f"{chain['corpus'].id[:12]} is missing"):
        verify_family(root)


def test_verifying_looks_at_every_ancestor(library: Library, chain: dict[str, Artifact]) -> None:
    assert verify_family(family(library, chain["model"])) == 4
    chain["corpus"].file("data").write_text("corpuz")
    with pytest.raises(CorruptError, match=r"corpus .* is damaged"):
        verify_family(family(library, chain["model"]))
    chain["tokens"].file("data").unlink()
    with pytest.raises(CorruptError, match="2 of 4 artifacts are damaged") as caught:
        verify_family(family(library, chain["model"]))
    assert str(chain["corpus"].path) in caught.value.why
    assert str(chain["tokens"].path) in caught.value.why
    assert verify_family(family(library, make(library, "corpus2"))) == 1
