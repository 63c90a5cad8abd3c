"""Teaching an open model to read: F1 and exact match on questions over their passages, before and after.

    SEEDBED_DATA=… python benchmarks/reader.py --minutes 15

Trained on: questions over passages of FairytaleQA and of adversarial QA (``sft/instruct_open.jsonl.xz``, whose prompts
are taken apart again) whose answer stands in the passage; passages that share 13 words with a tested one are left out,
and counted. Measured on: XQuAD's English development questions (758), each over its own paragraph, and each over a
paragraph of another article, where "not in the documents" is right. Nothing was chosen on XQuAD. Scores are SQuAD's own
(Rajpurkar et al. 2016), with 95 % intervals over articles (bootstrap).
"""

from __future__ import annotations

import json
import lzma
import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from seedbed.app.assistant import OPEN_MODEL, OPEN_QUANTIZATION, pull_open_model
from seedbed.app.pull_package import pull_package
from seedbed.app.quantize import quantized_copies
from seedbed.chat.local import LocalModel
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.progress import say, track
from seedbed.corpus.answers import fraction
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_pairs
from seedbed.documents.document import Chunk
from seedbed.evaluation.right_answers import f1, normal
from seedbed.hub.catalog import catalog
from seedbed.hub.package_index import PackageIndex
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
from seedbed.pipeline.stages.corpus import CorpusStage
from seedbed.rag.chains.quote import quote
from seedbed.rag.chains.stuff import stuff
from seedbed.rag.passages import is_refusal

PAIRS, TESTED = "sft/instruct_open.jsonl.xz", "tasks/qa/xquad_en_dev.jsonl.xz"
FORMS = [
    r"Read the passage and answer the question\.\n\n(?P<c>.*)\n\nQuestion: (?P<q>.*)",
    r'I know that the answer to the question "(?P<q>.*?)" is in "(?P<c>.*)"\. Can you tell me what it is\?',
    r'Question: "(?P<q>.*?)"\s*Context: "(?P<c>.*)"\s*Answer:',
    r"Extract the answer to the question from the following context\.\nQuestion: (?P<q>.*?)\nContext: (?P<c>.*)",
    r'Given the following passage\s*"(?P<c>.*)",?\s*answer the following question\. Note that the answer is present '
    r"within the text\.\s*Question: (?P<q>.*)",
]
"""The prompts in which the data set wraps a question and its passage."""
GRAM = 13
HELD_OUT = 0.1
"""Share of the training sets' passages on which settings are chosen."""


def grams(text: str) -> set[tuple[str, ...]]:
    """Return a text's runs of 13 words."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)}


def pairs(
    data: Path, tested_grams: set[tuple[str, ...]], held_out: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield question, context and answer of the training sets, without passages of the tested set.

    A tenth of the passages is held out: settings are chosen on their questions, and nothing is trained on them.
    """
    dropped = 0
    forms = [re.compile(form, re.DOTALL) for form in FORMS]
    with lzma.open(data / PAIRS, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            if row["task"] not in ("fairytaleqa", "t0:adversarial_qa"):
                continue
            text = row["messages"][0]["content"].strip()
            found = next((match for match in (form.fullmatch(text) for form in forms) if match), None)
            if found is None:
                continue
            if (fraction(found["c"]) < HELD_OUT) != held_out:
                continue
            if grams(found["c"]) & tested_grams:
                dropped += 1
                continue
            answer = row["messages"][1]["content"].strip()
            yield f"{row['task']}#{number}", {"question": found["q"].strip(), "context": found["c"], "answer": answer}
    say(f"{dropped} pairs share {GRAM} words with a tested passage: left out")


def tested(data: Path) -> list[dict[str, Any]]:
    """Return the tested questions: article, passage, question, right answers, the place of the first."""
    with lzma.open(data / TESTED, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        {"article": row["title"], "passage": row["context"], "question": asked["question"]}
        | {"answers": [one["text"] for one in asked["answers"]], "place": asked["answers"][0]["answer_start"]}
        for row in rows
        for asked in row["questions"]
    ]


def chosen_on(data: Path, tested_grams: set[tuple[str, ...]]) -> list[dict[str, Any]]:
    """Return the held-out questions of the training sets whose answer stands in the passage, each once."""
    found: dict[str, dict[str, Any]] = {}
    for _, row in pairs(data, tested_grams, held_out=True):
        passage = row["context"]
        if row["answer"].lower() in passage.lower():
            key = row["question"] + passage
            one = {"article": passage[:40], "passage": passage, "question": row["question"], "answers": []}
            found.setdefault(key, one)["answers"].append(row["answer"])
    return [found[key] for key in sorted(found, key=fraction)]


def measure(model: LocalModel, questions: list[dict[str, Any]], chain: Any, name: str) -> dict[str, Any]:
    """Return F1, exact match and refusals over the right passages, refusals over wrong ones, and seconds."""
    rows: list[tuple[str, float, float, float, float]] = []
    started = time.perf_counter()
    for place, one in track(list(enumerate(questions)), name, len(questions), "questions"):
        step = next(n for n in range(1, len(questions)) if _other(questions, place, n)["article"] != one["article"])
        wrong = _other(questions, place, step)["passage"]
        said, refused = (
            chain(model, one["question"], [Chunk("page.txt", 0, len(text), text)], max_tokens=32).text
            for text in (one["passage"], wrong)
        )
        right = [normal(answer) for answer in one["answers"]]
        best = max(f1(said, answer) for answer in one["answers"])
        rows.append((one["article"], best, normal(said) in right, is_refusal(said), is_refusal(refused)))
    seconds = (time.perf_counter() - started) / (2 * len(questions))
    keys = ("F1", "exact match", "refused, right passage", "refused, wrong passage")
    return {key: interval(rows, at + 1) for at, key in enumerate(keys)} | {"seconds": seconds}


def _other(questions: list[dict[str, Any]], place: int, step: int) -> dict[str, Any]:
    return questions[(place + step * 37) % len(questions)]


def interval(rows: list[Any], column: int) -> tuple[float, float, float]:
    """Return the mean, and a 95 % interval by drawing articles anew (bootstrap, 2,000 draws)."""
    articles = sorted({row[0] for row in rows})
    values = [np.array([float(row[column]) for row in rows if row[0] == article]) for article in articles]
    sums, counts = np.array([v.sum() for v in values]), np.array([len(v) for v in values])
    drawn = np.random.default_rng(0).integers(len(articles), size=(2000, len(articles)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(sums.sum() / counts.sum()), float(low), float(high)


def teach(library: Library, data: Path, tested_grams: set[tuple[str, ...]], changes: Sequence[str]) -> dict[str, Any]:
    """Train the recipe on the training sets; return its steps, tokens, seconds, and processor seconds of both cores."""
    pull_package(library, PackageIndex(), catalog()[OPEN_MODEL].address, OPEN_MODEL)
    columns = Columns(prompt="question", reply="answer", context="context")
    rows = pairs(data, tested_grams)
    build_pairs(rows, columns, library, "reading-pairs", licence="Apache-2.0 AND CC-BY-SA-4.0")
    given = ["reading.pairs=reading-pairs", "reading.corpus=false", f"finetune.begin={OPEN_MODEL}"]
    recipe = load_recipe("reader", [*given, *changes])
    recipe = replace(recipe, stage=tuple(one for one in recipe.stage if not isinstance(one, CorpusStage)))
    before = os.times()
    model = run_recipe(recipe, library, restart=True).model
    after = os.times()
    used = after.user + after.system - before.user - before.system
    quantized_copies(library, recipe.name, [OPEN_QUANTIZATION], measure=False)
    return {**model.manifest.metrics, "processor_seconds": round(used)}


@click.command()
@click.option("--minutes", type=float, default=15.0, show_default=True, help="Of fine-tuning, unless --set says steps.")
@click.option("--on", type=click.Choice(["tested", "held-out"]), default="tested", help="Questions to measure on.")
@click.option("--questions", type=click.IntRange(1), default=10**6, help="At most so many questions.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of the recipe.")
@click.option("--home", type=click.Path(path_type=Path), help="A library to keep; else a temporary one.")
@click.option("--model", "names", multiple=True, metavar="NAME", help="Measure this model of --home; teach none.")
@click.option("--before/--no-before", default=True, help="Measure the open model as it is, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def main(
    minutes: float,
    on: str,
    questions: int,
    changes: tuple[str, ...],
    home: Path | None,
    names: tuple[str, ...],
    before: bool,
    as_json: bool,
) -> None:
    """Teach SmolLM2-135M-Instruct to read, and measure it on questions that it was not taught on."""
    data = Path(os.environ["SEEDBED_DATA"])
    tested_grams = {gram for one in tested(data) for gram in grams(one["passage"])}
    asked = tested(data) if on == "tested" else chosen_on(data, tested_grams)
    asked = asked[:: max(1, len(asked) // questions)]
    with tempfile.TemporaryDirectory() as folder:
        library = Library(home or Path(folder))
        figures = {} if names else teach(library, data, tested_grams, [f"finetune.minutes={minutes}", *changes])
        measured = list(names) or [f"{load_recipe('reader', changes).name}-{OPEN_QUANTIZATION}"]
        if before and not names:
            measured.insert(0, pull_open_model(library))
        say(" ".join(f"{key} {value}" for key, value in figures.items()))
        results = {
            f"{name}, {chain.__name__}": measure(model, asked, chain, f"{name}, {chain.__name__}")
            for name in measured
            for model in [LocalModel.open(name, library)]
            for chain in (stuff, quote)
        }
    if as_json:
        print_json({"on": on, "questions": len(asked), "figures": figures} | results)
        return
    keys = [key for key in next(iter(results.values())) if key != "seconds"]
    rows = [
        [title, *(f"{r[k][0]:.3f} ({r[k][1]:.3f}–{r[k][2]:.3f})" for k in keys), f"{r['seconds']:.2f}"]
        for title, r in results.items()
    ]
    print_table([f"{len(asked)} questions, {on}", *keys, "s an answer"], rows)


if __name__ == "__main__":
    main()
