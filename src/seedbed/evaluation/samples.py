"""Samples of a model: continuations of held-out documents, and answers to held-out questions.

A few of each, to be looked at; the numbers are elsewhere. The same model gives the same samples: prompts are spread
evenly over the test split, and the seed is fixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from seedbed.chat.local import continue_text
from seedbed.corpus.document import CorpusDocument
from seedbed.corpus.questions import first_exchange
from seedbed.evaluation.report import Sample
from seedbed.inference.parameters import Sampling
from seedbed.models.store import LoadedModel

COUNT = 4
PROMPT_CHARACTERS = 160
CONTINUE = Sampling(max_tokens=80, temperature=0.8, top_p=0.95, seed=0)
ANSWER = Sampling(max_tokens=80, temperature=0.0)


def continuations(loaded: LoadedModel, documents: Iterable[CorpusDocument], total: int) -> list[Sample]:
    """Return the beginnings of a few documents of ``total``, each with the model's continuation."""
    spread = islice(documents, 0, None, max(1, total // COUNT))
    found = []
    for document in islice(spread, COUNT):
        ids = loaded.tokenizer.encode_prompt(_beginning(document.text))[: _half_window(loaded)]
        found.append(Sample(loaded.tokenizer.decode(ids), _text(loaded, ids, CONTINUE)))
    return found


def answers(loaded: LoadedModel, conversations: Sequence[Mapping[str, Any]]) -> list[Sample]:
    """Return first questions of a few conversations, the most probable answers, and those that were written.

    A question that fills more than half of the model's window is left out.
    """
    spread = conversations[:: max(1, len(conversations) // COUNT)][:COUNT]
    found = []
    for conversation in spread:
        asked, expected = first_exchange(conversation)
        ids, _ = loaded.tokenizer.encode_chat(asked, add_generation_prompt=True)
        if len(ids) <= _half_window(loaded):
            found.append(Sample(asked[-1]["content"], _text(loaded, ids, ANSWER, answers=True), expected))
    return found


def _text(loaded: LoadedModel, ids: Sequence[int], sampling: Sampling, *, answers: bool = False) -> str:
    return "".join(delta.text for delta in continue_text(loaded, ids, sampling, answers=answers))


def _half_window(loaded: LoadedModel) -> int:
    return max(1, loaded.model.config.max_length // 2)


def _beginning(text: str) -> str:
    """Return the first words, some 160 characters of them, and at most half of a short text."""
    limit = min(PROMPT_CHARACTERS, len(text) // 2 + 1)
    return text[:limit].rsplit(" ", 1)[0] if " " in text[1:limit] else text[:limit]
