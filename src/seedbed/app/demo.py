"""The demo: an assistant that answers from a text at once, models of one's own, and what each of them buys.

The open model comes from the catalog of packages; where it cannot be fetched, the demo says so and goes on with quoted
sentences and a model trained from nothing.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from seedbed.app.pull_package import pull_package
from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.model import ReplyOptions
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError, NotFoundError
from seedbed.core.files import sha256_text
from seedbed.corpus.pack import TokenSplit
from seedbed.corpus.store import Corpus
from seedbed.documents.file_walk import STDLIB
from seedbed.evaluation.bits_per_byte import measure
from seedbed.evaluation.golden import Bought, Contender, Golden, golden_questions, judge
from seedbed.hub.catalog import catalog
from seedbed.hub.package_index import PackageIndex
from seedbed.pipeline.recipe import Recipe, load_recipe
from seedbed.pipeline.run import Outcome
from seedbed.pipeline.stages.corpus import CorpusStage
from seedbed.rag.answer import ask
from seedbed.rag.collection import Collection
from seedbed.rag.collection import home as collections_home
from seedbed.rag.collection import remove as remove_collection
from seedbed.rag.record import Answer
from seedbed.search.contracts import Hit

OPEN_MODEL, OPEN_QUANTIZATION = "smollm2", "int8"
OPEN_NAME = f"{OPEN_MODEL}-{OPEN_QUANTIZATION}"
STDLIB_QUESTIONS = (
    "How does copyfile copy the contents of a file?",
    "What does heappop return?",
    "How do I create a temporary directory?",
)
HELD_OUT_BYTES = 60_000
"""Held-out text on which bits per byte of all models are compared."""
_CONTEXT, _LOOKED_AT = 512, 50
_PATHS = "demo.paths"
"""A file in a collection's folder: the mark of the paths that a demo read into it."""
_REPLY: ReplyOptions = {"max_tokens": 48, "temperature": 0.0, "repetition_penalty": 1.1}


@dataclass(frozen=True)
class Assistant:
    """The part that answers before anything is trained: the documents, and the open model where it could be had."""

    collection: str
    model: str | None


def pull_open_model(library: Library) -> str:
    """Return the open model's name in the library; raises SeedbedError where it cannot be had."""
    known = catalog()[OPEN_MODEL]
    pull_package(library, PackageIndex(), known.address, OPEN_NAME, quantization=OPEN_QUANTIZATION)
    return OPEN_NAME


def index_documents(library: Library, recipe: Recipe) -> str:
    """Index a recipe's text as a collection, and return its name: the recipe's, unless that holds another text already.

    Raises:
        DataError: nothing could be read.
    """
    paths = paths_of(recipe)
    files = [found for path in paths for found in _files_of(path)]
    name = recipe.name if _same_text(library, recipe.name, paths) else f"{recipe.name}-{_mark(paths)}"
    with closing(Collection.create(library, name)) as collection:
        collection.add(files)
        if collection.store.count():
            (collection.folder / _PATHS).write_text(_mark(paths), encoding="utf-8")
            return name
    remove_collection(library, name)
    raise DataError(
        "there is no text to answer from",
        why=f"nothing in {', '.join(paths)} could be read",
        fix="name a folder with text files, PDFs, mail …; `seedbed docs add NAME FOLDER` says why a file is skipped",
    )


def _same_text(library: Library, name: str, paths: Sequence[str]) -> bool:
    """Tell whether a collection is not there yet, or was made by a demo of these very paths."""
    folder = collections_home(library) / name
    marked = folder / _PATHS
    return not folder.exists() or (marked.is_file() and marked.read_text(encoding="utf-8") == _mark(paths))


def _mark(paths: Sequence[str]) -> str:
    return sha256_text("\n".join(str(Path(path).absolute()) for path in paths))[:8]


def paths_of(recipe: Recipe) -> list[str]:
    """Return the paths of a recipe's text."""
    stages = [stage for stage in recipe.stage if isinstance(stage, CorpusStage)]
    return [source.path for stage in stages for source in stage.settings.sources]


def first_answers(library: Library, recipe: Recipe, assistant: Assistant) -> Iterator[Answer]:
    """Answer three questions from the text: in the open model's words where it is there, else quoted."""
    questions = STDLIB_QUESTIONS if paths_of(recipe) == [STDLIB] else _headings(library, assistant.collection)
    model = LocalModel.open(assistant.model, library) if assistant.model else None
    with closing(Collection.open(library, assistant.collection)) as collection:
        for question in questions:
            yield from_documents(question, collection, model)


def from_documents(question: str, collection: Collection, model: LocalModel | None) -> Answer:
    """Answer in a model's words where the documents support one of them, else with the best sentence itself."""
    if model is not None:
        answer = ask(question, collection.search, model, chain="stuff", k=3, **_REPLY)
        if answer.found and answer.citations:
            return answer
    return ask(question, collection.search, chain="extract")


def _headings(library: Library, name: str) -> list[str]:
    """Return questions after headings of a collection's first documents; after its file names where it has none."""
    with closing(Collection.open(library, name)) as collection:
        stored = collection.store.documents()[:_LOOKED_AT]
        chunks = [next(iter(collection.store.chunks_of(one.source)[1:2]), None) for one in stored]
    headings = dict.fromkeys(chunk.heading.rpartition(" > ")[2] for chunk in chunks if chunk and chunk.heading)
    if headings:
        return [f"What does the text say about {heading}?" for heading in list(headings)[:3]]
    return [f"What does {Path(one.source).stem} say?" for one in stored[:3]]


def tuning_recipe(recipe: Recipe, minutes: float) -> Recipe:
    """Return the recipe that teaches the open model to read a recipe's text, in some minutes."""
    reader = load_recipe(
        "reader",
        [f"finetune.begin={OPEN_NAME}", f"finetune.minutes={minutes}", "finetune.context=640", "reading.passages=2"],
    )
    corpus = next(stage for stage in recipe.stage if isinstance(stage, CorpusStage))
    stages = tuple(
        replace(corpus, name="", use=f"{recipe.name}-{corpus.title}") if isinstance(stage, CorpusStage) else stage
        for stage in reader.stage
    )
    return replace(reader, name=f"{recipe.name}-assistant", stage=stages)


def what_each_bought(
    library: Library, recipe: Recipe, outcome: Outcome, assistant: Assistant, tuned: str | None, count: int
) -> Iterator[Bought]:
    """Put the same golden questions to every way of answering, one after another.

    Raises:
        NotFoundError: no question can be made from the held-out text.
    """
    corpus = outcome.last("corpus")
    questions = golden_questions(corpus, count)
    if not any(one.answer for one in questions):
        raise NotFoundError("no golden question", why="the held-out text gives none", fix="use a larger corpus")
    examples = golden_questions(corpus, 3, "train")[:3]
    names = [name for name in (recipe.name, assistant.model, tuned) if name]
    models = {name: LocalModel.open(name, library) for name in names}
    bits = {name: bits_per_byte(model, corpus) for name, model in models.items()}
    with closing(Collection.open(library, assistant.collection)) as collection:
        for contender in _contenders(models, bits, recipe.name, assistant.model, tuned, examples, collection):
            yield judge(contender, questions)


def _contenders(
    models: dict[str, LocalModel],
    bits: dict[str, float],
    own: str,
    opened: str | None,
    tuned: str | None,
    examples: Sequence[Golden],
    collection: Collection,
) -> Iterator[Contender]:
    def row(title: str, name: str, answer: Callable[[str], str]) -> Contender:
        return Contender(title, answer, bits[name], models[name].loaded.artifact.size)

    def search(question: str, k: int) -> list[Hit]:
        return collection.search(question, k)

    def documents(name: str) -> Callable[[str], str]:
        return lambda question: ask(question, search, models[name], chain="stuff", k=3, **_REPLY).text

    yield row("own model, from nothing", own, _alone(models[own]))
    if opened:
        yield row("open model", opened, _alone(models[opened]))
        yield row("open model, with examples", opened, _alone(models[opened], examples))
    if tuned:
        yield row("open model, fine-tuned", tuned, _alone(models[tuned]))
    yield Contender("documents, quoted", lambda question: ask(question, search, chain="extract").text)
    if opened:
        yield row("documents + open model", opened, documents(opened))
    if tuned:
        yield row("documents + fine-tuned model", tuned, documents(tuned))


def _alone(model: LocalModel, examples: Sequence[Golden] = ()) -> Callable[[str], str]:
    """Return a function that asks a model without documents, after examples where there are any."""
    shown = [
        message for one in examples for message in (Message("user", one.question), Message("assistant", one.answer))
    ]
    return lambda question: model.reply([*shown, Message("user", question)], **_REPLY).text


def bits_per_byte(model: LocalModel, corpus: Artifact) -> float:
    """Return bits per byte on the first held-out documents, in windows of at most 512 tokens."""
    texts = [one.text for one in islice(Corpus.open(corpus).documents("test"), 200)]
    sizes = np.array([len(text.encode()) for text in texts])
    texts = texts[: max(1, int((np.cumsum(sizes) <= HELD_OUT_BYTES).sum()))]
    tokenizer = model.tokenizer
    rows = [[tokenizer.bos_id, *tokenizer.encode(text[:HELD_OUT_BYTES]), tokenizer.end_id] for text in texts]
    starts = np.cumsum([0, *(len(row) for row in rows)])[:-1]
    split = TokenSplit((np.concatenate(rows).astype(np.uint32),), starts, sizes[: len(texts)].clip(max=HELD_OUT_BYTES))
    return measure(model.loaded.model, split, context=min(_CONTEXT, model.context_window)).value


def _files_of(path: str) -> list[str]:
    """Return a folder, a file or "stdlib" as it is, and the files that match a glob."""
    if path == STDLIB or Path(path).exists() or not glob.has_magic(path):
        return [path]
    return sorted(glob.iglob(path, recursive=True))  # noqa: PTH207 (any root)
