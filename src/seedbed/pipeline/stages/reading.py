"""Make conversations that teach a model to answer from passages, and to say when they do not tell.

The prompt is the one of the chain "stuff", so that a model is trained on what `seedbed ask` will send it; more
questions about the same passages follow as turns of the conversation. A share of the questions belongs to passages of
other documents, and the reply is the sentence for what is not there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting, to_dict
from seedbed.core.errors import DataError
from seedbed.core.progress import say
from seedbed.corpus.answers import fraction
from seedbed.corpus.document import SPLITS, Split
from seedbed.corpus.passage_questions import PassageQuestion, passage_questions
from seedbed.corpus.questions import QuestionSettings, read_questions
from seedbed.corpus.store import Corpus
from seedbed.documents.document import Chunk
from seedbed.pipeline.reading_turns import ReadingMix, reading_turns
from seedbed.pipeline.recipe import Find, Stage, StageWork
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import NOT_FOUND, passages_of
from seedbed.rag.prompt_plan import quoted, write


@dataclass(frozen=True)
class ReadingStage(Stage):
    """Questions over passages, for fine-tuning a model that is asked about documents."""

    makes = "questions"
    pairs: tuple[str, ...] = setting((), "pairs of the library with a question, a context and an answer, read as well")
    corpus: bool = setting(True, "make questions from the corpus")
    wrong: float = setting(0.3, "share of the questions that their passages do not answer", at_least=0, at_most=0.9)
    several: float = setting(0.25, "share of the prompts with more than one passage", at_least=0, at_most=1)
    verbatim: bool = setting(True, "of the pairs, only those whose answer stands in the context word for word")
    passages: int = setting(3, "passages in a prompt at most", at_least=1)
    questions: int = setting(4, "questions with an answer about the same passage in one conversation", at_least=1)
    settings: QuestionSettings = setting(QuestionSettings(), "how questions are made from the corpus")

    def check(self, find: Find) -> None:
        """Look for the pairs, and for a context in them."""
        for name in self.pairs:
            found = find(name, "questions")
            if found is not None and next(_of_pairs(found, "train"), None) is None:
                raise DataError(
                    f"the pairs {name} cannot be read",
                    why="none of their rows has a context",
                    fix="name pairs made of a question, a context and an answer (`seedbed corpus pairs --help`)",
                )

    def make(self, work: StageWork) -> Artifact:
        """Make the questions.

        Raises:
            DataError: there is no question with a passage.
        """
        parents = [work.find(name, "questions") for name in self.pairs]
        corpus = work.latest("corpus") if self.corpus else None
        parents += [corpus] if corpus else []
        with work.library.writing("questions", parents=parents, config=to_dict(self), name=work.called(self)) as draft:
            draft.licence = " AND ".join(dict.fromkeys(parent.manifest.licence for parent in parents))
            for split in SPLITS:
                counts: Counter[str] = Counter()
                with (draft.path / f"{split}.jsonl").open("w", encoding="utf-8") as file:
                    for record in self._records(self._asked(parents[: len(self.pairs)], corpus, split)):
                        counts.update(_kinds(record["messages"]))
                        file.write(json.dumps(record, ensure_ascii=False) + "\n")
                draft.metrics[split] = dict(counts)
            if not draft.metrics["train"]:
                raise DataError(
                    "no question with a passage can be made",
                    why="the corpus gives none, and no pairs of the library with a context are named",
                    fix="add prose with headings, or name pairs: --set reading.pairs=NAME",
                )
            say(f"{self.title}: {sum(draft.metrics['train'].values()):,} questions over passages")
        return draft.result

    def _asked(self, pairs: Sequence[Artifact], corpus: Artifact | None, split: Split) -> list[PassageQuestion]:
        """Return all questions of a split, in an order that follows from their words."""
        found = [one for artifact in pairs for one in _of_pairs(artifact, split)]
        if self.verbatim:
            kept = [one for one in found if one.answer.lower() in one.passage.text.lower()]
            if len(kept) < len(found):
                say(f"{self.title}, {split}: {len(found) - len(kept):,} of {len(found):,} pairs left out: not verbatim")
            found = kept
        if corpus is not None:
            for document in Corpus.open(corpus).documents(split):
                found += passage_questions(document, self.settings)
        return sorted(found, key=lambda one: fraction(one.question + one.answer))

    def _records(self, asked: Sequence[PassageQuestion]) -> Iterator[dict[str, Any]]:
        mix = ReadingMix(self.wrong, self.several, self.passages, self.questions)
        for one in reading_turns(asked, mix):
            first, *rest = one.turns
            messages = [
                {"role": message.role, "content": message.text}
                for message in write(STUFF, passages_of(one.shown), quoted, question=first[0])
            ]
            messages.append({"role": "assistant", "content": first[1]})
            for question, reply in rest:
                messages.append({"role": "user", "content": f"Question: {question}"})
                messages.append({"role": "assistant", "content": reply})
            yield {"messages": messages, "source": one.shown[0].source, "type": "reading"}


def _of_pairs(artifact: Artifact, split: Split) -> Iterator[PassageQuestion]:
    """Yield the pairs that have a context of their own."""
    for row in read_questions(artifact, split):
        if "context" in row:
            text, source = row["context"], str(row["source"])
            yield PassageQuestion(row["question"], row["messages"][-1]["content"], Chunk(source, 0, len(text), text))


def _kinds(messages: Sequence[dict[str, str]]) -> list[str]:
    """Return the kind of every question of a conversation, to be counted."""
    replies = [message["content"] for message in messages if message["role"] == "assistant"]
    return ["not in the documents" if reply == NOT_FOUND else "reading" for reply in replies]
