"""Predictions of models with a task head: masked tokens, classes of a text, named entities, answers to a question.

Labels have the names that the model was published with. Scores are probabilities, as ``transformers``' pipelines give
them; how an answer is scored is said at :meth:`Predictor.answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import tokenizers
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.inference.span_decoding import Marker, TokenSpan, answers, tagged
from seedbed.models.config import HeadKind
from seedbed.models.factory import AnyModel
from seedbed.models.store import Loaded, kind_of
from seedbed.models.task_model import TaskModel

MASKS = ("[MASK]", "<mask>")  # spellings of a masked token in a text, for every model


@dataclass(frozen=True)
class Guess:
    """A token that is proposed for a mask."""

    token: int
    text: str
    score: float


@dataclass(frozen=True)
class Label:
    """A class of a text."""

    label: str
    score: float


class Predictor:
    """Runs one model's head. Takes a model from ``load_any``; raises UsageError where it has none of these heads."""

    def __init__(self, loaded: Loaded[AnyModel]) -> None:
        model = loaded.model
        if not isinstance(model, TaskModel) or model.config.head == "none":
            what, why = f"model {loaded.artifact.id[:12]} has no prediction head", f"it is {kind_of(model.config)}"
            fix = "use `seedbed run` with a model that writes, or `seedbed docs add --embedder` with an encoder"
            raise UsageError(what, why=why, fix=fix)
        self.model, self.tokenizer, self.head = model, loaded.tokenizer, model.config.head
        config: Mapping[str, Any] = loaded.published.get("config", {})
        self._names = label_names(config, model.config.labels)
        self._problem = config.get("problem_type")
        self._marker = Marker(loaded.tokenizer, model.config.max_length)

    def fill(self, text: str, top: int = 5) -> list[list[Guess]]:
        """Return the likeliest tokens for each mask (``MASKS``) of a text, best first.

        Raises UsageError where there is no mask or the model fills none, CapacityError for a text that is too long.
        """
        self._require("mlm")
        name = self.tokenizer.names.get("mask_token")
        mask = self._marker.id_of(name)
        if name is None or mask is None:
            raise UsageError("the tokenizer has no mask", why="it names no mask_token", fix="import it with its files")
        for one in MASKS:
            text = text.replace(one, name)
        encoding = self._marker.whole(text, special=True)
        places = [place for place, token in enumerate(encoding.ids) if token == mask]
        if not places:
            why, fix = f"there is no {name} in the text", f"write {name} in a place"
            raise UsageError("no token is masked", why=why, fix=fix)
        found = self._forward(encoding)[places].softmax(-1)[:, : self.tokenizer.vocab_size].topk(top)
        pairs = zip(found.indices.tolist(), found.values.tolist(), strict=True)
        text_of = partial(self.tokenizer.decode, keep_special=True)
        return [[Guess(one, text_of([one]), score) for one, score in zip(*pair, strict=True)] for pair in pairs]

    def classify(self, text: str, second: str | None = None) -> list[Label]:
        """Return the classes of a text, or of two, likeliest first. A text longer than the window is cut.

        One class, or several that do not exclude each other, have a probability each; a regression's are its values.
        Raises UsageError where the model does not classify texts.
        """
        self._require("sequence")
        (_, window), *more = self._marker.windows(text, second)
        if more:
            say(f"the text is cut: the model reads {self._marker.window} tokens")
        scores = self._forward(window)
        if self._problem != "regression":
            apart = self._problem == "multi_label_classification" or len(scores) == 1
            scores = scores.sigmoid() if apart else scores.softmax(-1)
        labels = [Label(name, score) for name, score in zip(self._names, scores.tolist(), strict=True)]
        return sorted(labels, key=lambda one: -one.score)

    def tag(self, text: str) -> list[TokenSpan]:
        """Return parts of a text with a class, such as names; see :func:`seedbed.inference.span_decoding.tagged`.

        Raises UsageError where the model does not classify tokens.
        """
        self._require("token")
        return tagged(self._marker, self._forward, self._names, text)

    def answer(self, question: str, text: str, top: int = 1) -> list[TokenSpan]:
        """Return the likeliest answers in a text, best first.

        The score is the probability of its first token times that of its last, among the text's tokens and the first
        of all, where models that were trained to say "no answer" put it. Long texts are read in overlapping windows.
        Raises UsageError where the model finds no answers, CapacityError where the question alone is too long.
        """
        self._require("span")
        return answers(self._marker, self._forward, question, text, top)

    @torch.inference_mode()
    def _forward(self, encoding: tokenizers.Encoding) -> Tensor:
        """Return the head's output for one text: (T, V), (labels,), (T, labels) or (T, 2)."""
        device = next(self.model.parameters()).device
        kinds = encoding.type_ids if max(encoding.type_ids, default=0) < self.model.config.segments else None
        ids = torch.tensor([encoding.ids], device=device)
        segments = None if kinds is None else torch.tensor([kinds], device=device)
        out: Tensor = self.model(ids, segments=segments)
        return out[0].float().cpu()

    def _require(self, head: HeadKind) -> None:
        if self.head != head:
            what, why = "the model has no head for this task", f"it is {kind_of(self.model.config)}"
            raise UsageError(what, why=why, fix="choose a model trained for it")


def label_names(config: Mapping[str, Any], count: int) -> list[str]:
    """Return the names of classes from a published config.json; LABEL_0 … where it has none."""
    table = config.get("id2label") or {}
    return [str(table.get(str(number), f"LABEL_{number}")) for number in range(count)]
