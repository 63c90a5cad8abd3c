"""Cited: a sentence or two of the model's own, from the passages that answer best. One call of the model.

The way of :func:`seedbed.rag.answer.ask` unless another is named: it quotes the best sentence too, and shows a sentence
of the model as an answer only where a passage supports it. A short prompt is read sooner and, by a small model, better,
so the passage of the best sentence stands first and the prompt has a limit of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import sentence_spans, sentences
from seedbed.rag.chains.run import StreamedChain, Writing, chain_run
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.prompt_plan import PromptLimits, Show, Template, fill, quoted

SENTENCES = 2
"""Sentences of the model's own at most; its reply ends there."""
PASSAGE_TOKENS = 400
"""Tokens of the passages in a prompt at most; ``stuff`` reads as much as the window holds."""
MOST_TOKENS = 96
"""Tokens of a reply at most unless ``max_tokens`` says otherwise."""


@StreamedChain
def cited(
    model: ChatModel,
    question: str,
    chunks: Sequence[Chunk],
    *,
    best: int = 1,
    template: Template = STUFF,
    show: Show = quoted,
    **options: Unpack[ReplyOptions],
) -> Writing:
    """Answer in a sentence or two, from the chunk of number ``best`` and the first others; the rest is left."""
    options.setdefault("max_tokens", MOST_TOKENS)
    with chain_run("cited", template, model, question, chunks, show, options) as run:
        run.passages = sorted(run.passages, key=lambda one: one.number != best)
        beside = model.count_prompt(fill(template, question=question, context=""))
        plan = run.one_prompt(PromptLimits(tokens=PASSAGE_TOKENS + beside))
        text = yield from run.ask(plan, enough=_enough)
        return run.result(_whole(text) if run.finish == "length" else text, plan.shown, plan.left)


def own_sentences(text: str) -> list[str]:
    """Return the sentences of a reply that may be shown: the first ones, each once."""
    return list(dict.fromkeys(" ".join(one.split()) for one in sentences(text)))[:SENTENCES]


def _whole(text: str) -> str:
    """Return a reply without its last sentence, which the limit of tokens cut; a single sentence stays."""
    spans = sentence_spans(text)
    return text[: spans[-2][1]] if len(spans) > 1 else text


def _enough(text: str) -> bool:
    """Tell whether a further sentence, or one once more, has begun: what comes after it is not read."""
    whole = [" ".join(one.split()) for one in sentences(text)]
    return len(whole) > SENTENCES or len(set(whole)) < len(whole)
