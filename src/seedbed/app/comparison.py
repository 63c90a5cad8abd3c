"""Golden questions put to every way of answering that a demo has made: what did each buy?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice

import numpy as np

from seedbed.app.assistant import Assistant
from seedbed.app.fit import RUNTIME
from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.model import ReplyOptions
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.progress import track
from seedbed.corpus.store import Corpus
from seedbed.evaluation.bits_per_byte import plan_windows
from seedbed.evaluation.golden import TOGETHER, Bought, Contender, compare
from seedbed.evaluation.golden_questions import Golden, golden_questions, unanswerable
from seedbed.inference.engine import Engine
from seedbed.inference.engine_client import EngineClient, EngineThread, ends_of
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.runners.making import make_runner
from seedbed.models.parameter_counts import count_parameters
from seedbed.models.store import load_model
from seedbed.rag.answer import ask
from seedbed.rag.collection import Collection
from seedbed.rag.passages import NOT_FOUND
from seedbed.search.contracts import Hit
from seedbed.search.embedders import NO_EMBEDDER, TFIDF

HELD_OUT_BYTES = 20_000
"""Held-out text on which bits per byte of all models are compared."""
SECONDS = 55.0
"""Time for all questions to all ways of answering; what is left then is not asked."""
INSTRUCTION = f"Answer with a name, a number or a few words. If you do not know the answer, say: {NOT_FOUND}"
"""The prompt of the row "with prompt and examples"."""
UNKNOWN = "Who designed the Wendrick clock tower?"
"""Its example of a question that is not answered; it is not among those that are asked."""
_CONTEXT, _PASSAGES, _WINDOW = 512, 3, 1024
_REPLY: ReplyOptions = {"max_tokens": 24, "temperature": 0.0}
"""Longest answers have five words; 24 tokens hold them with a sentence around them.

Without a penalty of repetition: it counts the prompt, and so forbids the very words of the passages.
"""


def what_each_bought(
    library: Library, own: str, corpus: Artifact, assistant: Assistant, tuned: str | None, count: int
) -> list[Bought]:
    """Put the same golden questions to every way of answering: ``count`` with an answer, half as many without.

    Args:
        own: the model trained from nothing; ``tuned``: the open model, fine-tuned.

    Raises:
        NotFoundError: no question can be made from the held-out text.
    """
    questions = golden_questions(corpus, count)
    if not questions:
        raise NotFoundError("no golden question", why="the held-out text gives none", fix="use a larger corpus")
    examples = [*golden_questions(corpus, 3, "train"), Golden(UNKNOWN, NOT_FOUND)]
    names = [name for name in (own, assistant.model, tuned) if name]
    with _opened(library, names) as models, closing(Collection.open(library, assistant.collection)) as collection:
        ways = _Ways(library, models, collection, corpus)
        rows = list(ways.contenders(own, assistant.model, tuned, examples))
        return compare(rows, [*questions, *unanswerable((count + 1) // 2)], SECONDS)


class _opened:
    """Models that many threads may ask at once, by name; closed at the end of the block."""

    def __init__(self, library: Library, names: Sequence[str]) -> None:
        self._threads: list[EngineThread] = []
        self._models = {name: self._open(library, name) for name in names}

    def __enter__(self) -> dict[str, LocalModel]:
        return self._models

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.close()

    def _open(self, library: Library, name: str) -> LocalModel:
        loaded = load_model(library.get(name, "model"))
        counts, window = count_parameters(loaded.model.config), loaded.model.config.max_length
        cache = max(counts.cached(window), TOGETHER * counts.cached(min(window, _WINDOW)))
        runner = make_runner(loaded, cache_bytes=int(4 * cache), together=True)
        engine = Engine(runner, ends_of(loaded), grammars=GrammarCompiler(loaded.tokenizer))
        self._threads.append(EngineThread(engine))
        return LocalModel(loaded, EngineClient(self._threads[-1]), name=name)


class _Ways:
    """The rows of the table."""

    def __init__(
        self, library: Library, models: dict[str, LocalModel], collection: Collection, corpus: Artifact
    ) -> None:
        self._models, self._collection = models, collection
        self._bits = {name: bits_per_byte(model, corpus) for name, model in models.items()}
        embedder = collection.settings.embedder
        known = embedder not in (NO_EMBEDDER, TFIDF)
        self._search_bytes = collection.size + (library.get(embedder, "model").size if known else 0)

    def contenders(
        self, own: str, opened: str | None, tuned: str | None, examples: Sequence[Golden]
    ) -> Iterator[Contender]:
        yield self._row("own model, from nothing", own, self._alone(own))
        if opened:
            yield self._row("open model", opened, self._alone(opened))
            yield self._row("open model, prompt and examples", opened, self._alone(opened, examples))
        if tuned:
            yield self._row("open model, fine-tuned", tuned, self._alone(tuned))
        yield Contender("documents, quoted", self._quoted, memory=RUNTIME + self._search_bytes)
        for title, name in (("documents + open model", opened), ("documents + fine-tuned model", tuned)):
            if name:
                yield self._row(title, name, self._documents(name), self._search_bytes)

    def _row(self, title: str, name: str, answer: Callable[[str], str], more: float = 0.0) -> Contender:
        model = self._models[name]
        window = min(model.context_window, _WINDOW)
        cache = 4.0 * count_parameters(model.loaded.model.config).cached(window)
        return Contender(title, answer, self._bits[name], model.loaded.artifact.size + cache + RUNTIME + more)

    def _alone(self, name: str, examples: Sequence[Golden] = ()) -> Callable[[str], str]:
        """Return a function that asks a model without documents, after prompt and examples where there are any."""
        shown = [Message("system", INSTRUCTION)] if examples else []
        for one in examples:
            shown += [Message("user", one.question), Message("assistant", one.answer)]
        model = self._models[name]
        return lambda question: model.reply([*shown, Message("user", question)], **_REPLY).text

    def _documents(self, name: str) -> Callable[[str], str]:
        model, embedder, standing = self._models[name], self._collection.sentence_embedder, self._collection.standing

        def answer(question: str) -> str:
            # The chain that the fine-tuned model was taught with.
            given = {"k": _PASSAGES, "embedder": embedder, "standing": standing}
            return ask(question, self._search, model, chain="stuff", **given, **_REPLY).text  # type: ignore[arg-type]

        return answer

    def _quoted(self, question: str) -> str:
        embedder, standing = self._collection.sentence_embedder, self._collection.standing
        return ask(question, self._search, chain="extract", k=_PASSAGES, embedder=embedder, standing=standing).text

    def _search(self, question: str, k: int) -> list[Hit]:
        return self._collection.search(question, k)


def bits_per_byte(model: LocalModel, corpus: Artifact) -> float:
    """Return bits per byte on the first held-out documents, in windows of at most 512 tokens, as the engine computes.

    The engine's kernel reads quantized weights several times as fast as PyTorch does.
    """
    texts = [one.text for one in islice(Corpus.open(corpus).documents("test"), 200)]
    sizes = np.array([len(text.encode()) for text in texts])
    texts = texts[: max(1, int((np.cumsum(sizes) <= HELD_OUT_BYTES).sum()))]
    tokenizer = model.tokenizer
    rows = [[tokenizer.bos_id, *tokenizer.encode(text[:HELD_OUT_BYTES]), tokenizer.end_id] for text in texts]
    starts, tokens = np.cumsum([0, *(len(row) for row in rows)]), np.concatenate(rows)
    context = min(_CONTEXT, model.context_window) - 1  # a prompt holds the token that is predicted last, too
    windows = plan_windows(starts[:-1], len(tokens), context, context)
    nats = 0.0
    for window in track(windows, "bits per byte", len(windows), "windows"):
        logprobs = model.client.prompt_logprobs(tokens[window.start : window.start + window.length + 1].tolist())
        nats -= math.fsum(logprobs[window.skip :])
    return nats / math.log(2) / int(sizes[: len(texts)].clip(max=HELD_OUT_BYTES).sum())
