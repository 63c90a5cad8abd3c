"""Models for the tests of chains: hand-written ones that record what they are asked, a real one of random weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Delta, Message, Reply, Usage
from seedbed.core.artifacts import Library
from seedbed.documents.document import Chunk, Document
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.rag.passages import Passage
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Answer = Callable[[str], str]


def bare(passage: Passage) -> str:
    """Write a passage as its text alone, as LangChain's chains do."""
    return passage.text


@dataclass
class Recorder:
    """Answers by a function of the prompt's text; a word is a token, and each message one more."""

    answer: Answer
    window: int = 100_000
    name: str = "recorder"
    prompts: list[list[Message]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)

    @property
    def context_window(self) -> int:
        return self.window

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt(self, messages: Sequence[Message]) -> int:
        return sum(1 + len(message.text.split()) for message in messages)

    def reply(self, messages: Sequence[Message], **options: Any) -> Reply:
        assert self.count_prompt(messages) + options["max_tokens"] <= self.window
        self.prompts.append(list(messages))
        self.options.append(options)
        text = self.answer(said(messages))
        return Reply(text, usage=Usage(self.count_prompt(messages), len(text.split())), model=self.name)

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
        reply = self.reply(messages, **options)
        yield from (Delta(piece) for piece in re.findall(r"\s*\S+\s*$|\s*\S+|\s+", reply.text))
        yield Delta(reply=reply)


@dataclass
class Scorer(Recorder):
    """Also says how probable an answer is: each of its words by a function of the prompt's text and the word."""

    logprob: Callable[[str, str], float] = lambda prompt, word: -1.0

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        return tuple(self.logprob(said(messages), word) for word in answer.split())


def said(messages: Sequence[Message]) -> str:
    """All that a prompt says."""
    return "\n".join(message.text for message in messages)


def chunks_of(*texts: str) -> list[Chunk]:
    """Each text as a chunk of a document of its own."""
    return [Chunk(f"{place}.txt", 0, len(text), text) for place, text in enumerate(texts, 1)]


def long_document(pages: int) -> Document:
    """About 1,800 characters a page, each sentence different from every other."""
    text, starts = "", []
    for page in range(1, pages + 1):
        starts.append(len(text))
        lines = (
            f"On page {page}, entry {line} says that box {page * 40 + line} holds seed {line}." for line in range(30)
        )
        text += " ".join(lines) + "\n\n"
    return Document("long.txt", text, pages=tuple(starts))


def random_model(folder: Path, window: int, texts: Sequence[str], words: int = 280) -> LocalModel:
    """A tiny decoder of random weights with a tokenizer that was trained on these texts."""
    library = Library(folder)
    tokenizer = train_tokenizer(list(texts), TokenizerSettings(kind="bpe", vocab_size=words))
    model = Decoder(ModelConfig(tokenizer.vocab_size, d_model=32, n_layers=1, n_heads=2, max_length=window)).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, 0.3, generator=generator)
    with library.writing("model", name="tiny") as draft:
        save_model(draft.path, model, tokenizer)
    return LocalModel.open("tiny", library)
