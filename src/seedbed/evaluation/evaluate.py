"""Evaluate a model: bits per byte on its own corpus's test split beside baselines, samples, and the report.

The result is an artifact of kind "evaluation" whose parents are the model and the tokens it was measured on; it holds
``results.json`` and ``report.html``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError
from seedbed.core.lineage import family
from seedbed.core.machine import describe_machine
from seedbed.core.progress import say
from seedbed.core.version import __version__
from seedbed.corpus.document import Split
from seedbed.corpus.pack import TokenShards
from seedbed.corpus.questions import read_questions
from seedbed.corpus.store import Corpus
from seedbed.evaluation import samples
from seedbed.evaluation.baselines import text_rows, token_rows
from seedbed.evaluation.bits_per_byte import BitsPerByte, measure
from seedbed.evaluation.report import Report, write_report
from seedbed.evaluation.subject import Subject, find_subject
from seedbed.evaluation.table import Line, ResultRow, compare, known
from seedbed.models.store import LoadedModel, load_model
from seedbed.train.metrics import read_metrics

RESULTS, REPORT = "results.json", "report.html"
LOSSY = "This tokenizer cannot spell every text, and what it drops costs nothing: the figure flatters the model."


def evaluate_model(
    model: Artifact,
    library: Library,
    *,
    subject: Subject | None = None,
    baselines: bool = True,
    command: str = "",
    name: str | None = None,
) -> Artifact:
    """Measure a model on the test split of the corpus it comes from, and store results and report.

    Args:
        subject: its tokens, corpus and relatives, where the caller knows them; found through the lineage otherwise.
        command: the command line that makes the report again.
        name: a reference to move to the evaluation.

    Raises:
        NotFoundError: the model has no tokens among its ancestors.
        UsageError: the tokens were made with another tokenizer.
        CorruptError: a file that is read is damaged.
    """
    subject = subject or find_subject(model, library)
    loaded, corpus = load_model(model), Corpus.open(subject.corpus)
    found, lines = measure_subject(subject, loaded, corpus, baselines=baselines)
    say("writing samples")
    asked = list(read_questions(subject.questions, "test")) if subject.questions else []
    report = Report(
        title=f"Model {(library.names_of(model) or [model.id[:12]])[0]}",
        lines=lines,
        measured=f"Measured on the whole test split, which the model was not trained on: {len(found.document_bits):,}"
        f" documents, {found.bytes:,} bytes, {found.tokens:,} predicted tokens, each document on its own, its end"
        " included.",
        remarks=[] if loaded.tokenizer.is_lossless else [LOSSY],
        runs=[
            (str(run.manifest.config.get("stage", f"run {run.id[:12]}")), read_metrics(run.file("metrics.jsonl")))
            for run in subject.runs
        ],
        samples=samples.continuations(loaded, corpus.documents("test"), len(found.document_bits)),
        questions=samples.answers(loaded, asked),
        lineage=family(library, model),
        corpus=_corpus_facts(subject.corpus, corpus),
        machine=_machine_facts(),
        command=command,
    )
    with library.writing("evaluation", parents=(model, subject.tokens), name=name) as draft:
        draft.licence = model.manifest.licence
        draft.metrics = {"bits_per_byte": found.value, "standard_error": known(found.standard_error)}
        files.write_json(draft.path / RESULTS, {"model": model.id} | _results(loaded, found, report))
        write_report(draft.path / REPORT, report)
    return draft.result


def measure_subject(
    subject: Subject, loaded: LoadedModel, corpus: Corpus, *, baselines: bool
) -> tuple[BitsPerByte, list[Line]]:
    """Measure the model (returned first), the model it was fine-tuned from, and baselines (returned with it as lines).

    Raises:
        UsageError: the tokens were made with another tokenizer.
        CorruptError: tokens and corpus do not hold the same documents.
    """
    shards = TokenShards.open(subject.tokens)
    test, context = shards.split("test"), loaded.model.config.max_length
    order, kinds = _packed_order(corpus, shards)
    found = _measure(loaded, shards)
    rows = [ResultRow("this model", found.value, f"windows of {context} tokens", found.document_bits, "model")]
    if subject.base is not None:
        base = _measure(load_model(subject.base), shards)
        note = f"{subject.base.id[:12]}, which it was fine-tuned from"
        rows.append(ResultRow("base model", base.value, note, base.document_bits, "base"))
    if baselines:
        rows += token_rows(shards.split("train"), test, shards.vocab_size)
        rows += [_reordered(row, order) for row in text_rows(_texts(corpus, "train"), _texts(corpus, "test"))]
    return found, compare(found, rows, kinds)


def _measure(loaded: LoadedModel, shards: TokenShards) -> BitsPerByte:
    loaded.tokenizer.require(shards.tokenizer_hash, "the tokens of the corpus")
    return measure(loaded.model, shards.split("test"), context=loaded.model.config.max_length)


def _texts(corpus: Corpus, split: Split) -> Iterator[str]:
    return (document.text for document in corpus.documents(split))


def _packed_order(corpus: Corpus, shards: TokenShards) -> tuple[NDArray[np.int64], list[str]]:
    """Return the corpus index of each packed test document (they are packed by source), and its kind."""
    found = [(shards.sources.index(one.source), one.kind, one.bytes) for one in corpus.documents("test")]
    order = np.argsort([source for source, _, _ in found], kind="stable")
    packed = [found[index] for index in order]
    if [size for _, _, size in packed] != shards.split("test").bytes.tolist():
        raise CorruptError(
            "the tokens do not hold the corpus's documents",
            why=f"{len(found)} test documents and {len(shards.split('test').starts)} packed ones differ in their sizes",
            fix="pack the corpus again",
        )
    return order, [kind for _, kind, _ in packed]


def _reordered(row: ResultRow, order: NDArray[np.int64]) -> ResultRow:
    return row if row.document_bits is None else replace(row, document_bits=row.document_bits[order])


def _corpus_facts(artifact: Artifact, corpus: Corpus) -> dict[str, str]:
    facts = {"id": artifact.id, "licence": artifact.manifest.licence or "unknown"}
    for split, counts in corpus.report["splits"].items():
        facts[split] = f"{counts['documents']:,} documents, {counts['bytes']:,} bytes"
    return facts


def _machine_facts() -> dict[str, str]:
    machine = {name.replace("_", " "): _plain(value) for name, value in describe_machine().items()}
    return {**machine, "numpy": np.__version__, "seedbed": __version__}


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _results(loaded: LoadedModel, found: BitsPerByte, report: Report) -> dict[str, Any]:
    return {
        "split": "test",
        "context": loaded.model.config.max_length,
        "documents": len(found.document_bits),
        "bytes": found.bytes,
        "tokens": found.tokens,
        "bits": found.bits,
        "bits_per_byte": found.value,
        "standard_error": known(found.standard_error),
        "lossless": loaded.tokenizer.is_lossless,
        "table": [asdict(line) for line in report.lines],
        "samples": [asdict(sample) for sample in report.samples],
        "questions": [asdict(sample) for sample in report.questions],
    }
