"""The subject of an evaluation: a model with its tokens, corpus, base, questions and runs, found by lineage.

A run (the record of a training, with its times) is a child of the model it made, so that a model's id does not depend
on the clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError


@dataclass(frozen=True)
class Subject:
    """A model with the artifacts that its evaluation reads."""

    model: Artifact
    tokens: Artifact
    corpus: Artifact
    base: Artifact | None = None  # the pretrained model that a fine-tuned one began from
    questions: Artifact | None = None  # question/answer pairs, where the model was trained on some
    runs: tuple[Artifact, ...] = ()  # the base's before the model's own


def find_subject(model: Artifact, library: Library) -> Subject:
    """Collect a model's ancestors, the nearest of each kind; NotFoundError where no tokens are among them."""
    ancestors = list(_ancestors(model, library))

    def nearest(kind: str) -> Artifact | None:
        return next((artifact for artifact in ancestors if artifact.kind == kind), None)

    tokens = nearest("tokens")
    if tokens is None:
        raise NotFoundError(
            f"model {model.id[:12]} has no test split",
            why="no tokens of a corpus are among its ancestors, so what it was trained on is not known",
            fix="measure it on a text of your own: `seedbed eval MODEL FILE`",
        )
    corpus = next(parent for parent in library.parents(tokens) if parent.kind == "corpus")
    base = nearest("model")
    runs = [run for one in (base, model) if one is not None for run in _latest_run(one, library)]
    return Subject(model, tokens, corpus, base, nearest("questions"), tuple(runs))


def _latest_run(model: Artifact, library: Library) -> list[Artifact]:
    """Return the newest run that made a model, if any: the same work done again makes the same model."""
    return [child for child in library.children(model) if child.kind == "run"][:1]


def _ancestors(artifact: Artifact, library: Library) -> Iterator[Artifact]:
    """Yield all ancestors, the nearest first, each once."""
    level, seen = [artifact], {artifact.id}
    while level:
        parents = {parent.id: parent for one in level for parent in library.parents(one)}
        level = [parent for identity, parent in parents.items() if identity not in seen]
        yield from level
        seen.update(parents)
