"""Conversations with a loss mask, for fine-tuning; a share of the steps can replay the corpus, against forgetting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from seedbed.core.artifacts import Artifact
from seedbed.core.config import setting
from seedbed.core.errors import DataError, UsageError
from seedbed.core.progress import say
from seedbed.corpus.document import Split
from seedbed.corpus.questions import first_exchange, read_questions
from seedbed.corpus.tally import Tally
from seedbed.nn.loss import IGNORE
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import VALIDATION_SEED, Batch, Feed, Feeding, Source, SourceKind
from seedbed.train.sources.packed import Epochs, Mixture, PackedTokens, open_tokens, training_tokens


@dataclass(frozen=True)
class ConversationSource(SourceKind):
    """Conversations of an earlier stage, with labels on the assistant's tokens."""

    replay: float = setting(
        0.5, "share of the steps on the corpus itself, against forgetting", at_least=0, at_most=0.95
    )

    def open(self, given: Feeding) -> Feed:
        """Open the questions of an earlier stage, and its tokens where they are replayed."""
        questions = given.artifact("questions")
        rows = encode(questions, "train", given.tokenizer, given.title)
        settings, context = given.settings, given.context
        chat = ChatSource(rows, context, settings.batch, given.tokenizer.pad_id, settings.seed)
        if chat.shortened or chat.left_out:
            say(
                f"{given.title}: of {len(rows)} conversations {chat.shortened} are cut at {context} tokens, "
                f"{chat.left_out} left out because no answer begins before"
            )
        source: Source = chat
        length = math.ceil(sum(len(row.ids) for row in rows) / len(rows))
        if self.replay:
            windows = max(1, settings.batch * length // context)
            shards = open_tokens(given.artifact("tokens"), given)
            source = Alternating(chat, training_tokens(shards, context, windows, settings.seed), self.replay)
        per_epoch = len(chat.batches) / (1 - self.replay)
        held_out, prompts = _held_out(questions, given), _prompts(questions, given)
        return Feed(source, settings.batch * length, per_epoch, held_out, f"{len(rows):,} conversations", prompts)


def encode(questions: Artifact, split: Split, encoder: Tokenizer, title: str = "") -> list[TokenizedConversation]:
    """Return the conversations of a split as token ids with the assistant's part marked.

    Those that the chat template refuses are left out, which is said under ``title``. Raises UsageError where it refuses
    every one to be trained on.
    """
    found: list[TokenizedConversation] = []
    refused, refusal = Tally(), None
    for row in read_questions(questions, split):
        try:
            found.append(TokenizedConversation(*encoder.encode_chat(row["messages"])))
        except UsageError as error:
            refused.add(error.why, str(row["source"]))
            refusal = error
    if refusal and not found and split == "train":
        raise refusal
    refused.say(f"{title}, {split}: {refused.total:,} conversations are left out, the chat template refuses them")
    return found


def _held_out(questions: Artifact, given: Feeding) -> list[Batch]:
    """A fixed sample of validation conversations; none where no question was held out."""
    rows, settings = encode(questions, "valid", given.tokenizer, given.title), given.settings
    size = min(settings.batch, sum(any(row.answered[1 : given.context + 1]) for row in rows))
    if not settings.evaluate_every or not size:
        return []
    source = ChatSource(rows, given.context, size, given.tokenizer.pad_id, VALIDATION_SEED)
    return [source.next() for _ in range(min(settings.evaluate_batches, len(source.batches)))]


def _prompts(questions: Artifact, given: Feeding) -> list[list[dict[str, Any]]]:
    """Held-out questions that leave half of the context to an answer, for live samples."""
    rows = list(read_questions(questions, "valid"))
    asked = [first_exchange(row)[0] for row in rows]
    return [one for one in asked if _length(one, given.tokenizer) < given.context // 2]


def _length(messages: Sequence[Mapping[str, Any]], encoder: Tokenizer) -> float:
    """Return the number of tokens; infinite for what the template refuses."""
    try:
        return len(encoder.encode_chat(messages)[0])
    except UsageError:
        return math.inf


@dataclass(frozen=True)
class TokenizedConversation:
    """Token ids and which of them an assistant wrote."""

    ids: list[int]
    answered: list[bool]


class ChatSource(Epochs):
    """Conversations, one a row, with labels on the assistant's tokens only.

    Batches hold conversations of similar length (so that little is padding): an epoch's order is cut into pools of 32
    batches, each pool is sorted by length and its batches shuffled. Conversations longer than the context lose their
    end (``shortened`` counts them); those of which no answer is left are left out (``left_out``). Raises DataError
    where there are fewer than a batch holds.
    """

    POOL = 32

    def __init__(
        self, conversations: Sequence[TokenizedConversation], context: int, batch: int, pad: int, seed: int
    ) -> None:
        usable = [conversation for conversation in conversations if any(conversation.answered[1 : context + 1])]
        self.left_out = len(conversations) - len(usable)
        self.shortened = sum(len(conversation.ids) > context + 1 for conversation in usable)
        if len(usable) < batch:
            raise DataError(
                "there are fewer conversations than one batch holds",
                why=f"{len(usable)} of {len(conversations)} have an answer within {context} tokens; a batch is {batch}",
                fix="raise the context, lower the batch, or add text that questions can be made from",
            )
        self.conversations = usable
        self.context, self.batch, self.pad, self.seed = context, batch, pad, seed
        self._shuffle()

    def next(self) -> Batch:
        """``ids`` and ``labels``, (batch, longest conversation)."""
        if self.position == len(self.batches):
            self.epoch, self.position = self.epoch + 1, 0
            self._shuffle()
        rows = [self.conversations[index] for index in self.batches[self.position]]
        self.position += 1
        return collate(rows, self.context, self.pad)

    @property
    def where(self) -> str:
        """For messages: the epoch and the batch."""
        return f"epoch {self.epoch}, batch {self.position} of {len(self.batches)}"

    def _shuffle(self) -> None:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.conversations))
        self.batches: list[list[int]] = []
        for start in range(0, len(order), self.POOL * self.batch):
            pool = sorted(order[start : start + self.POOL * self.batch], key=lambda i: len(self.conversations[i].ids))
            cut = [[int(i) for i in pool[at : at + self.batch]] for at in range(0, len(pool), self.batch)]
            self.batches += [cut[index] for index in generator.permutation(len(cut))]


class Alternating:
    """Batches of two sources in turn: a share of the steps comes from ``second``, evenly spread."""

    def __init__(self, first: ChatSource, second: PackedTokens | Mixture, share: float) -> None:
        self.parts, self.share, self.steps = (first, second), share, 0

    def next(self) -> Batch:
        """A whole batch of one of them."""
        self.steps += 1
        return self.parts[self._turn()].next()

    @property
    def where(self) -> str:
        """For messages."""
        return self.parts[self._turn()].where

    def state_dict(self) -> dict[str, Any]:
        """The steps so far and both places."""
        return {"steps": self.steps, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps = int(state["steps"])
        for part, stored in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(stored)

    def _turn(self) -> int:
        """Return the index of the part that the newest batch is from."""
        return int(self.steps * self.share) - int((self.steps - 1) * self.share)


def collate(rows: Sequence[TokenizedConversation], context: int, pad: int) -> Batch:
    """Pad conversations on the right to a batch; a token is a label where an assistant wrote it."""
    cut = [(torch.tensor(row.ids[: context + 1]), torch.tensor(row.answered[1 : context + 1])) for row in rows]
    ids = [tokens[:-1] for tokens, _ in cut]
    labels = [torch.where(answered, tokens[1:], IGNORE) for tokens, answered in cut]
    return {"ids": pad_sequence(ids, True, pad), "labels": pad_sequence(labels, True, IGNORE)}
