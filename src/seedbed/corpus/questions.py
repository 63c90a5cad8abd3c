"""Question/answer conversations made from a corpus, for fine-tuning and for judging it.

Nothing is made up and nothing is random: questions follow from docstrings, headings and sentences, phrasings and
choices from hashes. Conversations follow the corpus's own split, and a question that occurs more than once anywhere is
left out, for it has several answers: so nothing that is asked in the test split was trained on. Code is not asked
about; its docstrings are, on the pages that a corpus makes of them.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.config import setting, to_dict
from seedbed.core.errors import DataError
from seedbed.core.progress import track
from seedbed.corpus.answers import Pair, fraction, is_useful
from seedbed.corpus.api_questions import api_conversations, is_api_page
from seedbed.corpus.document import SPLITS, CorpusDocument, Split
from seedbed.corpus.prose_questions import prose_conversations
from seedbed.corpus.store import Corpus


@dataclass(frozen=True)
class QuestionSettings:
    """Settings of the questions made from a corpus."""

    per_document: int = setting(200, "Most conversations from one document.", at_least=1)
    answer_chars: int = setting(300, "Answers end at the last sentence within this.", unit="characters", at_least=40)
    follow_up_share: float = setting(
        0.25, "Share of documented functions that are asked about in two turns.", at_least=0, at_most=1
    )


def build_questions(
    corpus: Artifact, library: Library, settings: QuestionSettings, name: str | None = None
) -> Artifact:
    """Make conversations from a corpus and store them as an artifact of kind "questions".

    ``train.jsonl``, ``valid.jsonl`` and ``test.jsonl`` hold a conversation a line:
    ``{"messages": [{"role", "content"}, …], "source": path, "type": …}``.

    Raises:
        DataError: the training split gives no question at all.
    """
    opened = Corpus.open(corpus)
    with library.writing("questions", parents=[corpus], config=to_dict(settings), name=name) as draft:
        draft.licence = corpus.manifest.licence
        asked: Counter[bytes] = Counter()
        for split in SPLITS:
            asked.update(_write_candidates(_candidates(draft.path, split), opened.documents(split), settings))
        for split in SPLITS:
            draft.metrics[split] = _keep_unique(_candidates(draft.path, split), draft.path / f"{split}.jsonl", asked)
        if not draft.metrics["train"]:
            raise DataError(
                "no question can be made from this corpus",
                why="its training documents have no docstring, no heading with prose under it, and no paragraph of"
                " two sentences",
                fix="add prose or documented Python (`seedbed corpus build PATH…`), or give question files of your own",
            )
    return draft.result


def read_questions(artifact: Artifact, split: Split) -> Iterator[dict[str, Any]]:
    """Yield the conversations of one split, in order; CorruptError where a file no longer has its hash."""
    artifact.verify()
    with artifact.file(f"{split}.jsonl").open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def first_exchange(row: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the messages of a conversation before its first answer to a user, and that answer."""
    messages = row["messages"]
    asked = next(place for place, message in enumerate(messages) if message["role"] == "user")
    reply = next(at for at in range(asked, len(messages)) if messages[at]["role"] == "assistant")
    return messages[:reply], messages[reply]["content"]


def conversations(document: CorpusDocument, settings: QuestionSettings) -> list[tuple[Pair, ...]]:
    """Return the conversations of one document, in its order; of too many, a choice by hash."""
    if document.kind == "code":
        return []
    if is_api_page(document.text, document.path):
        made = api_conversations(document.text, settings.answer_chars, settings.follow_up_share)
    else:
        made = prose_conversations(document.text, document.path, settings.answer_chars)
    useful = [conversation for conversation in made if all(map(is_useful, conversation))]
    if len(useful) <= settings.per_document:
        return useful
    order = range(len(useful))
    chosen = heapq.nsmallest(settings.per_document, order, key=lambda index: fraction(useful[index][0].question))
    return [useful[index] for index in sorted(chosen)]


def _write_candidates(path: Path, documents: Iterable[CorpusDocument], settings: QuestionSettings) -> Counter[bytes]:
    """Write the conversations of a split; return the number of times each question (its digest) is asked."""
    asked: Counter[bytes] = Counter()
    with path.open("w", encoding="utf-8") as file:
        for document in track(documents, "questions", unit="documents"):
            for conversation in conversations(document, settings):
                asked.update(_digest(pair.question) for pair in conversation)
                file.write(json.dumps(_record(conversation, document.path), ensure_ascii=False) + "\n")
    return asked


def _keep_unique(candidates: Path, target: Path, asked: Mapping[bytes, int]) -> dict[str, int]:
    """Keep the conversations whose questions are asked once in the whole corpus; return their number by type."""
    kept: Counter[str] = Counter()
    with candidates.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as file:
        for line in lines:
            record = json.loads(line)
            questions = (message["content"] for message in record["messages"] if message["role"] == "user")
            if all(asked[_digest(question)] == 1 for question in questions):
                file.write(line)
                kept[record["type"]] += 1
    candidates.unlink()
    return dict(sorted(kept.items()))


def _record(conversation: tuple[Pair, ...], source: str) -> dict[str, Any]:
    messages = []
    for pair in conversation:
        messages += [{"role": "user", "content": pair.question}, {"role": "assistant", "content": pair.answer}]
    return {"messages": messages, "source": source, "type": "+".join(pair.type for pair in conversation)}


def _candidates(folder: Path, split: Split) -> Path:
    return folder / f"{split}.candidates"


def _digest(question: str) -> bytes:
    """Return eight bytes: a collision drops one question too many, and happens once in some billion questions."""
    return sha256(" ".join(question.lower().split()).encode()).digest()[:8]
