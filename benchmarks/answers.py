"""Answer quality: exact match and F1 of each chain, citations, and how often "not in the documents" is right.

XQuAD's English questions (SQuAD's form) about some forty articles. The articles are dealt to four collections: of a
pair, each one's questions are asked of itself (the documents tell) and of the other (they do not). The first pair is
for choosing the threshold of support, the second for the figures; nothing else is fitted. Which sentence is quoted, and
which question is refused, is measured by `sentences.py`. Passages are found as `seedbed ask` finds
them, by a collection with its default settings.

Extraction answers with a whole sentence, so its exact match is about none by construction; "has it" is the share of
answers that contain a right one. Scores are SQuAD's own (Rajpurkar et al. 2016): lower case, no punctuation, no
articles, the best of the right answers.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from seedbed.chat.open_model import open_model
from seedbed.core.artifacts import Library
from seedbed.core.progress import track
from seedbed.evaluation.right_answers import f1, normal
from seedbed.rag.answer import ask
from seedbed.rag.chains import CHAINS
from seedbed.rag.collection import Collection
from seedbed.rag.passages import SUPPORTED, cite, passages_of
from seedbed.rag.record import Answer
from seedbed.search.contracts import Hit

SET = "tasks/qa/xquad_en_dev.jsonl.xz"
PASSAGES = 5


@dataclass(frozen=True)
class Question:
    """A question with its right answers and where the first one stands in its paragraph."""

    text: str
    answers: tuple[str, ...]
    paragraph: str
    place: int


@dataclass(frozen=True)
class Part:
    """One of the four collections, and the questions that it answers."""

    search: Callable[[str, int], list[Hit]]
    questions: list[Question]


def scores(answer: str, right: Iterable[str]) -> dict[str, float]:
    """Exact match, F1 and whether a right answer is in it; the best over the right answers."""
    right = list(right)
    words = f" {normal(answer)} "
    return {
        "exact match": max(float(normal(answer) == normal(one)) for one in right),
        "F1": max(f1(answer, one) for one in right),
        "has it": max(float(f" {normal(one)} " in words) for one in right),
    }


def parts_of(path: Path, folder: Path, seed: int) -> list[Part]:
    """Return the four collections, their articles dealt by a seed."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    titles = sorted({row["title"] for row in rows})
    random.Random(seed).shuffle(titles)
    return [_part([row for row in rows if row["title"] in titles[one::4]], folder / str(one)) for one in range(4)]


def _part(rows: Sequence[dict[str, Any]], folder: Path) -> Part:
    texts = folder / "texts"
    texts.mkdir(parents=True)
    questions = []
    for number, row in enumerate(rows):
        name = f"{number:03}.txt"
        (texts / name).write_text(row["context"], encoding="utf-8")
        for asked in row["questions"]:
            answers = tuple(dict.fromkeys(one["text"] for one in asked["answers"]))
            questions.append(Question(asked["question"], answers, name, asked["answers"][0]["answer_start"]))
    collection = Collection.create(Library(folder / "library"), "texts")
    collection.add([str(texts)])
    return Part(lambda question, k: collection.search(question, k), questions)


def pairs_of(parts: Sequence[Part]) -> list[tuple[Question, Part, bool]]:
    """Every question of two collections with each of them, and whether that one tells."""
    one, two = parts
    told = [(question, part, True) for part in parts for question in part.questions]
    return [
        *told,
        *((question, other, False) for part, other in ((one, two), (two, one)) for question in part.questions),
    ]


def balanced(values: Sequence[tuple[float, bool]], threshold: float) -> tuple[float, float, float]:
    """Return the share that is found of what is told, that is refused of what is not, and their mean."""
    found = fmean(float(value >= threshold) for value, told in values if told)
    refused = fmean(float(value < threshold) for value, told in values if not told)
    return found, refused, (found + refused) / 2


def best_threshold(values: Sequence[tuple[float, bool]]) -> float:
    """Return the middle of the hundredths from 0 to 1 with the highest balanced accuracy."""
    means = {step: balanced(values, step / 100)[2] for step in range(101)}
    best = [step for step, mean in means.items() if mean == max(means.values())]
    return best[len(best) // 2] / 100


def supports(parts: Sequence[Part]) -> tuple[list[tuple[float, bool]], float]:
    """Return the support of each right answer in either collection, and how often its citation is right."""
    values, right = [], []
    for question, part, told in pairs_of(parts):
        passages = passages_of([hit.chunk for hit in part.search(question.text, PASSAGES)])
        answer = question.answers[0]
        citations, _ = cite(answer, passages, question=question.text, threshold=0)
        values.append((citations[0].support if citations else 0.0, told))
        if told:
            right.append(any(_holds(one.source, one.source_start, one.source_end, question) for one in citations))
    return values, fmean(right)


def _holds(source: str, start: int, end: int, question: Question) -> bool:
    return Path(source).name == question.paragraph and start <= question.place < end


def measure(parts: Sequence[Part], answer: Callable[..., Answer], limit: int, name: str) -> dict[str, float]:
    """Return the scores of a chain where the documents tell, and how often it says rightly whether they do."""
    told = [one for one in pairs_of(parts) if one[2]]
    untold = [one for one in pairs_of(parts) if not one[2]]
    chosen = random.Random(1)
    asked = [*chosen.sample(told, min(limit, len(told))), *chosen.sample(untold, min(limit, len(untold)))]
    rows, refused, right = [], [], []
    for question, part, answered in track(asked, name, len(asked), "questions"):
        found = answer(question.text, part.search)
        if answered:
            rows.append(scores(found.text if found.found else "", question.answers) | {"found": float(found.found)})
            right.append(any(_holds(o.source, o.source_start, o.source_end, question) for o in found.citations))
        else:
            refused.append(float(not found.found))
    means = {key: fmean(row[key] for row in rows) for key in rows[0]}
    return {**means, "refused": fmean(refused), "cites it": fmean(right), "questions": float(len(rows))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("SEEDBED_DATA", ".")) / SET
    parser.add_argument("--data", type=Path, default=data, help="a file in the form of XQuAD's lines")
    parser.add_argument("--model", help="also measure the chains that need one: MODEL or URL#NAME")
    parser.add_argument("--chains", nargs="+", default=list(CHAINS), choices=CHAINS)
    parser.add_argument("--questions", type=int, default=10**9, help="at most so many of each kind for each chain")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--threshold", type=float, help="of evidence; by default the measured one")
    parser.add_argument("--seed", type=int, default=1, help="which articles go where")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, parts_of(options.data, Path(folder), options.seed))
    print(json.dumps(results, indent=2) if options.json else table(results))


def run(options: argparse.Namespace, parts: Sequence[Part]) -> dict[str, Any]:
    """Thresholds on the first pair of collections, figures on the second."""
    choosing, testing = parts[:2], parts[2:]
    chosen_support, (support_values, cites) = best_threshold(supports(choosing)[0]), supports(testing)
    results: dict[str, Any] = {
        "supported": {
            "chosen": chosen_support,
            "at chosen": balanced(support_values, chosen_support),
            "at SUPPORTED": balanced(support_values, SUPPORTED),
            "right sentence": cites,
        },
        "chains": {},
    }
    model = open_model(options.model) if options.model else None
    for chain in options.chains:
        if chain == "extract" or model is not None:
            given = {} if chain == "extract" else {"max_tokens": options.max_tokens}
            answer = partial(ask, model=model, chain=chain, k=PASSAGES, threshold=options.threshold, **given)
            results["chains"][chain] = measure(testing, answer, options.questions, chain)
    return results


def table(results: dict[str, Any]) -> str:
    """Return the results for a reader."""
    lines = []
    for name, values in list(results.items())[:1]:
        lines.append(f"{name}: threshold chosen on other articles {values['chosen']:.2f}")
        for key in [key for key in values if key.startswith("at ")]:
            found, refused, mean = values[key]
            lines.append(f"  {key}: told and found {found:.1%}, not told and refused {refused:.1%}, mean {mean:.1%}")
    lines.append(f"  right answers cited in the right sentence: {results['supported']['right sentence']:.1%}")
    names = ["exact match", "F1", "has it", "cites it", "found", "refused", "questions"]
    lines.append("\n" + "  ".join(["chain".ljust(10), *names]))
    for chain, row in results["chains"].items():
        cells = [f"{row[name]:.0f}" if name == "questions" else f"{row[name]:.1%}" for name in names]
        lines.append("  ".join([chain.ljust(10), *(c.rjust(len(n)) for c, n in zip(cells, names, strict=True))]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
