"""What belongs to a model is found through its lineage."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.lineage import family
from seedbed.evaluation.subject import find_subject


def make(library: Library, kind: str, content: str, *parents: Artifact) -> Artifact:
    with library.writing(kind, parents=parents) as draft:
        (draft.path / "content").write_text(content)
    return draft.result


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path)


def test_a_pretrained_and_a_fine_tuned_model(library: Library) -> None:
    corpus = make(library, "corpus", "text")
    tokenizer = make(library, "tokenizer", "pieces", corpus)
    tokens = make(library, "tokens", "ids", corpus, tokenizer)
    base = make(library, "model", "weights", tokens, tokenizer)
    make(library, "run", "pretraining, an older record", base)
    run = make(library, "run", "pretraining", base)
    found = find_subject(base, library)
    assert (found.tokens, found.corpus, found.runs) == (tokens, corpus, (run,))
    assert (found.base, found.questions) == (None, None)

    questions = make(library, "questions", "pairs", corpus)
    tuned = make(library, "model", "better weights", base, questions)
    tuning = make(library, "run", "fine-tuning", tuned)
    found = find_subject(tuned, library)
    assert (found.tokens, found.corpus, found.runs) == (tokens, corpus, (run, tuning))
    assert (found.base, found.questions) == (base, questions)

    tree = [
        (depth, one.artifact.kind, not one.repeated) for depth, one in family(library, tuned).walk() if one.artifact
    ]
    assert tree == [
        (0, "model", True),
        (1, "model", True),
        (2, "tokens", True),
        (3, "corpus", True),
        (3, "tokenizer", True),
        (4, "corpus", False),
        (2, "tokenizer", False),
        (1, "questions", True),
        (2, "corpus", False),
    ]


def test_a_model_without_tokens_cannot_be_measured(library: Library) -> None:
    model = make(library, "model", "weights", make(library, "tokenizer", "pieces"))
    with pytest.raises(NotFoundError, match="no test split"):
        find_subject(model, library)
